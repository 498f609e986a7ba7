import { InjectQueue } from '@nestjs/bullmq';
import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { Queue } from 'bullmq';
import { CLEAN_UP } from './queue-names.js';

/** Once a day, at night; setting the same schedule again changes nothing. */
@Injectable()
export class CleanUpSchedule implements OnApplicationBootstrap {
  constructor(@InjectQueue(CLEAN_UP) private readonly queue: Queue) {}

  async onApplicationBootstrap(): Promise<void> {
    await this.queue.upsertJobScheduler(
      'daily',
      { pattern: '17 3 * * *' },
      {
        name: 'clean-up',
        opts: {
          attempts: 3,
          backoff: { type: 'exponential', delay: 60_000 },
          removeOnComplete: { count: 30 },
          removeOnFail: { count: 30 },
        },
      },
    );
  }
}
