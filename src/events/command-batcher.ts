/**
 * Groups commands that arrive at the same time into one transaction, because what limits a writer is commits and round
 * trips, not rows. Nobody waits for company: an idle batcher begins at once, and what arrives while a batch is running
 * makes up the next one. A second batch goes out beside it only when it is large enough to pay for itself, since two of
 * eight cost a fifth more work than one of sixteen.
 */
import type { CommandEnvelope, CommandOutcome } from './commands.js';
import type { EventStore } from './event-store.js';
import { streamsOf } from './command-table.js';

export interface CommandBatcherOptions {
  /** Commands of one batch. */
  readonly batchMax?: number;
  /** Batches in flight; each one holds a connection. */
  readonly flights?: number;
  /** Commands that wait; more are turned away, so that a stalled database does not fill the memory. */
  readonly queueMax?: number;
}

/** Too many commands are waiting. Nothing was decided: the same command may be sent again. */
export class QueueFullError extends Error {
  override readonly name = 'QueueFullError';
  constructor(readonly queueMax: number) {
    super(`${queueMax} commands are waiting to be written already; try again in a moment`);
  }
}

/** Rows of one batch, so that a few large commands do not become one long transaction. */
const batchRowsMax = 2_000;

/** Commands that are worth a batch beside one that is running. */
const batchBesideMin = 8;

interface Waiting {
  /** Commands on one stream go one after the other, instead of waiting for each other's locks on two connections. */
  readonly stream: string;
  readonly envelope: CommandEnvelope;
  readonly resolve: (outcome: CommandOutcome) => void;
  readonly reject: (error: unknown) => void;
}

export class CommandBatcher {
  readonly #store: Pick<EventStore, 'appendSettled'>;
  readonly #batchMax: number;
  readonly #flights: number;
  readonly #queueMax: number;
  readonly #batches = new Set<Promise<void>>();
  /** What may go, in the order of its arrival. */
  #waiting: Waiting[] = [];
  /** The streams that are under way, and what waits for each of them. */
  readonly #held = new Map<string, Waiting[]>();
  #running = 0;
  /** Waiting, held and running. */
  #queued = 0;
  #starting = false;

  constructor(store: Pick<EventStore, 'appendSettled'>, options: CommandBatcherOptions = {}) {
    this.#store = store;
    this.#batchMax = options.batchMax ?? 128;
    this.#queueMax = options.queueMax ?? 10_000;
    this.#flights = options.flights ?? 2;
  }

  /**
   * Decides and appends one command, together with whatever else is waiting.
   * @throws QueueFullError when too many wait; otherwise what the database threw for this command by itself
   */
  submit(envelope: CommandEnvelope): Promise<CommandOutcome> {
    if (this.#queued >= this.#queueMax) return Promise.reject(new QueueFullError(this.#queueMax));
    const stream = streamsOf(envelope.command)[0] ?? '';
    return new Promise((resolve, reject) => {
      this.#queued += 1;
      (this.#held.get(stream) ?? this.#waiting).push({ stream, envelope, resolve, reject });
      this.#startSoon();
    });
  }

  /** Waits until everything submitted so far has been answered; for a graceful end. */
  async idle(): Promise<void> {
    while (this.#queued > 0) {
      if (this.#batches.size === 0) await new Promise(setImmediate);
      await Promise.all(this.#batches);
    }
  }

  /** At the end of this turn of the event loop, so that what comes in with the same turn goes together. */
  #startSoon(): void {
    if (this.#starting) return;
    this.#starting = true;
    setImmediate(() => {
      this.#starting = false;
      this.#start();
    });
  }

  /** Starts what is worth starting; asked whenever something came in or a batch ended. */
  #start(): void {
    while (this.#running < this.#flights && this.#waiting.length >= (this.#running === 0 ? 1 : batchBesideMin)) {
      const worth = Math.max(1, Math.floor(this.#waiting.length / batchBesideMin));
      const share = Math.ceil(this.#waiting.length / Math.min(worth, this.#flights - this.#running));
      this.#run(this.#take(Math.min(share, this.#batchMax)));
    }
  }

  #run(batch: readonly Waiting[]): void {
    this.#running += 1;
    const appending = this.#append(batch);
    this.#batches.add(appending);
    void appending.finally(() => this.#batches.delete(appending));
  }

  async #append(batch: readonly Waiting[]): Promise<void> {
    const results = await this.#store.appendSettled(batch.map(({ envelope }) => envelope));
    this.#queued -= batch.length;
    for (const [i, { resolve, reject }] of batch.entries()) {
      const result = results[i];
      if (result?.status === 'fulfilled') resolve(result.value);
      else reject(result?.reason ?? new Error('The event store gave no outcome'));
    }
    this.#running -= 1;
    this.#release(batch);
    // Not at once: who has just been answered may have more, and half a batch costs nearly as much as a whole one.
    this.#startSoon();
  }

  /**
   * The first of the waiting, in the order of their arrival. What else there is on their streams goes with them, as far as
   * it fits, or is held until they are done.
   */
  #take(share: number): Waiting[] {
    const batch: Waiting[] = [];
    const rest: Waiting[] = [];
    let rows = 0;
    for (const waiting of this.#waiting) {
      const held = this.#held.get(waiting.stream);
      const hasPlace = batch.length < (held === undefined ? share : this.#batchMax);
      // Counted even if it is too much: then nothing behind it has room, and so none overtakes it.
      if (hasPlace) rows += rowsOf(waiting.envelope);
      if (hasPlace && (batch.length === 0 || rows <= batchRowsMax)) {
        batch.push(waiting);
        if (held === undefined) this.#held.set(waiting.stream, []);
      } else {
        (held ?? rest).push(waiting);
      }
    }
    this.#waiting = rest;
    return batch;
  }

  /** What waited for these goes first: most of it came before the rest. */
  #release(batch: readonly Waiting[]): void {
    const released: Waiting[] = [];
    for (const { stream } of batch) {
      released.push(...(this.#held.get(stream) ?? []));
      this.#held.delete(stream);
    }
    if (released.length > 0) this.#waiting = [...released, ...this.#waiting];
  }
}

function rowsOf({ command }: CommandEnvelope): number {
  const lines = 'lines' in command ? (command.lines?.length ?? 0) : 0;
  const rows = 'rows' in command ? command.rows.length : 0;
  const resets = 'resets' in command ? (command.resets?.length ?? 0) : 0;
  return 1 + lines * 2 + resets + Math.ceil(rows / 10);
}
