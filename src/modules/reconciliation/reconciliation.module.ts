import { Module } from '@nestjs/common';
import { CartsModule } from '../carts/carts.module.js';
import { DriftsController } from './drifts.controller.js';

@Module({ imports: [CartsModule], controllers: [DriftsController] })
export class ReconciliationModule {}
