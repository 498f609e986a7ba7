import { BullModule } from '@nestjs/bullmq';
import { Module } from '@nestjs/common';
import { ProjectionJobs, PROJECTIONS } from './projection-jobs.js';
import { ProjectionRuns } from './projection-runs.js';
import { ProjectionWork } from './projection-work.js';
import { ProjectionsController } from './projections.controller.js';
import { registerQueues } from '../jobs/fixed-queues.js';
import { ProjectionRunsSchedule, ProjectionsProcessor } from './projections.processor.js';

@Module({
  imports: [registerQueues(PROJECTIONS)],
  providers: [ProjectionJobs],
  exports: [ProjectionJobs, BullModule],
})
export class ProjectionQueueModule {}

/** Verify and rebuild are asked for here, and looked at. */
@Module({
  imports: [ProjectionQueueModule],
  controllers: [ProjectionsController],
  providers: [ProjectionRuns],
})
export class ProjectionsModule {}

/** They are done in processes with the role `worker`. */
@Module({
  imports: [ProjectionQueueModule],
  providers: [ProjectionWork, ProjectionsProcessor, ProjectionRunsSchedule],
})
export class ProjectionProcessorsModule {}
