import { Module } from '@nestjs/common';
import { ItemReads } from './item-reads.js';
import { ItemSearch } from './item-search.js';
import { ItemsController } from './items.controller.js';
import { LedgerReads } from './ledger-reads.js';
import { LocationsController } from './locations.controller.js';
import { MovementsController } from './movements.controller.js';
import { SharedBarcodes } from './shared-barcodes.js';
import { TransfersController } from './transfers.controller.js';
import { VelocityReads } from './velocity-reads.js';

@Module({
  controllers: [MovementsController, TransfersController, LocationsController, ItemsController],
  providers: [ItemReads, ItemSearch, SharedBarcodes, LedgerReads, VelocityReads],
  exports: [ItemSearch, ItemReads, LedgerReads],
})
export class InventoryModule {}
