/** What happens to every request before a route sees it, in this order. */
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { CallerRequest } from '../access/access.guard.js';
import type { Admission } from '../access/admission.js';
import { allows } from '../access/api-keys.js';
import { BOARD_PATH } from '../dashboard/board-queues.js';
import { ROAD_PATH } from '../dashboard/road.controller.js';
import { problemBody, type ProblemBody, type ProblemCode } from './problem.js';
import { logFault, pathOf, problemOf, sendProblemBody, SERVICES } from './problem.filter.js';

export const DOCS_PATH = '/docs';

/** Who calls, and whether it is too much. A hook's error is not seen by Nest's filter, so it is answered here. */
export async function admit(admission: Admission, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  try {
    await admission.admit(request, reply);
  } catch (error) {
    const path = pathOf(request.url);
    const body = problemOf(error, request.method, path);
    logFault(body, request.method, path, error);
    await sendProblemBody(reply, body);
  }
}

/**
 * Bull Board and the docs are no controllers, so the access guard never sees them, and the road is a page like them.
 * Browsers without a session are sent to the sign-in page, everybody else gets the problem. Looking needs `read`;
 * pressing buttons needs `operate`.
 */
export async function guardPages(request: CallerRequest, reply: FastifyReply): Promise<void> {
  // The route that was matched, not the URL: /%71ueues is the same page.
  const route = request.routeOptions.url ?? '';
  if (![ROAD_PATH, BOARD_PATH, DOCS_PATH].some((page) => route === page || route.startsWith(`${page}/`))) return;
  const caller = request.caller ?? null;
  const looks = request.method === 'GET' || request.method === 'HEAD';
  if (caller !== null && allows(caller.scope, looks ? 'read' : 'operate')) return;
  if (caller === null && looks && request.headers.accept?.includes('text/html') === true) {
    await reply.redirect(`/sign-in?to=${encodeURIComponent(request.url)}`, 303);
    return;
  }
  const [code, detail]: [ProblemCode, string] =
    caller === null
      ? ['unauthorized', 'Sign in at /sign-in, or send an API key: Authorization: Bearer ohk_… or X-API-Key.']
      : ['forbidden', 'This needs the scope "operate"; sign in with another key.'];
  await sendProblem(reply, code, detail, pathOf(request.url));
}

/** Bodies that would be read as something else than was meant. */
export async function refuseBodies({ url, headers }: FastifyRequest, reply: FastifyReply): Promise<void> {
  const path = pathOf(url);
  if (!path.startsWith('/v1/') && !path.startsWith(SERVICES)) return;
  // Nest reads forms everywhere; only the sign-in page sends one.
  if (headers['content-type']?.startsWith('application/x-www-form-urlencoded') === true)
    await sendProblem(
      reply,
      'unsupported-media-type',
      'Send the body as JSON with Content-Type: application/json.',
      path,
    );
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding.toLowerCase() !== 'identity' && !reply.sent)
    await sendProblem(
      reply,
      'unsupported-media-type',
      'Send the body as it is, without Content-Encoding; compressed bodies are not read.',
      path,
    );
}

/** Many clients name a content type on every POST; without a body there is nothing to parse, and nothing wrong. */
export async function allowNoBody({ headers }: FastifyRequest): Promise<void> {
  if (headers['content-length'] === '0' && headers['transfer-encoding'] === undefined) delete headers['content-type'];
}

/**
 * A body that trickles in for ever must not hold a connection for ever. Files have a limit of their own, because a large
 * one may take long on a slow line: see imports.controller.ts.
 */
export async function limitBodyTime(timeoutMs: number, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { headers, raw, routeOptions } = request;
  if (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined) return;
  if (takesFiles(routeOptions.url)) return;
  const timer = setTimeout(() => {
    if (raw.complete || reply.sent) return;
    const detail = `The body did not arrive whole within ${timeoutMs / 1000} s; nothing was recorded. Send it again, in smaller parts on a slow line.`;
    void sendProblem(reply.header('Connection', 'close'), 'request-timeout', detail, pathOf(request.url));
  }, timeoutMs);
  raw.once('end', () => clearTimeout(timer));
  raw.once('close', () => clearTimeout(timer));
}

/** Routes whose body is a file: it stays a stream. */
export const takesFiles = (route: string | undefined): boolean =>
  route === '/v1/imports' || route === '/v1/reset-sources/:id/files';

/** What cannot even be taken for a request is answered on the bare socket. */
export function answerClientError(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const body = clientProblem(error.code);
  const text = JSON.stringify(body);
  socket.end(
    `HTTP/1.1 ${body.status} ${body.title}\r\nContent-Type: application/problem+json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
  );
}

function clientProblem(code: string | undefined): ProblemBody {
  if (code === 'HPE_HEADER_OVERFLOW')
    return problemBody('headers-too-large', 'Headers may have 16 KB together; send what is long in the body.');
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return problemBody('request-timeout', 'The request did not arrive in time; send it again.');
  return problemBody('malformed-request', 'This is not HTTP/1.1 as a server can read it; check what sends it.');
}

export function sendProblem(reply: FastifyReply, code: ProblemCode, detail: string, path: string): FastifyReply {
  return sendProblemBody(reply, problemBody(code, detail, [], path));
}
