import { InjectQueue } from '@nestjs/bullmq';
import { Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { Queue } from 'bullmq';
import { Rounds } from '../../cart-workers/rounds.js';
import { KeptSchedules } from './kept-schedules.js';
import { CLEAN_UP } from './queue-names.js';

const everyMs = 60_000;

/** Once a day, at night. It is seen to again and again: a queue that forgot it would else clean up nothing until a restart. */
@Injectable()
export class CleanUpSchedule implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger('CleanUp');
  private readonly rounds = new Rounds(everyMs, () => this.see());
  private readonly schedules: KeptSchedules;

  constructor(@InjectQueue(CLEAN_UP) queue: Queue) {
    this.schedules = new KeptSchedules(queue);
  }

  onApplicationBootstrap(): void {
    this.rounds.start(0);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.rounds.stop();
  }

  private see(): Promise<void> {
    return this.schedules
      .keep(new Map([['daily', daily]]))
      .catch((error: unknown) => this.logger.warn(`Cleaning up was not scheduled, and will be: ${String(error)}`));
  }
}

const daily = {
  pattern: '17 3 * * *',
  name: 'clean-up',
  opts: {
    attempts: 3,
    backoff: { type: 'exponential', delay: 60_000 },
    removeOnComplete: { count: 30 },
    removeOnFail: { count: 30 },
  },
};
