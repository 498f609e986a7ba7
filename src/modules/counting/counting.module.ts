import { Module } from '@nestjs/common';
import { CountSessionsController } from './count-sessions.controller.js';
import { CountSessions } from './count-sessions.js';

/** People count shelves. */
@Module({ controllers: [CountSessionsController], providers: [CountSessions] })
export class CountingModule {}
