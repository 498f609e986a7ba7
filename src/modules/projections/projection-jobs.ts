import { InjectQueue } from '@nestjs/bullmq';
import { Inject, Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { Queue } from 'bullmq';
import { z } from 'zod';
import type { QueueBackend } from '../../cart-workers/queue-backend.js';
import { QUEUE_BACKEND } from '../tokens.js';

/** A fixed queue, as those of the folder jobs. */
export const PROJECTIONS = 'projections';

export const projectionJobData = z.object({ runId: z.uuid() });

/** What is to be done stands in the table; a job only says "look at this one". */
@Injectable()
export class ProjectionJobs {
  constructor(
    @InjectQueue(PROJECTIONS) private readonly queue: Queue,
    @Inject(QUEUE_BACKEND) private readonly backend: QueueBackend,
  ) {}

  /** At most one job per run waits or is worked on; another one is not added. While Redis is away a later look adds it. */
  async work(runId: string): Promise<void> {
    if (!this.backend.available()) return;
    await this.queue.add(
      'work',
      { runId },
      {
        jobId: `${runId}-${randomUUID()}`,
        deduplication: { id: runId },
        attempts: 10,
        backoff: { type: 'exponential', delay: 500 },
        removeOnComplete: { count: 100 },
        removeOnFail: { count: 100 },
      },
    );
  }
}
