import type { Server } from 'node:http';
import cookie from '@fastify/cookie';
import helmet from '@fastify/helmet';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Config } from '../../config.js';
import type { CallerRequest } from '../access/access.guard.js';
import { Admission } from '../access/admission.js';
import { allows } from '../access/api-keys.js';
import { cookieSecret } from '../access/sessions.js';
import { BOARD_PATH, BoardQueues } from '../dashboard/board-queues.js';
import { ROAD_PATH } from '../dashboard/road.controller.js';
import { version } from '../start/version.js';
import { Problem, problemBody, type ProblemCode } from './problem.js';
import { pathOf } from './problem.filter.js';

const BODY_MAX = 1024 * 1024;
const BATCH_BODY_MAX = 10 * BODY_MAX;
const DOCS_PATH = '/docs';
const CLOSING_GRACE_MS = 3_000;

export function createHttpAdapter({ trustedProxies }: Config): FastifyAdapter {
  return new FastifyAdapter({
    bodyLimit: BODY_MAX,
    trustProxy: trustedProxies.length > 0 ? [...trustedProxies] : false,
    // A SKU in a path may have 255 characters, each of them several when encoded.
    routerOptions: { maxParamLength: 3_000, ignoreTrailingSlash: true },
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    // Errors before any route was found, such as a URL that cannot be decoded.
    frameworkErrors: (_error: Error, request: FastifyRequest, reply: FastifyReply) => {
      sendProblem(
        reply,
        'malformed-request',
        'The URL cannot be decoded; encode special characters as %XX in UTF-8.',
        pathOf(request.url),
      );
    },
  });
}

/** Everything of the HTTP side that is Fastify's and not Nest's. Call it before the application listens. */
export async function configureHttp(app: NestFastifyApplication, config: Config, encryptionKey: Buffer): Promise<void> {
  const fastify = app.getHttpAdapter().getInstance();
  // Batches may be larger; Fastify takes the route's own limit over its parser's.
  fastify.addHook('onRoute', (route) => {
    if (/\/(batch|listings)$/.test(route.url)) route.bodyLimit = BATCH_BODY_MAX;
  });
  fastify.removeContentTypeParser('text/plain');
  fastify.addHook('preClose', async () => cutLateConnections(fastify.server));
  await app.register(helmet, {
    hsts: config.baseUrl?.startsWith('https:') ?? false,
    contentSecurityPolicy: {
      directives: {
        defaultSrc: ["'self'"],
        scriptSrc: ["'self'"],
        // Swagger UI and Bull Board write styles into their elements.
        styleSrc: ["'self'", "'unsafe-inline'"],
        imgSrc: ["'self'", 'data:'],
        frameAncestors: ["'none'"],
        // A hub on a local network speaks plain HTTP; a proxy in front of it may say otherwise.
        upgradeInsecureRequests: null,
      },
    },
  });
  await app.register(cookie, { secret: cookieSecret(encryptionKey) });
  const admission = app.get(Admission);
  fastify.addHook('onRequest', async (request, reply) => admit(admission, request, reply));
  fastify.addHook('onRequest', async (request, reply) => guardPages(request, reply));
  fastify.addHook('onRequest', async (request, reply) => refuseForms(request, reply));
  fastify.addHook('onRequest', async (request) => allowNoBody(request));
  await app.register(app.get(BoardQueues).adapter.registerPlugin(), { prefix: BOARD_PATH });
  setUpDocs(app);
}

/** A hook's error is not seen by Nest's filter. */
async function admit(admission: Admission, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  try {
    await admission.admit(request, reply);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    await sendProblem(reply, error.code, error.message, pathOf(request.url));
  }
}

/**
 * Bull Board and the docs are no controllers, so the access guard never sees them, and the road is a page like them. Browsers without a session are sent
 * to the sign-in page, everybody else gets the problem. Looking needs `read`; pressing buttons needs `operate`.
 */
async function guardPages(request: CallerRequest, reply: FastifyReply): Promise<void> {
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

/** Nest reads forms everywhere; only the sign-in page sends one. */
function refuseForms(request: FastifyRequest, reply: FastifyReply): FastifyReply | undefined {
  const path = pathOf(request.url);
  if (
    !path.startsWith('/v1/') ||
    request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') !== true
  )
    return undefined;
  return sendProblem(
    reply,
    'unsupported-media-type',
    'Send the body as JSON with Content-Type: application/json.',
    path,
  );
}

/**
 * A browser opens connections ahead of need, and one that never asked anything is not idle to Node: it would hold the
 * end back for its header time-out of a minute. Answers under way get their time first.
 */
function cutLateConnections(server: Server): void {
  setTimeout(() => server.closeAllConnections(), CLOSING_GRACE_MS).unref();
}

/** Many clients name a content type on every POST; without a body there is nothing to parse, and nothing wrong. */
function allowNoBody({ headers }: FastifyRequest): void {
  if (headers['content-length'] === '0' && headers['transfer-encoding'] === undefined) delete headers['content-type'];
}

function sendProblem(reply: FastifyReply, code: ProblemCode, detail: string, path: string): FastifyReply {
  const body = problemBody(code, detail, [], path);
  return reply.status(body.status).type('application/problem+json; charset=utf-8').send(JSON.stringify(body));
}

function setUpDocs(app: NestFastifyApplication): void {
  const config = new DocumentBuilder()
    .setTitle('Onhand')
    .setDescription(
      'One stock number, every cart, within seconds. Errors are problem+json; their `type` is stable. Lists are pages: hand `nextCursor` back as `cursor`.',
    )
    .setVersion(version)
    .setOpenAPIVersion('3.1.0')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'An API key: ohk_…' })
    .build();
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, config), {
    jsonDocumentUrl: 'docs/openapi.json',
    yamlDocumentUrl: 'docs/openapi.yaml',
    customSiteTitle: 'Onhand API',
    // "Try it out" works with the session of whoever reads the docs. The function is sent to the browser as its text.
    swaggerOptions: { requestInterceptor: markAsMeant },
  });
}

/** Runs in the browser: it can use nothing of this file, so it spells MEANT_HEADER out. */
function markAsMeant(request: { headers: Record<string, string> }): unknown {
  request.headers['X-Onhand-Request'] = 'docs';
  return request;
}
