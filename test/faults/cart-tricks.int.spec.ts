import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop, type ShopFaults } from '../support/shops.js';
import { until } from '../support/until.js';
import { tally } from './depth.js';
import { whyUndecidable, type Evidence } from './evidence.js';
import { cartIds, kinds, type CartId } from './fault-bench.js';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.js';

const requestTimeoutMs = 600;
const quietTimeMs = 400;
const onHandAtFirst = 10;

/** Carts that mislead: by what they answer, by when they act, and by what they keep to themselves. */
describe('the tricks of a cart', () => {
  let hub: Harness;
  let parallel: () => number;
  let way: TcpProxy;
  const shops = new Map<CartId, Shop>();
  const skus = Array.from({ length: 40 }, (_, index) => `T-${index + 1}`);
  const left = [...skus];
  const sku = () => left.shift() as string;
  const shop = (cartId: CartId) => shops.get(cartId) as Shop;

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
      if (cartId === 'settle') {
        way = await startTcpProxy(Number(url.port));
        parallel = way.countParallel('invupdate');
        url.port = String(way.port);
      }
      await hub.connect(cartId, { ...own, url: url.href }, { requestTimeoutMs, quietTimeMs, ...settings });
    }
    await hub.quiet();
  });
  afterAll(async () => {
    await hub.close();
    await way.close();
    for (const own of shops.values()) await own.stop();
  });
  afterEach(async () => {
    for (const cartId of cartIds) await fault(cartId, {});
    await quiet();
    await assertInvariants(hub.database);
    await assertShopsAgree(hub.database, shops);
  });

  const move = (key: string, delta: number) => hub.ask({ type: 'AdjustStock', sku: key, location: 'MAIN', delta });
  const fault = (cartId: CartId, faults: ShopFaults) => shop(cartId).faults({ ...kinds[cartId].faults, ...faults });
  const shownBy = async (cartId: CartId, key: string) => (await shop(cartId).stock()).get(key);
  const send = (cartId: CartId, key: string) => hub.qohTransfer.run({ cartId, direction: 'send', keys: [key] });
  const inState = (cartId: CartId, key: string, state: string) =>
    until(`a record of ${cartId}/${key} is ${state}`, async () => {
      const found = await hub.rows(
        'SELECT FROM web_stack WHERE cart_id = $1 AND key = $2 AND state = $3',
        cartId,
        key,
        state,
      );
      return found.length > 0;
    });
  const outcomes = async (cartId: CartId, key: string) =>
    (
      await hub.rows<{ outcome: string }>(
        `SELECT outcome FROM delivery_lines WHERE cart_id = $1 AND key = $2 AND outcome IS NOT NULL ORDER BY ended_at`,
        cartId,
        key,
      )
    ).map(({ outcome }) => outcome);

  async function quiet(): Promise<void> {
    for (const cartId of cartIds) await hub.orderImport.poll(cartId);
    await hub.quiet(60_000);
  }

  async function everyShopShows(key: string, quantity: number): Promise<void> {
    await quiet();
    const shown = await Promise.all(cartIds.map((cartId) => shownBy(cartId, key)));
    expect(shown).toEqual(cartIds.map(() => quantity));
    tally({ 'tricks of carts': cartIds.length });
  }

  for (const [words, faults] of [
    ['apply and then answer 500', { failAfterApply: 1 }],
    ['answer when nobody waits any more', { delayAfterMs: requestTimeoutMs + 200 }],
    ['act when nobody waits for the answer any more', { delayBeforeMs: requestTimeoutMs + 100 }],
    ['are closed for a while', { refuse: 3 }],
  ] as const) {
    it(`lose and double nothing at carts that ${words}`, async () => {
      const key = sku();
      for (const cartId of cartIds) await fault(cartId, faults);
      await move(key, 5);
      for (const cartId of cartIds)
        await until(`${cartId} was tried`, async () => {
          const tried = await hub.rows(
            `SELECT FROM attempts a JOIN delivery_lines d USING (delivery_id)
              WHERE d.cart_id = $1 AND d.key = $2 AND a.ended_at IS NOT NULL AND a.kind = 'send'`,
            cartId,
            key,
          );
          const settled = await hub.rows(`SELECT FROM lanes WHERE cart_id = $1 AND down_since IS NOT NULL`, cartId);
          return tried.length > 0 || settled.length > 0;
        });
      for (const cartId of cartIds) await fault(cartId, {});
      await shop('settle').buy(key, 2);
      await everyShopShows(key, onHandAtFirst + 3);
    });
  }

  it('a cart that loses what two calls change at once is never given two', async () => {
    await fault('settle', { delayBeforeMs: 60 });
    const keys = Array.from({ length: 5 }, sku);
    await Promise.all(keys.map((key) => move(key, 2)));
    for (const key of keys) await everyShopShows(key, onHandAtFirst + 2);
    expect(parallel()).toBe(1);
  });

  it('"OK, but not found" is not taken for delivered', async () => {
    const key = sku();
    await fault('settle', { unknownKeys: [key], okButNotFound: true });
    await move(key, 5);
    await inState('settle', key, 'dead-lettered');
    await fault('settle', {});
    await hub.deadLetters.redrive({ cartId: 'settle', key });
    await everyShopShows(key, onHandAtFirst + 5);
  });

  it('an "OK" without any change is believed by carts’ word alone, and the next comparison shows and mends it', async () => {
    const key = sku();
    for (const cartId of ['key', 'compare', 'settle'] as const) await fault(cartId, { okButIgnored: 1 });
    await move(key, 5);
    await quiet();
    for (const cartId of ['key', 'compare', 'settle'] as const) {
      expect(await outcomes(cartId, key)).toEqual(['applied']);
      expect(await shownBy(cartId, key)).toBe(onHandAtFirst);
      expect(await send(cartId, key)).toMatchObject({ differences: 1 });
    }
    await everyShopShows(key, onHandAtFirst + 5);
  });

  it('an "OK" without any change is not believed by a cart that is set and read back', async () => {
    const key = sku();
    await fault('set', { okButIgnored: 1 });
    await move(key, 5);
    await everyShopShows(key, onHandAtFirst + 5);
  });

  it('a cart that forgets a key within its stated life doubles the resend, and the next comparison shows and mends it', async () => {
    const key = sku();
    await fault('key', { dropAfterApply: 1, forgetKeys: true });
    await move(key, 5);
    await quiet();
    expect(await shownBy('key', key)).toBe(onHandAtFirst + 10);
    expect(await send('key', key)).toMatchObject({ differences: 1 });
    await everyShopShows(key, onHandAtFirst + 5);
  });

  describe('the traps of a naive settlement', () => {
    for (const cartId of ['settle', 'compare'] as const) {
      it(`${cartId}: a lost delta and a sale of the same size, told in time, are told apart`, async () => {
        const key = sku();
        await hub.orderImport.poll(cartId);
        await fault(cartId, { dropBeforeApply: 1 });
        await move(key, -3);
        await inState(cartId, key, 'in-doubt');
        await shop(cartId).buy(key, 3);
        await everyShopShows(key, onHandAtFirst - 6);
        expect(await outcomes(cartId, key)).toEqual(['settled as not applied', 'applied']);
      });

      it(`${cartId}: a sale of the same size that may be older than what is known before leaves both stories, and a person`, async () => {
        const key = sku();
        await hub.orderImport.poll(cartId);
        await move(key, 1);
        await hub.quiet();
        await fault(cartId, { dropBeforeApply: 1 });
        await move(key, -3);
        await inState(cartId, key, 'in-doubt');
        await shop(cartId).buy(key, 3);
        await inState(cartId, key, 'quarantined');
        const [line] = await hub.deadLetters.listQuarantined({ cartId, limit: 10 });
        expect(whyUndecidable(JSON.parse(JSON.stringify(line?.evidence)) as Evidence)).toBe('both stories fit');
        tally({ quarantined: 1 });
        await hub.deadLetters.resolveQuarantined({ cartId, key, action: 'was-not-applied', by: 'test' });
        await everyShopShows(key, onHandAtFirst - 5);
      });

      it(`${cartId}: a sale of the same size whose order turns up after the verdict overturns it`, async () => {
        const key = sku();
        await fault(cartId, { dropBeforeApply: 1, ordersHidden: true });
        await move(key, -3);
        await inState(cartId, key, 'in-doubt');
        await shop(cartId).buy(key, 3);
        await hub.quiet();
        // Exactly one story fitted: the wrong one.
        expect(await outcomes(cartId, key)).toEqual(['settled as applied']);
        await fault(cartId, {});
        await hub.orderImport.poll(cartId);
        await until('the listing is compared again', async () => {
          const compared = await hub.rows(
            'SELECT FROM delivery_lines WHERE cart_id = $1 AND key = $2 AND compared_at IS NOT NULL',
            cartId,
            key,
          );
          return compared.length > 0;
        });
        await everyShopShows(key, onHandAtFirst - 6);
      });

      it(`${cartId}: a quantity that somebody set by hand meanwhile fits neither story, and goes to a person`, async () => {
        const key = sku();
        await fault(cartId, { dropAfterApply: 1 });
        await move(key, 2);
        await inState(cartId, key, 'in-doubt');
        await shop(cartId).load([{ key, title: key, quantity: 40 }]);
        await inState(cartId, key, 'quarantined');
        const [line] = await hub.deadLetters.listQuarantined({ cartId, limit: 10 });
        expect(whyUndecidable(JSON.parse(JSON.stringify(line?.evidence)) as Evidence)).toBe('neither story fits');
        await hub.deadLetters.resolveQuarantined({ cartId, key, action: 'set-to-target', by: 'test' });
        await everyShopShows(key, onHandAtFirst + 2);
      });
    }

    it('a request that is applied after we read, beyond the quiet time, doubles, and the next comparison shows and mends it', async () => {
      const key = sku();
      way.play(`update=${key}%7E`, { do: 'hold the request', ms: requestTimeoutMs + quietTimeMs + 1_500 });
      await move(key, 5);
      await inState('settle', key, 'in-doubt');
      await quiet();
      expect(await outcomes('settle', key)).toEqual(['settled as not applied', 'applied']);
      await expect.poll(() => shownBy('settle', key)).toBe(onHandAtFirst + 10);
      expect(await send('settle', key)).toMatchObject({ differences: 1 });
      await everyShopShows(key, onHandAtFirst + 5);
    });
  });
});
