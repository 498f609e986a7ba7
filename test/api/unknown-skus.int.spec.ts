import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OrderImport } from '../../src/cart-workers/order-import.js';
import { Projector } from '../../src/projections/projector.js';
import { runHere } from '../command-line/run-cli.js';
import { ownerKey, startHubUnderTest, type HubUnderTest } from './hub-under-test.js';

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
  await hub.call('POST', '/v1/locations', { location: 'MAIN', name: 'Main warehouse' });
  for (const id of ['shop', 'other']) {
    const cart = { id, name: id, type: 'webhook', url: 'http://127.0.0.1:9/onhand', locations: ['MAIN'] };
    await hub.call('POST', '/v1/carts', { ...cart, secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}` });
  }
  await sell('shop', '1', { 'A/1': 2, B: 1 });
  await sell('shop', '2', { 'A/1': 1 });
  await sell('other', '1', { 'A/1': 5, C: 1 });
});
afterAll(() => hub.close());

async function sell(cartId: string, number: string, pieces: Record<string, number>): Promise<void> {
  const lines = Object.entries(pieces).map(([key, quantity], at) => ({
    line: String(at + 1),
    key,
    quantity,
    title: `Called ${key}`,
  }));
  const order = { number, revision: 1, placedAt: new Date().toISOString(), state: 'open' as const, lines };
  const sighting = { after: null, by: new Date().toISOString() };
  const outcome = await hub.hub.app.get(OrderImport).importOrder(cartId, order, sighting);
  expect(outcome.kind).toBe('accepted');
}

async function list(query = ''): Promise<{ data: { cartId: string; key: string }[]; nextCursor: string | null }> {
  await hub.hub.app.get(Projector).caughtUp(10_000);
  return (await hub.call('GET', `/v1/unknown-skus${query}`)).body;
}
const names = async (query = '') => (await list(query)).data.map(({ cartId, key }) => `${cartId} ${key}`);
const onhand = (...args: string[]) => runHere(args, { ONHAND_URL: hub.url, ONHAND_API_KEY: ownerKey });

describe('unknown SKUs', () => {
  it('are listed page by page with where they were met and what was ordered', async () => {
    expect(await names()).toEqual(['other A/1', 'other C', 'shop A/1', 'shop B']);
    expect(await names('?cart=shop')).toEqual(['shop A/1', 'shop B']);
    const first = await list('?limit=3');
    expect(first.data).toHaveLength(3);
    expect(await names(`?limit=3&cursor=${first.nextCursor}`)).toEqual(['shop B']);
    expect(first.data[2]).toMatchObject({
      title: 'Called A/1',
      firstMet: { in: 'order 1' },
      lastMet: { in: 'order 2' },
      timesMet: 2,
      orders: 2,
      piecesOrdered: 3,
      ignored: null,
    });
    expect((await hub.call('GET', '/v1/unknown-skus/count')).body).toMatchObject({ unknown: 4 });
    expect((await hub.call('GET', '/v1/unknown-skus?cursor=x')).body.type).toBe('urn:onhand:problem:invalid-cursor');
  });

  it('are ignored with a reason, and stay so when they are met again', async () => {
    const ignore = { cartId: 'shop', key: 'B', ignored: true };
    expect((await hub.call('PUT', '/v1/unknown-skus/ignored', ignore)).body.fields[0].field).toBe('reason');
    expect((await onhand('unknown', 'ignore', 'shop', 'B', '--reason', 'a tip')).out).toBe('B of shop is ignored.\n');
    await sell('shop', '3', { B: 1 });
    expect([await names('?cart=shop'), await names('?state=ignored')]).toEqual([['shop A/1'], ['shop B']]);
    expect((await onhand('unknown', 'list', '--state', 'all')).out).toMatch(/shop +B +2 +2 .*Called B +a tip/);
    expect((await onhand('unknown', 'heed', 'shop', 'B')).code).toBe(0);
    expect(await names('?cart=shop')).toEqual(['shop A/1', 'shop B']);
    expect((await hub.call('PUT', '/v1/unknown-skus/ignored', { ...ignore, key: 'Z', reason: 'x' })).status).toBe(404);
  });

  it('become an item of another SKU, or of their own for every cart at once', async () => {
    const body = { cartId: 'shop', key: 'B', sku: 'BOWL' };
    const key = { 'Idempotency-Key': 'create-bowl' };
    const created = await hub.call('POST', '/v1/unknown-skus/item', body, key);
    expect(created.body.facts.map(({ type }: { type: string }) => type)).toEqual(['ItemCreated', 'ListingsMapped']);
    expect(await names()).toEqual(['other A/1', 'other C', 'shop A/1']);
    const again = await hub.call('POST', '/v1/unknown-skus/item', body, key);
    expect([again.headers.get('idempotent-replayed'), again.body]).toEqual(['true', created.body]);
    expect((await hub.call('POST', '/v1/unknown-skus/item', body)).status).toBe(404);
    await expect.poll(async () => (await hub.call('GET', '/v1/items/BOWL')).body.onHand, { timeout: 20_000 }).toBe(-2);

    expect((await onhand('unknown', 'create', 'shop', 'A/1', '--title', 'Apron')).code).toBe(0);
    expect(await names()).toEqual(['other C']);
    expect((await hub.call('GET', '/v1/items/A%2F1')).body).toMatchObject({ title: 'Apron', onHand: -8, open: 8 });
  });

  it('are what doctor tells of', async () => {
    expect((await onhand('doctor')).out).toMatch(/Unknown SKUs: 1 that carts show or sell/);
  });

  it('refuse createNewProducts where the cart follows', async () => {
    const wish = { direction: 'send', createNewProducts: true };
    expect((await hub.call('POST', '/v1/carts/shop/comparison', wish)).body.fields[0].field).toBe('createNewProducts');
  });
});

describe('mapping problems of a cart', () => {
  it('name keys that mean one item, keys and items that are alike, and what mends them', async () => {
    for (const sku of ['JUG', 'Kettle']) await hub.call('POST', '/v1/items', { sku, title: sku });
    const rows = [['JUG', 'JUG'], ['jug', 'JUG']].map(([key, sku]) => ({ key, sku })); // prettier-ignore
    await hub.call('PUT', '/v1/carts/other/listings', { rows });
    await sell('other', '90', { ' kettle': 1 });
    await hub.hub.app.get(Projector).caughtUp(10_000);
    const { data } = (await hub.call('GET', '/v1/carts/other/mapping-problems')).body;
    expect(data).toMatchObject([
      { kind: 'several-keys', keys: ['JUG', 'jug'], skus: ['JUG'] },
      { kind: 'alike-keys', keys: ['JUG', 'jug'], skus: ['JUG'] },
      { kind: 'alike-item', keys: [' kettle'], skus: ['Kettle'] },
    ]);
    expect((await onhand('carts', 'mapping-problems', 'other')).out).toMatch(/onhand carts map other " kettle=Kettle"/);
    expect((await hub.call('GET', '/v1/carts/nope/mapping-problems')).status).toBe(404);
  });
});
