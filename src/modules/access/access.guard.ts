import { Injectable, SetMetadata, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { Problem } from '../http/problem.js';
import { allows, type KeyHolder } from './api-keys.js';
import type { Scope } from './api-keys.table.js';
import { MEANT_HEADER, Sessions } from './sessions.js';

/** A request after its admission; behind the guard, the caller is somebody. */
export interface CallerRequest extends FastifyRequest {
  caller?: KeyHolder | null;
}

const NEEDS = 'onhand:scope';
const OPEN = 'onhand:open';

/** The scope a route needs where it is not the usual one (`read` to look, `operate` for everything else). */
export const Needs = (scope: Scope) => SetMetadata(NEEDS, scope);

/** A route without an API key. It says why, so that nobody opens one in passing. */
export const Open = (why: string) => SetMetadata(OPEN, why);

/** On every route of every controller. */
@Injectable()
export class AccessGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly sessions: Sessions,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    const targets = [context.getHandler(), context.getClass()];
    if (this.reflector.getAllAndOverride<string | undefined>(OPEN, targets) !== undefined) return true;

    const request = context.switchToHttp().getRequest<CallerRequest>();
    const looks = request.method === 'GET' || request.method === 'HEAD';
    const needed = this.reflector.getAllAndOverride<Scope | undefined>(NEEDS, targets) ?? (looks ? 'read' : 'operate');
    const caller = request.caller ?? null;
    if (caller === null) {
      throw new Problem(
        'unauthorized',
        'Send a valid API key: Authorization: Bearer ohk_… or X-API-Key. An admin key makes others at POST /v1/api-keys.',
      );
    }
    refuseWithout(needed, caller);
    if (!looks && !this.sessions.isMeant(request)) {
      throw new Problem(
        'forbidden',
        `A browser session may change something only with the header ${MEANT_HEADER}, which no other page can add. Programs send an API key instead.`,
      );
    }
    return true;
  }
}

/** @throws Problem where the caller's key does not reach so far */
export function refuseWithout(needed: Scope, caller: KeyHolder): void {
  if (allows(caller.scope, needed)) return;
  throw new Problem(
    'forbidden',
    `This needs the scope "${needed}"; the key "${caller.name}" has "${caller.scope}". Use another key.`,
  );
}
