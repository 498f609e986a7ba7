import { Module } from '@nestjs/common';
import { ForeignNames } from './foreign-names.js';
import { InventoryUpdateController } from './inventory-update.controller.js';
import { RepeatsController } from './repeats.controller.js';

/** What points of sale call, as HotWax Commerce serves it. */
@Module({
  controllers: [InventoryUpdateController, RepeatsController],
  providers: [ForeignNames],
})
export class PointOfSaleModule {}
