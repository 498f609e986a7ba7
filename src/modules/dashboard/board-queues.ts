import { InjectQueue } from '@nestjs/bullmq';
import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import { Queue } from 'bullmq';
import { asc } from 'drizzle-orm';
import { laneQueueName } from '../../cart-workers/lane-job.js';
import type { QueueBackend } from '../../cart-workers/queue-backend.js';
import type { Database } from '../../database.js';
import { carts } from '../../projections/projections.table.js';
import { Wakeups } from '../../wakeups.js';
import { RESETS } from '../daily-reset/reset-jobs.js';
import { IMPORTS } from '../imports/import-jobs.js';
import { PROJECTIONS } from '../projections/projection-jobs.js';
import { CLEAN_UP, COMPARISONS, ORDER_POLLS, PROBES } from '../jobs/queue-names.js';
import { DATABASE, QUEUE_BACKEND } from '../tokens.js';

/**
 * What Bull Board shows: the fixed queues, and one queue per cart as carts come. It has queues of its own, because the
 * lanes may live in other processes; a queue that only looks holds no worker and no lock.
 */
@Injectable()
export class BoardQueues implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly adapter = new FastifyAdapter();
  private readonly board: ReturnType<typeof createBullBoard>;
  private readonly logger = new Logger('Dashboard');
  private readonly laneQueues = new Map<string, Queue>();
  private unsubscribe: (() => void) | undefined;
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;

  constructor(
    @InjectQueue(ORDER_POLLS) orderPolls: Queue,
    @InjectQueue(COMPARISONS) comparisons: Queue,
    @InjectQueue(PROBES) probes: Queue,
    @InjectQueue(CLEAN_UP) cleanUp: Queue,
    @InjectQueue(IMPORTS) imports: Queue,
    @InjectQueue(RESETS) resets: Queue,
    @InjectQueue(PROJECTIONS) projections: Queue,
    @Inject(DATABASE) private readonly database: Database,
    @Inject(QUEUE_BACKEND) private readonly backend: QueueBackend,
    private readonly wakeups: Wakeups,
  ) {
    this.adapter.setBasePath(BOARD_PATH);
    this.board = createBullBoard({
      queues: [orderPolls, comparisons, probes, imports, resets, projections, cleanUp].map(
        (queue) => new BullMQAdapter(queue),
      ),
      serverAdapter: this.adapter,
      options: { uiConfig: { boardTitle: 'Onhand' } },
    });
  }

  onApplicationBootstrap(): void {
    this.unsubscribe = this.wakeups.on('lanes', () => this.wake());
    this.timer = setInterval(() => this.wake(), EVERY_MS);
    this.wake();
  }

  async onApplicationShutdown(): Promise<void> {
    this.unsubscribe?.();
    clearInterval(this.timer);
    await this.running;
    await Promise.all([...this.laneQueues.values()].map((queue) => queue.close()));
  }

  private wake(): void {
    this.running ??= this.addNewLanes()
      .catch((error: unknown) => this.logger.warn(`New lanes are not shown yet: ${String(error)}`))
      .finally(() => (this.running = undefined));
  }

  /** Carts never vanish, so queues are only added. */
  private async addNewLanes(): Promise<void> {
    const rows = await this.database.orm.select({ cartId: carts.cartId }).from(carts).orderBy(asc(carts.cartId));
    for (const { cartId } of rows) {
      if (this.laneQueues.has(cartId)) continue;
      const queue = this.backend.createQueue(laneQueueName(cartId));
      this.laneQueues.set(cartId, queue);
      this.board.addQueue(new BullMQAdapter(queue, { description: `Lane of ${cartId}` }));
    }
  }
}

export const BOARD_PATH = '/queues';
/** The safety net under lost wake-ups. */
const EVERY_MS = 15_000;
