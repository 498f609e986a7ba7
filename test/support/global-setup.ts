import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { request } from 'node:http';
import path from 'node:path';
import { GenericContainer, Wait } from 'testcontainers';
import type { TestProject } from 'vitest/node';
import { canInstallWithApt, findRedis, installRedisWithApt, startRedis } from '../../samples/redis.mjs';
import { findShopServers, HOW_TO_GET_SHOP_SERVERS } from '../../samples/shop-servers.mjs';
import { createDatabase, createQueuePool, migrate, migrateQueues } from '../../src/database.js';
import { startEmbeddedPostgres } from '../../src/embedded-postgres.js';
import { choosePostgres, chooseRedis, HOW_TO_GET_REDIS, limitTo, type RedisChoice } from './choose-servers.js';
import { dropTestDatabases, onServer, withDatabase } from './database-server.js';
import { mariadbPidFile, stopMariadb } from './mariadb.js';
import { stopWhenWeAreKilled } from './stop-when-killed.js';
import { temporaryDirectory } from './temporary-directory.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** A superuser's URL of the PostgreSQL server of this run. */
    postgresUrl: string;
    /** Databases of this run begin with it. */
    databasePrefix: string;
    /** Why there is no template to copy; empty when there is one. */
    templateProblem: string;
    /** Empty when no Redis is to be had. */
    redisUrl: string;
    /** Whether PHP and MariaDB are here or can be installed. */
    shopServers: boolean;
    /** Where the run's MariaDB lives, once a test file needed one. */
    mariadbDir: string;
  }
}

interface Server {
  readonly url: string;
  stop(): Promise<void>;
}

/** Once per run: starts the servers, migrates the template that every test database is copied from, stops by handle. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = await temporaryDirectory('onhand-test-run-');
  const around = limitTo(process.env['TEST_SERVERS'], {
    testDatabaseUrl: process.env['TEST_DATABASE_URL'],
    testRedisUrl: process.env['TEST_REDIS_URL'],
    dockerAnswers: await dockerAnswers(),
    redisBinary: findRedis(),
    canInstallWithApt: canInstallWithApt(),
  });
  const postgres = await startPostgres(choosePostgres(around), dir);
  const redis = await startRedisServer(chooseRedis(around), dir);
  const prefix = `onhand_test_${randomBytes(4).toString('hex')}`;
  const templateProblem = await makeTemplate(postgres.url, `${prefix}_template`);
  if (templateProblem !== '') say(templateProblem);

  project.provide('postgresUrl', postgres.url);
  project.provide('databasePrefix', prefix);
  project.provide('templateProblem', templateProblem);
  project.provide('redisUrl', redis?.url ?? '');
  const mariadbDir = path.join(dir, 'mariadb');
  stopWhenWeAreKilled(mariadbPidFile(mariadbDir), 'TERM');
  const shopServers = findShopServers() !== undefined || around.canInstallWithApt;
  if (!shopServers) unavailable(`NO PHP OR NO MARIADB: the tests of the bridges do not run`, HOW_TO_GET_SHOP_SERVERS);
  project.provide('shopServers', shopServers);
  project.provide('mariadbDir', mariadbDir);
  return async () => {
    await dropTestDatabases(postgres.url, prefix);
    await Promise.all([postgres.stop(), redis?.stop(), stopMariadb(mariadbDir)]);
    await rm(dir, { recursive: true, force: true });
  };
}

async function startPostgres(choice: ReturnType<typeof choosePostgres>, dir: string): Promise<Server> {
  switch (choice.kind) {
    case 'given':
      return { url: choice.url, stop: async () => undefined };
    case 'container': {
      const container = await new GenericContainer('postgres:18-alpine')
        .withEnvironment({ POSTGRES_USER: 'onhand', POSTGRES_PASSWORD: 'onhand', POSTGRES_DB: 'onhand' })
        .withCommand(['postgres', '-c', `max_connections=${CONNECTIONS_MAX}`])
        .withExposedPorts(5432)
        // Twice: the image starts the server once for its own set-up.
        .withWaitStrategy(Wait.forLogMessage(/ready to accept connections/, 2))
        .start();
      const url = `postgresql://onhand:onhand@${container.getHost()}:${container.getMappedPort(5432)}/onhand`;
      return { url, stop: async () => void (await container.stop()) };
    }
    case 'embedded': {
      const dataDir = path.join(dir, 'postgres');
      const postgres = await startEmbeddedPostgres({ dataDir, maxConnections: CONNECTIONS_MAX, log: () => undefined });
      stopWhenWeAreKilled(path.join(postgres.home, 'data', 'postmaster.pid'));
      return postgres;
    }
  }
}

async function startRedisServer(choice: RedisChoice, dir: string): Promise<Server | undefined> {
  switch (choice.kind) {
    case 'given':
      return { url: choice.url, stop: async () => undefined };
    case 'binary':
      return await startRedis({ dir: path.join(dir, 'redis'), binary: choice.path });
    case 'container': {
      const container = await new GenericContainer('redis:8-alpine')
        .withCommand(['redis-server', '--appendonly', 'yes', '--maxmemory-policy', 'noeviction'])
        .withExposedPorts(6379)
        .withWaitStrategy(Wait.forLogMessage(/Ready to accept connections/))
        .start();
      const url = `redis://${container.getHost()}:${container.getMappedPort(6379)}`;
      return { url, stop: async () => void (await container.stop()) };
    }
    case 'apt':
      if (installRedisWithApt(say)) return await startRedis({ dir: path.join(dir, 'redis') });
      return unavailable(NO_REDIS, HOW_TO_GET_REDIS);
    case 'unavailable':
      return unavailable(NO_REDIS, choice.remedy);
  }
}

/** Enough for two test files at a time with some dozens of PostgreSQL-backed lanes each. */
const CONNECTIONS_MAX = 400;

const NO_REDIS = 'NO REDIS: the tests that need it do not run';

function unavailable(what: string, remedy: string): undefined {
  say(`${what}${process.env['CI'] === 'true' ? ', which fails in CI' : ''}. ${remedy}`);
  return undefined;
}

/** The reason for having none is handed on instead of thrown, so tests that need no tables still run. */
async function makeTemplate(serverUrl: string, name: string): Promise<string> {
  await onServer(serverUrl, `CREATE DATABASE ${name}`);
  const options = { url: withDatabase(serverUrl, name), poolMax: 2, applicationName: 'onhand-test-template' };
  const database = createDatabase(options);
  const queuePool = createQueuePool(options);
  try {
    await migrateQueues(queuePool);
    await migrate(database);
    return '';
  } catch (error) {
    return `The test databases could not be migrated: ${(error as Error).message}`;
  } finally {
    await queuePool.end();
    await database.close();
  }
}

async function dockerAnswers(): Promise<boolean> {
  const host = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock';
  const target = host.startsWith('unix://')
    ? { socketPath: host.slice('unix://'.length) }
    : { host: new URL(host).hostname, port: new URL(host).port };
  return await new Promise((resolve) => {
    const ping = request({ ...target, path: '/_ping', timeout: 2000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    ping.on('timeout', () => ping.destroy());
    ping.on('error', () => resolve(false));
    ping.end();
  });
}

function say(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}
