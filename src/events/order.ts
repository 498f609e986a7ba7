/**
 * One order, from a cart, by phone or from elsewhere. A cart tells the whole order as it is now, any number of times and in any order;
 * each line is compared with what we hold for it, and only the difference moves stock. What a line holds:
 *
 *     first seen ──take──▶ held and open ──shipped, filled or closed──▶ held
 *                              │
 *                              └──decreased, removed or cancelled──▶ given back
 *
 * Pieces that were shipped come back only by a return, and closing an order gives nothing back.
 */
import type { Command } from './commands.js';
import { accept, isoTime, refuse, refuseQuantity, refuseRowCount, refuseTime } from './decision.js';
import type { DecidedFact, Decision, DecisionContext, Handler, Refused } from './decision.js';
import { cartOf } from './facts.js';
import type { Fact, Movement, MovementFact, OrderDifference, OrderLine, OrderSource, OrderState } from './facts.js';
import { movementFacts, newStockChecks, refuseUnknownStock } from './stock-item.js';
import { cartStream, itemStream, orderStream, stockStream } from './streams.js';
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

const unseen: OrderHead = {
  revision: null,
  placedAt: null,
  state: 'open',
  fulfilled: false,
  lines: [],
  cancelKept: null,
};
export const initialOrder: OrderHead | null = null;

export function evolveOrder(state: OrderHead | null, fact: Fact): OrderHead | null {
  const head = state ?? unseen;
  switch (fact.type) {
    case 'OrderImported': {
      const { revision, placedAt, lines, differences } = fact.data;
      return {
        revision,
        placedAt,
        state: fact.data.state,
        fulfilled: head.fulfilled || fact.data.state === 'shipped',
        lines: lines.map((line) => heldAfter(line, head.lines, differences)),
        cancelKept: null,
      };
    }
    case 'OrderCancelKept':
      return { ...head, cancelKept: fact.data.revision };
    case 'OrderShipped':
    case 'OrderFilled':
    case 'OrderClosed':
      return {
        ...head,
        lines: head.lines.map((line) => ({ ...line, open: line.open - quantityOf(fact.data.lines, line.line) })),
      };
    default:
      return state;
  }
}

function heldAfter(line: OrderLine, before: readonly HeldLine[], differences: readonly OrderDifference[]): HeldLine {
  const earlier = before.find((other) => sameThing(other, line));
  const own = differences.filter((difference) => sameThing(difference, line));
  return {
    ...line,
    held: own.reduce((held, difference) => held - difference.delta, earlier?.held ?? 0),
    open: own.reduce((open, difference) => open + difference.openDelta, earlier?.open ?? 0),
  };
}

/** A line that changed its SKU, key or location is another line: the old one is given back, the new one taken. */
const sameThing = (a: Omit<OrderLine, 'quantity'>, b: Omit<OrderLine, 'quantity'>) =>
  a.line === b.line && a.sku === b.sku && a.key === b.key && a.location === b.location;

type Import = Extract<Command, { type: 'ImportOrder' }>;

export const importOrderHandler: Handler<Import> = {
  streams: (c) => [orderStream(c.source, c.number)],
  stockStreams: (c, stateOf) => [...stockOf(heldLines(stateOf, c)), ...stockOf(c.lines)],
  checks: (c, exists) => [
    ...cartStreams(c.source),
    ...c.lines.flatMap((line) => newStockChecks(line.location, line.sku, exists)),
  ],
  decide: decideImport,
};

function cartStreams(source: OrderSource): StreamName[] {
  const cartId = cartOf(source);
  return cartId === null ? [] : [cartStream(cartId)];
}

/** What the order holds, as far as it is known. */
export const heldLines = (stateOf: (stream: StreamName) => unknown, { source, number }: OrderName) =>
  (stateOf(orderStream(source, number)) as OrderHead | null)?.lines ?? [];

export const stockOf = (lines: readonly { location: string; sku: string }[]) =>
  lines.map(({ location, sku }) => stockStream(location, sku));

