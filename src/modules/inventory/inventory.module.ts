import { Module } from '@nestjs/common';
import { ItemReads } from './item-reads.js';
import { ItemsController } from './items.controller.js';
import { LedgerReads } from './ledger-reads.js';
import { LocationsController } from './locations.controller.js';
import { MovementsController } from './movements.controller.js';
import { TransfersController } from './transfers.controller.js';

@Module({
  controllers: [MovementsController, TransfersController, LocationsController, ItemsController],
  providers: [ItemReads, LedgerReads],
})
export class InventoryModule {}
