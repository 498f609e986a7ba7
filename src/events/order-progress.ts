/**
 * Lines of an order that leave it: shipped, filled, or closed without either. Their pieces were taken at import, so none
 * moves now; what ends is that they are open.
 *
 * Shipping and closing are reports, and taken as such. A fill is a decision: pieces that are there are given to a line that
 * may have been sold when they were not. So it needs them: on hand plus the open pieces is what stands on the shelf.
 */
import type { Command } from './commands.js';
import { accept, isoTime, refuse, refuseQuantity, refuseTime } from './decision.js';
import type { DecidedFact, Decision, DecisionContext, Handler, Refused } from './decision.js';
import { heldLines, moveParts, partsOf, quantityOf, stockOf } from './order-lines.js';
import type { HeldLine, OrderHead } from './order-lines.js';
import { movementFacts, stockState } from './stock-item.js';
import { orderStream, stockStream } from './streams.js';
import type { StreamName } from './streams.js';

type Finish = Extract<Command, { type: 'ShipOrder' | 'FillOrder' | 'CloseOrder' }>;

interface LineProgress {
  readonly line: string;
  readonly quantity: number;
}

export const finishOrderHandler: Handler<Finish> = {
  streams: (c) => [orderStream(c.source, c.number)],
  stockStreams: (c, stateOf) => stockOf(heldLines(stateOf, c)),
  decide: decideFinish,
};

const outcomes = {
  ShipOrder: { type: 'OrderShipped', reason: 'order shipped' },
  FillOrder: { type: 'OrderFilled', reason: 'order filled' },
  CloseOrder: { type: 'OrderClosed', reason: 'order closed' },
} as const;

function decideFinish(command: Finish, context: DecisionContext): Decision {
  const { source, number } = command;
  const stream = orderStream(source, number);
  const head = context.stateOf(stream) as OrderHead | null;
  if (head === null || head.revision === null)
    return refuse('unknown-order', `There is no order ${number}; import it first.`, 'number');
  const wrongTime = refuseTime(command.occurredAt, context.now, 'occurredAt');
  if (wrongTime) return wrongTime;

  const open = head.lines.filter((line) => line.open > 0);
  const lines = command.lines ?? (command.type === 'FillOrder' ? whatIsThere(open, context) : whole(open));
  const refused =
    refuseFinish(lines, head) ?? (command.type === 'FillOrder' ? refuseFill(lines, open, context) : undefined);
  if (refused) return refused;
  if (lines.length === 0) {
    const why = open.length === 0 ? 'no line of the order is open' : 'no piece of what is open is there';
    return accept([], `Nothing to do: ${why}.`);
  }

  const { type, reason } = outcomes[command.type];
  const occurredAt = command.occurredAt === undefined ? null : isoTime(command.occurredAt);
  const complete = head.lines.every((line) => line.open <= quantityOf(lines, line.line));
  const finished: DecidedFact = { stream, fact: { type, data: { source, number, lines, complete } }, occurredAt };
  const closings = lines.flatMap(({ line: name, quantity }) => {
    const line = head.lines.find(({ line }) => line === name);
    if (line === undefined) return [];
    const closed = { delta: 0, openDelta: -quantity, reason };
    return moveParts(command, line, closed, (data) => ({ type: 'OrderLineClosed', data })).flatMap((fact) =>
      movementFacts(fact, command.occurredAt, context),
    );
  });
  return accept([finished, ...closings]);
}

const whole = (open: readonly HeldLine[]): LineProgress[] =>
  open.map(({ line, open: quantity }) => ({ line, quantity }));

/** As many pieces of each open line as are there, in the order of the lines: two lines may want the same pieces. */
function whatIsThere(open: readonly HeldLine[], context: DecisionContext): LineProgress[] {
  const left = new Map<string, number>();
  return open.flatMap((line) => {
    const parts = partsOf(line).map((part) => {
      const stream = stockStream(line.location, part.sku);
      return { stream, pieces: part.quantity, there: left.get(stream) ?? piecesThere(stream, context) };
    });
    const quantity = Math.min(line.open, ...parts.map(({ there, pieces }) => Math.floor(there / pieces)));
    for (const { stream, pieces, there } of parts) left.set(stream, there - quantity * pieces);
    return quantity > 0 ? [{ line: line.line, quantity }] : [];
  });
}

function refuseFill(
  lines: readonly LineProgress[],
  open: readonly HeldLine[],
  context: DecisionContext,
): Refused | undefined {
  const wanted = new Map<string, { readonly sku: string; readonly location: string; quantity: number }>();
  for (const line of open) {
    for (const { sku, quantity: pieces } of partsOf(line)) {
      const stream = stockStream(line.location, sku);
      const sum = wanted.get(stream) ?? { sku, location: line.location, quantity: 0 };
      sum.quantity += quantityOf(lines, line.line) * pieces;
      wanted.set(stream, sum);
    }
  }
  for (const { sku, location, quantity } of wanted.values()) {
    const there = piecesThere(stockStream(location, sku), context);
    if (quantity > there) {
      const detail = `${there} of ${sku} are at ${location}, not ${quantity}; receive what is missing first. Lines that did leave are shipped, not filled.`;
      return refuse('not-enough-there', detail, 'lines');
    }
  }
  return undefined;
}

/** What stands on the shelf: pieces of open orders are sold, so they are not on hand, and have not left yet. */
function piecesThere(stock: StreamName, context: DecisionContext): number {
  const { onHand, open } = stockState(context, stock);
  return Math.max(onHand + open, 0);
}

function refuseFinish(lines: readonly LineProgress[], head: OrderHead): Refused | undefined {
  for (const { line, quantity } of lines) {
    const known = head.lines.find((other) => other.line === line);
    if (known === undefined) return refuse('not-allowed-now', `The order has no line ${line}.`, 'lines');
    const refused = refuseQuantity(quantity, 1, 'quantity');
    if (refused) return refused;
    const total = quantityOf(lines, line);
    if (total > known.open) {
      return refuse('not-allowed-now', `Line ${line} has ${known.open} open pieces, not ${total}.`, 'lines');
    }
  }
  return undefined;
}