function decideImport(command: Import, context: DecisionContext): Decision {
  const stream = orderStream(command.source, command.number);
  const head = (context.stateOf(stream) as OrderHead | null) ?? unseen;
  const refused = refuseImport(command, head, context);
  if (refused) return refused;
  const { revision } = command;
  const isFirst = head.revision === null;

  if (head.revision !== null && revision < head.revision) {
    return accept([], `Nothing to do: revision ${head.revision} of this order is known, which is newer.`);
  }
  if (isSameAsKnown(command, head)) return accept([], 'Nothing to do: the order is known like this.');
  // A cancelled order that names its lines has arrived: it is taken and given back at once, so that what the cart did is known.
  if (isFirst && command.state === 'cancelled' && !command.lines.some((line) => line.quantity > 0))
    return keepCancel(command, head);

  const steps = stepsOf(command, head);
  const differences = steps.flatMap((step) => step.differences);
  const timing = placedTime(command, head, context);
  const imported: DecidedFact = {
    stream,
    occurredAt: timing.imported,
    fact: {
      type: 'OrderImported',
      data: {
        source: command.source,
        number: command.number,
        revision: Math.max(revision, head.cancelKept ?? revision),
        placedAt: timing.placedAt ?? context.recordedAt(stream),
        state: head.cancelKept === null ? command.state : 'cancelled',
        lines: command.lines.map(({ line, sku, key, location, quantity }) => ({ line, sku, key, location, quantity })),
        differences,
        sighting: command.sighting,
      },
    },
  };
  const movements = steps
    .flatMap((step) => step.movements)
    .flatMap((fact) => movementFacts(fact, timing.imported ?? undefined, context));
  return accept([imported, ...movements], noteOf(command, head, context, timing.note));
}

function refuseImport(command: Import, head: OrderHead, context: DecisionContext): Refused | undefined {
  const tooMany = refuseRowCount(command.lines.length, 'lines');
  if (tooMany) return tooMany;
  for (const line of command.lines) {
    const refused = refuseQuantity(line.quantity, 0, 'quantity');
    if (refused) return refused;
  }
  if (new Set(command.lines.map(({ line }) => line)).size < command.lines.length) {
    return refuse('not-allowed-now', 'Two lines of the order have the same name; a line is recognised by it.', 'lines');
  }
  const cartId = cartOf(command.source);
  if (cartId !== null) {
    if (head.revision !== null || context.exists(cartStream(cartId))) return undefined;
    return refuse('unknown-cart', `There is no cart ${cartId}; add it first.`, 'cartId');
  }
  const wrongTime = refuseTime(command.placedAt, context.now, 'placedAt');
  if (wrongTime) return wrongTime;
  for (const { location, sku } of command.lines) {
    const unknown = refuseUnknownStock(location, sku, context);
    if (unknown) return unknown;
  }
  return undefined;
}

function isSameAsKnown(command: Import, head: OrderHead): boolean {
  if (command.revision !== head.revision || command.state !== head.state || command.lines.length !== head.lines.length)
    return false;
  return command.lines.every((line) =>
    head.lines.some((known) => sameThing(known, line) && known.quantity === line.quantity),
  );
}

function keepCancel(command: Import, head: OrderHead): Decision {
  if (head.cancelKept !== null && command.revision <= head.cancelKept)
    return accept([], 'Nothing to do: the cancel is kept already.');
  const { source, number, revision } = command;
  const fact: Fact = { type: 'OrderCancelKept', data: { source, number, revision } };
  return accept(
    [{ stream: orderStream(source, number), fact, occurredAt: null }],
    'The order has not been seen yet; the cancel is kept and applied when it arrives.',
  );
}

interface Step {
  readonly differences: readonly OrderDifference[];
  readonly movements: readonly MovementFact[];
}

/** One step, or two where a cancel belongs to an order that is only now seen: it was taken, and then given back. */
function stepsOf(command: Import, head: OrderHead): Step[] {
  const cancelled = command.state === 'cancelled' || head.cancelKept !== null;
  if (head.revision !== null || !cancelled) return [stepTo(command.state, command, head)];
  const seenOpen = command.state === 'cancelled' ? 'open' : command.state;
  const taken = stepTo(seenOpen, command, head);
  const afterwards = command.lines.map((line) => heldAfter(line, [], taken.differences));
  const between: OrderHead = { ...head, state: seenOpen, fulfilled: seenOpen === 'shipped', lines: afterwards };
  return [taken, stepTo('cancelled', command, between)];
}

function stepTo(state: OrderState, command: Import, head: OrderHead): Step {
  const gone = head.lines.filter((known) => !command.lines.some((line) => sameThing(known, line)));
  const lines = [...gone.map((known) => ({ ...known, quantity: 0 })), ...command.lines];
  const changes = lines.map((line) => changeOf(line, state, command, head));
  return {
    differences: changes
      .map((change) => change.difference)
      .filter(({ delta, openDelta, echoDelta }) => delta !== 0 || openDelta !== 0 || echoDelta !== 0),
    movements: changes.flatMap((change) => change.movements),
  };
}

