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
import type { Fact, MovementFact, OrderLine, OrderSighting, OrderSource, OrderState } from './facts.js';
import {
  changesSomething,
  differenceOf,
  heldAfter,
  heldLines,
  moveParts,
  partsOf,
  quantityOf,
  sameAtCart,
  sameThing,
  stockOf,
} from './order-lines.js';
import type { OrderHead, Step } from './order-lines.js';
import { plainParts } from './kit.js';
import { movementFacts, newStockChecks, refuseUnknownStock } from './stock-item.js';
import { cartStream, itemStream, orderStream, stockStream } from './streams.js';
import type { StreamName } from './streams.js';
import { isProvisional, knownSku, resolveLines } from './unknown-lines.js';
import type { Resolved } from './unknown-lines.js';

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

type Import = Extract<Command, { type: 'ImportOrder' }>;
type Resolve = Extract<Command, { type: 'ResolveOrderLines' }>;
type TakenLine = Import['lines'][number] & Pick<OrderLine, 'parts'>;
/** With what each line takes. */
type Taken = Omit<Import, 'lines'> & { readonly lines: readonly TakenLine[] };

export const importOrderHandler: Handler<Import> = {
  streams: (c) => [orderStream(c.source, c.number)],
  kits: (c) => c.lines.map(({ sku }) => sku),
  stockStreams: (c, stateOf) => [
    ...stockOf(heldLines(stateOf, c)),
    ...stockOf(c.lines.map((line) => ({ ...line, ...partsNow(line.sku, stateOf) }))),
  ],
  checks: (c, exists) => [
    ...cartStreams(c.source),
    ...c.lines.flatMap((line) => newStockChecks(line.location, line.sku, exists)),
    ...c.lines.filter((line) => !isProvisional(line)).map((line) => itemStream(line.key)),
  ],
  decide: decideImport,
};

/** What a line takes that is seen for the first time. */
function partsNow(sku: string, stateOf: (stream: StreamName) => unknown): Pick<OrderLine, 'parts'> {
  const parts = plainParts(sku, stateOf);
  return parts === null ? {} : { parts };
}

/** A line that is known stays what it was when it was first seen, whatever the kit is made of by now. */
function withParts(line: Import['lines'][number], head: OrderHead, context: DecisionContext): TakenLine {
  const known = head.lines.find((other) => sameThing(other, line));
  if (known === undefined) return { ...line, ...partsNow(line.sku, context.stateOf) };
  return known.parts === undefined ? line : { ...line, parts: known.parts };
}

function cartStreams(source: OrderSource): StreamName[] {
  const cartId = cartOf(source);
  return cartId === null ? [] : [cartStream(cartId)];
}

export const resolveOrderLinesHandler: Handler<Resolve> = {
  streams: (c) => [orderStream(c.source, c.number)],
  kits: (c) => c.rows.map(({ sku }) => sku),
  stockStreams: (c, stateOf) => {
    const lines = heldLines(stateOf, c);
    const skus = skusByKey(c.rows);
    const mapped = lines.flatMap((line) => {
      const sku = skus(line.key);
      return sku === undefined ? [] : [{ location: line.location, sku, ...partsNow(sku, stateOf) }];
    });
    return [...stockOf(lines), ...stockOf(mapped)];
  },
  checks: (c) => c.rows.flatMap(({ key, sku }) => [itemStream(key), itemStream(sku)]),
  decide: decideResolve,
};

function decideImport(told: Import, context: DecisionContext): Decision {
  const stream = orderStream(told.source, told.number);
  const known = (context.stateOf(stream) as OrderHead | null) ?? unseen;
  const command: Taken = { ...told, lines: told.lines.map((line) => withParts(knownSku(line, known), known, context)) };
  const refused = refuseImport(command, known, context);
  if (refused) return refused;
  const { revision } = command;
  const isFirst = known.revision === null;

  if (known.revision !== null && revision < known.revision) {
    return accept([], `Nothing to do: revision ${known.revision} of this order is known, which is newer.`);
  }
  if (isSameAsKnown(command, known)) return accept([], 'Nothing to do: the order is known like this.');
  // A cancelled order that names its lines has arrived: it is taken and given back at once, so that what the cart did is known.
  if (isFirst && command.state === 'cancelled' && !command.lines.some((line) => line.quantity > 0))
    return keepCancel(command, known);

  const resolved = resolveLines(command, known, skusByKey(command.lines), context);
  const head = resolved?.head ?? known;
  const steps = stepsOf(command, head);
  const timing = placedTime(command, head, context);
  const imported: DecidedFact = {
    stream,
    occurredAt: timing.imported === null ? null : timing.placedAt,
    fact: {
      type: 'OrderImported',
      data: {
        source: command.source,
        number: command.number,
        revision: Math.max(revision, head.cancelKept ?? revision),
        placedAt: timing.placedAt ?? context.recordedAt(stream),
        state: head.cancelKept === null ? command.state : 'cancelled',
        lines: command.lines.map(orderLine),
        differences: [...(resolved?.step.differences ?? []), ...steps.flatMap((step) => step.differences)],
        sighting: command.sighting,
      },
    },
  };
  const movements = steps
    .flatMap((step) => step.movements)
    .flatMap((fact) => movementFacts(fact, timing.imported ?? undefined, context));
  return accept(
    [imported, ...resolvedMovements(resolved, context), ...movements],
    noteOf(command, head, context, timing.note),
  );
}

