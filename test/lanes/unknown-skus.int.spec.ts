import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';

/** Two shops: `a` is asked for its orders, `b` sends them; both sell CUP, `a` under a key of its own. */
let hub: Harness;
let a: Shop;
let b: Shop;
beforeAll(async () => {
  const item = (key: string, quantity = 10) => ({ key, title: `Shop's ${key}`, quantity });
  a = await startShop('seti', { items: [item('MUG'), item('K-1'), item('K-2', 4), item('K-3', 6)] });
  b = await startShop('webhook', { items: [item('MUG'), item('CUP')] });
  hub = await createHarness({ backend: 'postgres' });
  await hub.stockUp({ MUG: 10, CUP: 10 });
  await hub.connect('b', b);
  await hub.connect('a', a);
  await hub.quiet();
});
afterAll(async () => {
  await hub.close();
  await Promise.all([a.stop(), b.stop()]);
});

const onHand = async (sku: string) =>
  (await hub.rows<{ n: number }>('SELECT sum(on_hand)::int AS n FROM quantity_on_hand WHERE sku = $1', sku))[0]?.n;
const unknown = async () =>
  (await hub.rows<{ key: string }>(`SELECT key FROM unknown_skus WHERE cart_id = 'a' ORDER BY key`)).map(
    ({ key }) => key,
  );
const deltas = async (shop: Shop, sku: string) =>
  (await shop.journal()).filter(({ key, kind }) => key === sku && kind === 'delta').map(({ delta }) => delta);
const resolved = () =>
  until('no order waits to be resolved', async () => {
    await hub.projector.caughtUp(5_000);
    return (await hub.rows('SELECT FROM unknown_order_lines WHERE mapped_to IS NOT NULL')).length === 0;
  });

describe('a SKU that nobody knows', () => {
  it('is in sight from the first comparison on', async () => {
    await hub.projector.caughtUp(5_000);
    expect(await unknown()).toEqual(['K-1', 'K-2', 'K-3']);
  });

  it('in an order holds up neither the order nor its known lines, and is taken once when it is mapped', async () => {
    const order = await a.buyLines([
      { key: 'MUG', quantity: 1 },
      { key: 'K-1', quantity: 3 },
    ]);
    await hub.orderImport.poll('a');
    await hub.quiet();
    expect([await onHand('MUG'), await onHand('CUP'), (await b.stock()).get('MUG')]).toEqual([9, 10, 9]);
    expect(
      await hub.rows(`SELECT title, last_met_in, times_met FROM unknown_skus WHERE cart_id = 'a' AND key = 'K-1'`),
    ).toEqual([{ title: `Shop's K-1`, last_met_in: `order ${order.number}`, times_met: 2 }]);

    await hub.ask({ type: 'MapListings', cartId: 'a', rows: [{ key: 'K-1', sku: 'CUP' }] });
    await resolved();
    await hub.quiet();
    expect([await onHand('CUP'), await onHand('K-1')]).toEqual([7, 0]);
    expect([await deltas(b, 'CUP'), await deltas(a, 'K-1')]).toEqual([[-3], []]);
    expect(await unknown()).toEqual(['K-2', 'K-3']);

    const told = { after: null, by: new Date().toISOString() };
    await hub.orderImport.importOrder('a', order, told);
    await hub.orderImport.poll('a');
    await hub.qohTransfer.run({ cartId: 'a', direction: 'send' });
    await hub.orderImport.importOrder('a', order, told);
    await hub.quiet();
    expect([await onHand('CUP'), (await a.stock()).get('K-1'), (await b.stock()).get('CUP')]).toEqual([7, 7, 7]);
    expect([await deltas(b, 'CUP'), await deltas(a, 'K-1')]).toEqual([[-3], []]);
  });

  it('mapped a moment before a comparison is taken before anything is read', async () => {
    await hub.stopWorkers();
    await a.buy('K-2', 1);
    await hub.orderImport.poll('a');
    await hub.ask({ type: 'CreateItem', sku: 'SAUCER', title: 'Saucer' });
    await hub.ask({ type: 'CountStock', sku: 'SAUCER', location: 'MAIN', quantity: 4 });
    await hub.ask({ type: 'MapListings', cartId: 'a', rows: [{ key: 'K-2', sku: 'SAUCER' }] });
    await hub.qohTransfer.run({ cartId: 'a', direction: 'get' });
    await hub.restartWorkers();
    await hub.quiet();
    expect([await onHand('SAUCER'), await deltas(a, 'K-2')]).toEqual([3, []]);
  });

  it('becomes an item by Get QOH only when that is wished, with what the cart shows on hand', async () => {
    await a.buy('K-3', 2);
    await hub.orderImport.poll('a');
    const off = await hub.qohTransfer.run({ cartId: 'a', direction: 'get' });
    expect([off.created, off.unknownAtHub, await onHand('K-3')]).toEqual([0, ['K-3'], -2]);
    const preview = await hub.qohTransfer.previewNewKeys('a', AbortSignal.timeout(10_000));
    expect(preview).toMatchObject({ newProducts: [{ sku: 'K-3', title: `Shop's K-3`, quantity: 4 }] });
    const on = await hub.qohTransfer.run({ cartId: 'a', direction: 'get', createNewProducts: true });
    expect([on.created, on.unknownAtHub, on.unsettled]).toEqual([1, [], []]);
    await hub.quiet();
    expect([await onHand('K-3'), await unknown(), await deltas(a, 'K-3')]).toEqual([4, [], []]);
    expect(await hub.rows(`SELECT title FROM items WHERE sku = 'K-3'`)).toEqual([{ title: `Shop's K-3` }]);
  });
});
