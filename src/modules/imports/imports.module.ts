import { BullModule } from '@nestjs/bullmq';
import { Module } from '@nestjs/common';
import { ImportJobs, IMPORTS } from './import-jobs.js';
import { ImportPreview } from './import-preview.js';
import { ImportReads } from './import-reads.js';
import { ImportWork } from './import-work.js';
import { Imports } from './imports.js';
import { ImportsController } from './imports.controller.js';
import { registerQueues } from '../jobs/fixed-queues.js';
import { ImportSchedule, ImportsProcessor } from './imports.processor.js';

@Module({
  imports: [registerQueues(IMPORTS)],
  providers: [ImportJobs, Imports],
  exports: [ImportJobs, Imports, BullModule],
})
export class ImportQueueModule {}

/** Files are sent here, and looked at. */
@Module({
  imports: [ImportQueueModule],
  controllers: [ImportsController],
  providers: [ImportReads, ImportPreview],
})
export class ImportsModule {}

/** They are checked and applied in processes with the role `worker`. */
@Module({
  imports: [ImportQueueModule],
  providers: [ImportWork, ImportsProcessor, ImportSchedule],
})
export class ImportProcessorsModule {}