/** The title is kept for what is not mapped: somebody has to find out what it is. */
const orderLine = ({ line, sku, key, location, quantity, parts, title }: TakenLine): OrderLine => ({
  line,
  sku,
  key,
  location,
  quantity,
  ...(parts !== undefined && { parts }),
  ...(title !== undefined && title !== '' && isProvisional({ sku, key }) && { title }),
});

function decideResolve(command: Resolve, context: DecisionContext): Decision {
  const { source, number, rows } = command;
  const stream = orderStream(source, number);
  const head = context.stateOf(stream) as OrderHead | null;
  if (head === null || head.revision === null)
    return refuse('unknown-order', `There is no order ${number}; import it first.`, 'number');
  const tooMany = refuseRowCount(rows.length, 'rows');
  if (tooMany) return tooMany;
  const unknown = rows.find(({ sku }) => !context.exists(itemStream(sku)));
  if (unknown) return refuse('unknown-item', `There is no item with the SKU ${unknown.sku}; create it first.`, 'rows');

  const resolved = resolveLines(command, head, skusByKey(rows), context);
  if (resolved === null) return accept([], 'Nothing to do: no line of the order was unknown by these keys.');
  const imported: Fact = {
    type: 'OrderImported',
    data: {
      source,
      number,
      revision: head.revision,
      placedAt: head.placedAt ?? context.recordedAt(stream),
      state: head.state,
      lines: resolved.head.lines.map(({ held: _held, open: _open, ...line }) => line),
      differences: resolved.step.differences,
      sighting: { after: null, by: context.now },
    },
  };
  return accept([{ stream, fact: imported, occurredAt: null }, ...resolvedMovements(resolved, context)]);
}

/** What becomes known was sold when the order was placed: a count taken since may have had it already. */
const resolvedMovements = (resolved: Resolved | null, context: DecisionContext) =>
  (resolved?.step.movements ?? []).flatMap((fact) =>
    movementFacts(fact, resolved?.head.placedAt ?? undefined, context),
  );

function skusByKey(rows: readonly { readonly key: string; readonly sku: string }[]) {
  const skus = new Map(rows.filter((row) => !isProvisional(row)).map(({ key, sku }) => [key, sku]));
  return (key: string) => skus.get(key);
}

