import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { assertInvariants } from '../projections/assert-invariants.js';
import { cutLineTo, type CutLine } from '../support/cut-line.js';
import { describeWithRedis, startPrivateRedis } from '../support/redis.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { startHubUnderTest, type Answer, type HubUnderTest } from './hub-under-test.js';

const settled = { timeout: 30_000, interval: 50 };
const caughtUp = (hub: HubUnderTest) => hub.hub.app.get(Projector).caughtUp(20_000);
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What is answered while something is away says so, and when to ask again. */
function expectToAskAgain(answer: Answer): void {
  expect([answer.status, answer.body.detail]).toEqual([503, expect.stringMatching(/under the same Idempotency-Key/)]);
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(answer.body).toMatchObject({ type: 'urn:onhand:problem:unavailable', status: 503 });
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
}

describe('while the database comes and goes', () => {
  let hub: HubUnderTest;
  let line: CutLine;

  beforeAll(async () => {
    hub = await startHubUnderTest({ ONHAND_LOG_LEVEL: 'fatal' }, async (url) => {
      line = await cutLineTo(url);
      return line.url;
    });
    for (const location of ['main', 'shop']) await hub.call('POST', '/v1/locations', { location, name: location });
    for (const sku of ['MUG', 'BOWL']) await hub.call('POST', '/v1/items', { sku, title: sku });
    await caughtUp(hub);
  });
  afterAll(async () => {
    await hub.close();
    await line.close();
  });

  const onHand = async (sku: string) => {
    const { rows } = await hub.database.pool.query<{ sum: string }>(
      'SELECT coalesce(sum(delta), 0) AS sum FROM events WHERE sku = $1',
      [sku],
    );
    return Number(rows[0]?.sum);
  };
  const receive = (key: string, quantity: number) =>
    hub.call(
      'POST',
      '/v1/movements',
      { kind: 'received', sku: 'MUG', location: 'main', quantity },
      { 'Idempotency-Key': key },
    );

  it('an answer that is lost with its commit is had by asking again, and it counts once', async () => {
    const before = await onHand('MUG');
    const lost = line.loseAnswer('write-batch', 'COMMIT\0');
    const first = await receive('lost-answer', 3);
    await lost;
    expectToAskAgain(first);
    expect(first.body.detail).toMatch(/nobody knows whether it was/);
    const again = await receive('lost-answer', 3);
    expect(again.status).toBe(201);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(await onHand('MUG')).toBe(before + 3);
  });

  it('nobody is left waiting while it is away, reads and pages included, and the hub comes back by itself', async () => {
    const before = await onHand('MUG');
    line.away();
    for (const path of ['/v1/items', '/v1/orders', '/v1/lanes', '/v1/status', '/v1/health/ready']) {
      const answer = await hub.call('GET', path);
      expect([path, answer.status, answer.headers.get('retry-after')]).toEqual([path, 503, '1']);
    }
    expectToAskAgain(await receive('while-away', 2));
    expect((await hub.call('GET', '/v1/health/live')).status).toBe(200);
    line.back();
    await expect.poll(async () => (await hub.call('GET', '/v1/health/ready')).status, settled).toBe(200);
    expect(await onHand('MUG')).toBe(before);
    expect((await receive('while-away', 2)).status).toBe(201);
    expect(await onHand('MUG')).toBe(before + 2);
  });

  it('requests that are cut off in their middle are done whole or not at all, and once however often they are sent', async () => {
    const before = { MUG: await onHand('MUG'), BOWL: await onHand('BOWL') };
    const requestsOfEach = 25;
    const stock = { location: 'main', quantity: 1 };
    const kinds: readonly ((n: number) => readonly [path: string, body: unknown])[] = [
      () => ['/v1/movements', { kind: 'received', sku: 'MUG', ...stock }],
      () => [
        '/v1/movements/batch',
        { movements: ['MUG', 'BOWL', 'MUG'].map((sku) => ({ kind: 'received', sku, ...stock })) },
      ],
      // Leaves one place and is in transit: one event at each, or none.
      (n) => [
        '/v1/transfers',
        { transfer: `T-${n}`, from: 'main', to: 'shop', lines: ['MUG', 'BOWL'].map((sku) => ({ sku, quantity: 1 })) },
      ],
      (n) => ['/v1/orders', { number: `O-${n}`, lines: ['MUG', 'BOWL'].map((sku) => ({ sku, ...stock })) }],
    ];
    let cutOff = 0;
    const send = async (path: string, body: unknown, key: string) => {
      for (let tries = 0; tries < 500; tries += 1) {
        const answer = await hub.call('POST', path, body, { 'Idempotency-Key': key });
        if (answer.status < 300) return;
        expectToAskAgain(answer);
        cutOff += 1;
        await sleep(20);
      }
      throw new Error(`${key} was not taken`);
    };
    let sending = true;
    const senders = kinds.map(async (kind, at) => {
      for (let n = 0; n < requestsOfEach; n += 1) await send(...kind(n), `cut ${at} ${n}`);
    });
    const all = Promise.all(senders).finally(() => (sending = false));
    const cutting = (async () => {
      for (let cuts = 0; sending && cuts < 20; cuts += 1) {
        // Time enough to get connected and into the middle of something.
        await sleep(40 + (cuts % 7) * 35);
        line.cut();
        if (cuts !== 10) continue;
        line.away();
        await sleep(1_000);
        line.back();
      }
    })();
    await Promise.all([all, cutting]);

    // Received: one, and two of the batch; sold: one. What is in transit is ours still.
    expect(await onHand('MUG')).toBe(before.MUG + requestsOfEach * 2);
    expect(await onHand('BOWL')).toBe(before.BOWL);
    const { rows } = await hub.database.pool.query(
      `SELECT stream, count(*)::int AS n FROM events WHERE stream LIKE 'transfer:T-%' OR stream LIKE 'order:%O-%'
        GROUP BY 1 HAVING count(*) <> 1`,
    );
    expect(rows).toEqual([]);
    expect(cutOff).toBeGreaterThan(0);
    await expect.poll(async () => (await hub.call('GET', '/v1/health/ready')).status, settled).toBe(200);
    await caughtUp(hub);
    await assertInvariants(hub.database);
    await expect
      .poll(async () => (await hub.call('GET', '/v1/items/MUG')).body.onHand, settled)
      .toBe(await onHand('MUG'));
  });
});

