/** One batch on its locked streams: commands are decided in the order of their arrival, each on what the ones before it left. */
import { evolveStream, handlerOf, streamsOf } from './command-table.js';
import type { AppendedFact, CommandAnswer, CommandEnvelope } from './commands.js';
import { isoTime, refuse } from './decision.js';
import type { AsOfRead, DecidedFact, DecisionContext, MovedAfter, StockAt } from './decision.js';
import { isMovement, isOrderMovement } from './facts.js';
import type { KitState } from './kit.js';
import type { Fact, MovementFact } from './facts.js';
import type { LockedHead } from './lock-heads.js';
import type { StockState } from './stock-item.js';
import { isStockStream, type StreamName } from './streams.js';
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
  /** Looked up and not locked, each with its version. */
  readonly #kits = new Map<string, { readonly version: bigint; readonly state: unknown }>();
  readonly #movedAfter = new Map<string, MovedAfter>();
  readonly #events: NewEvent[] = [];
  /** What the batch itself has moved, by stream: a thousand counts must not each look through a thousand facts. */
  readonly #moved = new Map<string, (NewEvent & { readonly fact: MovementFact })[]>();
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

  addKits(kits: readonly Pick<LockedHead, 'stream' | 'version' | 'state'>[]): void {
    for (const { stream, version, state } of kits) this.#kits.set(stream, { version, state });
  }

  /** Whether what was looked up before stock was locked still stands. */
  kitsAreStill(kits: readonly Pick<LockedHead, 'stream' | 'version'>[]): boolean {
    return (
      kits.length === this.#kits.size &&
      kits.every(({ stream, version }) => this.#kits.get(stream)?.version === version)
    );
  }

  isLocked(stream: StreamName): boolean {
    return this.#heads.has(stream);
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
    if (isKit(stream) && !this.#heads.has(stream)) return this.#kits.get(stream)?.state ?? null;
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
      kitsUsing: (skus) => this.#kitsUsing(skus),
      stockAnywhere: (sku) => this.#stockAnywhere(sku),
      movedAfter: (stream, asOf) => this.#sumAfter(stream, asOf),
    };
  }

  #kitsUsing(skus: readonly string[]): string[] {
    const wanted = new Set(skus);
    const streams = [...new Set([...this.#kits.keys(), ...this.#heads.keys()])].filter(isKit);
    const users = streams.filter((stream) =>
      (this.stateOf(stream as StreamName) as KitState | null)?.components.some(({ sku }) => wanted.has(sku)),
    );
    return users.map((stream) => stream.slice('kit:'.length)).sort();
  }

  #stockAnywhere(sku: string): StockAt[] {
    return [...this.#heads].flatMap(([stream, head]) => {
      const slash = stream.indexOf('/');
      if (head.version === 0n || !isStockStream(stream) || stream.slice(slash + 1) !== sku) return [];
      const { onHand, open } = head.state as StockState;
      return [{ location: stream.slice('stock:'.length, slash), onHand, open }];
    });
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
    for (const event of this.#moved.get(stream) ?? []) {
      if (event.occurredAt <= asOf) continue;
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
    if (isMovement(fact)) {
      const moved = this.#moved.get(stream) ?? [];
      if (moved.length === 0) this.#moved.set(stream, moved);
      moved.push({ ...event, fact });
    }
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

const isKit = (stream: string) => stream.startsWith('kit:');
const later = (a: string, b: string) => (a > b ? a : b);
const asOfKey = (stream: string, asOf: string) => `${asOf} ${stream}`;
