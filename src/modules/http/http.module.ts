import { Global, Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { CommandRunner } from './command-runner.js';
import { QueryGuard } from './query.guard.js';

@Global()
@Module({ providers: [CommandRunner, { provide: APP_GUARD, useClass: QueryGuard }], exports: [CommandRunner] })
export class HttpModule {}