function changeOf(line: OrderLine, state: OrderState, command: Import, head: OrderHead) {
  const known = head.lines.find((other) => sameThing(other, line));
  const held = known?.held ?? 0;
  const open = known?.open ?? 0;
  const wanted = state === 'cancelled' ? 0 : line.quantity;
  const taken = Math.max(wanted - held, 0);
  const givenBack = Math.min(Math.max(held - wanted, 0), open);
  const closing = state === 'shipped' || state === 'closed' ? open + taken - givenBack : 0;

  const movements: MovementFact[] = [];
  const move = (delta: number, openDelta: number, reason: string | null) =>
    movementOf(command, line, delta, openDelta, reason);
  if (taken > 0) movements.push({ type: 'StockSold', data: move(-taken, taken, null) });
  if (givenBack > 0) {
    const reason = state === 'cancelled' ? 'order cancelled' : 'order changed';
    movements.push({
      type: 'StockReturned',
      data: { ...move(givenBack, -givenBack, reason), resellable: true, quantity: givenBack },
    });
  }
  if (closing > 0) movements.push({ type: 'OrderLineClosed', data: move(0, -closing, `order ${state}`) });

  const difference: OrderDifference = {
    line: line.line,
    sku: line.sku,
    key: line.key,
    location: line.location,
    delta: givenBack - taken,
    openDelta: taken - givenBack - closing,
    echoDelta: echoOf(known?.quantity ?? 0, line.quantity, state, command, head),
  };
  return { difference, movements };
}

/**
 * What the cart did to its own stock between two sights of a line: it takes when its moment has come (`payment` is
 * treated like `order` until connectors tell payments), and gives back only where it restocks.
 */
function echoOf(before: number, after: number, state: OrderState, command: Import, head: OrderHead): number {
  const { at, restocksOnCancel } = command.cartMovesStock;
  const fulfilled = head.fulfilled || state === 'shipped';
  const took = movedByCart(before, at, head.state, head.fulfilled);
  const takes = movedByCart(after, at, state, fulfilled);
  if (takes >= took) return 0 - (takes - took);
  return restocksOnCancel ? took - takes : 0;
}

function movedByCart(
  quantity: number,
  at: Import['cartMovesStock']['at'],
  state: OrderState,
  fulfilled: boolean,
): number {
  if (state === 'cancelled' || at === 'never') return 0;
  return at === 'fulfilment' && !fulfilled ? 0 : quantity;
}

interface PlacedTime {
  /** Business time of what the import moves; null: now. */
  readonly imported: string | null;
  readonly placedAt: string | null;
  readonly note?: string;
}

/**
 * The first sight of an order tells what happened when it was placed, its cancel and shipping too, so that a count taken
 * since can recognise it; later changes happen now. A cart's wrong clock does not make its order refused.
 */
function placedTime(command: Import, head: OrderHead, context: DecisionContext): PlacedTime {
  if (head.revision !== null) return { imported: null, placedAt: head.placedAt };
  if (command.placedAt === undefined) return { imported: null, placedAt: null };
  if (refuseTime(command.placedAt, context.now, 'placedAt')) {
    return {
      imported: null,
      placedAt: null,
      note: `The cart says the order was placed at ${command.placedAt}, which cannot be; recorded as of now.`,
    };
  }
  const placedAt = isoTime(command.placedAt);
  return { imported: placedAt, placedAt };
}

/** An order is a fact even where it names what we do not know: the movement is recorded, and the answer says so. */
function noteOf(
  command: Import,
  head: OrderHead,
  context: DecisionContext,
  timing: string | undefined,
): string | undefined {
  const unknown = command.lines
    .filter(({ location, sku }) => !context.exists(stockStream(location, sku)) && !context.exists(itemStream(sku)))
    .map(({ sku }) => sku);
  const notes = [
    timing,
    unknown.length === 0
      ? undefined
      : `Recorded for unknown SKUs: ${[...new Set(unknown)].join(', ')}. Create the items.`,
    head.cancelKept === null ? undefined : 'A cancel that came before the order was applied.',
  ].filter((note) => note !== undefined);
  return notes.length === 0 ? undefined : notes.join(' ');
}

export interface OrderName {
  readonly source: OrderSource;
  readonly number: string;
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

export const quantityOf = (lines: readonly { line: string; quantity: number }[], name: string) =>
  lines.reduce((sum, { line, quantity }) => (line === name ? sum + quantity : sum), 0);
