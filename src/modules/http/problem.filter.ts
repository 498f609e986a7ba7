import { Catch, HttpException, Logger, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { DrizzleQueryError } from 'drizzle-orm/errors';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CartError } from '../../cart-workers/connectors/cart-error.js';
import { databaseCode, isOfTheSurroundings } from '../../database-fault.js';
import { QueueFullError } from '../../events/command-batcher.js';
import { CommitUnknownError } from '../../events/append-batch.js';
import { messageOf } from '../start/message-of.js';
import { Problem, problemBody, type ProblemBody, type ProblemCode } from './problem.js';

/**
 * Turns every error into problem+json: ours, Nest's, Fastify's (malformed JSON, too large, wrong media type) and faults.
 * A fault is logged with its stack here and answered without any of it.
 */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const reply = http.getResponse<FastifyReply>();
    const path = pathOf(request.url);
    const body = problemOf(error, request.method, path);
    logFault(body, request.method, path, error);
    if (reply.sent) return;
    if (body.status === 401) reply.header('WWW-Authenticate', 'Bearer realm="onhand"');
    sendProblemBody(reply, body);
  }
}

/** What comes and goes by itself is worth asking again soon; who is throttled was told when before. */
const RETRY_AFTER_S = 1;

export function sendProblemBody(reply: FastifyReply, body: ProblemBody): FastifyReply {
  if (body.status === 503 && !reply.hasHeader('Retry-After')) reply.header('Retry-After', String(RETRY_AFTER_S));
  return reply
    .status(body.status)
    .type('application/problem+json; charset=utf-8')
    .send(JSON.stringify(spoken(body)));
}

/** Programs that call us as they call HotWax find the error where they look for it. */
function spoken(body: ProblemBody): object {
  if (body.instance?.startsWith(SERVICES) !== true) return body;
  const list = body.fields?.map(({ field, detail }) => `${field}: ${detail}`) ?? [body.detail];
  return { ...body, _ERROR_MESSAGE_: body.detail, _ERROR_MESSAGE_LIST_: list };
}

/** Where the calls of other hubs are served under their own names. */
export const SERVICES = '/api/service/';

const logger = new Logger('Http');

/** A fault with its stack; what is only not possible now in a line. */
export function logFault({ status, type }: ProblemBody, method: string, path: string, error: unknown): void {
  if (status < 500) return;
  // What drizzle throws repeats the statement with all its values, which belong in no log.
  const said = error instanceof DrizzleQueryError && error.cause !== undefined ? error.cause : error;
  if (type.endsWith('unavailable')) logger.warn(`${method} ${path}: ${messageOf(said)}`);
  else logger.error(`${method} ${path} failed`, said instanceof Error ? said.stack : String(said));
}

/** Without the query: a problem's `instance` and the log name the place, not what was asked. */
export function pathOf(url: string): string {
  const end = url.indexOf('?');
  return end === -1 ? url : url.slice(0, end);
}

/** What an error is answered with, whoever threw it. */
export function problemOf(error: unknown, method: string, path: string): ProblemBody {
  if (error instanceof Problem) return error.body(path);
  if (error instanceof CartError)
    return problemBody('cart-call-failed', `The cart did not take it: ${error.response.replace(/\.$/, '')}.`, [], path);
  if (error instanceof Error && error.name === 'CartMissingError') {
    return problemBody('unknown-cart', 'There is no cart with this id; GET /v1/carts lists them.', [], path);
  }
  if (error instanceof QueueFullError)
    return problemBody('unavailable', `Nothing was recorded: ${error.message}.`, [], path);
  if (error instanceof CommitUnknownError)
    return problemBody(
      'unavailable',
      'The connection to the database broke while it was recorded, so nobody knows whether it was. Send it again under the same Idempotency-Key and it counts once; without one, look first.',
      [],
      path,
    );
  if (isOfTheSurroundings(error)) return problemBody('unavailable', whyUnavailable(error as Error), [], path);
  const status = error instanceof HttpException ? error.getStatus() : 500;
  const [code, detail] = byStatus[status] ?? (status < 500 ? byStatus[400]! : byStatus[500]!);
  return problemBody(code, detail.replace('{method}', method).replace('{path}', path), [], path);
}

function whyUnavailable(error: Error): string {
  const code = databaseCode(error) ?? '';
  if (code === '53100')
    return 'The disk of the database is full, so nothing can be recorded. Make room, then send it again under the same Idempotency-Key; the hub goes on by itself.';
  // Roll-back, a lock or a statement that took too long: it answers, and others were in the way.
  if (/^(?:40|55)|^57014$/.test(code))
    return 'The database could not do it in time beside what else it does. Send it again in a moment, changes under the same Idempotency-Key.';
  return 'The database does not answer. Send it again in a moment, changes under the same Idempotency-Key; the hub goes on by itself when the database is back.';
}

const byStatus: Record<number, readonly [ProblemCode, string]> = {
  400: [
    'malformed-request',
    'The body is not valid JSON, or the URL cannot be decoded; check the syntax and send it again.',
  ],
  401: ['unauthorized', 'Send an API key: Authorization: Bearer ohk_… or X-API-Key.'],
  403: ['forbidden', 'Use an API key whose scope allows this.'],
  404: ['not-found', 'There is no {method} {path}; /docs lists every route.'],
  413: ['too-large', 'A request may have 1 MB, a batch 10 MB; send it in smaller parts.'],
  415: ['unsupported-media-type', 'Send the body as JSON with Content-Type: application/json.'],
  500: ['fault', 'It was not your request; try again, and look into the log of the hub if it stays.'],
  503: ['unavailable', 'The hub is starting or stopping; try again in a moment.'],
};
