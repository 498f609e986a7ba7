import { DelayedError, type Job, type Queue, type Worker } from 'bullmq';
import type { Database } from '../database.js';
import type { JobEnd } from './cart-worker.js';
import { connectorFor } from './connectors/index.js';
import type { Dispatched } from './dispatch.js';
import {
  laneJobData,
  laneJobId,
  laneJobName,
  laneJobOptions,
  laneQueueName,
  laneWorkerTimes,
  type LaneJobData,
} from './lane-job.js';
import type { QueueBackend } from './queue-backend.js';

/** Works on one job of one cart; see cart-worker.ts. */
export type LaneProcessor = (cartId: string, job: LaneJobData, signal: AbortSignal) => Promise<JobEnd>;

/** Longer than any pause of ours between two tries of one take. */
const delayMsMax = 60_000;

interface Lane {
  readonly queue: Queue;
  readonly worker: Worker;
  readonly abort: AbortController;
}

/** Thrown to BullMQ so that it tries the job again; carries how long it is to wait. */
class ResendError extends Error {
  override readonly name = 'ResendError';
  constructor(readonly inMs: number) {
    super('No believable answer; the same request goes again');
  }
}

/**
 * The lanes that are open in this process: a BullMQ queue and a worker per cart. Carts come and go at run time, so these
 * are plain queues and workers; whether a lane may send is decided when a delivery is dispatched and claimed.
 */
export class Lanes {
  private readonly open = new Map<string, Lane>();
  private readonly refused = new Set<string>();
  private forgotTheDead = false;
  private readonly listeners = new Set<() => void>();

  constructor(
    private readonly dependencies: {
      readonly database: Database;
      readonly backend: QueueBackend;
      readonly process: LaneProcessor;
      /** Of this process, as its presence says it. */
      readonly workerName: string;
      readonly log: { info(text: string): void; warn(text: string): void; error(text: string): void };
    },
  ) {}

  cartIds(): string[] {
    return [...this.open.keys()];
  }

  queues(): Queue[] {
    return [...this.open.values()].map((lane) => lane.queue);
  }

