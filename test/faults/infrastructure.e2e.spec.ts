import { rm } from 'node:fs/promises';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRedis } from '../../samples/redis.mjs';
import { startPrivatePostgres, type PrivatePostgres } from '../support/private-postgres.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { until } from '../support/until.js';
import { depth, generator, shuffled, tally } from './depth.js';
import { cartIds, faultBench, type CartId, type FaultBench } from './fault-bench.js';

/**
 * What the hub stands on fails while movements and sales come in: PostgreSQL and Redis are restarted, killed, cut off,
 * stalled, slow, emptied, exchanged. After each: everything comes to rest by itself, all promises hold, the hub and all
 * four shops have exactly what the model has, and a cart that takes one call at a time never got two.
 */
const skusPerFault = 4;
/** What never answers is given up after this long here, instead of after 40 s; a disk that is just busy answers sooner. */
const answerTimeoutMs = 2_500;
/** A worker waits for its next job in one command, up to 10 s. */
const redisTimeoutMs = 11_000;

/** Hubs whose ground goes away say so, many times over; what counts here is what they do. */
const quiet = { ONHAND_LOG_LEVEL: 'fatal' };

let postgres: PrivatePostgres;
let redis: Awaited<ReturnType<typeof startRedis>>;
let redisDir: string;
let redisProxy: TcpProxy;
let bench: FaultBench;
const directories: string[] = [];

async function newRedis(dir?: string): Promise<void> {
  redisDir = dir ?? (await temporaryDirectory('onhand-test-redis-'));
  if (dir === undefined) directories.push(redisDir);
  redis = await startRedis({ dir: redisDir });
}

async function onRedis(work: (client: Redis) => Promise<unknown>): Promise<void> {
  const client = new Redis(redis.url);
  await work(client);
  await client.quit();
}

async function onServer(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: postgres.serverUrl });
  client.on('error', () => undefined);
  await client.connect();
  // The statement may well end this connection, too.
  await client.query(sql).catch(() => undefined);
  await client.end().catch(() => undefined);
}

/** Each ends with everything back in its place. `during` runs while it is broken. */
const faults: Readonly<Record<string, (during: () => Promise<unknown>) => Promise<void>>> = {
  'PostgreSQL restarted in order': async (during) => {
    await postgres.stop('fast');
    await during();
    await postgres.start();
  },
  'PostgreSQL killed, with recovery after it': async (during) => {
    await postgres.stop('immediate');
    await during();
    await postgres.start();
  },
  'every connection to PostgreSQL ended by the server': async (during) => {
    const every = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`;
    await onServer(every);
    await during();
    await onServer(every);
  },
  'the way to PostgreSQL cut, again and again': async (during) => {
    for (let times = 0; times < 5; times += 1) {
      postgres.proxy.cut();
      await during();
    }
  },
  'the way to PostgreSQL closed': async (during) => {
    postgres.proxy.close(true);
    postgres.proxy.cut();
    await during();
    postgres.proxy.close(false);
  },
  'connections to PostgreSQL that swallow everything and never close': async (during) => {
    postgres.proxy.stall();
    await during();
  },
  'a slow way to PostgreSQL': async (during) => {
    postgres.proxy.slow(40);
    await during();
    postgres.proxy.slow(0);
  },
  'Redis restarted in order': async (during) => {
    await redis.stop();
    await during();
    await newRedis(redisDir);
    redisProxy.lead(redis.port);
  },
  'Redis killed': async (during) => {
    process.kill(redis.pid, 'SIGKILL');
    await redis.stop();
    await during();
    await newRedis(redisDir);
    redisProxy.lead(redis.port);
  },
  'Redis flushed, again and again': async (during) => {
    for (let times = 0; times < 5; times += 1) {
      await onRedis((client) => client.flushall());
      await during();
    }
  },
  'Redis exchanged for a new, empty one': async (during) => {
    await redis.stop();
    await during();
    await newRedis();
    redisProxy.lead(redis.port);
  },
  'the way to Redis cut, again and again': async (during) => {
    for (let times = 0; times < 5; times += 1) {
      redisProxy.cut();
      await during();
    }
  },
  'connections to Redis that swallow everything and never close': async (during) => {
    redisProxy.stall();
    await during();
  },
  'a slow way to Redis': async (during) => {
    redisProxy.slow(60);
    await during();
    redisProxy.slow(0);
  },
};

const names = Object.keys(faults);
const random = generator(depth.seed);
/** The short form has each once; a minute of the long form has room for about twelve. */
const rounds =
  depth.minutes === 0 ? names : Array.from({ length: depth.minutes }, () => shuffled(names, random)).flat();
const skus = Array.from({ length: rounds.length * skusPerFault }, (_, index) => `S${index + 1}`);

beforeAll(async () => {
  await newRedis();
  redisProxy = await startTcpProxy(redis.port);
  postgres = await startPrivatePostgres();
  const database = await postgres.createDatabase({ query: `query_timeout=${answerTimeoutMs}` });
  const redisUrl = `redis://127.0.0.1:${redisProxy.port}?socketTimeout=${redisTimeoutMs}`;
  // Slow enough that something is always under way when a fault strikes.
  bench = await faultBench({ redisUrl, skus, database, shopFaults: { delayBeforeMs: 30 }, env: quiet });
  await bench.start();
  await bench.start();
});
afterAll(async () => {
  await bench?.close();
  await postgres?.close();
  await redisProxy?.stop();
  await redis?.stop();
  for (const dir of directories) await rm(dir, { recursive: true, force: true });
});

