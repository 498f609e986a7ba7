import { BullModule } from '@nestjs/bullmq';
import { Logger } from '@nestjs/common';
import { Queue, Worker } from 'bullmq';

/**
 * The queues whose names are fixed (order polls, comparisons, imports, …), as @nestjs/bullmq has them.
 *
 * Queues and workers reconnect by themselves; an error that nobody listens to is printed by BullMQ with everything that
 * hangs on it. Here it is one line of the log.
 */
export const registerQueues = (...names: string[]) => BullModule.registerQueue(...names.map((name) => ({ name })));

class ListenedQueue extends Queue {
  constructor(...given: ConstructorParameters<typeof Queue>) {
    super(...given);
    this.on('error', (error) => warn(this.name, error));
  }
}

class ListenedWorker extends Worker {
  constructor(...given: ConstructorParameters<typeof Worker>) {
    super(...given);
    this.on('error', (error) => warn(this.name, error));
  }
}

const logger = new Logger('Queues');
const warn = (queue: string, error: Error) => logger.warn(`Queue ${queue}: ${error.message}`);

// Static in that package, and read when a queue is registered: whoever registers one does it through this file.
BullModule.queueClass = ListenedQueue;
BullModule.workerClass = ListenedWorker;
