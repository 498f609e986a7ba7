import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findRedis } from '../../samples/redis.mjs';
import { createDatabase, type Database } from '../../src/database.js';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { composeUp, startFront, type ComposeHub } from './compose-hub.js';
import type { HubProcess } from './processes.js';

/**
 * The production shape, told as one story: each test goes on where the one before it ended. It runs what
 * docker-compose.yml says, scaled to two of every role, against real shops.
 */
describe.runIf(findRedis() !== undefined || process.env['CI'] === 'true')('what docker-compose.yml describes', () => {
  const ownerKey = `ohk_${randomBytes(32).toString('base64url')}`;
  const variables = {
    POSTGRES_PASSWORD: randomBytes(16).toString('hex'),
    ONHAND_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    ONHAND_OWNER_KEY: ownerKey,
    ONHAND_ALLOW_PRIVATE_CART_URLS: 'true',
  };
  /** Sold in the shops and moved by the hub all day long. */
  const busy = Array.from({ length: 12 }, (_, n) => `BUSY-${n}`);
  /** Each for one act of the story, so that nothing else happens to it in the meantime. */
  const quiet = ['COUNTED', 'LATE', 'DOUBT', 'RESENT', 'BEHIND', 'FROZEN', 'HELD', 'LANE'];
  /** What has to be there, by what this test did. */
  const account = new Map<string, number>();

  let hub: ComposeHub;
  let database: Database;
  let front: Awaited<ReturnType<typeof startFront>>;
  let ports: number[] = [];
  const shops = new Map<string, Shop>();

  beforeAll(async () => {
    hub = await composeUp(variables, { api: 2, projector: 2, worker: 2 });
    ports = await Promise.all(hub.of('api').map(portOf));
    front = await startFront(() => ports);
    database = createDatabase({ url: hub.databaseUrl, poolMax: 4, applicationName: 'onhand-test' });
  });
  afterAll(async () => {
    await database?.close();
    await Promise.all([...shops.values()].map((shop) => shop.stop()));
    await front?.close();
    await hub?.remove();
  });

  const portOf = async (api: HubProcess) => Number(new URL((await api.started()).url ?? '').port);

  // --- A client that does what clients should: no answer, the same again under the same key -------------------------

  async function call(
    method: string,
    path: string,
    body?: unknown,
    base = front.url,
  ): Promise<Record<string, unknown>> {
    const init = {
      method,
      headers: {
        Authorization: `Bearer ${ownerKey}`,
        'Content-Type': 'application/json',
        'Idempotency-Key': randomUUID(),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    };
    return await until(`${method} ${path} is answered`, async () => {
      const response = await fetch(base + path, init).catch(() => null);
      // An api that is stopping refuses what comes late on an old connection.
      if (response === null || response.status === 503) return null;
      const answer = (await response.json()) as Record<string, unknown>;
      if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${JSON.stringify(answer)}`);
      return answer;
    });
  }
  const pieces = (sku: string, delta: number) => account.set(sku, (account.get(sku) ?? 0) + delta);
  const stock = (sku: string) => ({ sku, location: 'MAIN' });
  async function receive(sku: string, quantity: number) {
    await call('POST', '/v1/movements', { kind: 'received', ...stock(sku), quantity });
    pieces(sku, quantity);
  }
  async function sell(sku: string, quantity: number) {
    await call('POST', '/v1/movements', { kind: 'sold', ...stock(sku), quantity });
    pieces(sku, -quantity);
  }
  async function count(sku: string, quantity: number) {
    await call('POST', '/v1/counts', { ...stock(sku), quantity });
    account.set(sku, quantity);
  }
  async function buy(cartId: string, sku: string, quantity: number) {
    await shopOf(cartId).buy(sku, quantity);
    pieces(sku, -quantity);
  }
  const shopOf = (cartId: string): Shop => {
    const shop = shops.get(cartId);
    if (shop === undefined) throw new Error(`There is no shop ${cartId}`);
    return shop;
  };

  // --- Looking ---------------------------------------------------------------------------------------------------------

  const rows = async <T extends pg.QueryResultRow>(sql: string, ...values: unknown[]) =>
    (await database.pool.query<T>(sql, values)).rows;
  const pidOf = (name: string) => Number(name.split('-').at(-2));
  const shopsShow = (sku: string) =>
    until(
      `every shop shows ${account.get(sku)} of ${sku}`,
      async () => {
        const shown = await Promise.all([...shops.values()].map(async (shop) => (await shop.stock()).get(sku)));
        return shown.every((quantity) => quantity === account.get(sku));
      },
      30_000,
    );
  async function effectiveProjector(): Promise<HubProcess | undefined> {
    const { effective } = (await call('GET', '/v1/projector')) as { effective: { name: string } | null };
    return hub.of('projector').find(({ pid }) => pid === pidOf(effective?.name ?? ''));
  }
  /** What is still to come, or never will: empty when the day is over. */
  async function leftOver(): Promise<unknown[]> {
    // The other kind of shop is asked for its orders, which is seen by what is on hand.
    const telling = [...shops].filter(([, { kind }]) => kind === 'webhook');
    const outboxes = await Promise.all(telling.map(async ([id, shop]) => ({ id, unsent: await shop.outboxSize() })));
    const open = await rows(
      `SELECT cart_id, key, delta, state, attempts, last_response FROM web_stack
        WHERE state IN ('waiting', 'in-flight', 'in-doubt', 'held')`,
    );
    const onHand = await rows<{ sku: string; on_hand: string }>('SELECT sku, on_hand FROM quantity_on_hand');
    const differing = onHand
      .map((row) => ({ sku: row.sku, onHand: Number(row.on_hand), account: account.get(row.sku) }))
      .filter((row) => row.onHand !== row.account);
    return [...outboxes.filter(({ unsent }) => unsent > 0), ...open, ...differing];
  }
  const untilQuiet = () => expect.poll(leftOver, { timeout: 40_000 }).toEqual([]);

  async function addCart(cartId: string, kind: 'seti' | 'webhook') {
    const shop = await startShop(kind, {
      name: `Shop ${cartId}`,
      items: [...busy, ...quiet].map((key) => ({ key, title: key, quantity: 40 })),
    });
    shops.set(cartId, shop);
    await call('POST', '/v1/carts', {
      id: cartId,
      name: `Shop ${cartId}`,
      type: kind,
      url: shop.url,
      username: shop.user,
      secret: shop.secret,
      locations: ['MAIN'],
      requestTimeoutMs: 2_000,
      quietTimeMs: 500,
      pollIntervalMs: 500,
    });
    await call('PUT', `/v1/carts/${cartId}/listings`, { allItems: true });
    if (kind === 'webhook') await shop.setHub(`${front.url}/v1/carts/${cartId}/webhooks`);
    const { id } = await call('POST', `/v1/carts/${cartId}/comparison`, { direction: 'send' });
    await until(`${cartId} was compared`, async () => {
      const { state } = await call('GET', `/v1/carts/${cartId}/comparison/${String(id)}`);
      if (state === 'failed') throw new Error(`The comparison of ${cartId} failed`);
      return state === 'done';
    });
    await call('PUT', `/v1/carts/${cartId}/switch`, { on: true, unprobed: 'the sample shop' });
  }

  const waiting = async () =>
    Number((await rows<{ n: string }>(`SELECT count(*) AS n FROM web_stack WHERE state = 'waiting'`))[0]?.n);
  /** A shop that takes one change at a time would otherwise be ever further behind what this test can think of. */
  const waitingMax = 12;

  /** A day's trade, over and over until it is told to end; what happens to the hub meanwhile is the test. */
  function trade(): { end(): Promise<number> } {
    let ended = false;
    const going = (async () => {
      let round = 0;
      for (; !ended; round += 1) {
        await until('the shops keep pace', async () => ended || (await waiting()) < waitingMax, 60_000);
        const sku = busy[round % busy.length] ?? '';
        const carts = [...shops.keys()];
        await receive(sku, 1 + (round % 5));
        await buy(carts[round % carts.length] ?? '', sku, 1);
        if (round % 3 === 0) await sell(busy[(round + 5) % busy.length] ?? '', 1);
        if (round % 4 === 0) await count('COUNTED', 50 + (round % 7));
      }
      return round;
    })();
    // Heard of where it is awaited; a failure must not end the run before.
    going.catch(() => undefined);
    return {
      end: () => {
        ended = true;
        return going;
      },
    };
  }
  let trading: ReturnType<typeof trade>;

  // --- The story -------------------------------------------------------------------------------------------------------

  it('starts, migrated before anything else, and every service with a health check is well', async () => {
    expect(hub.startedInOrder.indexOf('migrate')).toBeGreaterThan(hub.startedInOrder.indexOf('postgres'));
    for (const name of ['api', 'projector', 'worker']) {
      expect(hub.startedInOrder.indexOf(name)).toBeGreaterThan(hub.startedInOrder.indexOf('migrate'));
      expect(hub.of(name)).toHaveLength(2);
    }
    for (const name of ['postgres', 'redis', 'api']) expect([name, await hub.isHealthy(name)]).toEqual([name, true]);
    const status = await call('GET', '/v1/status');
    expect(status).toMatchObject({ backend: { queues: 'redis', maxmemoryPolicy: 'noeviction', database: 'external' } });
    const processes = status['processes'] as { name: string; roles: string[] }[];
    for (const name of ['api', 'projector', 'worker']) {
      const pids = processes.filter(({ roles }) => roles.includes(name)).map((one) => pidOf(one.name));
      expect(new Set(pids)).toEqual(new Set(hub.of(name).map(({ pid }) => pid)));
    }
    const [connections] = await rows<{ used: string; most: string }>(
      `SELECT count(*) AS used, current_setting('max_connections') AS most FROM pg_stat_activity`,
    );
    expect(Number(connections?.used)).toBeLessThan(Number(connections?.most));
  });

  it('makes two shops equal and goes on while they sell', async () => {
    await call('POST', '/v1/locations', { location: 'MAIN', name: 'Main' });
    await call('POST', '/v1/items/batch', { items: [...busy, ...quiet].map((sku) => ({ sku, title: sku })) });
    for (const sku of [...busy, ...quiet]) await receive(sku, 60);
    await addCart('shop-a', 'seti');
    await addCart('shop-b', 'webhook');
    await untilQuiet();
    await shopsShow('BUSY-0');
    trading = trade();
    await receive('LATE', 5);
    await shopsShow('LATE');
  });

  it('opens a lane in every worker for a cart that is added meanwhile', async () => {
    await addCart('shop-c', 'webhook');
    const workers = new Set(hub.of('worker').map(({ pid }) => pid));
    await until('each worker has carried something to the new cart', async () => {
      await receive('LANE', 1);
      const served = await rows<{ worker: string }>(`SELECT DISTINCT worker FROM attempts WHERE cart_id = 'shop-c'`);
      return served.filter(({ worker }) => workers.has(pidOf(worker))).length === workers.size;
    });
    await shopsShow('LANE');
  });

  it('loses and doubles nothing when a worker is killed in the middle of its calls', async () => {
    // The shops have applied what they were sent and keep the answer to themselves.
    const slow = { delayAfterMs: 1_000 };
    await Promise.all([shopOf('shop-a').faults(slow), shopOf('shop-b').faults(slow)]);
    const deltaOf = async (cartId: string, sku: string) =>
      (await shopOf(cartId).journal()).filter(({ key, kind }) => key === sku && kind === 'delta').at(-1)?.delta;
    // A decrease, which goes before whatever else waits.
    await sell('DOUBT', 7);
    const victim = await until('the shop has applied it, and its worker waits for the answer', async () => {
      if ((await deltaOf('shop-a', 'DOUBT')) !== -7) return null;
      const [open] = await rows<{ worker: string }>(
        `SELECT a.worker FROM attempts a JOIN delivery_lines l ON l.delivery_id = a.delivery_id
          WHERE a.cart_id = 'shop-a' AND a.ended_at IS NULL AND a.kind = 'send' AND l.key = 'DOUBT'`,
      );
      return hub.of('worker').find(({ pid }) => pid === pidOf(open?.worker ?? ''));
    });
    victim.child.kill('SIGKILL');
    expect(await victim.ended).toBe('SIGKILL');
    await Promise.all([shopOf('shop-a').faults({}), shopOf('shop-b').faults({})]);
    await hub.start('worker');
    await sell('RESENT', 3);
    await shopsShow('DOUBT');
    await shopsShow('RESENT');
    const [lost] = await rows<{ lost: string }>(`SELECT count(*) AS lost FROM attempts WHERE outcome = 'lost'`);
    expect(Number(lost?.lost)).toBeGreaterThan(0);
  });

  it('has another projector take over when the effective one is killed', async () => {
    const killed = await until('one is effective', effectiveProjector);
    killed.child.kill('SIGKILL');
    await killed.ended;
    await receive('BEHIND', 2);
    await shopsShow('BEHIND');
    expect((await effectiveProjector())?.pid).not.toBe(killed.pid);
    await hub.start('projector');
  });

  it('has another projector take over when the effective one is frozen, and nothing counts twice when it wakes', async () => {
    const frozen = await until('one is effective', effectiveProjector);
    frozen.child.kill('SIGSTOP');
    await receive('FROZEN', 4);
    await shopsShow('FROZEN');
    expect((await effectiveProjector())?.pid).not.toBe(frozen.pid);
    frozen.child.kill('SIGCONT');
    await until('it stands by', () => frozen.output().includes('this one stands by'));
    await receive('FROZEN', 1);
    await shopsShow('FROZEN');
  });

  // It cut every connection three seconds after the signal, also those that were being answered.
  it('finishes what an api is asked when it is told to end, and clients go on at the other one', async () => {
    const [leaving] = hub.of('api');
    const [port = 0] = ports;
    if (leaving === undefined) throw new Error('There is no api');
    const holder = new pg.Client({ connectionString: hub.databaseUrl });
    await holder.connect();
    await holder.query('BEGIN');
    await holder.query(`SELECT FROM stream_heads WHERE stream = 'stock:MAIN/HELD' FOR UPDATE`);
    const body = { kind: 'received', ...stock('HELD'), quantity: 9 };
    const held = call('POST', '/v1/movements', body, `http://127.0.0.1:${port}`);
    await until('the request waits', async () => {
      const waiting = await rows(
        `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'onhand api'`,
      );
      return waiting.length > 0;
    });
    const unused = connect(port, '127.0.0.1');
    await once(unused, 'connect');
    const cut = once(unused, 'close');
    leaving.child.kill('SIGTERM');
    await cut;
    await holder.query('COMMIT');
    await holder.end();
    await held;
    pieces('HELD', 9);
    expect(await leaving.ended).toBe(0);
    await receive('HELD', 1);
    await shopsShow('HELD');
  });

  it('ends equal: shops, hub and what this test did', async () => {
    expect(await trading.end()).toBeGreaterThan(20);
    await untilQuiet();
    const expected = Object.fromEntries(account);
    for (const [cartId, shop] of shops) {
      expect([cartId, Object.fromEntries(await shop.stock())]).toEqual([cartId, expected]);
    }
    for (const path of ['/v1/quarantined', '/v1/dead-letters']) {
      expect([path, (await call('GET', path))['data']]).toEqual([path, []]);
    }
    await assertInvariants(database);
    await assertShopsAgree(database, shops);
  });

  it('ends with code 0, every process of it, when it is told to', async () => {
    const processes = ['worker', 'projector', 'api'].flatMap((name) => hub.of(name));
    expect(processes).toHaveLength(5);
    for (const { child } of processes) child.kill('SIGTERM');
    const ends = await Promise.all(processes.map(async (one) => [one.pid, await one.ended, one.output()] as const));
    expect(ends.filter(([, end]) => end !== 0)).toEqual([]);
  });
});