describe('two hubs with four carts', () => {
  rounds.forEach((name, index) => {
    it(`come through it: ${name}`, async () => {
      const own = skus.slice(index * skusPerFault, (index + 1) * skusPerFault) as [string, string, string, string];
      const before = await deltasArrived();
      const traffic: Promise<unknown>[] = own.map((sku) => bench.move(sku, 5));
      await until('the first of them has arrived', async () => (await deltasArrived()) > before);
      const more = async (step: number) => {
        const seller = cartIds[(index + step) % cartIds.length] as CartId;
        traffic.push(...own.map((sku) => bench.move(sku, step % 2 === 0 ? -3 : 4)));
        await bench.buy(seller, own[step % own.length] as string, 1);
        // Long enough for something to be tried, and to fail.
        await new Promise((resolve) => setTimeout(resolve, 150));
      };
      let step = 0;
      const began = Date.now();
      await (faults[name] as (typeof faults)[string])(() => more((step += 1)));
      tally({ 'faults injected': 1 });
      await Promise.all(traffic);
      await bench.settle();
      tally({ 'slowest recovery in msMax': Date.now() - began });
      expect(await quarantined()).toBe(0);
    });
  });

  it('never sent two calls at once to a cart that takes one at a time', async () => {
    for (const cartId of ['settle', 'set'] as const) {
      expect(await bench.shops.get(cartId)?.writesAtOnceMax()).toBe(1);
      const overlapping = await bench.harness.rows(
        `SELECT x.id FROM attempts x JOIN attempts y ON y.cart_id = x.cart_id AND y.id <> x.id AND y.started_at >= x.started_at
            AND y.started_at < x.ended_at WHERE x.cart_id = $1`,
        cartId,
      );
      expect(overlapping).toEqual([]);
    }
  });
});

async function deltasArrived(): Promise<number> {
  const [found] = await bench.harness.rows<{ n: number }>(
    `SELECT count(*)::int AS n FROM web_stack WHERE state = 'delivered'`,
  );
  return found?.n ?? 0;
}

async function quarantined(): Promise<number> {
  const [found] = await bench.harness.rows<{ n: number }>(
    `SELECT count(*)::int AS n FROM delivery_lines WHERE state = 'quarantined'`,
  );
  return found?.n ?? 0;
}
