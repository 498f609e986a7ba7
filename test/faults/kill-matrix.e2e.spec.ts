import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Moment } from '../../src/moments.js';
import { startPrivateRedis } from '../support/redis.js';
import { until } from '../support/until.js';
import { depth, generator, shuffled, tally } from './depth.js';
import { cartIds, faultBench, type CartId, type FaultBench } from './fault-bench.js';
import type { HubProcess } from './hub-process.js';

/**
 * A hub is killed, or frozen and thawed, at every moment between two durable steps, for every way of delivering, on both
 * backends. After each: another process goes on, everything comes to rest, all promises hold, and the hub and all four
 * shops have exactly what the model has.
 */
interface Strike {
  readonly moment: Moment;
  /** null: a moment that is of no cart's. */
  readonly cartId: CartId | null;
  readonly signal: 'SIGKILL' | 'SIGSTOP';
}

const ofNoCart: readonly Moment[] = ['append:begin', 'append:committed', 'projector:applied', 'projector:committed'];
const ofACart: readonly Moment[] = [
  'dispatch:committed',
  'worker:job-taken',
  'worker:attempt-written',
  'worker:request-sent',
  'worker:answered',
  'worker:outcome-recorded',
];
const signals = ['SIGKILL', 'SIGSTOP'] as const;

const everything: readonly Strike[] = signals.flatMap((signal) => [
  ...ofNoCart.map((moment) => ({ moment, cartId: null, signal })),
  ...ofACart.flatMap((moment) => cartIds.map((cartId) => ({ moment, cartId, signal }))),
]);

/** More than this many per minute come to no machine's end. */
const strikesPerMinute = 30;
const takeOverMsMax = 10_000;

/**
 * Every moment once with each backend, the carts and the signals in turn; the long form has all combinations before it
 * repeats any, for as long as there is time.
 */
function strikesOf(backend: 'Redis' | 'PostgreSQL'): readonly Strike[] {
  const random = generator(depth.seed + backend.length);
  if (depth.minutes > 0) {
    const rounds = Math.ceil((depth.minutes * strikesPerMinute) / 2 / everything.length);
    return Array.from({ length: rounds }, () => shuffled(everything, random)).flat();
  }
  const turn = backend === 'Redis' ? 0 : 1;
  const moments = [...ofNoCart, ...ofACart];
  return moments.map((moment, index) => ({
    moment,
    cartId: ofNoCart.includes(moment) ? null : (cartIds[(index + turn * 2) % cartIds.length] as CartId),
    signal: signals[(index + turn) % 2] as Strike['signal'],
  }));
}

const skusPerStrike = 2;

for (const backend of ['Redis', 'PostgreSQL'] as const) {
  describe(`a hub that is struck, with lanes on ${backend}`, () => {
    const strikes = strikesOf(backend);
    const skus = Array.from({ length: strikes.length * skusPerStrike }, (_, index) => `S${index + 1}`);
    let redis: Awaited<ReturnType<typeof startPrivateRedis>>;
    let bench: FaultBench;
    let hub: HubProcess;
    let endAt = Number.POSITIVE_INFINITY;

    beforeAll(async () => {
      if (backend === 'Redis') {
        redis = await startPrivateRedis();
        if (redis === undefined) throw new Error('There is no redis-server or valkey-server to start.');
      }
      bench = await faultBench({ redisUrl: redis?.url, skus });
      hub = await bench.start();
      // Each backend has half of the time.
      if (depth.minutes > 0) endAt = Date.now() + depth.minutes * 30_000;
    });
    afterAll(async () => {
      await bench?.close();
      await redis?.stop();
    });

    strikes.forEach(({ moment, cartId, signal }, index) => {
      const where = cartId === null ? moment : `${moment} of cart "${cartId}"`;
      const again = index < everything.length ? '' : `, time ${Math.floor(index / everything.length) + 1}`;
      it(`${signal === 'SIGKILL' ? 'killed' : 'frozen'} at ${where} loses and doubles nothing${again}`, async ({
        skip,
      }) => {
        skip(Date.now() > endAt, 'the minutes are over');
        const [moved, sold] = skus.slice(index * skusPerStrike) as [string, string];
        const seller = cartIds[index % cartIds.length] as CartId;
        await hub.arm({ moment, cartId, signal });
        const traffic = Promise.all([
          bench.move(moved, 7).then(() => bench.move(moved, -11)),
          bench.buy(seller, sold, 3).then(() => bench.move(sold, 20)),
        ]);
        // Whoever waits for it has to learn of a failure even while the strike is waited for.
        traffic.catch(() => undefined);
        const struck = hub;
        await struck.struck();
        const struckAt = Date.now();
        hub = await bench.start();
        const lane = cartId ?? 'key';
        await until('the lane is taken over', async () => {
          const [found] = await bench.harness.rows<{ n: number }>(
            `SELECT count(*)::int AS n FROM attempts WHERE cart_id = $1 AND started_at > $2`,
            lane,
            new Date(struckAt),
          );
          return (found?.n ?? 0) > 0;
        });
        const takenOverMs = Date.now() - struckAt;
        expect(takenOverMs).toBeLessThan(takeOverMsMax);
        tally({ 'faults injected': 1, 'slowest take-over in msMax': takenOverMs });
        await traffic;
        await bench.settle();
        if (signal === 'SIGSTOP') {
          await struck.thaw();
          await bench.settle();
          expect(await struck.stop()).toBe(0);
        }
        const [found] = await bench.harness.rows<{ n: number }>(
          `SELECT count(*)::int AS n FROM delivery_lines WHERE state = 'quarantined'`,
        );
        expect(found?.n).toBe(0);
        if (again === '') tally({ [`strikes of ${2 * everything.length}`]: 1 });
      });
    });
  });
}
