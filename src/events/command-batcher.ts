/**
 * Groups commands that arrive at the same time into one transaction, because what limits a writer is commits and round
 * trips, not rows. Nobody waits for company: an idle batcher begins at once, and what arrives while a batch is running
 * makes up the next one.
 */
import type { CommandEnvelope, CommandOutcome } from './commands.js';
import type { EventStore } from './event-store.js';
import { streamsOf } from './command-table.js';

export interface CommandBatcherOptions {
  /** Commands of one batch. */
  readonly batchMax?: number;
  /** Batches in flight; each one holds a connection. A stream always goes to the same one, so they do not wait for each other. */
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

interface Waiting {
  readonly envelope: CommandEnvelope;
  readonly resolve: (outcome: CommandOutcome) => void;
  readonly reject: (error: unknown) => void;
}

interface Flight {
  waiting: Waiting[];
  running: Promise<void> | null;
}

export class CommandBatcher {
  readonly #store: Pick<EventStore, 'appendSettled'>;
  readonly #batchMax: number;
  readonly #queueMax: number;
  readonly #flights: readonly Flight[];
  #queued = 0;

  constructor(store: Pick<EventStore, 'appendSettled'>, options: CommandBatcherOptions = {}) {
    this.#store = store;
    this.#batchMax = options.batchMax ?? 64;
    this.#queueMax = options.queueMax ?? 10_000;
    this.#flights = Array.from({ length: options.flights ?? 2 }, () => ({ waiting: [], running: null }));
  }

  /**
   * Decides and appends one command, together with whatever else is waiting.
   * @throws QueueFullError when too many wait; otherwise what the database threw for this command by itself
   */
  submit(envelope: CommandEnvelope): Promise<CommandOutcome> {
    if (this.#queued >= this.#queueMax) return Promise.reject(new QueueFullError(this.#queueMax));
    const flight = this.#flightOf(envelope);
    return new Promise((resolve, reject) => {
      this.#queued += 1;
      flight.waiting.push({ envelope, resolve, reject });
      flight.running ??= this.#run(flight);
    });
  }

  /** Waits until everything submitted so far has been answered; for a graceful end. */
  async idle(): Promise<void> {
    for (const flight of this.#flights) await flight.running;
  }

  async #run(flight: Flight): Promise<void> {
    // One turn of the event loop, so that what was submitted in the same turn goes together.
    await Promise.resolve();
    while (flight.waiting.length > 0) {
      const batch = this.#nextBatch(flight);
      const results = await this.#store.appendSettled(batch.map(({ envelope }) => envelope));
      this.#queued -= batch.length;
      for (const [i, { resolve, reject }] of batch.entries()) {
        const result = results[i];
        if (result?.status === 'fulfilled') resolve(result.value);
        else reject(result?.reason ?? new Error('The event store gave no outcome'));
      }
    }
    flight.running = null;
  }

  #nextBatch(flight: Flight): Waiting[] {
    let rows = 0;
    let size = 0;
    for (const { envelope } of flight.waiting.slice(0, this.#batchMax)) {
      rows += rowsOf(envelope);
      if (size > 0 && rows > batchRowsMax) break;
      size += 1;
    }
    return flight.waiting.splice(0, size);
  }

  /** Commands on one stream share a flight, and so a batch, instead of waiting for each other's locks on two connections. */
  #flightOf({ command }: CommandEnvelope): Flight {
    const stream = streamsOf(command)[0] ?? '';
    let hash = 0;
    for (let i = 0; i < stream.length; i++) hash = (Math.imul(hash, 31) + stream.charCodeAt(i)) | 0;
    const flight = this.#flights[Math.abs(hash) % this.#flights.length];
    if (flight === undefined) throw new Error('A batcher has at least one flight');
    return flight;
  }
}

function rowsOf({ command }: CommandEnvelope): number {
  const lines = 'lines' in command ? (command.lines?.length ?? 0) : 0;
  const rows = 'rows' in command ? command.rows.length : 0;
  const resets = 'resets' in command ? (command.resets?.length ?? 0) : 0;
  return 1 + lines * 2 + resets + Math.ceil(rows / 10);
}
