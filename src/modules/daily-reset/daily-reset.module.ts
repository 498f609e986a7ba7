import { BullModule } from '@nestjs/bullmq';
import { Module } from '@nestjs/common';
import { ImportQueueModule } from '../imports/imports.module.js';
import { registerQueues } from '../jobs/fixed-queues.js';
import { FinishFiles } from './finish-files.js';
import { LookForFiles } from './look-for-files.js';
import { ResetFileReads } from './reset-file-reads.js';
import { ResetFilesController } from './reset-files.controller.js';
import { ResetJobs, RESETS } from './reset-jobs.js';
import { ResetSources } from './reset-sources.js';
import { ResetSourcesController } from './reset-sources.controller.js';
import { ResetSchedule, ResetsProcessor } from './resets.processor.js';
import { TakeFile } from './take-file.js';

@Module({
  imports: [registerQueues(RESETS), ImportQueueModule],
  providers: [ResetJobs, ResetSources, TakeFile],
  exports: [ResetJobs, ResetSources, TakeFile, ImportQueueModule, BullModule],
})
export class ResetQueueModule {}

/** Sources are set up and files sent, looked at and let through here. */
@Module({
  imports: [ResetQueueModule],
  controllers: [ResetSourcesController, ResetFilesController],
  providers: [ResetFileReads],
})
export class DailyResetModule {}

/** Folders are looked into in processes with the role `worker`. */
@Module({
  imports: [ResetQueueModule],
  providers: [LookForFiles, FinishFiles, ResetsProcessor, ResetSchedule],
})
export class DailyResetProcessorsModule {}
