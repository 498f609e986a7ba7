import { Module } from '@nestjs/common';
import { DeadLettersController } from './dead-letters.controller.js';
import { WebStackReads } from './web-stack-reads.js';
import { WebStackController } from './web-stack.controller.js';

@Module({ controllers: [WebStackController, DeadLettersController], providers: [WebStackReads] })
export class WebStackModule {}
