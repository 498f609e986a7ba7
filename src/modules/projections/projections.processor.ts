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
import { Rounds } from '../../cart-workers/rounds.js';
import type { Database } from '../../database.js';
import { DATABASE } from '../tokens.js';
import { PROJECTIONS, projectionJobData, ProjectionJobs } from './projection-jobs.js';
import { ProjectionWork } from './projection-work.js';

/** A job that was cut off by a crash stalls and is taken over; the run stands where its last noted step left it. */
@Processor(PROJECTIONS, { concurrency: 2, lockDuration: 10_000, stalledInterval: 5_000, maxStalledCount: 1_000 })
export class ProjectionsProcessor extends WorkerHost implements BeforeApplicationShutdown {
  private stopping = false;

  constructor(private readonly work: ProjectionWork) {
    super();
  }

  /** The worker waits for its jobs; so they end between two steps, and whoever starts next goes on. */
  beforeApplicationShutdown(): void {
    this.stopping = true;
  }

  async process(job: Job): Promise<unknown> {
    return { state: await this.work.run(projectionJobData.parse(job.data).runId, () => this.stopping) };
  }
}

const RESUME_EVERY_MS = 15_000;
const KEPT_DAYS = 90;

/** Puts runs that nobody works on back into the queue, as imports are; a job that is there is not added. */
@Injectable()
export class ProjectionRunsSchedule implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger('Projections');
  private readonly rounds = new Rounds(RESUME_EVERY_MS, () => this.look());

  constructor(
    private readonly jobs: ProjectionJobs,
    @Inject(DATABASE) private readonly database: Database,
  ) {}

  onApplicationBootstrap(): void {
    this.rounds.start(0);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.rounds.stop();
  }

  private async look(): Promise<void> {
    await this.resume().catch((error: unknown) =>
      this.logger.warn(`Runs were not looked for, and will be: ${String(error)}`),
    );
  }

  private async resume(): Promise<void> {
    const { rows } = await this.database.pool.query<{ id: string }>(
      `SELECT id FROM projection_runs WHERE state = 'running' ORDER BY created_at LIMIT 100`,
    );
    for (const { id } of rows) await this.jobs.work(id);
    // There are few of them ever, so they go in one statement.
    await this.database.pool.query(
      `WITH gone AS (DELETE FROM projection_runs WHERE ended_at < now() - $1 * interval '1 day' RETURNING id)
       DELETE FROM projection_differences d USING gone WHERE d.run_id = gone.id`,
      [KEPT_DAYS],
    );
  }
}
