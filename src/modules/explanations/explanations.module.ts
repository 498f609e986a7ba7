import { Module } from '@nestjs/common';
import { InventoryModule } from '../inventory/inventory.module.js';
import { Explanations } from './explanations.js';
import { ExplanationsController } from './explanations.controller.js';

@Module({ imports: [InventoryModule], controllers: [ExplanationsController], providers: [Explanations] })
export class ExplanationsModule {}
