import { Global, Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { AccessGuard } from './access.guard.js';
import { ApiKeysController } from './api-keys.controller.js';
import { ApiKeys } from './api-keys.js';
import { Sessions } from './sessions.js';
import { SignInController } from './sign-in.controller.js';

@Global()
@Module({
  controllers: [ApiKeysController, SignInController],
  providers: [ApiKeys, Sessions, { provide: APP_GUARD, useClass: AccessGuard }],
  exports: [ApiKeys, Sessions],
})
export class AccessModule {}
