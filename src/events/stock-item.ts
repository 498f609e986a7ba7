/**
 * The stock of one SKU at one location: how much is on hand, how much of what was sold is still open, and what the last
 * count said. A plain movement needs no look at the state; only counts, and movements that a count already had, do.
 */
import type { Command } from './commands.js';
import type { Fact, Movement, MovementFact, Reference, Source } from './facts.js';
import { accept, isoTime, refuse, refuseQuantity, refuseTime, quantityMax } from './decision.js';
import type { Accepted, DecidedFact, Decision, DecisionContext, Handler, MovedAfter, Refused } from './decision.js';
import { partsInWords, plainParts } from './kit.js';
import type { KitPart } from './kit.js';
import { inTransit, itemStream, locationStream, stockStream } from './streams.js';
import type { StreamName } from './streams.js';

export interface StockState {
  readonly onHand: number;
  /** Pieces in open order lines. */
  readonly open: number;
  /** The count or reset that speaks of the latest moment. */
  readonly lastCount: LastCount | null;
}

export interface LastCount {
  readonly asOf: string;
  readonly version: string;
  readonly knows: readonly Source[];
  readonly includesOpenOrders: boolean;
}

export const initialStock: StockState = { onHand: 0, open: 0, lastCount: null };

/** @param version of the fact in its stream; later corrections name the count they correct by it */
export function evolveStock(state: StockState, fact: Fact, version: string): StockState {
  switch (fact.type) {
    case 'StockCounted':
    case 'StockReset': {
      const { asOf, knows, includesOpenOrders } = fact.data;
      const older = state.lastCount !== null && asOf < state.lastCount.asOf;
      return {
        ...moved(state, fact.data),
        lastCount: older ? state.lastCount : { asOf, version, knows, includesOpenOrders },
      };
    }
    case 'StockReceived':
    case 'StockSold':
    case 'StockReturned':
    case 'StockAdjusted':
    case 'CountCorrected':
    case 'StockTransferred':
    case 'OrderLineClosed':
      return moved(state, fact.data);
    default:
      return state;
  }
}

const moved = (state: StockState, data: Movement): StockState => ({
  onHand: state.onHand + data.delta,
  open: state.open + data.openDelta,
  lastCount: state.lastCount,
});

type StockCommand = Extract<Command, { type: 'ReceiveStock' | 'SellStock' | 'ReturnStock' | 'AdjustStock' }>;
type CountCommand = Extract<Command, { type: 'CountStock' | 'ResetStock' }>;

export const stockHandler: Handler<StockCommand> = {
  streams: () => [],
  kits: (c) => [c.sku],
  stockStreams: (c, stateOf) => movedParts(c, stateOf).map(({ sku }) => stockStream(c.location, sku)),
  checks: (c, exists, stateOf) => movedParts(c, stateOf).flatMap(({ sku }) => newStockChecks(c.location, sku, exists)),
  decide: decideMovement,
};

export const countHandler: Handler<CountCommand> = {
  streams: () => [],
  kits: (c) => [c.sku],
  stockStreams: (c) => [stockStream(c.location, c.sku)],
  checks: (c, exists) => newStockChecks(c.location, c.sku, exists),
  asOfReads: (c) =>
    [c.asOf, c.ordersSince]
      .filter(readableTime)
      .map((time) => ({ stream: stockStream(c.location, c.sku), asOf: isoTime(time) })),
  decide: decideCountCommand,
};

function decideMovement(command: StockCommand, context: DecisionContext): Decision {
  const parts = movedParts(command, context.stateOf);
  const refused =
    refuseInput(command, context) ?? refuseKitMoved(command, context) ?? refuseParts(command, parts, context);
  if (refused) return refused;
  return accept(
    parts
      .map((part) => movementOf(partOf(command, part)))
      .flatMap((movement) => movementFacts(movement, command.occurredAt, context)),
  );
}

/** A kit that is sold, or brought back, is its parts; everything else is itself. */
function movedParts(command: StockCommand, stateOf: (stream: StreamName) => unknown): readonly KitPart[] {
  const isKitMoved = command.type === 'SellStock' || command.type === 'ReturnStock';
  return (isKitMoved ? plainParts(command.sku, stateOf) : null) ?? [{ sku: command.sku, quantity: 1 }];
}

