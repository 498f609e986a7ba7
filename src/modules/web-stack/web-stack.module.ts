import { Module } from '@nestjs/common';
import { DeadLettersController } from './dead-letters.controller.js';
import { LatencyReads } from './latency.js';
import { WebStackReads } from './web-stack-reads.js';
import { WebStackController } from './web-stack.controller.js';

@Module({
  controllers: [WebStackController, DeadLettersController],
  providers: [WebStackReads, LatencyReads],
  exports: [WebStackReads, LatencyReads],
})
export class WebStackModule {}
