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
import { cleanUpImports, endBrokenUploads } from './clean-up-imports.js';
import { IMPORTS, importJobData, ImportJobs } from './import-jobs.js';
import { ImportWork } from './import-work.js';

/** A job that was cut off by a crash stalls and is taken over; the import stands where its last noted chunk left it. */
@Processor(IMPORTS, { concurrency: 2, lockDuration: 10_000, stalledInterval: 5_000, maxStalledCount: 1_000 })
export class ImportsProcessor extends WorkerHost implements BeforeApplicationShutdown {
  private stopping = false;

  constructor(
    private readonly imports: ImportWork,
    @Inject(DATABASE) private readonly database: Database,
  ) {
    super();
  }

  /** The worker waits for its jobs; so they end between two chunks, and whoever starts next goes on. */
  beforeApplicationShutdown(): void {
    this.stopping = true;
  }

  async process(job: Job): Promise<unknown> {
    switch (job.name) {
      case 'work':
        return { state: await this.imports.run(importJobData.parse(job.data).importId, () => this.stopping) };
      case 'clean-up':
        return cleanUpImports(this.database, KEPT_DAYS);
      default:
        throw new Error(`No such job: ${job.name}`);
    }
  }
}

const KEPT_DAYS = 30;

/**
 * Puts imports that nobody works on back into the queue: at the start, for what an end or a crash left behind, and once in
 * a while, because a queue may forget all it knows. Every worker process does this; a job that is there is not added.
 */
@Injectable()
export class ImportSchedule implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger('Imports');
  private readonly rounds = new Rounds(RESUME_EVERY_MS, () => this.look());

  constructor(
    private readonly jobs: ImportJobs,
    @Inject(DATABASE) private readonly database: Database,
  ) {}

  onApplicationBootstrap(): void {
    this.rounds.start(0);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.rounds.stop();
  }

  private async look(): Promise<void> {
    await resumeImports(this.database, this.jobs).catch((error: unknown) =>
      this.logger.warn(`Imports were not looked for, and will be: ${String(error)}`),
    );
  }
}

const RESUME_EVERY_MS = 15_000;

async function resumeImports(database: Database, jobs: ImportJobs): Promise<void> {
  await jobs.schedule();
  await endBrokenUploads(database);
  const { rows } = await database.pool.query<{ id: string; state: 'validating' | 'applying' }>(
    `SELECT id, state FROM imports WHERE state IN ('validating', 'applying') ORDER BY created_at LIMIT 100`,
  );
  for (const { id, state } of rows) await jobs.resume(id, state);
}
