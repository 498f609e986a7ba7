/** One batch on its locked streams: commands are decided in the order of their arrival, each on what the ones before it left. */
import { evolveStream, handlerOf, streamsOf } from './command-table.js';
import type { AppendedFact, CommandAnswer, CommandEnvelope } from './commands.js';
import { isoTime, refuse } from './decision.js';
import type { AsOfRead, DecidedFact, DecisionContext, MovedAfter } from './decision.js';
import { isMovement, isOrderMovement } from './facts.js';
import type { Fact } from './facts.js';
import type { LockedHead } from './lock-heads.js';
import type { StockState } from './stock-item.js';
import type { StreamName } from './streams.js';
import type { NewEvent, NewHead } from './write-batch.js';

interface WorkingHead {
  version: bigint;
  state: unknown;
  recordedAt: string | null;
  changed: boolean;
}

/** A decider asked for a stream that was not locked, which can happen when commands of one batch build on each other. */
export class StreamNotLockedError extends Error {
  override readonly name = 'StreamNotLockedError';
  constructor(stream: string) {
    super(`The stream ${stream} was not locked for this batch`);
  }
}

export class BatchDecision {
  readonly #heads = new Map<string, WorkingHead>();
  readonly #existing = new Set<string>();
  readonly #movedAfter = new Map<string, MovedAfter>();
  readonly #events: NewEvent[] = [];
  /** Never before any of the locks was granted. */
  #now = new Date(0).toISOString();

  lock(heads: readonly LockedHead[], now: Date): void {
    for (const { stream, version, state, recordedAt } of heads) {
      this.#heads.set(stream, { version, state, recordedAt: recordedAt?.toISOString() ?? null, changed: false });
    }
    this.#now = later(this.#now, now.toISOString());
  }

  /** The locked streams on which something has happened, now or before. */
  begun(): string[] {
    return [...this.#heads].filter(([, { version }]) => version > 0n).map(([stream]) => stream);
  }

  /** The locked streams on which still nothing has happened: what was asked of them was refused, or came to nothing. */
  stillEmpty(): string[] {
    return [...this.#heads].filter(([, { version }]) => version === 0n).map(([stream]) => stream);
  }

  addExisting(streams: readonly string[]): void {
    for (const stream of streams) this.#existing.add(stream);
  }

  addMovedAfter(reads: readonly AsOfRead[], sums: readonly MovedAfter[]): void {
    for (const [i, sum] of sums.entries()) {
      const read = reads[i];
      if (read) this.#movedAfter.set(asOfKey(read.stream, read.asOf), sum);
    }
  }

  readonly stateOf = (stream: StreamName): unknown => {
    const head = this.#head(stream);
    return head.version === 0n ? null : head.state;
  };

  readonly exists = (stream: StreamName): boolean => {
    const head = this.#heads.get(stream);
    return head === undefined ? this.#existing.has(stream) : head.version > 0n;
  };

  /** Decides one command and keeps what follows from it; a refused one changes nothing. */
  decide(envelope: CommandEnvelope, causationId: string): CommandAnswer {
    const { command, expectedVersion } = envelope;
    const stream = streamsOf(command, this.stateOf)[0];
    if (expectedVersion !== undefined && stream !== undefined) {
      const { version } = this.#head(stream);
      if (String(version) !== expectedVersion) {
        const detail = `${stream} is at version ${version}, not ${expectedVersion}; read it again and decide anew.`;
        return refuse('version-conflict', detail, 'expectedVersion');
      }
    }
    const decision = handlerOf(command).decide(command, this.#context());
    if (decision.kind === 'refused') return decision;
    const facts = decision.facts.map((decided) => this.#append(decided, causationId));
    return decision.note === undefined ? { kind: 'accepted', facts } : { kind: 'accepted', facts, note: decision.note };
  }

  /** What there is to write: the heads that moved and the events, in the order of their decision. */
  written(): { readonly heads: readonly NewHead[]; readonly events: readonly NewEvent[] } {
    const heads = [...this.#heads]
      .filter(([, head]) => head.changed)
      .map(([stream, { version, state, recordedAt }]) => ({
        stream,
        version,
        state,
        recordedAt: recordedAt ?? this.#now,
      }));
    return { heads, events: this.#events };
  }

  #context(): DecisionContext {
    return {
      now: this.#now,
      stateOf: this.stateOf,
      versionOf: (stream) => String(this.#head(stream).version),
      exists: this.exists,
      recordedAt: (stream) => this.#recordedAt(stream),
      movedAfter: (stream, asOf) => this.#sumAfter(stream, asOf),
    };
  }

  #head(stream: string): WorkingHead {
    const head = this.#heads.get(stream);
    if (head === undefined) throw new StreamNotLockedError(stream);
    return head;
  }

  /** A clock that was set back must not make a stream's history run backwards. */
  #recordedAt(stream: string): string {
    return later(this.#now, this.#head(stream).recordedAt ?? this.#now);
  }

  /** What was in the log when the batch began, and what the batch itself has moved since. */
  #sumAfter(stream: string, asOf: string): MovedAfter {
    const stored = this.#movedAfter.get(asOfKey(stream, asOf));
    if (stored === undefined) throw new StreamNotLockedError(`${stream} as of ${asOf}`);
    let { delta, openDelta, orderDelta } = stored;
    for (const event of this.#events) {
      if (event.stream !== stream || event.occurredAt <= asOf || !isMovement(event.fact)) continue;
      delta += event.fact.data.delta;
      openDelta += event.fact.data.openDelta;
      if (isOrderMovement(event.fact)) orderDelta += event.fact.data.delta;
    }
    return { delta, openDelta, orderDelta };
  }

  #append({ stream, fact, occurredAt }: DecidedFact, causationId: string): AppendedFact {
    const head = this.#head(stream);
    const recordedAt = this.#recordedAt(stream);
    const version = head.version + 1n;
    head.state = evolveStream(stream, head.version === 0n ? null : head.state, fact, String(version));
    head.version = version;
    head.recordedAt = recordedAt;
    head.changed = true;
    const event: NewEvent = {
      stream,
      version,
      fact,
      ...balanceOf(fact, head.state),
      occurredAt: occurredAt === null ? recordedAt : isoTime(occurredAt),
      recordedAt,
      causationId,
    };
    this.#events.push(event);
    return appendedFact(event);
  }
}

function balanceOf(fact: Fact, state: unknown): { balance: number | null; openBalance: number | null } {
  if (!isMovement(fact)) return { balance: null, openBalance: null };
  const { onHand, open } = state as StockState;
  return { balance: onHand, openBalance: open };
}

function appendedFact({ stream, version, fact, balance, occurredAt, recordedAt }: NewEvent): AppendedFact {
  const movement = isMovement(fact) ? fact.data : null;
  return {
    stream,
    version: String(version),
    type: fact.type,
    sku: movement?.sku ?? null,
    location: movement?.location ?? null,
    delta: movement?.delta ?? null,
    balance,
    occurredAt,
    recordedAt,
  };
}

const later = (a: string, b: string) => (a > b ? a : b);
const asOfKey = (stream: string, asOf: string) => `${asOf} ${stream}`;
