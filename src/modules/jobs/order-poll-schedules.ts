import { InjectQueue } from '@nestjs/bullmq';
import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { Queue } from 'bullmq';
import { eq } from 'drizzle-orm';
import { cartTypes } from '../../cart-workers/connectors/index.js';
import type { Database } from '../../database.js';
import { carts } from '../../projections/projections.table.js';
import { Wakeups } from '../../wakeups.js';
import { DATABASE } from '../tokens.js';
import { ORDER_POLLS } from './queue-names.js';

/**
 * Keeps one job scheduler per cart whose orders are polled, in step with the carts: after each change of a cart, and once
 * in a while in case the queue forgot. Every worker process does this; they all come to the same result.
 */
@Injectable()
export class OrderPollSchedules implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger('OrderPolls');
  private unsubscribe: (() => void) | undefined;
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;
  private again = false;
  private stopped = false;

  constructor(
    @InjectQueue(ORDER_POLLS) private readonly queue: Queue,
    @Inject(DATABASE) private readonly database: Database,
    private readonly wakeups: Wakeups,
  ) {}

  onApplicationBootstrap(): void {
    this.unsubscribe = this.wakeups.on('lanes', () => this.wake());
    this.timer = setInterval(() => this.wake(), EVERY_MS);
    this.wake();
  }

  async onApplicationShutdown(): Promise<void> {
    this.stopped = true;
    this.unsubscribe?.();
    clearInterval(this.timer);
    await this.running;
  }

  /** One at a time; what changes meanwhile is looked at once more afterwards. */
  private wake(): void {
    this.again = true;
    this.running ??= this.keepInStep().finally(() => (this.running = undefined));
  }

  private async keepInStep(): Promise<void> {
    while (this.again && !this.stopped) {
      this.again = false;
      await this.step().catch((error: unknown) => {
        if (!this.stopped)
          this.logger.warn(`The order polls could not be brought in step, and will be: ${String(error)}`);
      });
    }
  }

  private async step(): Promise<void> {
    const [wanted, present] = await Promise.all([this.wanted(), this.queue.getJobSchedulers(0, SCHEDULERS_MAX)]);
    const everyOf = new Map(present.map((scheduler) => [scheduler.key, Number(scheduler.every)]));
    for (const { key, every, next } of present) {
      // Due later than one interval from now: the clock was set back, and no order would be asked for until it is there again.
      if (!liesAhead(next, every)) continue;
      await this.queue.removeJobScheduler(key);
      everyOf.delete(key);
    }
    for (const [cartId, every] of wanted) {
      // Setting a scheduler anew begins its interval anew, so one that fits is left alone.
      if (everyOf.get(cartId) === every) continue;
      await this.queue.upsertJobScheduler(
        cartId,
        { every },
        { name: 'poll', data: { cartId }, opts: { removeOnComplete: { count: 100 }, removeOnFail: { count: 500 } } },
      );
    }
    for (const key of everyOf.keys()) if (!wanted.has(key)) await this.queue.removeJobScheduler(key);
  }

  /** Carts that are switched on and whose orders have to be asked for. The system switch stops sending, not selling. */
  private async wanted(): Promise<Map<string, number>> {
    const polled = new Set(
      cartTypes()
        .filter((type) => type.capabilities.orders === 'poll')
        .map((connector) => connector.type),
    );
    const rows = await this.database.orm.select().from(carts).where(eq(carts.on, true));
    return new Map(
      rows.filter((row) => polled.has(row.settings.type)).map((row) => [row.cartId, row.settings.pollIntervalMs]),
    );
  }
}

const liesAhead = (next = 0, every = 0) => next > Date.now() + every + CLOCKS_DIFFER_MS_MAX;

/** Two machines' clocks may differ that much without either of them setting the other's schedules anew. */
const CLOCKS_DIFFER_MS_MAX = 5_000;
const EVERY_MS = 5_000;
const SCHEDULERS_MAX = 100_000;
