import { Processor, WorkerHost } from '@nestjs/bullmq';
import {
  Inject,
  Injectable,
  Logger,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import type { Job } from 'bullmq';
import { QohRunWork } from '../../cart-workers/qoh-runs/qoh-run-work.js';
import { findRun, giveUp } from '../../cart-workers/qoh-runs/run-states.js';
import { WorkerRuntime } from '../../cart-workers/worker-runtime.js';
import type { Database } from '../../database.js';
import { DATABASE } from '../tokens.js';
import { comparisonData, qohRunData } from './comparisons.js';
import { QohRuns } from './qoh-runs.js';
import { COMPARISONS } from './queue-names.js';

/**
 * Looks at whole carts, and Send and Get QOH. A job that was cut off by a crash is stalled and taken over: a look begins
 * anew, since it changes nothing, and a run goes on where its listings say that it was.
 */
@Processor(COMPARISONS, { concurrency: 4, lockDuration: 10_000, stalledInterval: 5_000, maxStalledCount: 1_000 })
export class ComparisonsProcessor extends WorkerHost implements BeforeApplicationShutdown {
  private stopping = false;

  constructor(
    private readonly runs: QohRunWork,
    private readonly workers: WorkerRuntime,
    @Inject(DATABASE) private readonly database: Database,
  ) {
    super();
  }

  /** The worker waits for its jobs; so runs end between two groups, and whoever starts next goes on. */
  beforeApplicationShutdown(): void {
    this.stopping = true;
  }

  async process(job: Job): Promise<unknown> {
    const run = qohRunData.safeParse(job.data);
    return run.success ? this.runOn(job, run.data.runId) : this.look(job);
  }

  private async runOn(job: Job, runId: string): Promise<unknown> {
    const before = await findRun(this.database, runId);
    try {
      return { state: await this.runs.run(runId, () => this.stopping) };
    } catch (error) {
      const now = await findRun(this.database, runId);
      // It came further before it stumbled: taken up again, with all its tries.
      if ((now?.equal ?? 0) > (before?.equal ?? 0)) return { state: 'running' };
      if (job.attemptsMade + 1 >= (job.opts.attempts ?? 1)) await giveUp(this.database, runId);
      throw error;
    }
  }

  private async look(job: Job): Promise<unknown> {
    const { cartId } = comparisonData.parse(job.data);
    let told = 0;
    const onProgress = (done: number, total: number | null) => {
      if (done !== total && Date.now() - told < PROGRESS_EVERY_MS) return;
      told = Date.now();
      // Progress is for people who watch; losing one message of it must not fail the comparison.
      job.updateProgress({ done, total }).catch(() => undefined);
    };
    const report = await this.workers.compare(cartId, { onProgress });
    if (report === null)
      throw new Error(
        'A comparison of this cart is under way already; its result is the newest of GET /v1/carts/{id}/agreement',
      );
    return report;
  }
}

const PROGRESS_EVERY_MS = 250;
const RESUME_EVERY_MS = 2_000;
const KEPT_DAYS = 90;

/** Puts runs that nobody works on back into the queue, and those whose push was decided; a job that is there is not added. */
@Injectable()
export class QohRunsTakenUp implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger('Send and Get QOH');
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<unknown> | undefined;

  constructor(
    private readonly runs: QohRuns,
    @Inject(DATABASE) private readonly database: Database,
  ) {}

  onApplicationBootstrap(): void {
    this.look();
    this.timer = setInterval(() => this.look(), RESUME_EVERY_MS);
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.running;
  }

  private look(): void {
    this.running ??= this.takeUp()
      .catch((error: unknown) => this.logger.warn(`Runs were not looked for, and will be: ${String(error)}`))
      .finally(() => (this.running = undefined));
  }

  private async takeUp(): Promise<void> {
    const { rows } = await this.database.pool.query<{ id: string }>(
      `SELECT r.id FROM qoh_runs r
        WHERE r.state = 'running'
           OR r.state = 'held' AND EXISTS (SELECT FROM pushes p WHERE p.push = 'qoh-run:' || r.id || '/' || r.looks AND p.cart_id = r.cart_id
                                              AND p.state IN ('let-through', 'rejected'))
        ORDER BY r.created_at LIMIT 100`,
    );
    for (const { id } of rows) await this.runs.work(id);
    // There are few of them ever, so they go in one statement.
    await this.database.pool.query(
      `WITH gone AS (DELETE FROM qoh_runs WHERE ended_at < now() - $1 * interval '1 day' RETURNING id)
       DELETE FROM qoh_run_rows d USING gone WHERE d.run_id = gone.id`,
      [KEPT_DAYS],
    );
  }
}
