import { Processor, WorkerHost } from '@nestjs/bullmq';
import { Inject } from '@nestjs/common';
import { cleanUp, recordsKeptDays } from '../../cart-workers/clean-up.js';
import type { Database } from '../../database.js';
import { DATABASE } from '../tokens.js';
import { CLEAN_UP } from './queue-names.js';

/** Deletes ended records, deliveries and attempts that nobody needs any more. The log itself is never touched. */
@Processor(CLEAN_UP, { concurrency: 1, lockDuration: 30_000, stalledInterval: 15_000, maxStalledCount: 10 })
export class CleanUpProcessor extends WorkerHost {
  constructor(@Inject(DATABASE) private readonly database: Database) {
    super();
  }

  process(): Promise<unknown> {
    return cleanUp(this.database, { olderThanDays: recordsKeptDays });
  }
}
