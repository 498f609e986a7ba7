import { randomUUID } from 'node:crypto';
import { InjectQueue } from '@nestjs/bullmq';
import { Inject, Injectable } from '@nestjs/common';
import { Queue } from 'bullmq';
import { z } from 'zod';
import type { QueueBackend } from '../../cart-workers/queue-backend.js';
import { KeptSchedules } from '../jobs/kept-schedules.js';
import { QUEUE_BACKEND } from '../tokens.js';

/** A fixed queue, as those of the folder jobs. */
export const IMPORTS = 'imports';

export const importJobData = z.object({ importId: z.uuid() });

/** Puts work on imports into the queue. What is to be done stands in the table; a job only says "look at this one". */
@Injectable()
export class ImportJobs {
  private readonly schedules: KeptSchedules;

  constructor(
    @InjectQueue(IMPORTS) private readonly queue: Queue,
    @Inject(QUEUE_BACKEND) private readonly backend: QueueBackend,
  ) {
    this.schedules = new KeptSchedules(queue);
  }

  /** At most one job per import and state waits or runs; another one is not added. */
  async work(importId: string, state: 'validating' | 'applying'): Promise<void> {
    // While Redis is away nothing is put in and nobody waits for it: the sweep looks for imports without a job.
    if (!this.backend.available()) return;
    await this.queue.add(
      'work',
      { importId },
      {
        jobId: `${importId}-${randomUUID()}`,
        deduplication: { id: `${importId}-${state}` },
        attempts: 10,
        backoff: { type: 'exponential', delay: 500 },
        removeOnComplete: { count: 100 },
        removeOnFail: { count: 100 },
      },
    );
  }

  /** For whoever finds an import that should be worked on: the job that checks one goes on to apply it, and is not doubled. */
  async resume(importId: string, state: 'validating' | 'applying'): Promise<void> {
    if (!this.backend.available()) return;
    if (state === 'applying' && (await this.queue.getDeduplicationJobId(`${importId}-validating`)) !== null) return;
    await this.work(importId, state);
  }

  /** Old imports are removed once a day, at night. */
  async schedule(): Promise<void> {
    if (!this.backend.available()) return;
    const opts = { removeOnComplete: { count: 10 }, removeOnFail: { count: 10 } };
    await this.schedules.keep(new Map([['clean-up', { pattern: '47 3 * * *', name: 'clean-up', opts }]]));
  }
}
