import { Module } from '@nestjs/common';
import { OpenLineReads } from './open-line-reads.js';
import { OpenLinesController } from './open-lines.controller.js';
import { OrderReads } from './order-reads.js';
import { OrdersController } from './orders.controller.js';

@Module({ controllers: [OrdersController, OpenLinesController], providers: [OrderReads, OpenLineReads] })
export class OrdersModule {}
