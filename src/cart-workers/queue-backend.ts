import {
  Queue,
  Worker,
  createPostgresBackend,
  createRedisBackend,
  type BackendFactory,
  type Processor,
  type QueueOptions,
  type WorkerOptions,
} from 'bullmq';
import type { Config } from '../config.js';
import { createQueuePool, migrateQueues } from '../database.js';
import { watchClock } from './clock-set-back.js';
import { LaneRedis } from './lane-redis.js';

/**
 * The one seam between lanes and what carries their jobs: Redis, or PostgreSQL where there is none. Everything that must
 * not be lost lives in our own tables; a backend may forget all it knows and nothing is lost or doubled.
 */
export interface QueueBackend {
  readonly kind: 'redis' | 'postgres';
  /** What BullMQ calls a connection; shared by everything made here. */
  readonly connection: QueueOptions['connection'];
  readonly prefix: string;
  readonly factory: BackendFactory;
  /** How many lanes one process may open. */
  readonly lanesMax: number;
  /** False while Redis is away: what would be put in a queue then waits in memory for it, and its caller with it. */
  available(): boolean;
  /** Redis' maxmemory-policy as it is now; null on PostgreSQL and where the server does not tell. */
  maxmemoryPolicy(): Promise<string | null>;
  createQueue(name: string, options?: Omit<QueueOptions, 'connection' | 'prefix'>): Queue;
  createWorker<Data, Result>(
    name: string,
    processor: Processor<Data, Result>,
    options: Omit<WorkerOptions, 'connection' | 'prefix'>,
  ): Worker<Data, Result>;
  /**
   * The process is about to end: what waits for a Redis that is away, now or from now on, fails instead. All of it stands
   * in our own tables, and is put in again by whoever works next.
   */
  leave(): void;
  /** Ends the shared connections; close queues and workers first. */
  close(): Promise<void>;
}

/** Connections beside one LISTEN per lane: queries of all lanes together, and the fixed queues. */
const connectionsBesideLanes = 16;

/**
 * A way that swallows everything without closing shows in no other way. Longer than a worker waits for its next job in one
 * command, which is 10 s at most.
 */
const redisAnswerTimeoutMs = 20_000;

/** Before every key in Redis, so that an Onhand can share a Redis with others; PostgreSQL has its schema for that. */
const defaultPrefix = 'onhand';

export async function createQueueBackend(options: {
  readonly config: Pick<Config, 'redisUrl' | 'lanesMax'>;
  readonly databaseUrl: string;
  readonly prefix?: string;
  readonly onError: (error: Error) => void;
}): Promise<QueueBackend> {
  return options.config.redisUrl === undefined
    ? postgresBackend(options)
    : redisBackend(options.config.redisUrl, options.prefix ?? defaultPrefix, options.onError);
}

async function redisBackend(url: string, prefix: string, onError: (error: Error) => void): Promise<QueueBackend> {
  // Workers block on their connection and must wait for Redis however long it is gone: no limit on retries.
  const connection = new LaneRedis(url, {
    maxRetriesPerRequest: null,
    enableReadyCheck: true,
    lazyConnect: true,
    socketTimeout: redisAnswerTimeoutMs,
  });
  let reason: Error | undefined;
  connection.on('error', (error) => {
    reason = error;
    onError(error);
  });
  try {
    await connection.connect();
  } catch (error) {
    // It would go on trying for ever; a start says at once what is wrong.
    connection.disconnect();
    throw new Error(
      `Redis at ${new URL(url).host} does not let us in: ${(reason ?? (error as Error)).message}. Check REDIS_URL and that Redis is running.`,
      { cause: error },
    );
  }
  await refuseForgetfulRedis(connection, onError);
  return backend({
    kind: 'redis',
    prefix,
    connection,
    factory: createRedisBackend,
    lanesMax: Number.POSITIVE_INFINITY,
    available: () => connection.status === 'ready',
    maxmemoryPolicy: () => configOf(connection, 'maxmemory-policy'),
    leave: () => connection.waitNoMore(),
    close: async () => {
      if (connection.status === 'ready') await connection.quit().catch(() => undefined);
      connection.disconnect();
    },
  });
}

/** A Redis that evicts keys under pressure drops jobs at random; one without AOF forgets them at a restart. */
async function refuseForgetfulRedis(connection: LaneRedis, onError: (error: Error) => void): Promise<void> {
  const policy = await configOf(connection, 'maxmemory-policy');
  if (policy !== null && policy !== 'noeviction') {
    throw new Error(
      `Redis has maxmemory-policy ${policy}; lanes need noeviction. Mend it with: redis-cli CONFIG SET maxmemory-policy noeviction (and in redis.conf)`,
    );
  }
  // Everything owed stands in Postgres and is put in again, so this costs seconds after a restart, not stock.
  if ((await configOf(connection, 'appendonly')) === 'no') {
    onError(
      new Error(
        'Redis has appendonly no: after a restart of Redis, lanes wait some seconds until their jobs are put in again',
      ),
    );
  }
}

/** @returns null where the server does not allow CONFIG (managed services); their documentation has to be trusted then */
async function configOf(connection: LaneRedis, name: string): Promise<string | null> {
  try {
    const answer = await connection.config('GET', name);
    return answer[1] ?? null;
  } catch {
    return null;
  }
}

async function postgresBackend(options: {
  readonly config: Pick<Config, 'lanesMax'>;
  readonly databaseUrl: string;
  readonly onError: (error: Error) => void;
}): Promise<QueueBackend> {
  const pool = createQueuePool({
    url: options.databaseUrl,
    poolMax: options.config.lanesMax + connectionsBesideLanes,
    applicationName: 'onhand lanes',
    onIdleError: options.onError,
  });
  await migrateQueues(pool);
  const unwatch = await watchClock(pool, options.onError);
  return backend({
    kind: 'postgres',
    prefix: defaultPrefix,
    connection: pool,
    factory: createPostgresBackend as unknown as QueueBackend['factory'],
    lanesMax: options.config.lanesMax,
    available: () => true,
    maxmemoryPolicy: () => Promise.resolve(null),
    leave: () => undefined,
    close: async () => {
      await unwatch();
      await pool.end();
    },
  });
}

/** Adds what is the same for both: queues and workers of that connection. */
function backend(parts: Omit<QueueBackend, 'createQueue' | 'createWorker'>): QueueBackend {
  const { connection, prefix, factory } = parts;
  return {
    ...parts,
    createQueue: (name, options = {}) =>
      new Queue(name, { ...options, connection, prefix }, factory) as unknown as Queue,
    createWorker: <Data, Result>(
      name: string,
      processor: Processor<Data, Result>,
      options: Omit<WorkerOptions, 'connection' | 'prefix'>,
    ) => new Worker(name, processor, { ...options, connection, prefix }, factory) as unknown as Worker<Data, Result>,
  };
}
