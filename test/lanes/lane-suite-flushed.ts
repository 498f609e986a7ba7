import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPrivateRedis } from '../support/redis.js';
import { until } from '../support/until.js';
import { laneBench } from './lane-bench.js';

/** A queue that forgets everything in the middle: jobs, locks, pauses. Only for a Redis of one's own. */
export function flushedSuite(): void {
  describe('a Redis that is flushed', () => {
    let redis: NonNullable<Awaited<ReturnType<typeof startPrivateRedis>>>;
    let client: Redis;

    // Before the bench's own set-up, which connects to it.
    beforeAll(async () => {
      const started = await startPrivateRedis();
      if (started === undefined) throw new Error('There is no redis-server or valkey-server to start.');
      redis = started;
      client = new Redis(redis.url);
    });
    // Registered before the bench's own, too: what is registered last ends first, and the hub has to end before its Redis.
    afterAll(async () => {
      await client.quit();
      await redis.stop();
    });
    const bench = laneBench(() => ({ redisUrl: redis.url }));

    it('loses and doubles nothing, and a serial cart stays serial', async () => {
      const skus = Array.from({ length: 12 }, () => bench.sku());
      await Promise.all([bench.a.faults({ delayBeforeMs: 60 }), bench.b.faults({ delayBeforeMs: 60 })]);
      for (const sku of skus) await bench.receive(sku, 1);
      for (const delivered of [1, 3, 6]) {
        await until(`${delivered} are delivered to the serial cart`, async () => {
          const [done] = await bench.hub.rows<{ n: number }>(
            `SELECT count(*)::int AS n FROM web_stack WHERE cart_id = 'a' AND state = 'delivered'`,
          );
          return (done?.n ?? 0) >= delivered;
        });
        await client.flushall();
      }
      await bench.hub.quiet(40_000);
      expect(await Promise.all(skus.map((sku) => bench.shown(sku)))).toEqual(skus.map(() => [11, 11]));
      for (const shop of [bench.a, bench.b]) {
        const deltas = (await shop.journal()).filter(({ kind, key }) => kind === 'delta' && skus.includes(key));
        expect(deltas).toHaveLength(skus.length);
      }
      const overlapping = await bench.hub.rows(
        `SELECT x.id FROM attempts x JOIN attempts y ON y.cart_id = x.cart_id AND y.id <> x.id AND y.started_at >= x.started_at
            AND y.started_at < x.ended_at WHERE x.cart_id = 'a'`,
      );
      expect(overlapping).toEqual([]);
    });

    it('keeps a paused lane paused', async () => {
      const sku = bench.sku();
      await bench.hub.laneControl.pause('a', 'test', null);
      await client.flushall();
      await bench.receive(sku, 1);
      await bench.recordIn('b', sku, 'delivered');
      expect([await bench.light('a'), (await bench.records('a', sku))[0]?.state]).toEqual(['red', 'waiting']);
    });
  });
}
