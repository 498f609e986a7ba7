import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { onHand } from '../imports/send.js';
import { assertInvariants } from '../projections/assert-invariants.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { addSource, header, rowsOf, sendFile } from './given.js';

/** A warehouse with a large catalogue, of which a small shop sells twelve items, and a kit of one of them. */
const catalogue = Array.from({ length: 200 }, (_, at) => `C-${String(at).padStart(3, '0')}`);
const sold = catalogue.slice(0, 12);
const stock = 40;

let hub: HubUnderTest;
let shop: Shop;
beforeAll(async () => {
  hub = await startHubUnderTest();
  await hub.call('POST', '/v1/locations', { location: 'main', name: 'Main' });
  await hub.call('POST', '/v1/locations', { location: 'branch', name: 'Branch' });
  await hub.call('POST', '/v1/items/batch', { items: ['SET', ...catalogue].map((sku) => ({ sku, title: sku })) });
  await hub.call('PUT', '/v1/kits/SET', { components: [{ sku: 'C-011', quantity: 2 }] });
  await addSource(hub, 'erp');
  await sendFile(hub, 'erp', file({}), 'name=first.csv');
  const keys = [...sold, 'SET'];
  shop = await startShop('webhook', { items: keys.map((key) => ({ key, title: key, quantity: 0 })) });
  const { url, secret } = shop;
  const cart = { id: 'small', name: 'Small', type: 'webhook', url, secret, locations: ['main', 'branch'] };
  await hub.call('POST', '/v1/carts', { ...cart, pollIntervalMs: 1_000 });
  await hub.call('PUT', '/v1/carts/small/listings', { rows: keys.map((key) => ({ key, sku: key })) });
  const { body } = await hub.call('POST', '/v1/carts/small/comparison', { direction: 'send' });
  await until('it is compared', async () => (await hub.call('GET', body.statusUrl)).body.state === 'done');
  await hub.call('PUT', '/v1/carts/small/switch', { on: true });
  await shows('C-000', stock);
  await shows('SET', stock / 2);
}, 60_000);
afterAll(async () => {
  await hub.hub.app.get(Projector).caughtUp(20_000);
  await assertInvariants(hub.database);
  await hub.close();
  await shop.stop();
});

const file = (quantities: Readonly<Record<string, number>>) =>
  header + rowsOf({ ...Object.fromEntries(catalogue.map((sku) => [sku, stock])), ...quantities });
const all = (skus: readonly string[], quantity: number) => Object.fromEntries(skus.map((sku) => [sku, quantity]));
const shows = (key: string, quantity: number) =>
  until(`the shop shows ${quantity} of ${key}`, async () => (await shop.stock()).get(key) === quantity, 30_000);
const reject = async (id: string) =>
  expect((await hub.call('POST', `/v1/reset-files/${id}/reject`, { reason: 'wrong file' })).body.state).toBe(
    'rejected',
  );

