import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum.js';
import type { CallerRequest } from '../access/access.guard.js';
import { Problem } from './problem.js';

/**
 * A route that reads no query refuses one, as a body's unknown field is refused: `?dryRun=true` must not be without
 * effect in silence. Only for who has a key: shops add to the address of their webhooks what they like.
 */
@Injectable()
export class QueryGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { query, caller } = context.switchToHttp().getRequest<CallerRequest>();
    const [unknown] = Object.keys(query ?? {});
    if (unknown === undefined || (caller ?? null) === null || readsQuery(context)) return true;
    const detail = 'is not known here; this route takes no query';
    throw new Problem('invalid-request', `"${unknown}" ${detail}. /docs tells what each route takes.`, [
      { field: unknown, detail },
    ]);
  }
}

/** Nest notes a handler's parameters on its class, each under "<kind>:<position>". */
function readsQuery(context: ExecutionContext): boolean {
  const parameters: unknown = Reflect.getMetadata(ROUTE_ARGS_METADATA, context.getClass(), context.getHandler().name);
  return Object.keys(parameters ?? {}).some((name) => name.startsWith(`${RouteParamtypes.QUERY}:`));
}
