import { Module } from '@nestjs/common';
import { ResetQueueModule } from '../daily-reset/daily-reset.module.js';
import { ImportQueueModule } from '../imports/imports.module.js';
import { InventoryModule } from '../inventory/inventory.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { ProjectionQueueModule } from '../projections/projections.module.js';
import { ReconciliationModule } from '../reconciliation/reconciliation.module.js';
import { RulesModule } from '../rules/rules.module.js';
import { WebStackModule } from '../web-stack/web-stack.module.js';
import { BoardQueues } from './board-queues.js';
import { EqualityReads } from './equality-reads.js';
import { LaneFeed } from './lane-feed.js';
import { RoadController } from './road.controller.js';
import { SearchController } from './search.controller.js';
import { StreamController } from './stream.controller.js';

@Module({
  imports: [
    JobsModule,
    ImportQueueModule,
    ResetQueueModule,
    ProjectionQueueModule,
    InventoryModule,
    ReconciliationModule,
    RulesModule,
    WebStackModule,
  ],
  controllers: [RoadController, StreamController, SearchController],
  providers: [BoardQueues, EqualityReads, LaneFeed],
  exports: [BoardQueues],
})
export class DashboardModule {}
