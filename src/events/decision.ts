import type { Refusal, RefusalCode } from './commands.js';
import type { Fact } from './facts.js';
import type { StreamName } from './streams.js';

/** What a decider answers. Expected outcomes are values; only faults are thrown. */
export type Decision = Accepted | Refused;

export interface Accepted {
  readonly kind: 'accepted';
  readonly facts: readonly DecidedFact[];
  /** A sentence for the answer when something needs an explanation, such as why there was nothing to do. */
  readonly note?: string | undefined;
}

export interface Refused {
  readonly kind: 'refused';
  readonly refusal: Refusal;
}

export interface DecidedFact {
  readonly stream: StreamName;
  readonly fact: Fact;
  /** ISO 8601 in UTC with milliseconds; null: the moment of recording. */
  readonly occurredAt: string | null;
}

/** The locked world a decision is made in. Everything that is not in the command comes from here, so deciders stay pure. */
export interface DecisionContext {
  /** The clock of the database, read after the locks; ISO 8601 in UTC with milliseconds. */
  readonly now: string;
  /** The folded state of a locked stream, or of a kit that was looked up; null when nothing has happened on it yet. */
  readonly stateOf: (stream: StreamName) => unknown;
  /** Of a locked stream; 0 when nothing has happened on it yet. */
  readonly versionOf: (stream: StreamName) => string;
  /** Whether anything has happened on a stream that is locked, or named in the command's checks. */
  readonly exists: (stream: StreamName) => boolean;
  /** When a fact appended to this stream now will have been recorded: never before the stream's last one. */
  readonly recordedAt: (stream: StreamName) => string;
  /** Kits that contain any of these SKUs themselves. Only for a command that changes a kit. */
  readonly kitsUsing: (skus: readonly string[]) => readonly string[];
  /** The stock of a SKU wherever it ever had any. Only for a command that changes a kit. */
  readonly stockAnywhere: (sku: string) => readonly StockAt[];
  /** Sum of the stream's movements that occurred after `asOf`. Only for what the command's `asOfReads` named. */
  readonly movedAfter: (stream: StreamName, asOf: string) => MovedAfter;
}

export interface StockAt {
  readonly location: string;
  readonly onHand: number;
  readonly open: number;
}

export interface MovedAfter {
  readonly delta: number;
  readonly openDelta: number;
  /** What of `delta` orders moved, whoever took them. */
  readonly orderDelta: number;
}

export interface AsOfRead {
  readonly stream: StreamName;
  readonly asOf: string;
}

/** How one type of command is decided. The event store asks in this order: streams, lock, stock streams, lock, checks, decide. */
export interface Handler<C> {
  /** Every stream but stock that is locked. The first of all locked streams is the one an expected version speaks of. */
  readonly streams: (command: C) => readonly StreamName[];
  /** SKUs that may be kits: what those are made of is looked up before stock is locked, and once more then. */
  readonly kits?: (command: C) => readonly string[];
  /** The kit that is to change: which kits contain it is looked up, and its own stock locked. */
  readonly kitChanged?: (command: C) => string;
  /** Stock streams that are locked; they may depend on the state of the streams locked before. */
  readonly stockStreams?: (command: C, stateOf: (stream: StreamName) => unknown) => readonly StreamName[];
  /** Streams that only have to exist: read without a lock, because items, locations and carts never vanish. */
  readonly checks?: (
    command: C,
    exists: (stream: StreamName) => boolean,
    stateOf: (stream: StreamName) => unknown,
  ) => readonly StreamName[];
  readonly asOfReads?: (command: C, stateOf: (stream: StreamName) => unknown) => readonly AsOfRead[];
  readonly decide: (command: C, context: DecisionContext) => Decision;
}

export const accept = (facts: readonly DecidedFact[], note?: string): Accepted =>
  note === undefined ? { kind: 'accepted', facts } : { kind: 'accepted', facts, note };

export const refuse = (code: RefusalCode, detail: string, field?: string): Refused => ({
  kind: 'refused',
  refusal: field === undefined ? { code, detail } : { code, detail, field },
});

/** More is a slip of the finger or of a file's column, not stock. */
export const quantityMax = 1_000_000_000;
/** Rows of one command; more is sent in chunks, so that no transaction holds the readers' horizon for long. */
export const rowsMax = 1_000;
/** Clocks of tills and carts differ from ours by this much at most. */
const futureToleranceMs = 5 * 60_000;

export function refuseQuantity(quantity: number, min: number, field: string): Refused | undefined {
  if (Number.isInteger(quantity) && quantity >= min && quantity <= quantityMax) return undefined;
  return refuse(
    'quantity-out-of-range',
    `${field} must be a whole number from ${min} to ${quantityMax}, not ${quantity}.`,
    field,
  );
}

export function refuseRowCount(count: number, field: string): Refused | undefined {
  if (count <= rowsMax) return undefined;
  return refuse('quantity-out-of-range', `${field} has ${count} rows; send at most ${rowsMax} in one command.`, field);
}

/** Refuses a moment that cannot be business time: unreadable, before 1970, or later than clocks may differ. */
export function refuseTime(time: string | undefined, now: string, field: string): Refused | undefined {
  if (time === undefined) return undefined;
  const ms = Date.parse(time);
  if (Number.isNaN(ms) || ms < 0) {
    return refuse('quantity-out-of-range', `${field} must be a time since 1970 in ISO 8601, not ${time}.`, field);
  }
  if (ms > Date.parse(now) + futureToleranceMs) {
    return refuse(
      'time-in-future',
      `${field} ${time} is more than five minutes after our clock (${now}); check the sender's clock and time zone.`,
      field,
    );
  }
  return undefined;
}

/** One spelling for every moment, so that times compare as text. */
export const isoTime = (time: string) => new Date(time).toISOString();