describe('a reset file that changes little as a whole, and much of one cart', () => {
  it('is held as a whole with what it would do there; everything else goes on, and let through it goes', async () => {
    const emptying = await sendFile(hub, 'erp', file(all(sold.slice(0, 6), 0)), 'name=emptying.csv');
    expect(emptying).toMatchObject({
      state: 'held',
      held: 'At the cart small 6 of 13 listings would be brought to zero or at least doubled; the guard lets 30 % pass.',
      check: {
        rows: 200,
        zeroed: 6,
        carts: [{ cartId: 'small', listings: 13, changed: 6, zeroed: 6, inflated: 0, why: expect.any(String) }],
      },
    });
    const { body: preview } = await hub.call('GET', `/v1/imports/${emptying.import.id}/preview`);
    expect(preview.totals[0].carts).toMatchObject([{ cartId: 'small', zeroed: 6 }]);
    expect(preview.differences.slice(0, 6).map(({ after }: { after: number }) => after)).toEqual([0, 0, 0, 0, 0, 0]);
    // What sells meanwhile is told at once, of these listings too, and nothing of the file has happened.
    await hub.call('POST', '/v1/movements', { kind: 'sold', sku: 'C-000', location: 'main', quantity: 1 });
    await shows('C-000', stock - 1);
    expect(await onHand(hub, 'C-001')).toBe(stock);
    expect((await hub.call('POST', `/v1/reset-files/${emptying.id}/apply`)).status).toBe(202);
    await shows('C-005', 0);
    expect((await shop.stock()).get('C-006')).toBe(stock);
  });

  it('is judged by what the rules make of it, kits with their parts', async () => {
    expect((await sendFile(hub, 'erp', file({ 'C-000': stock }), 'name=again.csv')).held).toMatch(/6 of 13 listings/);
    const { body } = await hub.call('GET', '/v1/reset-files?source=erp');
    expect((await hub.call('POST', `/v1/reset-files/${body.data[0].id}/apply`)).status).toBe(202);
    await shows('C-005', stock);
    const rule = { scope: { cart: 'small' }, effect: { kind: 'buffer', units: 10 } };
    expect((await hub.call('PUT', '/v1/rules/keep-ten', { name: 'Keep ten', ...rule })).status).toBe(200);
    await shows('C-000', stock - 10);
    await shows('SET', 5);
    // Nine of each are left, of which the shop may show none; nor can a set be made of what it may show.
    const lowered = await sendFile(hub, 'erp', file(all(sold.slice(8), 9)), 'name=lowered.csv');
    expect(lowered).toMatchObject({
      state: 'held',
      check: { zeroed: 0, lowered: 4, carts: [{ changed: 5, zeroed: 5, inflated: 0 }] },
    });
    await reject(lowered.id);
    expect((await hub.call('DELETE', '/v1/rules/keep-ten')).status).toBe(200);
    await shows('SET', stock / 2);
  });

  it('is judged by the sum of the places that the cart sells, which may come in any order', async () => {
    // Six items are moved to the branch: nothing changes for the shop.
    const moved = Object.entries(all(sold.slice(0, 6), stock)).map(([sku, pieces]) => `branch,,SKU,${sku},${pieces}\n`);
    const done = await sendFile(hub, 'erp', file(all(sold.slice(0, 6), 0)) + moved.join(''), 'name=moved.csv');
    expect(done).toMatchObject({ state: 'applied', check: { zeroed: 6, carts: [] } });
    expect(await onHand(hub, 'C-000')).toBe(stock);
    const raised = await sendFile(
      hub,
      'erp',
      header + moved.join('').replaceAll(`,${stock}\n`, ',90\n'),
      'name=raised.csv',
    );
    expect(raised).toMatchObject({ state: 'held', check: { carts: [{ inflated: 6, zeroed: 0 }] } });
    await reject(raised.id);
  });

  it('passes where the cart’s guard lets it, and where the cart is off', async () => {
    const emptied = `${header}${sold.map((sku) => `branch,,SKU,${sku},0\n`).join('')}`;
    await hub.call('PATCH', '/v1/reset-sources/erp', { holdAbovePercent: 100 });
    const held = await sendFile(hub, 'erp', emptied, 'name=guarded.csv');
    expect(held.held).toMatch(/^At the cart small/);
    await reject(held.id);
    const lenient = { guard: { sharePercent: 60, listingsMax: 1_000 } };
    expect((await hub.call('PATCH', '/v1/carts/small', lenient)).status).toBe(200);
    await hub.hub.app.get(Projector).caughtUp(20_000);
    const passed = await sendFile(hub, 'erp', emptied.replace('C-000,0', 'C-000,1'), 'name=passed.csv');
    expect(passed).toMatchObject({ state: 'applied', check: { carts: [{ zeroed: 5, why: null }] } });
    await hub.call('PATCH', '/v1/carts/small', { guard: { sharePercent: 10, listingsMax: 1_000 } });
    await hub.call('PUT', '/v1/carts/small/switch', { on: false });
    await hub.hub.app.get(Projector).caughtUp(20_000);
    const refilled = header + rowsOf(all(sold, 500));
    expect(await sendFile(hub, 'erp', refilled, 'name=off.csv')).toMatchObject({
      state: 'applied',
      check: { carts: [] },
    });
  });
});
