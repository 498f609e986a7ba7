import { Global, Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { AccessGuard } from './access.guard.js';
import { Admission } from './admission.js';
import { ApiKeysController } from './api-keys.controller.js';
import { ApiKeys } from './api-keys.js';
import { Sessions } from './sessions.js';
import { SignInController } from './sign-in.controller.js';
import { Throttle } from './throttle.js';

@Global()
@Module({
  controllers: [ApiKeysController, SignInController],
  providers: [ApiKeys, Sessions, Throttle, Admission, { provide: APP_GUARD, useClass: AccessGuard }],
  exports: [ApiKeys, Sessions, Admission],
})
export class AccessModule {}
