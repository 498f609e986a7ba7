import { Module } from '@nestjs/common';
import { CartsModule } from '../carts/carts.module.js';
import { DriftsController } from './drifts.controller.js';
import { PushReads } from './push-reads.js';
import { PushesController } from './pushes.controller.js';

@Module({ imports: [CartsModule], controllers: [DriftsController, PushesController], providers: [PushReads] })
export class ReconciliationModule {}
