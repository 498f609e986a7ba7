import { InjectQueue } from '@nestjs/bullmq';
import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { Queue } from 'bullmq';
import { z } from 'zod';

/** A fixed queue, as those of the folder jobs. */
export const PROJECTIONS = 'projections';

export const projectionJobData = z.object({ runId: z.uuid() });

/** What is to be done stands in the table; a job only says "look at this one". */
@Injectable()
export class ProjectionJobs {
  constructor(@InjectQueue(PROJECTIONS) private readonly queue: Queue) {}

  /** At most one job per run waits or is worked on; another one is not added. */
  async work(runId: string): Promise<void> {
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