function partOf(command: StockCommand, { sku, quantity }: KitPart): StockCommand & { readonly kit?: string } {
  if (sku === command.sku || command.type === 'AdjustStock') return command;
  return { ...command, sku, quantity: command.quantity * quantity, kit: command.sku };
}

function refuseParts(command: StockCommand, parts: readonly KitPart[], context: DecisionContext): Refused | undefined {
  for (const part of parts) {
    const moved = partOf(command, part);
    const refused = refuseUnknownStock(moved.location, moved.sku, context) ?? refuseInput(moved, context);
    if (refused) return refused;
  }
  return undefined;
}

/** What was left of its own stock may be adjusted away: nothing else could ever move it. */
function refuseKitMoved(command: StockCommand, context: DecisionContext): Refused | undefined {
  if (command.type === 'SellStock' || command.type === 'ReturnStock') return undefined;
  if (command.type === 'AdjustStock') {
    const { onHand } = stockState(context, stockStream(command.location, command.sku));
    if (Math.abs(onHand + command.delta) < Math.abs(onHand)) return undefined;
  }
  return refuseKit(command.sku, 'Move', context);
}

/** @param doing what is to be done with its parts instead */
export function refuseKit(sku: string, doing: 'Move' | 'Count', context: DecisionContext): Refused | undefined {
  const parts = plainParts(sku, context.stateOf);
  if (parts === null) return undefined;
  const detail = `${sku} is a kit and has no stock of its own. ${doing} what it is made of: ${partsInWords(parts)}.`;
  return refuse('item-is-kit', detail, 'sku');
}

function refuseInput(command: StockCommand, context: DecisionContext): Refused | undefined {
  const quantity =
    command.type === 'AdjustStock'
      ? refuseQuantity(command.delta, -quantityMax, 'delta')
      : refuseQuantity(command.quantity, 1, 'quantity');
  return quantity ?? refuseTime(command.occurredAt, context.now, 'occurredAt');
}

function movementOf(command: StockCommand & { readonly kit?: string }): MovementFact {
  switch (command.type) {
    case 'ReceiveStock':
      return { type: 'StockReceived', data: movementData(command, command.quantity) };
    case 'SellStock':
      return { type: 'StockSold', data: movementData(command, -command.quantity) };
    case 'ReturnStock': {
      const { resellable, quantity } = command;
      return {
        type: 'StockReturned',
        data: { ...movementData(command, resellable ? quantity : 0), resellable, quantity },
      };
    }
    case 'AdjustStock':
      return { type: 'StockAdjusted', data: movementData(command, command.delta) };
  }
}

interface MovementInput {
  readonly sku: string;
  readonly location: string;
  readonly reason?: string | undefined;
  readonly reference?: Reference | undefined;
  readonly source?: Source | undefined;
  readonly kit?: string;
}

function movementData(input: MovementInput, delta: number): Movement {
  return {
    sku: input.sku,
    location: input.location,
    delta,
    openDelta: 0,
    reason: input.reason ?? null,
    reference: input.reference ?? null,
    source: input.source ?? 'direct',
    ...(input.kit !== undefined && { kit: input.kit }),
  };
}

/**
 * A movement, and with it the correction of the last count where that count had the movement already.
 * What a count says must stay true as of its moment: on hand, plus the open pieces where they were counted with it. So a
 * late sale that is still open takes nothing from a count of the shelf that included open orders, and is corrected in one that did not.
 * @param given the business time somebody stated; a movement without one happens now, after every count
 */
export function movementFacts(
  movement: MovementFact,
  given: string | undefined,
  context: DecisionContext,
): DecidedFact[] {
  const { sku, location, delta, openDelta, source, reference } = movement.data;
  const stream = stockStream(location, sku);
  const occurredAt = given === undefined ? null : isoTime(given);
  const facts: DecidedFact[] = [{ stream, fact: movement, occurredAt }];
  const { lastCount } = stockState(context, stream);
  if (lastCount === null || occurredAt === null || occurredAt > lastCount.asOf || !lastCount.knows.includes(source))
    return facts;
  const known = delta + (lastCount.includesOpenOrders ? openDelta : 0);
  if (known === 0) return facts;
  facts.push({
    stream,
    occurredAt: lastCount.asOf,
    fact: {
      type: 'CountCorrected',
      data: {
        sku,
        location,
        delta: -known,
        openDelta: 0,
        reason: `already in the count of ${lastCount.asOf}`,
        reference,
        source,
        countedAsOf: lastCount.asOf,
        countedVersion: lastCount.version,
      },
    },
  });
  return facts;
}

