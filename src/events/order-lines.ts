/** What order lines are made of, for everybody who decides on orders. */
import type { Movement, MovementFact, OrderDifference, OrderLine, OrderSource, OrderState } from './facts.js';
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

export const stockOf = (lines: readonly { location: string; sku: string }[]) =>
  lines.map(({ location, sku }) => stockStream(location, sku));

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

export function movementOf(
  order: OrderName,
  line: Omit<OrderLine, 'quantity'>,
  delta: number,
  openDelta: number,
  reason: string | null,
): Movement {
  const reference = { kind: 'order' as const, number: order.number, line: line.line };
  return { sku: line.sku, location: line.location, delta, openDelta, reason, reference, source: order.source };
}

export const differenceOf = (
  { line, sku, key, location }: OrderLine,
  deltas: Pick<OrderDifference, 'delta' | 'openDelta' | 'echoDelta'>,
): OrderDifference => ({ line, sku, key, location, ...deltas });

export const changesSomething = ({ delta, openDelta, echoDelta }: OrderDifference) =>
  delta !== 0 || openDelta !== 0 || echoDelta !== 0;
