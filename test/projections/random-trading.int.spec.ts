import fc from 'fast-check';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop, type ShopFaults } from '../support/shops.js';
import { assertInvariants, assertShopsAgree } from './assert-invariants.js';

const seed = 20260514;
const skus = ['R1', 'R2', 'R3'];

type Step =
  | { readonly do: 'adjust'; readonly sku: string; readonly delta: number }
  | { readonly do: 'count'; readonly sku: string; readonly quantity: number }
  | { readonly do: 'buy'; readonly cart: 'a' | 'b'; readonly sku: string; readonly quantity: number }
  | { readonly do: 'cancel' }
  | { readonly do: 'poll' | 'pause' | 'resume'; readonly cart: 'a' | 'b' }
  | { readonly do: 'fault'; readonly cart: 'a' | 'b'; readonly faults: ShopFaults }
  | { readonly do: 'compare'; readonly cart: 'a' | 'b' }
  | { readonly do: 'restart' | 'quiet' };

const sku = fc.constantFrom(...skus);
const cart = fc.constantFrom('a' as const, 'b' as const);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('adjust' as const),
      sku,
      delta: fc.integer({ min: -4, max: 6 }).filter((n) => n !== 0),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('count' as const), sku, quantity: fc.nat(20) }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('buy' as const), cart, sku, quantity: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'cancel' as const }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('poll' as const, 'pause' as const, 'resume' as const), cart }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('fault' as const),
      cart,
      faults: fc.constantFrom<ShopFaults>(
        { dropAfterApply: 1 },
        { dropBeforeApply: 1 },
        { failAfterApply: 2 },
        { throttle: 2, retryAfterSeconds: 0 },
        { refuse: 2 },
        { delayBeforeMs: 100 },
        {},
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('compare' as const), cart }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('restart' as const, 'quiet' as const) }) },
);

/** Trading days that nobody planned: movements, orders at both shops, pauses, faults and restarts in any order. */
describe.each([
  { how: 'fact by fact', farBehindFacts: 2_000 },
  { how: 'item by item, as when it is far behind', farBehindFacts: 0 },
])('random trading, projected $how', ({ farBehindFacts }) => {
  let hub: Harness;
  const shops = new Map<string, Shop>();
  const shop = (id: string) => shops.get(id) as Shop;

  beforeAll(async () => {
    console.log(`random trading: seed ${seed}`);
    hub = await createHarness({ backend: 'postgres', farBehindFacts });
    const items = skus.map((key) => ({ key, title: key, quantity: 20 }));
    shops.set('a', await startShop('seti', { items })).set('b', await startShop('webhook', { items }));
    await hub.stockUp(Object.fromEntries(skus.map((key) => [key, 20])));
    for (const [id, one] of shops) await hub.connect(id, one, { requestTimeoutMs: 500, quietTimeMs: 200 });
    await hub.quiet();
  });
  afterAll(async () => {
    await hub.close();
    await Promise.all([...shops.values()].map((one) => one.stop()));
  });

  async function take(now: Step): Promise<void> {
    switch (now.do) {
      case 'adjust':
        await hub.ask({ type: 'AdjustStock', sku: now.sku, location: 'MAIN', delta: now.delta });
        return;
      case 'count':
        await hub.ask({
          type: 'CountStock',
          sku: now.sku,
          location: 'MAIN',
          quantity: now.quantity,
          knows: ['direct', 'cart:a', 'cart:b'],
        });
        return;
      case 'buy':
        await shop(now.cart).buyLines([{ key: now.sku, quantity: now.quantity }], true);
        return;
      case 'cancel': {
        const open = (await shop('b').orders()).find(({ state }) => state === 'open');
        if (open === undefined) return;
        await hub.orderImport.importOrder('b', open, { after: null, by: '' });
        await hub.orderImport.importOrder('b', await shop('b').cancel(open.number), { after: null, by: '' });
        return;
      }
      case 'poll':
        // A shop that refuses calls may refuse this one too.
        await hub.orderImport.poll(now.cart).catch(() => undefined);
        return;
      case 'pause':
        await hub.laneControl.pause(now.cart, 'test', null);
        return;
      case 'resume':
        await hub.laneControl.resume(now.cart);
        return;
      case 'fault':
        await shop(now.cart).faults(now.faults);
        return;
      case 'compare':
        await settleDown();
        await hub.qohTransfer.run({ cartId: now.cart, direction: 'send' });
        return;
      case 'restart':
        await hub.restartWorkers();
        return;
      case 'quiet':
        await settleDown();
        return;
      default:
        now satisfies never;
    }
  }

  async function settleDown(): Promise<void> {
    for (const [id, one] of shops) {
      await one.faults({});
      await hub.laneControl.resume(id);
      await hub.orderImport.poll(id);
    }
    await hub.quiet(40_000);
    await assertInvariants(hub.database);
    await assertShopsAgree(hub.database, shops);
  }

  it('keeps what must always hold, and both shops agree once it is quiet', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 15, maxLength: 30 }), async (steps) => {
        for (const now of steps) await take(now);
        await settleDown();
        for (const { cartId, key } of await hub.deadLetters.listQuarantined({ limit: 100 })) {
          await hub.deadLetters.resolveQuarantined({ cartId, key, action: 'set-to-target', by: 'test' });
        }
        await settleDown();
      }),
      { seed, numRuns: 5, endOnFailure: true },
    );
  }, 180_000);
});
