import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import cookie from '@fastify/cookie';
import helmet from '@fastify/helmet';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { EncryptionKeys } from '../../cart-workers/cart-secrets.js';
import type { Config } from '../../config.js';
import { Admission } from '../access/admission.js';
import { cookieSecret } from '../access/sessions.js';
import { BOARD_PATH, BoardQueues } from '../dashboard/board-queues.js';
import { version } from '../start/version.js';
import { pathOf } from './problem.filter.js';
import {
  admit,
  allowNoBody,
  answerClientError,
  guardPages,
  limitBodyTime,
  refuseBodies,
  sendProblem,
} from './request-hooks.js';

const BODY_MAX = 1024 * 1024;
const BATCH_BODY_MAX = 10 * BODY_MAX;

export function createHttpAdapter({ trustedProxies }: Config): FastifyAdapter {
  return new FastifyAdapter({
    bodyLimit: BODY_MAX,
    trustProxy: trustedProxies.length > 0 ? [...trustedProxies] : false,
    // A SKU in a path may have 255 characters, each of them several when encoded.
    routerOptions: { maxParamLength: 3_000, ignoreTrailingSlash: true },
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    clientErrorHandler: answerClientError,
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
export async function configureHttp(app: NestFastifyApplication, config: Config, keys: EncryptionKeys): Promise<void> {
  const fastify = app.getHttpAdapter().getInstance();
  // Batches may be larger; Fastify takes the route's own limit over its parser's.
  fastify.addHook('onRoute', (route) => {
    if (/\/(batch|listings)$/.test(route.url)) route.bodyLimit = BATCH_BODY_MAX;
  });
  fastify.removeContentTypeParser('text/plain');
  const close = closeInOrder(fastify.server, config.shutdownTimeoutMs / 3);
  fastify.addHook('preClose', async () => close());
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
  // Signed with the first; while the key is changed, sessions of the one before go on.
  await app.register(cookie, { secret: [keys.current, ...keys.previous].map(cookieSecret) });
  const admission = app.get(Admission);
  fastify.addHook('onRequest', (request, reply) => admit(admission, request, reply));
  fastify.addHook('onRequest', guardPages);
  fastify.addHook('onRequest', refuseBodies);
  fastify.addHook('onRequest', allowNoBody);
  fastify.addHook('onRequest', (request, reply) => limitBodyTime(config.bodyTimeoutMs, request, reply));
  await app.register(app.get(BoardQueues).adapter.registerPlugin(), { prefix: BOARD_PATH });
  setUpDocs(app);
}

/**
 * What is being answered when the end comes gets its time. Connections on which nothing is asked are closed at once: a
 * browser opens some ahead of need, and one that never asked anything is not idle to Node, which would wait for its
 * header time-out of a minute.
 * @returns to be called when the server is about to close
 */
function closeInOrder(server: Server, graceMs: number): () => void {
  const quiet = new Set<Socket>();
  let closing = false;
  server.on('connection', (socket: Socket) => {
    quiet.add(socket);
    socket.once('close', () => quiet.delete(socket));
  });
  server.on('request', ({ socket }, response) => {
    quiet.delete(socket);
    response.once('close', () => {
      if (closing) socket.end();
      else if (!socket.destroyed) quiet.add(socket);
    });
  });
  return () => {
    closing = true;
    for (const socket of quiet) socket.destroy();
    setTimeout(() => server.closeAllConnections(), graceMs).unref();
  };
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
