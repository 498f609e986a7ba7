import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { startHubUnderTest, type HubUnderTest } from './hub-under-test.js';

const skus = ['CUP', 'JUG', 'MUG', 'POT'];

describe('a cart on its way to being kept in step', () => {
  let hub: HubUnderTest;
  let shop: Shop;
  let other: Shop;

  beforeAll(async () => {
    hub = await startHubUnderTest();
    const items = (quantity: number) => skus.map((key) => ({ key, title: key, quantity }));
    [shop, other] = await Promise.all([
      startShop('webhook', { items: items(10) }),
      startShop('webhook', { items: items(10) }),
    ]);
    await hub.call('POST', '/v1/locations', { location: 'main', name: 'Main' });
    for (const sku of skus) {
      await hub.call('POST', '/v1/items', { sku, title: sku, tags: sku === 'POT' ? ['sale'] : [] });
      await hub.call('POST', '/v1/movements', { kind: 'received', sku, location: 'main', quantity: 12 });
    }
    for (const [id, at] of [
      ['shop', shop],
      ['other', other],
    ] as const) {
      const { url, secret } = at;
      const cart = { id, name: id, type: 'webhook', url, secret, locations: ['main'], pollIntervalMs: 1_000 };
      await hub.call('POST', '/v1/carts', cart);
    }
    await hub.call('PUT', '/v1/carts/other/listings', { allItems: true });
    await ended((await hub.call('POST', '/v1/carts/other/comparison', { direction: 'send' })).body);
    await hub.call('PUT', '/v1/carts/other/switch', { on: true });
    await shows(other, { CUP: 12, JUG: 12, MUG: 12, POT: 12 });
  });
  afterAll(async () => {
    await hub.close();
    await Promise.all([shop.stop(), other.stop()]);
  });

  const ended = (run: { statusUrl: string }) =>
    until('the run ends', async () => {
      const { body } = await hub.call('GET', run.statusUrl);
      return ['running', 'waiting'].includes(body.state) ? null : body;
    });
  const shows = (at: Shop, wanted: Readonly<Record<string, number>>) =>
    until(`it shows ${JSON.stringify(wanted)}`, async () => {
      const stock = await at.stock();
      return Object.entries(wanted).every(([key, quantity]) => stock.get(key) === quantity);
    });
  const way = async () => {
    const { body } = await hub.call('GET', '/v1/carts/shop/switching-on');
    return {
      next: body.next,
      steps: Object.fromEntries(body.steps.map(({ step, state }: { step: string; state: string }) => [step, state])),
    };
  };
  const compare = async (body: object) => ended((await hub.call('POST', '/v1/carts/shop/comparison', body)).body);

  it('begins with a test, and with what differs; nothing is changed by that', async () => {
    expect(await way()).toEqual({
      next: 'test',
      steps: { test: 'open', probe: 'not-needed', compare: 'later', choose: 'later', on: 'later' },
    });
    expect((await hub.call('POST', '/v1/carts/shop/test')).status).toBe(200);
    await hub.call('PUT', '/v1/carts/shop/listings', { allItems: true });
    const preview = await compare({ direction: 'send', preview: true });
    expect(preview).toMatchObject({ state: 'done', preview: true, found: { looked: 4, differing: 4 } });
    const rows = (await hub.call('GET', `/v1/qoh-runs/${preview.id}/differences?limit=1`)).body;
    expect(rows.data).toEqual([{ key: 'CUP', sku: 'CUP', shown: 10, should: 12, direction: 'send' }]);
    expect((await way()).next).toBe('choose');
    expect((await hub.call('GET', '/v1/carts/shop')).body.synchronised).toBe(0);
  });

  it('somebody says who is right, in all and per item; only once it is on it is told', async () => {
    const run = await compare({ direction: 'send', otherwise: ['MUG'] });
    expect(run).toMatchObject({ state: 'done', result: { listings: 4, differences: 4 } });
    expect((await way()).next).toBe('on');
    // The cart was right about the mug: our stock follows it, and the other shop is told by itself.
    await shows(other, { CUP: 12, JUG: 12, MUG: 10, POT: 12 });
    await shows(shop, { CUP: 10, JUG: 10, MUG: 10, POT: 10 });
    await hub.call('PUT', '/v1/carts/shop/switch', { on: true });
    await shows(shop, { CUP: 12, JUG: 12, MUG: 10, POT: 12 });
    expect((await way()).next).toBe(null);
  });

  it('paused, it says what would go: the sum per listing, which is what goes', async () => {
    await hub.call('POST', '/v1/carts/shop/pause', { reason: 'stocktaking' });
    // Each by itself: what cancels out within one batch of the projector is never owed.
    const adjust = (sku: string, delta: number) =>
      hub.call('POST', '/v1/movements', { kind: 'adjusted', sku, location: 'main', delta, reason: 'found' });
    for (const [sku, delta] of [['CUP', 5], ['CUP', -2], ['JUG', 4], ['JUG', -4], ['POT', -3]] as const) { await adjust(sku, delta); await hub.hub.app.get(Projector).caughtUp(10_000); } // prettier-ignore
    const net = async () =>
      (await hub.call('GET', '/v1/carts/shop/web-stack/net')).body.data.map(
        (row: { key: string; delta: number; target: number }) => [row.key, row.delta, row.target],
      );
    await expect.poll(net).toEqual([
      ['CUP', 3, 15],
      ['JUG', 0, 12],
      ['POT', -3, 9],
    ]);
    const listed = (await hub.call('GET', '/v1/carts/shop/listings?limit=2')).body.data;
    expect(listed.map((row: { key: string; owed: number }) => [row.key, row.owed])).toEqual([
      ['CUP', 3],
      ['JUG', 0],
    ]);
    await hub.call('POST', '/v1/carts/shop/resume');
    await shows(shop, { CUP: 15, JUG: 12, MUG: 10, POT: 9 });
    expect(await net()).toEqual([]);
  });

  it('switched off, what waits is superseded; on again it is of a new generation, and told nothing before it is compared', async () => {
    await hub.call('POST', '/v1/carts/shop/pause', {});
    await hub.call('POST', '/v1/movements', { kind: 'received', sku: 'CUP', location: 'main', quantity: 1 });
    const waiting = async () => (await hub.call('GET', '/v1/web-stack?cart=shop&state=waiting')).body.data;
    await expect.poll(waiting).toHaveLength(1);
    await hub.call('PUT', '/v1/carts/shop/switch', { on: false });
    expect(await waiting()).toEqual([]);
    const superseded = await hub.call('GET', '/v1/web-stack?cart=shop&state=superseded&limit=1');
    expect(superseded.body.data[0]).toMatchObject({ key: 'CUP', delta: 1 });
    await hub.call('POST', '/v1/carts/shop/resume');
    const on = (await hub.call('PUT', '/v1/carts/shop/switch', { on: true })).body;
    expect(on).toMatchObject({ generation: 2, inEffect: true });
    expect(await way()).toMatchObject({ next: 'choose', steps: { on: 'done' } });
    await hub.call('POST', '/v1/movements', { kind: 'received', sku: 'POT', location: 'main', quantity: 1 });
    await shows(other, { CUP: 16, JUG: 12, MUG: 10, POT: 10 });
    expect(Object.fromEntries(await shop.stock())).toEqual({ CUP: 15, JUG: 12, MUG: 10, POT: 9 });
    await compare({ direction: 'send' });
    await shows(shop, { CUP: 16, JUG: 12, MUG: 10, POT: 10 });
    expect((await way()).next).toBe(null);
  });

  it('gets what was chosen from a preview, and every other cart hears of that by itself', async () => {
    await shop.load([
      { key: 'CUP', title: 'CUP', quantity: 20 },
      { key: 'JUG', title: 'JUG', quantity: 3 },
    ]);
    const preview = await compare({ direction: 'get', preview: true });
    const rows = (await hub.call('GET', `/v1/qoh-runs/${preview.id}/differences`)).body.data;
    expect(rows).toEqual([
      { key: 'CUP', sku: 'CUP', shown: 20, should: 16, direction: 'get' },
      { key: 'JUG', sku: 'JUG', shown: 3, should: 12, direction: 'get' },
    ]);
    const run = await compare({ direction: 'get', skus: ['CUP'] });
    expect(run).toMatchObject({ state: 'done', result: { listings: 1, differences: 1 } });
    await shows(other, { CUP: 20, JUG: 12, MUG: 10, POT: 10 });
    expect((await hub.call('GET', '/v1/items/CUP')).body.onHand).toBe(20);
    expect((await shop.stock()).get('JUG')).toBe(3);
  });

  it('sends to every cart at once, of a tag only; twice under one key it is one', async () => {
    await other.load([
      { key: 'POT', title: 'POT', quantity: 7 },
      { key: 'MUG', title: 'MUG', quantity: 7 },
    ]);
    const send = () =>
      hub.call('POST', '/v1/qoh-runs', { direction: 'send', tag: 'Sale' }, { 'Idempotency-Key': 'sale' });
    const begun = await send();
    expect(begun.status).toBe(202);
    expect(begun.body.data.map((run: { cartId: string }) => run.cartId)).toEqual(['other', 'shop']);
    expect((await send()).body.data.map((run: { id: string }) => run.id)).toEqual(
      begun.body.data.map((run: { id: string }) => run.id),
    );
    for (const run of begun.body.data)
      expect(await ended(run)).toMatchObject({ state: 'done', result: { listings: 1 }, scope: { tag: 'sale' } });
    await shows(other, { CUP: 20, JUG: 12, MUG: 7, POT: 10 });
    const listed = (await hub.call('GET', '/v1/qoh-runs?cart=other&limit=1')).body;
    expect(listed.data[0]).toMatchObject({ cartId: 'other', state: 'done', progress: { done: 1, total: 1 } });
    const again = await hub.call('POST', `/v1/qoh-runs/${listed.data[0].id}/cancel`);
    expect([again.status, again.body.type]).toEqual([409, expect.stringContaining('not-allowed-now')]);
  });
});
