/** A transfer: pieces leave one location, are in transit, and arrive at another; what never arrives is written off. */
import type { Command } from './commands.js';
import { accept, refuse, refuseQuantity, refuseRowCount, refuseTime } from './decision.js';
import type { DecidedFact, Decision, DecisionContext, Handler, Refused } from './decision.js';
import type { Fact, Movement, MovementFact, TransferLine } from './facts.js';
import { movementFacts, newStockChecks, refuseKit, refuseUnknownLocation, refuseUnknownStock } from './stock-item.js';
import { inTransit, locationStream, stockStream, transferStream } from './streams.js';

export interface TransferState {
  readonly from: string;
  readonly to: string;
  /** What is still in transit. */
  readonly lines: readonly TransferLine[];
  readonly closed: boolean;
}

export const initialTransfer: TransferState | null = null;

export function evolveTransfer(state: TransferState | null, fact: Fact): TransferState | null {
  if (fact.type === 'TransferShipped') {
    const { from, to, lines } = fact.data;
    return { from, to, lines, closed: false };
  }
  if (fact.type !== 'TransferReceived' || state === null) return state;
  const { lines, short, closed } = fact.data;
  return { ...state, lines: without(state.lines, [...lines, ...short]), closed };
}

type Ship = Extract<Command, { type: 'ShipTransfer' }>;
type Receive = Extract<Command, { type: 'ReceiveTransfer' }>;

export const shipTransferHandler: Handler<Ship> = {
  streams: (c) => [transferStream(c.transfer)],
  kits: (c) => c.lines.map(({ sku }) => sku),
  stockStreams: (c) => c.lines.flatMap(({ sku }) => [stockStream(c.from, sku), stockStream(inTransit, sku)]),
  checks: (c, exists) => [
    locationStream(c.from),
    locationStream(c.to),
    ...c.lines.flatMap(({ sku }) => newStockChecks(c.from, sku, exists)),
  ],
  decide: decideShip,
};

export const receiveTransferHandler: Handler<Receive> = {
  streams: (c) => [transferStream(c.transfer)],
  stockStreams: (c, stateOf) => {
    const state = stateOf(transferStream(c.transfer)) as TransferState | null;
    if (state === null) return [];
    return state.lines.flatMap(({ sku }) => [stockStream(inTransit, sku), stockStream(state.to, sku)]);
  },
  decide: decideReceive,
};

function decideShip(command: Ship, context: DecisionContext): Decision {
  const { transfer, from, to } = command;
  const stream = transferStream(transfer);
  if (context.exists(stream)) return refuse('already-exists', `Transfer ${transfer} was shipped already.`, 'transfer');
  const refused =
    refuseRoute(command) ??
    refuseUnknownLocation(from, context, 'from') ??
    refuseUnknownLocation(to, context, 'to') ??
    refuseLines(command.lines) ??
    refuseTime(command.occurredAt, context.now, 'occurredAt');
  if (refused) return refused;

  const lines = merged(command.lines);
  for (const { sku } of lines) {
    const unknown = refuseKit(sku, 'Move', context) ?? refuseUnknownStock(from, sku, context);
    if (unknown) return unknown;
  }
  const legs = lines.flatMap((line) => [
    ...movementFacts(leg(transfer, from, line, -line.quantity), command.occurredAt, context),
    ...movementFacts(leg(transfer, inTransit, line, line.quantity), command.occurredAt, context),
  ]);
  const shipped: DecidedFact = {
    stream,
    fact: { type: 'TransferShipped', data: { transfer, from, to, lines } },
    occurredAt: legs[0]?.occurredAt ?? null,
  };
  return accept([shipped, ...legs]);
}

function refuseRoute({ from, to }: Ship): Refused | undefined {
  if (from === to) return refuse('not-allowed-now', 'A transfer goes from one location to another one.', 'to');
  if (from === inTransit || to === inTransit) {
    return refuse(
      'not-allowed-now',
      'A transfer goes between places that hold stock; in transit is on the way.',
      from === inTransit ? 'from' : 'to',
    );
  }
  return undefined;
}

