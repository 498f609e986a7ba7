import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { tally } from './depth.js';
import { cartIds, kinds, type CartId } from './fault-bench.js';
import { startTcpProxy, type TcpProxy, type Trick } from './tcp-proxy.js';

const requestTimeoutMs = 600;
const quietTimeMs = 900;
const onHandAtFirst = 10;

/** Each done to a delta on its way to a cart of every way of delivering. */
const tricks: readonly Trick[] = [
  { do: 'cut before the request was read' },
  { do: 'cut within the request' },
  { do: 'cut before the answer' },
  { do: 'cut within the answer' },
  { do: 'swallow the request' },
  { do: 'swallow the answer' },
  { do: 'answer garbage' },
  { do: 'answer twice' },
  { do: 'drip the answer', everyMs: 2 },
  { do: 'drip the answer', everyMs: 100 },
  { do: 'hold the answer', ms: requestTimeoutMs + 300 },
  { do: 'hold the request', ms: requestTimeoutMs / 2 },
  // Applied after the hub has given the call up, and within the cart's quiet time.
  { do: 'hold the request', ms: requestTimeoutMs + quietTimeMs / 2 },
];

const namesOf = (trick: Trick) =>
  Object.values(trick)
    .map((value) => (typeof value === 'number' ? `${value} ms` : value))
    .join(', ');

describe('the tricks of a network', () => {
  let hub: Harness;
  const shops = new Map<CartId, Shop>();
  const ways = new Map<CartId, TcpProxy>();
  const skus = Array.from({ length: tricks.length * 2 + 4 }, (_, index) => `N-${index + 1}`);
  const left = [...skus];
  const sku = () => left.shift() as string;
  const shop = (cartId: CartId) => shops.get(cartId) as Shop;
  const way = (cartId: CartId) => ways.get(cartId) as TcpProxy;

  beforeAll(async () => {
    const redisUrl = inject('redisUrl');
    hub = await createHarness({ backend: redisUrl === '' ? 'postgres' : { redisUrl } });
    await hub.stockUp(Object.fromEntries(skus.map((key) => [key, onHandAtFirst])));
    const items = skus.map((key) => ({ key, title: key, quantity: onHandAtFirst }));
    for (const cartId of cartIds) {
      const { kind, settings, faults } = kinds[cartId];
      const own = await startShop(kind, { items });
      shops.set(cartId, own);
      await own.faults(faults);
      const url = new URL(own.url);
      const proxy = await startTcpProxy(Number(url.port));
      ways.set(cartId, proxy);
      url.port = String(proxy.port);
      await hub.connect(cartId, { ...own, url: url.href }, { requestTimeoutMs, quietTimeMs, ...settings });
    }
    await hub.quiet();
  });
  afterAll(async () => {
    await hub.close();
    for (const proxy of ways.values()) await proxy.close();
    for (const own of shops.values()) await own.stop();
  });

  const receive = (key: string, quantity: number) =>
    hub.ask({ type: 'ReceiveStock', sku: key, location: 'MAIN', quantity });
  /** Words that only a write of this SKU contains; a reading names SKUs too. */
  const writeOf = (cartId: CartId, key: string) =>
    ({
      key: `"key":"${key}","delta"`,
      compare: `"key":"${key}","delta"`,
      settle: `update=${key}%7E`,
      set: `update=${key}%7E`,
    })[cartId];

  async function everyShopShows(key: string, quantity: number): Promise<void> {
    for (const cartId of cartIds) await hub.orderImport.poll(cartId);
    await hub.quiet(60_000);
    const quarantined = await hub.deadLetters.listQuarantined({ limit: 10 });
    expect(quarantined).toEqual([]);
    const shown = await Promise.all(cartIds.map(async (cartId) => (await shop(cartId).stock()).get(key)));
    expect(Object.fromEntries(cartIds.map((cartId, index) => [cartId, shown[index]]))).toEqual(
      Object.fromEntries(cartIds.map((cartId) => [cartId, quantity])),
    );
    await assertInvariants(hub.database);
    await assertShopsAgree(hub.database, shops);
  }

  for (const trick of tricks) {
    it(`"${namesOf(trick)}" loses and doubles nothing, with a sale before and while the answer is missing`, async () => {
      const key = sku();
      for (const cartId of cartIds) way(cartId).play(writeOf(cartId, key), trick);
      await shop('settle').buy(key, 1);
      await receive(key, 5);
      await expect.poll(() => cartIds.map((cartId) => way(cartId).waiting())).toEqual([0, 0, 0, 0]);
      await shop('compare').buy(key, 1);
      await everyShopShows(key, onHandAtFirst + 5 - 2);
      tally({ 'tricks of the network': cartIds.length });
    });
  }
});
