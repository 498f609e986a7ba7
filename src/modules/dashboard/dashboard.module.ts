import { Module } from '@nestjs/common';
import { JobsModule } from '../jobs/jobs.module.js';
import { BoardQueues } from './board-queues.js';
import { HomeController } from './home.controller.js';

@Module({ imports: [JobsModule], controllers: [HomeController], providers: [BoardQueues], exports: [BoardQueues] })
export class DashboardModule {}