function decideReceive(command: Receive, context: DecisionContext): Decision {
  const { transfer } = command;
  const stream = transferStream(transfer);
  const state = context.stateOf(stream) as TransferState | null;
  if (state === null) return refuse('unknown-transfer', `There is no transfer ${transfer}; ship it first.`, 'transfer');
  if (state.closed)
    return refuse(
      'transfer-closed',
      `Transfer ${transfer} is closed; book what came later as an adjustment.`,
      'transfer',
    );
  const refused =
    (command.lines === undefined ? undefined : refuseLines(command.lines, command.close ? 0 : 1)) ??
    refuseTime(command.occurredAt, context.now, 'occurredAt');
  if (refused) return refused;

  const lines = merged(command.lines ?? state.lines);
  const excess = lines.find((line) => line.quantity > quantityOf(state.lines, line.sku));
  if (excess) {
    const rest = quantityOf(state.lines, excess.sku);
    return refuse(
      'not-enough-in-transit',
      `Transfer ${transfer} has ${rest} of ${excess.sku} in transit, not ${excess.quantity}.`,
      'lines',
    );
  }
  const rest = without(state.lines, lines);
  const short = command.close ? rest : [];
  const closed = command.close || rest.length === 0;
  const received: DecidedFact = {
    stream,
    fact: { type: 'TransferReceived', data: { transfer, lines, short, closed } },
    occurredAt: command.occurredAt === undefined ? null : new Date(command.occurredAt).toISOString(),
  };
  return accept([
    received,
    ...lines.flatMap((line) => [
      ...movementFacts(leg(transfer, inTransit, line, -line.quantity), command.occurredAt, context),
      ...movementFacts(leg(transfer, state.to, line, line.quantity), command.occurredAt, context),
    ]),
    ...short.flatMap((line) => movementFacts(writeOff(transfer, line), command.occurredAt, context)),
  ]);
}

function leg(transfer: string, location: string, line: TransferLine, delta: number): MovementFact {
  return { type: 'StockTransferred', data: movement(transfer, location, line.sku, delta, null) };
}

function writeOff(transfer: string, line: TransferLine): MovementFact {
  return { type: 'StockAdjusted', data: movement(transfer, inTransit, line.sku, -line.quantity, 'transfer short') };
}

const movement = (transfer: string, location: string, sku: string, delta: number, reason: string | null): Movement => ({
  sku,
  location,
  delta,
  openDelta: 0,
  reason,
  reference: { kind: 'transfer', number: transfer },
  source: 'direct',
});

function refuseLines(lines: readonly TransferLine[], countMin = 1): Refused | undefined {
  if (lines.length < countMin) return refuse('quantity-out-of-range', 'A transfer has at least one line.', 'lines');
  const tooMany = refuseRowCount(lines.length, 'lines');
  if (tooMany) return tooMany;
  for (const line of lines) {
    const refused = refuseQuantity(line.quantity, 1, 'quantity');
    if (refused) return refused;
  }
  return merged(lines)
    .map((line) => refuseQuantity(line.quantity, 1, 'quantity'))
    .find((refused) => refused !== undefined);
}

/** Lines of the same SKU are one: what arrives does not tell which line it came from. */
function merged(lines: readonly TransferLine[]): TransferLine[] {
  const quantities = new Map<string, number>();
  for (const { sku, quantity } of lines) quantities.set(sku, (quantities.get(sku) ?? 0) + quantity);
  return [...quantities].map(([sku, quantity]) => ({ sku, quantity }));
}

function without(lines: readonly TransferLine[], gone: readonly TransferLine[]): TransferLine[] {
  return lines
    .map(({ sku, quantity }) => ({ sku, quantity: quantity - quantityOf(gone, sku) }))
    .filter(({ quantity }) => quantity > 0);
}

const quantityOf = (lines: readonly TransferLine[], sku: string) =>
  lines.reduce((sum, line) => (line.sku === sku ? sum + line.quantity : sum), 0);
