/** What order lines are made of, for everybody who decides on orders. */
import type { Movement, MovementFact, OrderDifference, OrderLine, OrderSource, OrderState } from './facts.js';
import type { KitPart } from './kit.js';
import { orderStream, stockStream } from './streams.js';
import type { StreamName } from './streams.js';

export interface OrderHead {
  /** The last revision the cart told; null while only a cancel is known. */
  readonly revision: number | null;
  readonly placedAt: string | null;
  readonly state: OrderState;
  /** Whether the cart ever said shipped; at carts that move stock then, it stays moved when the order is closed later. */
  readonly fulfilled: boolean;
  readonly lines: readonly HeldLine[];
  /** The revision of a cancel that came before its order. */
  readonly cancelKept: number | null;
}

export interface HeldLine extends OrderLine {
  /** Pieces taken from stock and not given back. */
  readonly held: number;
  /** Of those, neither shipped nor closed. */
  readonly open: number;
}

export interface OrderName {
  readonly source: OrderSource;
  readonly number: string;
}

/** What a decision changes of lines, and the movements that follow. */
export interface Step {
  readonly differences: readonly OrderDifference[];
  readonly movements: readonly MovementFact[];
}

/** What the order holds, as far as it is known. */
export const heldLines = (stateOf: (stream: StreamName) => unknown, { source, number }: OrderName) =>
  (stateOf(orderStream(source, number)) as OrderHead | null)?.lines ?? [];

/** What one piece of a line takes from stock: itself, or what the kit was made of when the line was first seen. */
export const partsOf = ({ sku, parts }: Pick<OrderLine, 'sku' | 'parts'>): readonly KitPart[] =>
  parts ?? [{ sku, quantity: 1 }];

export const stockOf = (lines: readonly Pick<OrderLine, 'location' | 'sku' | 'parts'>[]) =>
  lines.flatMap((line) => partsOf(line).map(({ sku }) => stockStream(line.location, sku)));

export const quantityOf = (lines: readonly { line: string; quantity: number }[], name: string) =>
  lines.reduce((sum, { line, quantity }) => (line === name ? sum + quantity : sum), 0);

/** A line that changed its SKU, key or location is another line: the old one is given back, the new one taken. */
export const sameThing = (a: Omit<OrderLine, 'quantity'>, b: Omit<OrderLine, 'quantity'>) =>
  a.line === b.line && a.sku === b.sku && a.key === b.key && a.location === b.location;

/** The same thing to the cart, which knows only its key: what it did to its own stock is told by this. */
export const sameAtCart = (a: { line: string; key: string }, b: { line: string; key: string }) =>
  a.line === b.line && a.key === b.key;

export function heldAfter(
  line: OrderLine,
  before: readonly HeldLine[],
  differences: readonly OrderDifference[],
): HeldLine {
  const earlier = before.find((other) => sameThing(other, line));
  const own = differences.filter((difference) => sameThing(difference, line));
  return {
    ...line,
    held: own.reduce((held, difference) => held - difference.delta, earlier?.held ?? 0),
    open: own.reduce((open, difference) => open + difference.openDelta, earlier?.open ?? 0),
  };
}

/**
 * A movement of so many pieces of a line: one of each of its parts.
 * @param delta and `openDelta`: in pieces of the line
 * @param fact makes the fact; `pieces` of the part are in one piece of the line
 */
export function moveParts(
  order: OrderName,
  line: Omit<OrderLine, 'quantity'>,
  { delta, openDelta, reason }: Pick<Movement, 'delta' | 'openDelta' | 'reason'>,
  fact: (data: Movement, pieces: number) => MovementFact,
): MovementFact[] {
  const reference = { kind: 'order' as const, number: order.number, line: line.line };
  return partsOf(line).map(({ sku, quantity }) =>
    fact(
      {
        sku,
        location: line.location,
        // Not −0, which is not 0 when it is compared.
        delta: delta * quantity + 0,
        openDelta: openDelta * quantity + 0,
        reason,
        reference,
        source: order.source,
        ...(line.parts !== undefined && { kit: line.sku }),
      },
      quantity,
    ),
  );
}

export const differenceOf = (
  { line, sku, key, location }: OrderLine,
  deltas: Pick<OrderDifference, 'delta' | 'openDelta' | 'echoDelta' | 'partEchoes'>,
): OrderDifference => ({ line, sku, key, location, ...deltas });

export const changesSomething = ({ delta, openDelta, echoDelta, partEchoes = [] }: OrderDifference) =>
  delta !== 0 || openDelta !== 0 || echoDelta !== 0 || partEchoes.length > 0;
