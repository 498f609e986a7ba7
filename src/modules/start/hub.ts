import 'reflect-metadata';
import { access, constants, mkdir } from 'node:fs/promises';
import type { DynamicModule, INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { setDefaultBackendFactory } from 'bullmq';
import { createQueueBackend } from '../../cart-workers/queue-backend.js';
import type { Config } from '../../config.js';
import { createDatabase, migrate, type Database } from '../../database.js';
import { startEmbeddedPostgres } from '../../embedded-postgres.js';
import { ensureLogGeneration } from '../../events/log-generation.js';
import { ApiKeys } from '../access/api-keys.js';
import { configureHttp, createHttpAdapter } from '../http/configure-http.js';
import { encryptionKeys } from './encryption-key.js';
import { removeHubFile, writeHubFile } from './hub-file.js';
import { HubLogger } from './logger.js';
import { messageOf } from './message-of.js';
import type { Surroundings } from './surroundings.js';

export interface Hub {
  /** Null in a process without the role `api`. */
  readonly url: string | null;
  /** A new owner key, to be shown once; null when there is one already or it was preset. */
  readonly ownerKey: string | null;
  readonly app: INestApplicationContext;
  /** Stops taking, finishes or hands back, closes queues and pools. Safe to call twice. */
  stop(): Promise<void>;
}

/** The root module around what was made before it; handed in, because nothing below the top imports the top. */
export type ModuleFor = (surroundings: Surroundings) => DynamicModule;

/**
 * Starts what the configuration asks for, in the order in which one thing needs the other, and undoes it in the opposite
 * order: at a fault on the way, too.
 */
export async function startHub(config: Config, moduleFor: ModuleFor, onLost: (error: Error) => void): Promise<Hub> {
  const undo: (() => Promise<unknown>)[] = [];
  const unwind = async () => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  };
  let stopping: Promise<void> | undefined;
  try {
    const logger = new HubLogger(config);
    await prepareDataDir(config.dataDir);
    const surroundings = await makeSurroundings(config, logger, onLost, undo);
    const { app, url, ownerKey } = config.roles.includes('api')
      ? await startApi(surroundings, moduleFor, logger, undo)
      : await startWithoutApi(surroundings, moduleFor, logger, undo);
    undo.push(async () => surroundings.backend.leave());
    return { app, url, ownerKey, stop: () => (stopping ??= unwind()) };
  } catch (error) {
    await unwind().catch(() => undefined);
    throw error;
  }
}

async function makeSurroundings(
  config: Config,
  logger: HubLogger,
  onLost: (error: Error) => void,
  undo: (() => Promise<unknown>)[],
): Promise<Surroundings> {
  const databaseUrl = config.databaseUrl ?? (await startOwnPostgres(config, logger, onLost, undo));
  const database = await openDatabase(databaseUrl, config, logger);
  undo.push(() => database.close());
  await migrate(database);
  await ensureLogGeneration(database.pool);
  const keys = await encryptionKeys(config);
  const backend = await createQueueBackend({
    config,
    databaseUrl,
    onError: (error) => logger.warn(error.message, 'Queues'),
  });
  undo.push(() => backend.close());
  // @nestjs/bullmq makes queues with two arguments; this is how they come to the same backend as the lanes.
  setDefaultBackendFactory(backend.factory);
  return { config, database, backend, encryptionKeys: keys };
}

export async function startOwnPostgres(
  config: Config,
  logger: HubLogger,
  onLost: (error: Error) => void,
  undo: (() => Promise<unknown>)[],
): Promise<string> {
  const server = await startEmbeddedPostgres({
    dataDir: config.dataDir,
    maxConnections: config.databasePoolMax + config.lanesMax + CONNECTIONS_BESIDE,
    log: (sentence) => logger.log(sentence, 'PostgreSQL'),
    onLost,
  });
  undo.push(() => server.stop());
  return server.url;
}

/** Queues of their own, wake-ups, migrations, and room for a person with psql. */
const CONNECTIONS_BESIDE = 40;

export async function openDatabase(url: string, config: Config, logger: HubLogger): Promise<Database> {
  const database = createDatabase({
    url,
    poolMax: config.databasePoolMax,
    applicationName: `onhand ${config.roles.join('+')}`,
    onIdleError: (error) => logger.warn(`A database connection was lost and is replaced: ${error.message}`, 'Database'),
  });
  try {
    await database.pool.query('SELECT 1');
    return database;
  } catch (error) {
    await database.close();
    throw new Error(databaseSentence(error, new URL(url)), { cause: error });
  }
}

/** No password in it. */
function databaseSentence(error: unknown, { host, username, pathname }: URL): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  // Class 28: who comes is not let in. 3D000: no such database.
  if (code.startsWith('28'))
    return `PostgreSQL at ${host} does not let the user "${username}" in: ${messageOf(error)}. Check user and password in DATABASE_URL.`;
  if (code === '3D000')
    return `PostgreSQL at ${host} has no database "${pathname.slice(1)}". Make it (createdb), or name another in DATABASE_URL.`;
  return `The database at ${host} does not answer: ${messageOf(error)}. Check DATABASE_URL and that PostgreSQL is running.`;
}

/** @throws Error with a sentence when the directory cannot be made or written */
export async function prepareDataDir(dataDir: string): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await access(dataDir, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new Error(
      `The data directory ${dataDir} cannot be used: ${messageOf(error)}. Set ONHAND_DATA_DIR to a directory that this user may write to.`,
      { cause: error },
    );
  }
}

async function startApi(
  surroundings: Surroundings,
  moduleFor: ModuleFor,
  logger: HubLogger,
  undo: (() => Promise<unknown>)[],
) {
  const { config } = surroundings;
  const app = await NestFactory.create<NestFastifyApplication>(moduleFor(surroundings), createHttpAdapter(config), {
    logger,
    rawBody: true,
    abortOnError: false,
  });
  undo.push(() => app.close());
  await configureHttp(app, config, surroundings.encryptionKeys);
  const ownerKey = await app.get(ApiKeys).ensureOwner(config.ownerKey);
  await listen(app, config);
  const url = config.baseUrl ?? reachable(await app.getUrl());
  undo.push(() => removeHubFile(config.dataDir));
  await writeHubFile(config.dataDir, { url, pid: process.pid });
  return { app, url, ownerKey };
}

async function listen(app: NestFastifyApplication, config: Config): Promise<void> {
  try {
    await app.listen(config.port, config.host);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
      throw new Error(
        `Port ${config.port} at ${config.host} is taken. Set ONHAND_PORT to another one, or to 0 for any free one.`,
        { cause: error },
      );
    }
    throw error;
  }
}

async function startWithoutApi(
  surroundings: Surroundings,
  moduleFor: ModuleFor,
  logger: HubLogger,
  undo: (() => Promise<unknown>)[],
) {
  const app = await NestFactory.createApplicationContext(moduleFor(surroundings), { logger, abortOnError: false });
  undo.push(() => app.close());
  return { app, url: null, ownerKey: null };
}

/** An address that a browser on this machine can open. */
function reachable(url: string): string {
  return url
    .replace('[::1]', 'localhost')
    .replace('0.0.0.0', '127.0.0.1')
    .replace('[::]', 'localhost')
    .replace(/\/+$/, '');
}
