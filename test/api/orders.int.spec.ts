import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startShop, type Shop } from '../support/shops.js';
import { startHubUnderTest, type HubUnderTest } from './hub-under-test.js';

const settled = { timeout: 20_000, interval: 50 };

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
  for (const location of ['main', 'shop']) await hub.call('POST', '/v1/locations', { location, name: location });
});
afterAll(() => hub.close());

let made = 0;
async function newItem(onHand = 0): Promise<string> {
  const sku = `ITEM-${(made += 1)}`;
  await hub.call('POST', '/v1/items', { sku, title: sku });
  if (onHand > 0) await receive(sku, onHand);
  return sku;
}
const receive = (sku: string, quantity: number) =>
  hub.call('POST', '/v1/movements', { kind: 'received', sku, location: 'main', quantity });
const tell = (order: Record<string, unknown>) => hub.call('POST', '/v1/orders', order);
const line = (sku: string, quantity: number) => ({ sku, location: 'main', quantity });
const get = async (path: string) => (await hub.call('GET', path)).body;
const onHand = async (sku: string) => (await get(`/v1/items/${sku}/on-hand`)).onHand as number;

describe('an order that no cart took', () => {
  it('is a phone order unless it names another origin, and its number is unique there', async () => {
    const sku = await newItem(20);
    const lines = [line(sku, 1)];
    expect((await tell({ number: '7', lines })).body.facts[0].stream).toBe('order:phone/7');
    expect((await tell({ number: '7', origin: 'phone', lines })).body.facts).toEqual([]);
    expect((await tell({ number: '7', origin: 'store', lines })).body.facts[0].stream).toBe('order:store/7');
    expect((await tell({ number: '7', origin: 'marketplace', lines })).status).toBe(201);
    expect(await onHand(sku)).toBe(17);
    expect(await get('/v1/orders/7')).toMatchObject({ origin: 'phone', cartId: null, number: '7' });
    expect(await get('/v1/orders/7?origin=store')).toMatchObject({ origin: 'store', cartId: null });
    await expect
      .poll(async () => (await get('/v1/orders?origin=marketplace')).data)
      .toMatchObject([{ origin: 'marketplace', number: '7', state: 'open' }]);
    const wrong = await hub.call('GET', '/v1/orders/7?origin=store&cart=a');
    expect([wrong.status, wrong.body.fields[0].field]).toEqual([400, 'origin']);
    expect((await tell({ number: '8', origin: 'fax', lines })).status).toBe(400);
  });

  it('is edited and cancelled by its revisions, in whatever order they come', async () => {
    const sku = await newItem(10);
    const phone = { number: 'EDIT', origin: 'phone' };
    await tell({ ...phone, revision: 2, lines: [line(sku, 5)] });
    expect((await tell({ ...phone, revision: 1, lines: [line(sku, 2)] })).body.note).toContain('newer');
    expect(await onHand(sku)).toBe(5);
    await tell({ ...phone, revision: 3, lines: [line(sku, 1)] });
    expect(await onHand(sku)).toBe(9);
    await tell({ ...phone, revision: 4, state: 'cancelled', lines: [line(sku, 1)] });
    expect(await onHand(sku)).toBe(10);

    const early = await tell({ number: 'EARLY', revision: 2, state: 'cancelled', lines: [] });
    expect(early.body.facts).toMatchObject([{ type: 'OrderCancelKept' }]);
    await tell({ number: 'EARLY', revision: 1, lines: [line(sku, 4)] });
    expect(await onHand(sku)).toBe(10);
    expect(await get('/v1/orders/EARLY')).toMatchObject({ state: 'cancelled', revision: 2 });
  });

  it('names an unknown SKU: refused, since nobody sold it yet', async () => {
    const refused = await tell({ number: 'X', lines: [line('nobody', 1)] });
    expect([refused.status, refused.body.type]).toEqual([404, 'urn:onhand:problem:unknown-item']);
  });
});

