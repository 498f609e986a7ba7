/**
 * Groups commands that arrive at the same time into one transaction, because what limits a writer is commits and round
 * trips, not rows. Nobody waits for company: an idle batcher begins at once, and what arrives while a batch is running
 * makes up the next one. A second batch goes out beside it only when it is large enough to pay for itself: two small ones
 * at a time were measured to cost twice the work of one for the same commands.
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
const batchBesideMin = 16;

interface Waiting {
  /** Commands on one stream share a flight, instead of waiting for each other's locks on two connections. */
  readonly flight: number;
  readonly envelope: CommandEnvelope;
  readonly resolve: (outcome: CommandOutcome) => void;
  readonly reject: (error: unknown) => void;
}

export class CommandBatcher {
  readonly #store: Pick<EventStore, 'appendSettled'>;
  readonly #batchMax: number;
  readonly #queueMax: number;
  /** Per flight, whether a batch of it is under way. */
  readonly #running: boolean[];
  readonly #batches = new Set<Promise<void>>();
  #waiting: Waiting[] = [];
  /** Waiting and running. */
  #queued = 0;
  #starting = false;

  constructor(store: Pick<EventStore, 'appendSettled'>, options: CommandBatcherOptions = {}) {
    this.#store = store;
    this.#batchMax = options.batchMax ?? 64;
    this.#queueMax = options.queueMax ?? 10_000;
    this.#running = Array.from({ length: options.flights ?? 2 }, () => false);
  }

  /**
   * Decides and appends one command, together with whatever else is waiting.
   * @throws QueueFullError when too many wait; otherwise what the database threw for this command by itself
   */
  submit(envelope: CommandEnvelope): Promise<CommandOutcome> {
    if (this.#queued >= this.#queueMax) return Promise.reject(new QueueFullError(this.#queueMax));
    const flight = flightOf(envelope, this.#running.length);
    return new Promise((resolve, reject) => {
      this.#queued += 1;
      this.#waiting.push({ flight, envelope, resolve, reject });
      if (this.#starting) return;
      this.#starting = true;
      // At the end of this turn of the event loop, so that what came in with the same turn goes together.
      setImmediate(() => {
        this.#starting = false;
        this.#start();
      });
    });
  }

  /** Waits until everything submitted so far has been answered; for a graceful end. */
  async idle(): Promise<void> {
    while (this.#queued > 0) {
      if (this.#batches.size === 0) await new Promise(setImmediate);
      await Promise.all(this.#batches);
    }
  }

  /** Starts what is worth starting; asked whenever something came in or a flight ended. */
  #start(): void {
    if (this.#waiting.length === 0) return;
    if (this.#waiting.length < 2 * batchBesideMin && !this.#running.includes(true)) {
      this.#run(
        [...this.#running.keys()],
        this.#take(() => true),
      );
      return;
    }
    // In the order of their oldest commands, so that none waits for ever behind a busier one.
    const counts = new Map<number, number>();
    for (const { flight } of this.#waiting) counts.set(flight, (counts.get(flight) ?? 0) + 1);
    for (const [flight, count] of counts) {
      const beside = this.#running.includes(true);
      if (this.#running[flight] === true || count < (beside ? batchBesideMin : 1)) continue;
      this.#run(
        [flight],
        this.#take((waiting) => waiting.flight === flight),
      );
    }
  }

  /** @param flights that wait for the batch, because it holds commands of theirs: so a stream's commands never overtake each other */
  #run(flights: readonly number[], batch: readonly Waiting[]): void {
    for (const flight of flights) this.#running[flight] = true;
    const appending = this.#append(flights, batch);
    this.#batches.add(appending);
    void appending.finally(() => this.#batches.delete(appending));
  }

  async #append(flights: readonly number[], batch: readonly Waiting[]): Promise<void> {
    const results = await this.#store.appendSettled(batch.map(({ envelope }) => envelope));
    this.#queued -= batch.length;
    for (const [i, { resolve, reject }] of batch.entries()) {
      const result = results[i];
      if (result?.status === 'fulfilled') resolve(result.value);
      else reject(result?.reason ?? new Error('The event store gave no outcome'));
    }
    for (const flight of flights) this.#running[flight] = false;
    this.#start();
  }

  /** The first of the waiting that fit into one batch, in the order of their arrival. */
  #take(fits: (waiting: Waiting) => boolean): Waiting[] {
    const batch: Waiting[] = [];
    const rest: Waiting[] = [];
    let rows = 0;
    for (const waiting of this.#waiting) {
      if (!fits(waiting) || batch.length >= this.#batchMax || rows >= batchRowsMax) {
        rest.push(waiting);
        continue;
      }
      const more = rowsOf(waiting.envelope);
      rows += more;
      if (batch.length > 0 && rows > batchRowsMax) rest.push(waiting);
      else batch.push(waiting);
    }
    this.#waiting = rest;
    return batch;
  }
}

function flightOf({ command }: CommandEnvelope, flights: number): number {
  const stream = streamsOf(command)[0] ?? '';
  let hash = 0;
  for (let i = 0; i < stream.length; i++) hash = (Math.imul(hash, 31) + stream.charCodeAt(i)) | 0;
  return Math.abs(hash) % flights;
}

function rowsOf({ command }: CommandEnvelope): number {
  const lines = 'lines' in command ? (command.lines?.length ?? 0) : 0;
  const rows = 'rows' in command ? command.rows.length : 0;
  const resets = 'resets' in command ? (command.resets?.length ?? 0) : 0;
  return 1 + lines * 2 + resets + Math.ceil(rows / 10);
}
