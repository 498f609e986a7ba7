import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPrivateRedis } from '../support/redis.js';
import { until } from '../support/until.js';
import { tally } from './depth.js';
import { faultBench, type FaultBench } from './fault-bench.js';
import type { HubProcess } from './hub-process.js';

/**
 * The clock of a hub is set back, or leaps ahead, by an hour, while it works; by a script in the hub's own process that
 * shifts Date and leaves alone what only runs on. Queues wake, lock and schedule by such clocks; nothing waits for an hour.
 */
const hourMs = 3_600_000;
const patienceMs = 45_000;
const skus = Array.from({ length: 12 }, (_, index) => `S${index + 1}`);

for (const backend of ['Redis', 'PostgreSQL'] as const) {
  describe(`a hub whose clock jumps, with lanes on ${backend}`, () => {
    let redis: Awaited<ReturnType<typeof startPrivateRedis>>;
    let bench: FaultBench;
    let hub: HubProcess;
    let used = 0;
    const sku = () => skus[used++] as string;

    beforeAll(async () => {
      if (backend === 'Redis') {
        redis = await startPrivateRedis();
        if (redis === undefined) throw new Error('There is no redis-server or valkey-server to start.');
      }
      bench = await faultBench({ redisUrl: redis?.url, skus });
      hub = await bench.start();
    });
    afterAll(async () => {
      await bench?.close();
      await redis?.stop();
    });

    /** Asks for nothing itself, so that it is the hub's own poll that has to come. */
    const hearsOf = async (soldSku: string, left: number) => {
      await until(
        `the hub hears that ${soldSku} was sold`,
        async () => {
          const [row] = await bench.harness.rows<{ on_hand: number }>(
            `SELECT on_hand::int FROM quantity_on_hand WHERE sku = $1`,
            soldSku,
          );
          return row?.on_hand === left;
        },
        patienceMs,
      );
    };

    const delivered = (cartId: string, key: string) =>
      until(
        `cart ${cartId} is told of ${key}`,
        async () => {
          const [row] = await bench.harness.rows<{ n: number }>(
            `SELECT count(*)::int AS n FROM web_stack WHERE cart_id = $1 AND key = $2 AND state = 'delivered'`,
            cartId,
            key,
          );
          return (row?.n ?? 0) > 0;
        },
        patienceMs,
      );

    // Shops that check signatures refuse a hub whose clock is wrong by an hour, and the hub refuses theirs; the others go on.
    it('goes on when it leaps ahead', async () => {
      await bench.shops.get('key')?.faults({ dropBeforeApply: true });
      await hub.shiftClock(hourMs);
      const [moved, sold] = [sku(), sku()];
      await bench.move(moved, 5);
      await bench.buy('settle', sold, 2);
      await hearsOf(sold, 98);
      await delivered('settle', moved);
      await delivered('set', moved);
      tally({ 'clock jumps': 1 });
    });

    // Jobs that sleep until a resend, and the next order poll, waited for the hour to come again.
    it('goes on when it is set back to where it was', async () => {
      await hub.shiftClock(0);
      await bench.shops.get('key')?.faults({});
      const [moved, sold] = [sku(), sku()];
      await bench.move(moved, -4);
      await bench.buy('settle', sold, 2);
      await hearsOf(sold, 98);
      await bench.settle();
      tally({ 'clock jumps': 1 });
    });

    // The dead worker's lock reached an hour into the future.
    it('is followed by one with the right time, when it was ahead and dies in a call', async () => {
      await hub.shiftClock(hourMs);
      const moved = sku();
      await hub.arm({ moment: 'worker:request-sent', cartId: 'settle', signal: 'SIGKILL' });
      const moving = bench.move(moved, 3);
      await hub.struck();
      const began = Date.now();
      hub = await bench.start();
      await moving;
      const sold = sku();
      await bench.buy('set', sold, 1);
      await hearsOf(sold, 99);
      await bench.settle();
      tally({ 'clock jumps': 1, 'slowest recovery in msMax': Date.now() - began });
      expect(await bench.harness.rows(`SELECT key FROM delivery_lines WHERE state = 'quarantined'`)).toEqual([]);
    });
  });
}
