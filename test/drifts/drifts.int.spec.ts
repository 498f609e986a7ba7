import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Drifts } from '../../src/cart-workers/drifts/drifts.js';
import type { DriftPolicy } from '../../src/events/facts.js';
import { startProgrammedCart, type ProgrammedCart } from '../lanes/programmed-cart.js';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';

const skus = Array.from({ length: 16 }, (_, index) => `R-${index}`);

describe('drifts', () => {
  let hub: Harness;
  let drifts: Drifts;
  let a: Shop;
  let b: Shop;
  let odd: ProgrammedCart;
  let used = 0;
  const sku = () => skus[used++] as string;

  beforeAll(async () => {
    hub = await createHarness({ backend: 'postgres' });
    drifts = new Drifts(hub);
    const items = skus.map((key) => ({ key, title: key, quantity: 10 }));
    [a, b] = await Promise.all([startShop('seti', { items }), startShop('webhook', { items })]);
    odd = await startProgrammedCart(new Map(skus.map((key) => [key, 10])));
    await hub.stockUp(Object.fromEntries(skus.map((key) => [key, 10])));
    const quick = { requestTimeoutMs: 600, quietTimeMs: 100 };
    await hub.connect('a', a, quick);
    await hub.connect('b', b, quick);
    await hub.connect('odd', odd.shop, quick);
    await hub.quiet();
    await Promise.all(['a', 'b'].map((cartId) => hub.orderImport.poll(cartId)));
  });
  afterAll(async () => {
    await hub.close();
    await Promise.all([a.stop(), b.stop(), odd.stop()]);
  });
  afterEach(async () => {
    for (const cartId of ['a', 'b', 'odd']) await policy(cartId, 'report');
    await hub.quiet();
    await assertInvariants(hub.database);
    await assertShopsAgree(
      hub.database,
      new Map([
        ['a', a],
        ['b', b],
        ['odd', odd.shop],
      ]),
    );
  });

  const policy = async (cartId: string, driftPolicy: DriftPolicy) => {
    await hub.ask({ type: 'ChangeCart', cartId, driftPolicy });
    await hub.projector.caughtUp(10_000);
  };
  const edit = async (shop: Shop, key: string, quantity: number) => shop.load([{ key, title: key, quantity }]);
  const receive = async (key: string, quantity: number) =>
    void (await hub.ask({ type: 'ReceiveStock', sku: key, location: 'MAIN', quantity }));
  const of = async (cartId: string, key: string) =>
    (await drifts.list({ cartId, open: false, limit: 200 })).filter((drift) => drift.key === key);
  const ended = (cartId: string, key: string, state: string) =>
    until(`a drift of ${cartId}/${key} is ${state}`, async () =>
      (await of(cartId, key)).find((drift) => drift.state === state),
    );
  const compare = (cartId: string) => hub.runtime().compare(cartId);

  it('are not seen in a reply that an order explains which was not heard of yet', async () => {
    const key = sku();
    await a.buy(key, 2);
    await receive(key, 5);
    const drift = await ended('a', key, 'cleared');
    expect(drift).toMatchObject({
      raisedBy: 'reply',
      difference: -2,
      class: null,
      resolution: 'An order that came in since explains it',
    });
    expect(await of('a', key)).toHaveLength(1);
    expect((await a.stock()).get(key)).toBe(13);
  });

  it('are corrected at once where the cart shows too much, and what is sent is a delta with its reason', async () => {
    await policy('b', 'repair');
    const key = sku();
    await edit(b, key, 14);
    await compare('b');
    expect(await of('b', key)).toMatchObject([{ state: 'repaired', class: 'edited-at-cart', difference: 4, looks: 1 }]);
    await hub.quiet();
    expect((await b.stock()).get(key)).toBe(10);
    const [fact] = await hub.rows<{ reason: string }>(
      `SELECT data->>'reason' AS reason FROM events WHERE type = 'ListingsBaselined' AND stream = 'cart:b' ORDER BY version DESC LIMIT 1`,
    );
    expect(fact?.reason).toBe('drift: edited-at-cart, +4');
  });

  it('are raised only after a second look', async () => {
    await policy('b', 'repair');
    const key = sku();
    await edit(b, key, 7);
    await compare('b');
    expect(await of('b', key)).toMatchObject([{ state: 'suspected', class: null, difference: -3 }]);
    expect(await ended('b', key, 'repaired')).toMatchObject({
      looks: 2,
      class: 'unknown',
      candidates: ['edited-at-cart', 'order-not-imported'],
    });
    await hub.quiet();
    expect((await b.stock()).get(key)).toBe(10);
  });

  // Broken once: a comparison that saw the corrected listing before the correction was noted called it cleared, so that it
  // did not count, neither in the account nor against corrections in a circle.
  it('count as corrected whichever look sees first that they are, also when the one that did it is never heard of again', async () => {
    await policy('b', 'repair');
    const key = sku();
    await edit(b, key, 6);
    const { qohTransfer } = hub;
    const baseline = qohTransfer.baselineReading.bind(qohTransfer);
    let seen: unknown;
    qohTransfer.baselineReading = async (...reading) => {
      qohTransfer.baselineReading = baseline;
      await baseline(...reading);
      await hub.quiet();
      await compare('b');
      [seen] = await of('b', key);
      throw new Error('The process ended here');
    };
    try {
      await compare('b');
      await until('it was corrected', () => seen);
    } finally {
      qohTransfer.baselineReading = baseline;
    }
    const corrected = {
      state: 'repaired',
      class: 'unknown',
      difference: -4,
      by: 'policy',
      resolution: "Corrected by the cart's policy",
    };
    expect(seen).toMatchObject(corrected);
    expect(await of('b', key)).toMatchObject([corrected]);
    expect((await b.stock()).get(key)).toBe(10);
  });

  it('are set to target by the whole sequence of Send where the policy says so', async () => {
    await policy('a', 'set-to-target');
    const key = sku();
    await edit(a, key, 12);
    await compare('a');
    await ended('a', key, 'repaired');
    await hub.quiet();
    expect((await a.stock()).get(key)).toBe(10);
  });

  it('are taken over where the policy says so, and every other cart hears of it', async () => {
    await policy('b', 'take-over');
    const key = sku();
    await edit(b, key, 16);
    await compare('b');
    await ended('b', key, 'repaired');
    await hub.quiet();
    expect([(await a.stock()).get(key), (await b.stock()).get(key), odd.quantities.get(key)]).toEqual([16, 16, 16]);
  });

  it('are never corrected in a circle: after three times the listing is parked until a person decides', async () => {
    await policy('odd', 'repair');
    const key = sku();
    const calls = () => odd.calls.filter((call) => call.lines.some((line) => line.key === key)).length;
    for (let time = 1; time <= 3; time += 1) {
      odd.quantities.set(key, 10 + time);
      await compare('odd');
      await hub.quiet();
      expect([odd.quantities.get(key), calls()]).toEqual([10, time]);
    }
    odd.quantities.set(key, 19);
    await compare('odd');
    await compare('odd');
    await hub.quiet();
    const [parked] = await of('odd', key);
    expect([parked?.state, odd.quantities.get(key), calls()]).toEqual(['parked', 19, 3]);
    expect(parked?.resolution).toContain('Corrected 3 times within 24 hours');
    const done = await drifts.resolve({
      id: parked?.id ?? 0,
      action: 'repair',
      reason: 'the gremlin is gone',
      by: 'test',
    });
    await hub.quiet();
    expect([done?.state, odd.quantities.get(key)]).toEqual(['repaired', 10]);
  });

  it('are told of what the cart does not list or track any more', async () => {
    const key = sku();
    odd.quantities.delete(key);
    await compare('odd');
    expect(await ended('odd', key, 'confirmed')).toMatchObject({ class: 'unlisted', shown: null, difference: null });
    odd.quantities.set(key, 10);
    await compare('odd');
    await ended('odd', key, 'cleared');
  });

  it('stay as they are when a person accepts them, and are told again only when they are others', async () => {
    const key = sku();
    await edit(b, key, 15);
    await compare('b');
    const drift = await ended('b', key, 'confirmed');
    await drifts.resolve({ id: drift.id, action: 'accept', reason: 'a display piece', by: 'test' });
    expect(await compare('b')).toMatchObject({ differing: 0 });
    await edit(b, key, 16);
    expect(await compare('b')).toMatchObject({ differing: 1 });
    const other = await ended('b', key, 'confirmed');
    await drifts.resolve({ id: other.id, action: 'take-over', reason: 'counted', by: 'test' });
    await hub.quiet();
    expect((await a.stock()).get(key)).toBe(16);
  });

  it('are not told of a listing that something happens to meanwhile', async () => {
    const key = sku();
    await a.faults({ delayBeforeMs: 400 });
    await edit(a, key, 17);
    await receive(key, 1);
    await until(
      'it is in flight',
      async () =>
        (await hub.rows(`SELECT FROM web_stack WHERE cart_id = 'a' AND key = $1 AND state = 'in-flight'`, key)).length >
        0,
    );
    const report = await compare('a');
    expect(report?.busy).toBeGreaterThanOrEqual(1);
    await a.faults({});
    await hub.quiet();
    const drift = await ended('a', key, 'confirmed');
    expect(drift).toMatchObject({ raisedBy: 'reply', difference: 7 });
    await drifts.resolve({ id: drift.id, action: 'repair', reason: 'a typing error', by: 'test' });
  });

  it('are unknown where a call that was given up comes to the cart after the listing was seen to be equal', async () => {
    const key = sku();
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let late: Promise<unknown> = Promise.resolve();
    odd.answer = (call) => {
      odd.answer = odd.apply;
      late = held.then(() => odd.apply(call));
      return late as Promise<null>;
    };
    await receive(key, 3);
    await hub.quiet();
    expect(odd.quantities.get(key)).toBe(13);
    await compare('odd');
    expect(await of('odd', key)).toEqual([]);
    release();
    await late;
    expect(odd.quantities.get(key)).toBe(16);
    await compare('odd');
    expect(await ended('odd', key, 'confirmed')).toMatchObject({
      class: 'unknown',
      candidates: ['delta-doubled', 'edited-at-cart'],
      difference: 3,
    });
    odd.quantities.set(key, 13);
  });

  it('are unknown where an order may be late, also when the feed moved on between a reply and the look at it', async () => {
    const [key, other] = [sku(), sku()];
    await hub.orderImport.poll('odd');
    // Sold in an order that nobody has told yet; another one is told before the reply is looked into.
    odd.quantities.set(key, 6);
    odd.quantities.set(other, 9);
    const lines = [{ line: '1', key: other, quantity: 1 }];
    const orders = [{ number: 'ODD-1', revision: 1, placedAt: null, state: 'open', lines }];
    odd.orderPages.push({ orders, mark: '1' }, ...Array.from({ length: 50 }, () => ({ orders: [], mark: '1' })));
    await receive(key, 5);
    expect(await ended('odd', key, 'confirmed')).toMatchObject({
      raisedBy: 'reply',
      difference: -4,
      class: 'unknown',
      candidates: ['edited-at-cart', 'order-not-imported'],
    });
    // Told at last, it explains the difference to the piece.
    const late = [
      { number: 'ODD-2', revision: 1, placedAt: null, state: 'open', lines: [{ line: '1', key, quantity: 4 }] },
    ];
    odd.orderPages.splice(0, odd.orderPages.length, { orders: late, mark: '2' });
    await hub.orderImport.poll('odd');
    odd.orderPages.push(...Array.from({ length: 50 }, () => ({ orders: [], mark: '2' })));
    await hub.quiet();
    await compare('odd');
    expect((await ended('odd', key, 'cleared')).class).toBe('order-not-imported');
  });

  it('make the trend of each cart, which is unhealthy after seven days without a clean comparison', async () => {
    expect((await drifts.agreement('a'))[0]).toMatchObject({ healthy: true, parked: 0 });
    await compare('a');
    const [last] = await drifts.trend('a', 1);
    expect(last).toMatchObject({ looked: skus.length, equal: skus.length, differing: 0, error: null });
    await hub.rows(`UPDATE carts SET switched_at = now() - interval '8 days' WHERE cart_id = 'a'`);
    await hub.rows(
      `UPDATE cart_comparisons SET started_at = started_at - interval '8 days', ended_at = ended_at - interval '8 days' WHERE cart_id = 'a'`,
    );
    expect((await drifts.agreement('a'))[0]).toMatchObject({
      healthy: false,
      why: 'No comparison of the last 7 days found both sides equal',
    });
  });

  it('are looked for by themselves when a comparison is due', async () => {
    await hub.rows(`UPDATE carts SET switched_at = now() - interval '2 hours' WHERE cart_id = 'b'`);
    await hub.rows(`DELETE FROM cart_comparisons WHERE cart_id = 'b'`);
    await until('the comparison that was due has run', async () => (await drifts.trend('b', 1))[0]?.endedAt);
    expect(await drifts.trend('b', 9)).toHaveLength(1);
  });
});