describe('open lines', () => {
  const openLines = async (query: string) =>
    ((await get(`/v1/open-lines?${query}`)).data as Record<string, unknown>[]).map(
      ({ number, open, backOrdered, there, missing }) => [number, open, backOrdered, there, missing],
    );

  it('say which pieces are missing, the oldest order served first, and what a receipt makes fillable', async () => {
    const sku = await newItem(3);
    const at = (day: number) => `2026-01-0${day}T10:00:00Z`;
    // Told in another order than placed: who was first is first.
    await tell({ number: 'B2', placedAt: at(2), lines: [line(sku, 4)] });
    await tell({ number: 'B1', placedAt: at(1), lines: [line(sku, 2)] });
    await tell({ number: 'B3', origin: 'store', placedAt: at(3), lines: [line(sku, 2)] });
    await expect
      .poll(() => openLines(`sku=${sku}`))
      .toEqual([
        ['B1', 2, 2, 2, 0],
        ['B2', 4, 1, 1, 3],
        ['B3', 2, 2, 0, 2],
      ]);
    expect(await openLines(`sku=${sku}&state=waiting`)).toEqual([
      ['B2', 4, 1, 1, 3],
      ['B3', 2, 2, 0, 2],
    ]);
    expect(await openLines(`sku=${sku}&origin=store`)).toEqual([['B3', 2, 2, 0, 2]]);

    await receive(sku, 3);
    await expect.poll(() => openLines(`sku=${sku}&state=waiting`)).toEqual([['B3', 2, 2, 0, 2]]);
    const fillable = await get(`/v1/open-lines?sku=${sku}&state=fillable&limit=1`);
    expect(fillable.data).toMatchObject([{ number: 'B1', origin: 'phone', line: '1', sku, location: 'main' }]);
    expect(await openLines(`sku=${sku}&state=fillable&limit=1&cursor=${fillable.nextCursor}`)).toEqual([
      ['B2', 4, 1, 4, 0],
    ]);

    expect((await hub.call('POST', '/v1/orders/B2/fill')).body.facts).toMatchObject([
      { type: 'OrderFilled' },
      { type: 'OrderLineClosed', delta: 0, balance: -2 },
    ]);
    await expect
      .poll(() => openLines(`sku=${sku}`))
      .toEqual([
        ['B1', 2, 2, 2, 0],
        ['B3', 2, 2, 0, 2],
      ]);
    await expect.poll(async () => (await get('/v1/orders/B2')).state).toBe('shipped');
    const refused = await hub.call('POST', '/v1/orders/B3/fill?origin=store', { lines: [{ line: '1', quantity: 3 }] });
    expect(refused.status).toBe(409);
    expect(await onHand(sku)).toBe(-2);
  });

  it('lose what is given back or shipped, and an order tells how many pieces of each line are open', async () => {
    const sku = await newItem();
    await tell({ number: 'O1', revision: 1, lines: [line(sku, 5)] });
    await tell({ number: 'O1', revision: 2, lines: [line(sku, 3)] });
    await hub.call('POST', '/v1/orders/O1/ship', { lines: [{ line: '1', quantity: 1 }] });
    await expect.poll(async () => (await get('/v1/orders/O1')).lines).toMatchObject([{ quantity: 3, open: 2 }]);
    await tell({ number: 'O1', revision: 3, state: 'cancelled', lines: [line(sku, 3)] });
    await expect.poll(() => openLines(`sku=${sku}`)).toEqual([]);
  });
});

describe('with carts', () => {
  const shops: Shop[] = [];
  afterAll(() => Promise.all(shops.map((shop) => shop.stop())));

  it('every cart is told of a phone order, of its edit and of its cancel; filling a line sends nothing', async () => {
    const sku = await newItem(10);
    for (const kind of ['seti', 'webhook'] as const) {
      const shop = await startShop(kind, { items: [{ key: sku, title: sku, quantity: 10 }] });
      shops.push(shop);
      const { url, user, secret } = shop;
      const login = kind === 'seti' ? { username: user } : {};
      const cart = { id: kind, name: kind, type: kind, url, secret, locations: ['main'], ...login };
      expect((await hub.call('POST', '/v1/carts', cart)).status).toBe(201);
      await hub.call('PUT', `/v1/carts/${kind}/listings`, { rows: [{ key: sku, sku }] });
      const started = await hub.call('POST', `/v1/carts/${kind}/comparison`, { direction: 'send' });
      await expect.poll(async () => (await get(started.body.statusUrl)).state, settled).toBe('done');
      await hub.call('PUT', `/v1/carts/${kind}/switch`, { on: true, unprobed: 'the sample shop' });
    }
    const shown = async () => Promise.all(shops.map(async (shop) => (await shop.stock()).get(sku)));
    await tell({ number: 'C1', revision: 1, lines: [line(sku, 4)] });
    await expect.poll(shown, settled).toEqual([6, 6]);
    await tell({ number: 'C1', revision: 2, lines: [line(sku, 6)] });
    await expect.poll(shown, settled).toEqual([4, 4]);

    await expect.poll(async () => (await get('/v1/web-stack?state=waits')).data, settled).toEqual([]);
    const changes = async () => (await Promise.all(shops.map((shop) => shop.journal()))).map((all) => all.length);
    const before = await changes();
    await hub.call('POST', '/v1/orders/C1/fill', { lines: [{ line: '1', quantity: 2 }] });
    await expect.poll(async () => (await get('/v1/orders/C1')).lines[0].open).toBe(4);
    // Two of six were filled; the cancel gives the other four back, and the journals hold that change alone.
    await tell({ number: 'C1', revision: 3, state: 'cancelled', lines: [line(sku, 6)] });
    await expect.poll(shown, settled).toEqual([8, 8]);
    expect(await changes()).toEqual(before.map((count) => count + 1));
  }, 60_000);
});