function refuseImport(command: Taken, head: OrderHead, context: DecisionContext): Refused | undefined {
  const tooMany = refuseRowCount(command.lines.length, 'lines');
  if (tooMany) return tooMany;
  for (const line of command.lines) {
    const refused =
      refuseQuantity(line.quantity, 0, 'quantity') ??
      partsOf(line)
        .map((part) => refuseQuantity(line.quantity * part.quantity, 0, 'quantity'))
        .find((wrong) => wrong !== undefined);
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

function isSameAsKnown(command: Taken, head: OrderHead): boolean {
  if (command.revision !== head.revision || command.state !== head.state || command.lines.length !== head.lines.length)
    return false;
  return command.lines.every((line) =>
    head.lines.some((known) => sameThing(known, line) && known.quantity === line.quantity),
  );
}

function keepCancel(command: Taken, head: OrderHead): Decision {
  if (head.cancelKept !== null && command.revision <= head.cancelKept)
    return accept([], 'Nothing to do: the cancel is kept already.');
  const { source, number, revision } = command;
  const fact: Fact = { type: 'OrderCancelKept', data: { source, number, revision } };
  return accept(
    [{ stream: orderStream(source, number), fact, occurredAt: null }],
    'The order has not been seen yet; the cancel is kept and applied when it arrives.',
  );
}

/** One step, or two where a cancel belongs to an order that is only now seen: it was taken, and then given back. */
function stepsOf(command: Taken, head: OrderHead): Step[] {
  const cancelled = command.state === 'cancelled' || head.cancelKept !== null;
  if (head.revision !== null || !cancelled) return [stepTo(command.state, command, head)];
  const seenOpen = command.state === 'cancelled' ? 'open' : command.state;
  const taken = stepTo(seenOpen, command, head);
  const afterwards = command.lines.map((line) => heldAfter(line, [], taken.differences));
  const between: OrderHead = { ...head, state: seenOpen, fulfilled: seenOpen === 'shipped', lines: afterwards };
  return [taken, stepTo('cancelled', command, between)];
}

function stepTo(state: OrderState, command: Taken, head: OrderHead): Step {
  const gone = head.lines.filter((known) => !command.lines.some((line) => sameThing(known, line)));
  const lines = [...gone.map((known) => ({ ...known, quantity: 0 })), ...command.lines];
  const changes = lines.map((line) => changeOf(line, state, command, head));
  return {
    differences: changes.map((change) => change.difference).filter(changesSomething),
    movements: changes.flatMap((change) => change.movements),
  };
}

function changeOf(line: OrderLine, state: OrderState, command: Taken, head: OrderHead) {
  const known = head.lines.find((other) => sameThing(other, line));
  const held = known?.held ?? 0;
  const open = known?.open ?? 0;
  const wanted = state === 'cancelled' ? 0 : line.quantity;
  const taken = Math.max(wanted - held, 0);
  const givenBack = Math.min(Math.max(held - wanted, 0), open);
  const closing = state === 'shipped' || state === 'closed' ? open + taken - givenBack : 0;

  const movements: MovementFact[] = [];
  const move = (delta: number, openDelta: number, reason: string | null, fact: Parameters<typeof moveParts>[3]) =>
    movements.push(...moveParts(command, line, { delta, openDelta, reason }, fact));
  if (taken > 0) move(-taken, taken, null, (data) => ({ type: 'StockSold', data }));
  if (givenBack > 0) {
    const reason = state === 'cancelled' ? 'order cancelled' : 'order changed';
    move(givenBack, -givenBack, reason, (data, pieces) => ({
      type: 'StockReturned',
      data: { ...data, resellable: true, quantity: givenBack * pieces },
    }));
  }
  if (closing > 0) move(0, -closing, `order ${state}`, (data) => ({ type: 'OrderLineClosed', data }));

  const difference = differenceOf(line, {
    delta: givenBack - taken,
    openDelta: taken - givenBack - closing,
    ...echoesOf(line, echoOf(line, state, command, head), command),
  });
  return { difference, movements };
}

/** A kit echoes where the cart lowered something itself: on the kit that it sold, or on what that is made of. */
function echoesOf(line: OrderLine, delta: number, { cartMovesStock }: Taken) {
  if (line.parts === undefined || cartMovesStock.kits !== 'components' || delta === 0) return { echoDelta: delta };
  return { echoDelta: 0, partEchoes: line.parts.map(({ sku, quantity }) => ({ sku, delta: delta * quantity })) };
}

/**
 * What the cart did to its own stock between two sights of a line: it takes when its moment has come (`payment` is
 * treated like `order` until connectors tell payments), and gives back only where it restocks. A line that only we call
 * otherwise now, because its key was mapped or the cart's location changed, is the same to the cart.
 */
function echoOf(line: OrderLine, state: OrderState, command: Taken, head: OrderHead): number {
  const isGone = !command.lines.some((told) => sameThing(told, line));
  if (isGone && command.lines.some((told) => sameAtCart(told, line))) return 0;
  const before = head.lines.find((known) => sameAtCart(known, line))?.quantity ?? 0;
  const { at, restocksOnCancel } = command.cartMovesStock;
  const fulfilled = head.fulfilled || state === 'shipped';
  const took = movedByCart(before, at, head.state, head.fulfilled);
  const takes = movedByCart(line.quantity, at, state, fulfilled);
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
  /** Business time of what the import moves, which may be later than what the cart said of it; null: now. */
  readonly imported: string | null;
  readonly placedAt: string | null;
  readonly note?: string;
}

/**
 * The first sight of an order tells what happened when it was placed, its cancel and shipping too, so that a count taken
 * since can recognise it; later changes happen now. A cart's wrong clock does not make its order refused.
 */
function placedTime(command: Taken, head: OrderHead, context: DecisionContext): PlacedTime {
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
  const imported = cartOf(command.source) === null ? placedAt : latestMoment(placedAt, command.sighting);
  return { imported, placedAt };
}

const secondMs = 1_000;
const dayMs = 86_400_000;

/**
 * Carts tell whole seconds, or days, in a time zone that they keep to themselves, and mean any moment in them. It is taken
 * as late as it can have been: a sale wrongly held to be in a count already is a piece sold twice, one wrongly taken from
 * a count is a piece too few until the next count. The last poll did not show the order, so it is no older than that.
 */
function latestMoment(placedAt: string, { after, by }: OrderSighting): string {
  const spanMs = placedAt.endsWith('T00:00:00.000Z') ? dayMs : placedAt.endsWith('.000Z') ? secondMs : 1;
  const placedMs = Date.parse(placedAt);
  const latestMs = Math.min(placedMs + spanMs - 1, Date.parse(by));
  return new Date(Math.max(placedMs, latestMs, after === null ? placedMs : Date.parse(after))).toISOString();
}

/** An order is a fact even where it names what we do not know: the movement is recorded, and the answer says so. */
function noteOf(
  command: Taken,
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
      : `Recorded for unknown SKUs: ${[...new Set(unknown)].join(', ')}. Create the items, or map the cart's keys.`,
    head.cancelKept === null ? undefined : 'A cancel that came before the order was applied.',
  ].filter((note) => note !== undefined);
  return notes.length === 0 ? undefined : notes.join(' ');
}
