import { Module } from '@nestjs/common';
import { InventoryModule } from '../inventory/inventory.module.js';
import { Explanations } from './explanations.js';
import { ExplanationsController } from './explanations.controller.js';

import { PostMortems } from './post-mortems.js';
import { PostMortemsController } from './post-mortems.controller.js';

@Module({
  imports: [InventoryModule],
  controllers: [ExplanationsController, PostMortemsController],
  providers: [Explanations, PostMortems],
})
export class ExplanationsModule {}
