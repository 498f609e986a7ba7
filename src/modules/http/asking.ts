import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import type { CallerRequest } from '../access/access.guard.js';
import { Problem } from './problem.js';
import { pathOf } from './problem.filter.js';

/** Who asks for a command, and by which request: what makes it repeatable. */
export interface Asking {
  /** The API key's id; idempotency keys belong to it. */
  readonly client: string;
  /** The API key's name, for "paused by", "discarded by". */
  readonly by: string;
  readonly idempotencyKey: string | null;
  /** From `If-Match`: the version the caller believes to be the last one. */
  readonly expectedVersion: string | undefined;
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
  readonly reply: FastifyReply;
}

/** `@Asks() asking: Asking` */
export const Asks = createParamDecorator((_data: unknown, context: ExecutionContext): Asking => {
  const http = context.switchToHttp();
  const request = http.getRequest<CallerRequest>();
  if (request.caller === undefined || request.caller === null)
    throw new Error('A route that asks for commands must be behind the access guard');
  return {
    client: request.caller.id,
    by: request.caller.name,
    idempotencyKey: idempotencyKeyOf(request.headers['idempotency-key']),
    expectedVersion: versionOf(request.headers['if-match']),
    method: request.method,
    path: pathOf(request.url),
    body: request.body ?? null,
    reply: http.getResponse<FastifyReply>(),
  };
});

const KEY_MAX = 200;

function idempotencyKeyOf(header: string | string[] | undefined): string | null {
  if (header === undefined) return null;
  const detail = `must be one printable text of 1 to ${KEY_MAX} characters`;
  if (typeof header !== 'string' || !new RegExp(`^[\\x20-\\x7e]{1,${KEY_MAX}}$`).test(header) || header.trim() === '') {
    throw new Problem('invalid-request', `The header Idempotency-Key ${detail}.`, [
      { field: 'Idempotency-Key', detail },
    ]);
  }
  return header;
}

function versionOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const match = /^"?(\d{1,18})"?$/.exec(header);
  if (match === null) {
    const detail = 'must be a version as an answer gave it, such as "7"';
    throw new Problem('invalid-request', `The header If-Match ${detail}.`, [{ field: 'If-Match', detail }]);
  }
  return match[1];
}
