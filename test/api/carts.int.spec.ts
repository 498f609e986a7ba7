import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { webhookHeaders } from '../../src/cart-workers/connectors/webhook-protocol.js';
import { describeWithRedis, startPrivateRedis } from '../support/redis.js';
import { startShop, type Shop } from '../support/shops.js';
import { call, startHubUnderTest, type HubUnderTest } from './hub-under-test.js';

const settled = { timeout: 20_000, interval: 50 };

describe('with lanes on PostgreSQL', () => cartSuite('postgres'));
describeWithRedis('with lanes on Redis', () => cartSuite('redis'));

function cartSuite(backend: 'postgres' | 'redis'): void {
  let hub: HubUnderTest;
  let seti: Shop;
  let webhook: Shop;
  let redis: Awaited<ReturnType<typeof startPrivateRedis>>;
  const [setiId, webhookId] = ['seti-shop', 'webhook-shop'];

  beforeAll(async () => {
    // The fixed queues have the same names in every hub, so a Redis that other files use would hand them our jobs.
    redis = backend === 'redis' ? await startPrivateRedis() : undefined;
    hub = await startHubUnderTest(redis === undefined ? {} : { REDIS_URL: redis.url });
    seti = await startShop('seti', { items: [{ key: 'MUG', title: 'Mug', quantity: 3 }] });
    webhook = await startShop('webhook', { items: [{ key: 'MUG', title: 'Mug', quantity: 9 }] });
    await hub.call('POST', '/v1/locations', { location: 'main', name: 'Main' });
    await hub.call('POST', '/v1/items', { sku: 'MUG', title: 'Mug' });
    await hub.call('POST', '/v1/movements', { kind: 'received', sku: 'MUG', location: 'main', quantity: 20 });
  });
  afterAll(async () => {
    await hub.close();
    await Promise.all([seti.stop(), webhook.stop(), redis?.stop()]);
  });

  const accessOf = (shop: Shop) => ({
    url: shop.url,
    username: shop.user,
    secret: shop.secret,
    storeCode: shop.storeCode,
  });

  it('a cart is tried, added, never tells its secret, and is switched on', async () => {
    expect((await hub.call('POST', '/v1/cart-types/seti/test', { ...accessOf(seti), secret: 'wrong' })).status).toBe(
      422,
    );
    expect((await hub.call('POST', '/v1/cart-types/seti/test', accessOf(seti))).body.findings.length).toBeGreaterThan(
      0,
    );
    for (const [id, type, shop] of [
      [setiId, 'seti', seti],
      [webhookId, 'webhook', webhook],
    ] as const) {
      const body = {
        id,
        name: `Shop ${id}`,
        type,
        ...accessOf(shop),
        locations: ['main'],
        pollIntervalMs: 500,
        // A line in doubt waits for both before it is settled.
        requestTimeoutMs: 1000,
        quietTimeMs: 1000,
      };
      const added = await hub.call('POST', '/v1/carts', body, { 'Idempotency-Key': `add ${id}` });
      expect(added.status).toBe(201);
      expect(JSON.stringify(added.body)).not.toContain(shop.secret);
      expect(
        (await hub.call('POST', '/v1/carts', body, { 'Idempotency-Key': `add ${id}` })).headers.get(
          'idempotent-replayed',
        ),
      ).toBe('true');
      const takeOver = await hub.call('POST', '/v1/carts', { ...body, secret: 'other' });
      expect([takeOver.status, takeOver.body.type]).toEqual([409, 'urn:onhand:problem:already-exists']);
      expect((await hub.call('POST', `/v1/carts/${id}/test`)).status).toBe(200);
    }
    expect((await hub.call('PATCH', `/v1/carts/${setiId}`, { orderLocation: 'elsewhere' })).status).toBe(400);
    const keys = await hub.call('PATCH', `/v1/carts/${setiId}`, { delivery: 'idempotency-key' });
    expect([keys.status, keys.body.fields[0].field]).toEqual([400, 'delivery']);
    expect(keys.body.detail).toContain('settlement, set-only');
    expect((await hub.call('PATCH', `/v1/carts/${setiId}`, { delivery: 'set-only' })).body.delivery).toBe('set-only');
    expect((await hub.call('PATCH', `/v1/carts/${setiId}`, { delivery: null })).body.delivery).toBe(null);
    expect((await hub.call('PATCH', `/v1/carts/${setiId}`, { name: 'Other' }, { 'If-Match': '"999"' })).status).toBe(
      409,
    );
  });

  it('one whose scripts differ is not switched on before it was probed, unless somebody says why', async () => {
    const on = { on: true };
    const refused = await hub.call('PUT', `/v1/carts/${setiId}/switch`, on);
    expect([refused.status, refused.body.type]).toEqual([409, 'urn:onhand:problem:not-allowed-now']);
    expect(refused.body.detail).toContain(`onhand carts probe ${setiId} --sku SKU`);
    expect((await hub.call('GET', `/v1/carts/${setiId}`)).body).toMatchObject({ needsProbe: true, probe: null });
  });

  it('the answer says which of the two switches is off', async () => {
    await hub.call('PUT', '/v1/system/switch', { on: false });
    const both = await hub.call('PUT', `/v1/carts/${setiId}/switch`, { on: true, unprobed: 'the sample shop' });
    expect(both.body).toMatchObject({
      cartSwitch: 'on',
      systemSwitch: 'off',
      inEffect: false,
      why: 'Nothing is sent: the system switch is off.',
    });
    expect((await hub.call('PUT', '/v1/system/switch', { on: true })).body.cartsOff).toEqual([webhookId]);
    await hub.call('PUT', `/v1/carts/${webhookId}/switch`, { on: true, unprobed: 'the sample shop' });
    expect((await hub.call('GET', `/v1/carts/${setiId}`)).body.switches.inEffect).toBe(true);
  });

  it('a first comparison runs in the background, tells how far it is, and makes the carts equal', async () => {
    for (const id of [setiId, webhookId]) {
      expect((await hub.call('PUT', `/v1/carts/${id}/listings`, { allItems: true })).body).toEqual({
        cartId: id,
        mapped: 1,
      });
      const started = await hub.call(
        'POST',
        `/v1/carts/${id}/comparison`,
        { direction: 'send' },
        { 'Idempotency-Key': 'compare' },
      );
      expect([started.status, started.headers.get('location')]).toEqual([202, started.body.statusUrl]);
      await expect
        .poll(async () => (await hub.call('GET', started.body.statusUrl)).body, settled)
        .toMatchObject({ state: 'done', result: { listings: 1 } });
      const again = await hub.call(
        'POST',
        `/v1/carts/${id}/comparison`,
        { direction: 'send' },
        { 'Idempotency-Key': 'compare' },
      );
      expect(again.body.id).toBe(started.body.id);
      expect((await hub.call('GET', `/v1/carts/${id}/comparison`)).body.data).toHaveLength(1);
    }
    await expect.poll(async () => (await seti.stock()).get('MUG'), settled).toBe(20);
    await expect.poll(async () => (await webhook.stock()).get('MUG'), settled).toBe(20);
    await expect
      .poll(async () => (await hub.call('GET', '/v1/items/MUG')).body.listings, settled)
      .toMatchObject([
        { target: 20, expected: 20, owed: 0, shown: 20, synchronised: true },
        { target: 20, expected: 20, owed: 0, shown: 20, synchronised: true },
      ]);
  });

  it('a movement reaches the carts, and its record shows every hop', async () => {
    await hub.call('POST', '/v1/movements', { kind: 'sold', sku: 'MUG', location: 'main', quantity: 5 });
    await expect
      .poll(async () => [(await seti.stock()).get('MUG'), (await webhook.stock()).get('MUG')], settled)
      .toEqual([15, 15]);
    await expect.poll(async () => (await hub.call('GET', '/v1/web-stack?state=waits')).body.data, settled).toEqual([]);
    const { body } = await hub.call('GET', `/v1/web-stack?cart=${setiId}&sku=MUG&state=delivered&limit=1`);
    const record = await hub.call('GET', `/v1/web-stack/${body.data[0].id}`);
    expect(record.body).toMatchObject({ cartId: setiId, delta: -5, state: 'delivered', delivery: { state: 'closed' } });
    expect(record.body.hops.map((hop: { name: string }) => hop.name)).toEqual([
      'recorded',
      'on the Web Stack',
      'dispatched',
      'attempt',
      'answered',
      'ended',
    ]);
  });

  it('a paused lane keeps what waits and tells what would go first', async () => {
    const paused = await hub.call('POST', `/v1/carts/${setiId}/pause`, { reason: 'stocktaking' });
    expect(paused.body).toMatchObject({ light: 'red', paused: { reason: 'stocktaking' } });
    await hub.call('POST', '/v1/movements', { kind: 'received', sku: 'MUG', location: 'main', quantity: 1 });
    await expect
      .poll(async () => (await hub.call('GET', `/v1/carts/${setiId}/web-stack/first`)).body, settled)
      .toMatchObject({
        waiting: 1,
        first: { delta: 1 },
        heldBackBy: expect.stringContaining('stocktaking'),
      });
    expect((await hub.call('POST', `/v1/carts/${setiId}/resume`)).body.paused).toBeNull();
    await expect.poll(async () => (await seti.stock()).get('MUG'), settled).toBe(16);
  });

  it('orders come by poll and by signed webhook, and reach the other cart once', async () => {
    await seti.buy('MUG', 2);
    await expect.poll(async () => (await webhook.stock()).get('MUG'), settled).toBe(14);
    const data = {
      number: 'W-1',
      revision: 1,
      placedAt: new Date().toISOString(),
      state: 'open',
      lines: [{ line: '1', key: 'MUG', quantity: 1, title: 'Mug' }],
    };
    const body = JSON.stringify({ type: 'order.updated', timestamp: new Date().toISOString(), data });
    const headers = { ...webhookHeaders('msg_1', Date.now(), body, webhook.secret) };
    const url = `${hub.url}/v1/carts/${webhookId}/webhooks`;
    expect((await call(url, 'POST', `${body} `, headers)).status).toBe(401);
    const first = await call(url, 'POST', body, headers);
    expect([first.status, first.body.replayed]).toEqual([202, false]);
    expect((await call(url, 'POST', body, headers)).body).toMatchObject({ replayed: true });
    await expect.poll(async () => (await seti.stock()).get('MUG'), settled).toBe(13);
    expect((await hub.call('GET', `/v1/orders/W-1?cart=${webhookId}`)).body).toMatchObject({
      cartId: webhookId,
      number: 'W-1',
    });
  });

  it('an order can be told on behalf of a cart, by the cart’s own keys', async () => {
    const order = { cartId: setiId, number: 'BY-HAND', lines: [{ key: 'MUG', quantity: 1 }] };
    const told = await hub.call('POST', '/v1/orders', order, { 'Idempotency-Key': 'by hand' });
    expect(told.body.facts.map((fact: { type: string }) => fact.type)).toContain('StockSold');
    const again = await hub.call('POST', '/v1/orders', order, { 'Idempotency-Key': 'by hand' });
    expect(again.headers.get('idempotent-replayed')).toBe('true');
  });

  it('the dashboard and the status show every lane', async () => {
    const { body: status } = await hub.call('GET', '/v1/status');
    expect(status.backend.queues).toBe(backend);
    expect(status.lanes.map((lane: { cartId: string }) => lane.cartId).sort()).toEqual([webhookId, setiId].sort());
    await expect
      .poll(
        async () =>
          (await hub.call('GET', '/queues/api/queues')).body.queues.map((queue: { name: string }) => queue.name),
        settled,
      )
      .toEqual(expect.arrayContaining([`lane-${setiId}`, `lane-${webhookId}`, 'order-polls']));
  });

  it('the first record is the one that is in doubt, with its attempts and what the cart said', async () => {
    await seti.faults({ failAfterApply: 1 });
    await hub.call('POST', '/v1/movements', { kind: 'received', sku: 'MUG', location: 'main', quantity: 5 });
    await expect
      .poll(async () => (await hub.call('GET', `/v1/carts/${setiId}/web-stack/first`)).body, settled)
      .toMatchObject({
        first: { delta: 5, state: 'in-doubt', attempts: 1, lastResponse: expect.stringContaining('500') },
      });
    await hub.call('POST', '/v1/movements', { kind: 'sold', sku: 'MUG', location: 'main', quantity: 2 });
    await expect
      .poll(async () => (await hub.call('GET', `/v1/carts/${setiId}/web-stack/first`)).body, settled)
      .toMatchObject({ waiting: 1, first: { delta: 5 }, heldBackBy: expect.stringContaining('Nobody knows yet') });
    await expect
      .poll(async () => (await hub.call('GET', `/v1/web-stack?cart=${setiId}&state=waits`)).body.data, settled)
      .toEqual([]);
    const settledRecord = (await hub.call('GET', `/v1/web-stack?cart=${setiId}&key=MUG&limit=2`)).body.data[1];
    expect(
      (await hub.call('GET', `/v1/web-stack/${settledRecord.id}`)).body.attemptsMade.map(
        (made: { kind: string }) => made.kind,
      ),
    ).toEqual(['send', 'settle']);
  });

  it('what a cart refuses for good is a dead letter, and is put back or given up by a person', async () => {
    await seti.faults({ unknownKeys: ['MUG'] });
    await hub.call('POST', '/v1/movements', { kind: 'received', sku: 'MUG', location: 'main', quantity: 7 });
    await expect
      .poll(async () => (await hub.call('GET', `/v1/dead-letters?cart=${setiId}`)).body.data, settled)
      .toMatchObject([{ key: 'MUG' }]);
    await seti.faults({});
    expect((await hub.call('POST', '/v1/dead-letters/redrive', { cartId: setiId })).body.records).toBeGreaterThan(0);
    await expect
      .poll(async () => (await hub.call('GET', `/v1/dead-letters?cart=${setiId}`)).body.data, settled)
      .toEqual([]);
    const nobody = await hub.call('POST', '/v1/quarantined/resolve', {
      cartId: setiId,
      key: 'MUG',
      action: 'was-applied',
    });
    expect(nobody.body.type).toBe('urn:onhand:problem:unknown-listing');
  });
}
