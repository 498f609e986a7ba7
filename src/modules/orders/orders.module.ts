import { Module } from '@nestjs/common';
import { OrderReads } from './order-reads.js';
import { OrdersController } from './orders.controller.js';

@Module({ controllers: [OrdersController], providers: [OrderReads] })
export class OrdersModule {}
