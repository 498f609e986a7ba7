import { Module } from '@nestjs/common';
import { JobsModule } from '../jobs/jobs.module.js';
import { CartReads } from './cart-reads.js';
import { CartTypesController } from './cart-types.controller.js';
import { CartsController } from './carts.controller.js';
import { ComparisonController } from './comparison.controller.js';
import { LanesController } from './lanes.controller.js';
import { ListingsController } from './listings.controller.js';
import { MappingProblems } from './mapping-problems.js';
import { MappingProblemsController } from './mapping-problems.controller.js';
import { ProbeController } from './probe.controller.js';
import { SwitchingOn } from './switching-on.js';
import { UnknownSkuReads } from './unknown-sku-reads.js';
import { UnknownSkusController } from './unknown-skus.controller.js';
import { WebhooksController } from './webhooks.controller.js';

@Module({
  imports: [JobsModule],
  controllers: [
    CartTypesController,
    CartsController,
    ListingsController,
    LanesController,
    ComparisonController,
    ProbeController,
    MappingProblemsController,
    UnknownSkusController,
    WebhooksController,
  ],
  providers: [CartReads, SwitchingOn, MappingProblems, UnknownSkuReads],
  exports: [CartReads],
})
export class CartsModule {}