function decideCountCommand(command: CountCommand, context: DecisionContext): Decision {
  const min = command.type === 'ResetStock' ? -quantityMax : 0;
  const refused =
    refuseQuantity(command.quantity, min, 'quantity') ??
    refuseTime(command.asOf, context.now, 'asOf') ??
    refuseTime(command.ordersSince, context.now, 'ordersSince') ??
    refuseKit(command.sku, 'Count', context) ??
    refuseUnknownStock(command.location, command.sku, context);
  return refused ?? decideCount(command, context);
}

/**
 * Business time: on hand as of `t` is on hand now less everything that occurred after `t`. A count sets that to what was
 * found, less the open pieces as of `t` where the source declares that it counted them too.
 */
export function decideCount(command: CountCommand, context: DecisionContext): Accepted {
  const stream = stockStream(command.location, command.sku);
  const state = stockState(context, stream);
  const asOf = command.asOf === undefined ? context.recordedAt(stream) : isoTime(command.asOf);
  const later = command.asOf === undefined ? nothingMoved : context.movedAfter(stream, asOf);
  const includesOpenOrders = command.includesOpenOrders ?? false;
  const older = state.lastCount !== null && asOf < state.lastCount.asOf;
  const ordered = orderedUntil(command, context, stream, later);
  const found = command.quantity + ordered - (includesOpenOrders ? state.open - later.openDelta : 0);
  const delta = older ? 0 : found - (state.onHand - later.delta);
  const fact: MovementFact = {
    type: command.type === 'CountStock' ? 'StockCounted' : 'StockReset',
    data: {
      ...movementData(command, delta),
      quantity: command.quantity,
      asOf,
      includesOpenOrders,
      knows: command.knows ?? ['direct'],
      ...(command.ordersSince !== undefined && { ordersSince: isoTime(command.ordersSince) }),
    },
  };
  const note = older ? `Recorded without effect: older than the count of ${state.lastCount?.asOf}.` : undefined;
  return accept([{ stream, fact, occurredAt: asOf }], note);
}

const nothingMoved: MovedAfter = { delta: 0, openDelta: 0, orderDelta: 0 };

/** What orders moved from `ordersSince` until the moment of the count: a number that knows no orders has all of it yet. */
function orderedUntil(
  { ordersSince }: CountCommand,
  context: DecisionContext,
  stream: StreamName,
  later: MovedAfter,
): number {
  if (ordersSince === undefined) return 0;
  return context.movedAfter(stream, isoTime(ordersSince)).orderDelta - later.orderDelta;
}

export const stockState = (context: DecisionContext, stream: StreamName) =>
  (context.stateOf(stream) ?? initialStock) as StockState;

/** A SKU's first movement at a location is where a mistyped name would otherwise become a new stock; later ones need no look. */
export function newStockChecks(location: string, sku: string, exists: (stream: StreamName) => boolean): StreamName[] {
  if (exists(stockStream(location, sku))) return [];
  return location === inTransit ? [itemStream(sku)] : [itemStream(sku), locationStream(location)];
}

export function refuseUnknownStock(location: string, sku: string, context: DecisionContext): Refused | undefined {
  if (context.exists(stockStream(location, sku))) return undefined;
  if (!context.exists(itemStream(sku))) {
    return refuse('unknown-item', `There is no item with the SKU ${sku}; create it first.`, 'sku');
  }
  return refuseUnknownLocation(location, context, 'location');
}

export function refuseUnknownLocation(location: string, context: DecisionContext, field: string): Refused | undefined {
  if (location === inTransit || context.exists(locationStream(location))) return undefined;
  return refuse('unknown-location', `There is no location ${location}; add it first.`, field);
}

/** An unreadable time is refused by decide; until then it must not stop the batch. */
const readableTime = (time: string | undefined): time is string =>
  time !== undefined && !Number.isNaN(Date.parse(time));
