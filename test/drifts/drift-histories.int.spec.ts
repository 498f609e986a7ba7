import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { driftClasses, type DriftClass } from '../../src/cart-workers/drifts/drift-class.js';
import { depth, generator, shuffled } from '../faults/depth.js';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';

/** What can be made to happen at these shops; `b` is the one with idempotency keys, which it can forget. */
const misfortunes = [
  'delta-lost',
  'delta-doubled',
  'edited-at-cart',
  'order-not-imported',
  'clamped',
  'swallowed-by-checkout',
  'not-tracked',
  'none',
] as const;
type Misfortune = (typeof misfortunes)[number];
const roundsOfEach = 3;

/**
 * Sizes are drawn so that no two stories have the same one: an edit of exactly the size of a delta that nothing but an answer
 * vouches for cannot be told from its loss, and is not asked for here (docs/reconciliation.md says so).
 */
describe('drifts of random histories', () => {
  let hub: Harness;
  let a: Shop;
  let b: Shop;
  const random = generator(depth.seed);
  const between = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
  const plan = shuffled(
    misfortunes.flatMap((misfortune) => Array.from({ length: roundsOfEach }, () => misfortune)),
    random,
  ).map((misfortune, index) => ({
    misfortune,
    sku: `D-${String(index).padStart(2, '0')}`,
    cartId: misfortune === 'delta-doubled' || random() < 0.5 ? 'b' : 'a',
  }));
  const other = 'D-OTHER';

  beforeAll(async () => {
    console.log(`drift histories: seed ${depth.seed}`);
    hub = await createHarness({ backend: 'postgres' });
    const items = [...plan.map(({ sku }) => sku), other].map((key) => ({ key, title: key, quantity: 100 }));
    [a, b] = await Promise.all([startShop('seti', { items }), startShop('webhook', { items })]);
    await hub.stockUp(Object.fromEntries(items.map(({ key }) => [key, 100])));
    // A cart that is only slow must not become one in doubt: what goes wrong here is what the plan says.
    const quick = { requestTimeoutMs: 8_000, quietTimeMs: 100 };
    await hub.connect('a', a, quick);
    await hub.connect('b', b, quick);
    await hub.quiet();
    await Promise.all(['a', 'b'].map((cartId) => hub.orderImport.poll(cartId)));
  });
  afterAll(async () => {
    await hub.close();
    await Promise.all([a.stop(), b.stop()]);
  });

  const shopOf = (cartId: string) => (cartId === 'a' ? a : b);
  const shown = async (cartId: string, sku: string) => (await shopOf(cartId).stock()).get(sku) as number;
  const edit = async (cartId: string, key: string, by: number) =>
    shopOf(cartId).load([{ key, title: key, quantity: (await shown(cartId, key)) + by }]);
  const move = async (sku: string, delta: number) =>
    void (await hub.ask(
      delta > 0
        ? { type: 'ReceiveStock', sku, location: 'MAIN', quantity: delta }
        : { type: 'SellStock', sku, location: 'MAIN', quantity: -delta },
    ));
  const pollBoth = async () => {
    await Promise.all(['a', 'b'].map((cartId) => hub.orderImport.poll(cartId)));
    await hub.quiet();
  };

  async function happen(misfortune: Misfortune, cartId: string, sku: string): Promise<void> {
    const shop = shopOf(cartId);
    for (let steps = between(0, 2); steps > 0; steps -= 1) await move(sku, (random() < 0.5 ? -1 : 1) * between(1, 3));
    if (random() < 0.3) await shop.buy(sku, between(4, 5));
    await pollBoth();
    const size = (random() < 0.5 ? -1 : 1) * between(11, 29);
    switch (misfortune) {
      case 'delta-lost':
        await shop.faults({ okButIgnored: 1 });
        await move(sku, size);
        break;
      case 'delta-doubled':
        await shop.faults({ forgetKeys: true, dropAfterApply: 1 });
        await move(sku, size);
        break;
      case 'edited-at-cart':
        await edit(cartId, sku, size > 0 ? size + 20 : size - 20);
        break;
      case 'order-not-imported':
        await shop.buy(sku, between(11, 29));
        return;
      case 'clamped':
        // It has sold more than a delta of ours leaves, and nobody has told us yet.
        await shop.faults({ clampAtZero: true });
        await shop.buy(sku, between(60, 70));
        await move(sku, -between(71, 79));
        await hub.quiet();
        await pollBoth();
        break;
      case 'swallowed-by-checkout':
        await move(sku, size);
        await hub.quiet();
        await shop.buy(sku, 1);
        await pollBoth();
        await edit(cartId, sku, -size);
        break;
      default:
    }
    await hub.quiet();
    await shop.faults({});
  }

  const drifts = () =>
    hub.rows<{ cart_id: string; key: string; class: DriftClass | null; state: string; candidates: DriftClass[] }>(
      'SELECT cart_id, key, class, state, candidates FROM drifts ORDER BY id',
    );
  const compareBoth = async () => {
    await Promise.all(['a', 'b'].map((cartId) => hub.runtime().compare(cartId)));
    await until('every suspicion was looked at again', async () =>
      (await drifts()).every(({ state }) => state !== 'suspected'),
    );
  };

  it('are told in their class or as unknown, never in a wrong one', async () => {
    const early = plan.filter(({ misfortune }) => misfortune !== 'order-not-imported' && misfortune !== 'not-tracked');
    for (const { misfortune, cartId, sku } of early) await happen(misfortune, cartId, sku);
    // From here on the feeds hide what they sell.
    const untrackedKeys = (cartId: string) =>
      plan.filter((one) => one.misfortune === 'not-tracked' && one.cartId === cartId).map(({ sku }) => sku);
    for (const cartId of ['a', 'b'])
      await shopOf(cartId).faults({ ordersHidden: true, untrackedKeys: untrackedKeys(cartId) });
    for (const { misfortune, cartId, sku } of plan)
      if (misfortune === 'order-not-imported') await shopOf(cartId).buy(sku, between(11, 29));
    await compareBoth();
    const first = confusion(await drifts());
    // The feeds tell them, and later orders, too: what was missing and is not explained by an order is an edit now.
    for (const cartId of ['a', 'b']) {
      await shopOf(cartId).faults({ untrackedKeys: untrackedKeys(cartId) });
      await shopOf(cartId).buy(other, 1);
    }
    await pollBoth();
    await compareBoth();
    const second = confusion(await drifts());
    console.log(`At the first look:\n${first.table}\nOnce the orders are in:\n${second.table}`);
    expect([first.wrong, second.wrong]).toEqual([[], []]);
    expect(Object.fromEntries(misfortunes.map((name) => [name, second.right.get(name)]))).toEqual(
      Object.fromEntries(misfortunes.map((name) => [name, roundsOfEach])),
    );
    await assertInvariants(hub.database);
  }, 180_000);

  it('are gone after a Send, and nothing is suspected any more', async () => {
    for (const cartId of ['a', 'b']) {
      await shopOf(cartId).faults({});
      await hub.qohTransfer.run({ cartId, direction: 'send' });
    }
    await hub.quiet();
    await compareBoth();
    expect((await drifts()).filter(({ state }) => state !== 'cleared')).toEqual([]);
    await assertInvariants(hub.database);
    await assertShopsAgree(
      hub.database,
      new Map([
        ['a', a],
        ['b', b],
      ]),
    );
  });

  /** Of each listing the last drift that was told; rows say what happened, columns what was told. */
  function confusion(rows: Awaited<ReturnType<typeof drifts>>) {
    const told = new Map(rows.filter((row) => row.class !== null).map((row) => [`${row.cart_id}/${row.key}`, row]));
    const counts = new Map<string, number>();
    const right = new Map<string, number>();
    const wrong: string[] = [];
    const columns = [...driftClasses, 'none'];
    for (const { misfortune, cartId, sku } of plan) {
      const drift = told.get(`${cartId}/${sku}`);
      const name = drift?.class ?? 'none';
      counts.set(`${misfortune}/${name}`, (counts.get(`${misfortune}/${name}`) ?? 0) + 1);
      if (name === misfortune) right.set(misfortune, (right.get(misfortune) ?? 0) + 1);
      else if (name !== 'unknown') wrong.push(`${cartId}/${sku}: ${misfortune} was told as ${name}`);
    }
    for (const { misfortune, cartId, sku } of plan) told.delete(misfortune === 'none' ? '' : `${cartId}/${sku}`);
    for (const key of told.keys())
      wrong.push(`${key}: nothing happened there, and it was told as ${told.get(key)?.class}`);
    const width = Math.max(...columns.map((name) => name.length));
    const table = misfortunes
      .map(
        (row) =>
          `${row.padEnd(width)} ${columns
            .map((column) => `${column}=${counts.get(`${row}/${column}`) ?? 0}`)
            .filter((cell) => !cell.endsWith('=0'))
            .join(' ')}`,
      )
      .join('\n');
    return { table, right, wrong };
  }
});