describeWithRedis('while Redis is away', () => {
  let hub: HubUnderTest;
  let line: CutLine;
  let shop: Shop;
  let redis: NonNullable<Awaited<ReturnType<typeof startPrivateRedis>>>;

  beforeAll(async () => {
    redis = (await startPrivateRedis())!;
    line = await cutLineTo(redis.url);
    shop = await startShop('webhook', { items: [{ key: 'MUG', title: 'Mug', quantity: 0 }] });
    hub = await startHubUnderTest({ REDIS_URL: line.url, ONHAND_LOG_LEVEL: 'fatal' });
    await hub.call('POST', '/v1/locations', { location: 'main', name: 'Main' });
    await hub.call('POST', '/v1/items', { sku: 'MUG', title: 'Mug' });
    await hub.call('POST', '/v1/movements', { kind: 'received', sku: 'MUG', location: 'main', quantity: 5 });
    const cart = { id: 'shop', name: 'Shop', type: 'webhook', url: shop.url, secret: shop.secret, locations: ['main'] };
    await hub.call('POST', '/v1/carts', cart);
    await hub.call('PUT', '/v1/carts/shop/switch', { on: true });
    await hub.call('PUT', '/v1/carts/shop/listings', { allItems: true });
    await hub.call('POST', '/v1/carts/shop/comparison', { direction: 'send' });
    await until('the shop shows what is there', async () => (await shop.stock()).get('MUG') === 5, settled.timeout);
  });
  afterAll(async () => {
    await hub.close();
    await line.close();
    await Promise.all([shop.stop(), redis.stop()]);
  });

  it('commands are taken, what they lead to waits on the Web Stack, and the lane goes on by itself', async () => {
    line.away();
    for (let n = 0; n < 5; n += 1) {
      const sold = { kind: 'sold', sku: 'MUG', location: 'main', quantity: 1 };
      expect((await hub.call('POST', '/v1/movements', sold, { 'Idempotency-Key': `sold ${n}` })).status).toBe(201);
    }
    expect((await hub.call('GET', '/v1/items/MUG')).status).toBe(200);
    await expect.poll(async () => (await hub.call('GET', '/v1/items/MUG')).body.onHand, settled).toBe(0);
    line.back();
    await expect.poll(async () => (await shop.stock()).get('MUG'), settled).toBe(0);
    const applied = (await shop.journal()).filter(({ kind }) => kind === 'delta').map(({ delta }) => delta);
    expect(applied.reduce((sum, delta) => sum + delta, 0)).toBe(0);
    await expect
      .poll(async () => (await hub.call('GET', '/v1/lanes')).body, settled)
      .toMatchObject({
        data: [{ cartId: 'shop', light: 'green', waiting: 0, inFlight: 0 }],
      });
    await assertInvariants(hub.database);
  });

  it('connections that are cut while lanes work lose and double nothing', async () => {
    const sales = 20;
    let working = true;
    const cutting = (async () => {
      for (let cuts = 0; working && cuts < 20; cuts += 1) {
        await sleep(20 + (cuts % 5) * 20);
        line.cut();
      }
    })();
    for (let n = 0; n < sales; n += 1) {
      const one = { kind: 'received', sku: 'MUG', location: 'main', quantity: 1 };
      expect((await hub.call('POST', '/v1/movements', one)).status).toBe(201);
    }
    working = false;
    await cutting;
    await expect.poll(async () => (await shop.stock()).get('MUG'), settled).toBe(sales);
    await caughtUp(hub);
    await assertInvariants(hub.database);
  });
});

describeWithRedis('a hub that is stopped while Redis is away', () => {
  let redis: NonNullable<Awaited<ReturnType<typeof startPrivateRedis>>>;
  let line: CutLine;
  let hub: HubUnderTest;

  beforeEach(async () => {
    redis = (await startPrivateRedis())!;
    line = await cutLineTo(redis.url);
    hub = await startHubUnderTest({ REDIS_URL: line.url, ONHAND_LOG_LEVEL: 'fatal' });
  });
  afterEach(async () => {
    await line.close();
    await redis.stop();
  });

  it.each([0, 300, 3_000])('%i ms before the signal comes, ends all the same', async (ms) => {
    line.away();
    await sleep(ms);
    await hub.close();
  });

  it('after the signal came, ends all the same', async () => {
    const closing = hub.close();
    line.away();
    await closing;
  });
});