  onChanged(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Opens a lane for every cart that has none yet. On PostgreSQL there is a limit, and one lane too many is refused. */
  async keepInStep(): Promise<void> {
    await this.forgetTheDead();
    const carts = await this.dependencies.database.pool.query<{ cart_id: string; type: string; noted: boolean }>(
      `SELECT c.cart_id, c.settings->>'type' AS type, w.worker IS NOT NULL AS noted
         FROM carts c LEFT JOIN lane_workers w ON w.cart_id = c.cart_id AND w.worker = $1
        ORDER BY c.settings_version, c.cart_id`,
      [this.dependencies.workerName],
    );
    let changed = false;
    for (const { cart_id: cartId, type, noted } of carts.rows) {
      const isOpen = this.open.has(cartId);
      if (!isOpen && this.open.size >= this.dependencies.backend.lanesMax) {
        if (!noted) await this.refuse(cartId);
        continue;
      }
      if (!isOpen) {
        this.open.set(cartId, await this.openLane(cartId, type));
        changed = true;
      }
      if (!isOpen || !noted) await this.note(cartId, null);
    }
    if (changed) for (const listener of this.listeners) listener();
  }

  /** Puts deliveries into their lane. A job that cannot be added now is found missing by the sweeper. */
  async add(cartId: string, deliveries: readonly Dispatched[]): Promise<void> {
    const lane = this.open.get(cartId);
    if (lane === undefined || deliveries.length === 0) return;
    await lane.queue.addBulk(
      deliveries.map(({ deliveryId, take, delayMs }) => ({
        name: laneJobName,
        data: { deliveryId, take },
        opts: laneJobOptions({ deliveryId, take }, delayMs),
      })),
    );
  }

  /**
   * Whether the job of a take will still be handed to a worker. An active one is no sign of life: the caller has seen that
   * no attempt of it is open, so its worker died, and waiting for its lock to run out would only hold the lane up. Nor is
   * one that was put off for longer than we ever do: a person may have done that on Bull Board.
   * A sleeping one is woken, because its delivery is due: queues wake by the clock of a process, which may have been set
   * back since. One that comes too early costs a look, and sleeps again.
   */
  async isAlive(cartId: string, job: LaneJobData): Promise<boolean> {
    const found = await this.open.get(cartId)?.queue.getJob(laneJobId(job));
    if (found === undefined || found === null) return false;
    const state = await found.getState();
    if (state === 'delayed' && found.delay > delayMsMax) return false;
    // Whoever moved it in between has woken it.
    if (state === 'delayed') await found.promote().catch(() => undefined);
    return state !== 'completed' && state !== 'failed' && state !== 'active' && state !== 'unknown';
  }

  /** Stops taking jobs, lets those under way finish (or aborts their calls after `graceMs`), closes everything. */
  async close(graceMs: number): Promise<void> {
    const timer = setTimeout(() => {
      for (const lane of this.open.values()) lane.abort.abort(new Error('Shutting down'));
    }, graceMs);
    await Promise.allSettled([...this.open.values()].map((lane) => lane.worker.close()));
    clearTimeout(timer);
    await Promise.allSettled([...this.open.values()].map((lane) => lane.queue.close()));
    this.open.clear();
  }

  private async refuse(cartId: string): Promise<void> {
    const taken = this.open.size === 1 ? '1 lane is' : `${this.open.size} lanes are`;
    const why =
      `${taken} open, and each holds a connection to PostgreSQL. Set REDIS_URL to run lanes on Redis, which has no such ` +
      'limit, or raise ONHAND_LANES_MAX together with max_connections';
    await this.note(cartId, `No lane is left for this cart: ${why}`);
    if (this.refused.has(cartId)) return;
    this.refused.add(cartId);
    this.dependencies.log.error(`Cart ${cartId} gets no lane in this process: ${why}.`);
  }

  /** Tells every process whether this one serves the cart; lane-control.ts shows it. */
  private async note(cartId: string, refusal: string | null): Promise<void> {
    const { database, workerName } = this.dependencies;
    await database.pool.query(
      `INSERT INTO lane_workers (cart_id, worker, refusal) VALUES ($1, $2, $3)
       ON CONFLICT (cart_id, worker) DO UPDATE SET refusal = excluded.refusal`,
      [cartId, workerName, refusal],
    );
  }

  /**
   * What a killed worker noted is not believed anyway; once per start, so that its rows do not pile up. A living one whose
   * presence was just lost notes it again.
   */
  private async forgetTheDead(): Promise<void> {
    if (this.forgotTheDead) return;
    this.forgotTheDead = true;
    await this.dependencies.database.pool.query(
      'DELETE FROM lane_workers WHERE worker NOT IN (SELECT application_name FROM pg_stat_activity WHERE application_name IS NOT NULL)',
    );
  }

  private async openLane(cartId: string, type: string): Promise<Lane> {
    const { backend, database, log } = this.dependencies;
    const concurrency = connectorFor(type).capabilities.parallelCallsMax;
    await database.pool.query(
      `INSERT INTO lanes (cart_id, job_window) VALUES ($1, $2) ON CONFLICT (cart_id) DO UPDATE SET job_window = excluded.job_window`,
      [cartId, Math.max(2, concurrency * 2)],
    );
    const abort = new AbortController();
    const queue = backend.createQueue(laneQueueName(cartId));
    const worker = backend.createWorker(
      laneQueueName(cartId),
      (job: Job<unknown, unknown>, token?: string) => this.run(cartId, job, token, abort.signal),
      {
        ...laneWorkerTimes,
        concurrency,
        settings: { backoffStrategy: (_made, _type, error) => (error instanceof ResendError ? error.inMs : 1_000) },
      },
    );
    // Both reconnect by themselves; without a listener an error of theirs would end the process.
    queue.on('error', (error) => log.warn(`Lane ${cartId}: ${error.message}`));
    worker.on('error', (error) => log.warn(`Lane ${cartId}: ${error.message}`));
    await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
    return { queue, worker, abort };
  }

  private async run(
    cartId: string,
    job: Job<unknown, unknown>,
    token: string | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const end = await this.dependencies.process(cartId, laneJobData.parse(job.data), signal);
    switch (end.kind) {
      case 'done':
        return 'done';
      case 'busy':
        // Uncounted: somebody else has the cart, or its try may still be under way.
        await job.moveToDelayed(Date.now() + end.inMs, token);
        throw new DelayedError();
      case 'resend':
        throw new ResendError(end.inMs);
      default:
        return end satisfies never;
    }
  }
}
