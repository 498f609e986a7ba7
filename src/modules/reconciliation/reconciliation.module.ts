import { Module } from '@nestjs/common';
import { CartsModule } from '../carts/carts.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { DriftsController } from './drifts.controller.js';
import { QohRunsController } from './qoh-runs.controller.js';
import { PushReads } from './push-reads.js';
import { PushesController } from './pushes.controller.js';

@Module({
  imports: [CartsModule, JobsModule],
  controllers: [DriftsController, PushesController, QohRunsController],
  providers: [PushReads],
  exports: [PushReads],
})
export class ReconciliationModule {}
