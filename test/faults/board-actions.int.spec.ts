import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, ownerKey, startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { describeWithRedis, startPrivateRedis } from '../support/redis.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { depth, generator, tally } from './depth.js';

/**
 * Somebody presses everything that Bull Board has, on jobs in every state, while stock moves and answers get lost. The
 * queue is transport: whatever is pressed there may hold a lane up, and never loses or doubles anything.
 */
const jobStates = ['waiting', 'active', 'delayed', 'completed', 'failed', 'paused'] as const;
type JobState = (typeof jobStates)[number];

interface Press {
  readonly method: 'PUT' | 'POST' | 'PATCH';
  /** `:id` stands for a job in the state. */
  readonly path: string;
  readonly body?: unknown;
}

const onJobs: Readonly<Record<string, Press>> = {
  retry: { method: 'PUT', path: '/:id/retry' },
  promote: { method: 'PUT', path: '/:id/promote' },
  remove: { method: 'PUT', path: '/:id/clean' },
  'run later': { method: 'PATCH', path: '/:id/delay', body: { runAt: 4_102_444_800_000 } },
  'change the priority': { method: 'PATCH', path: '/:id/priority', body: { priority: 7 } },
  'write nonsense into': { method: 'PATCH', path: '/:id/update-data', body: { jobData: { deliveryId: 'nonsense' } } },
};
const onStates: Readonly<Record<string, (state: JobState) => Press>> = {
  'retry all': (state) => ({ method: 'PUT', path: `/retry/${state}` }),
  clean: (state) => ({ method: 'PUT', path: `/clean/${state === 'waiting' ? 'wait' : state}` }),
};
const onQueues: Readonly<Record<string, Press>> = {
  'promote all': { method: 'PUT', path: '/promote' },
  pause: { method: 'PUT', path: '/pause' },
  empty: { method: 'PUT', path: '/empty' },
  obliterate: { method: 'PUT', path: '/obliterate', body: { force: true } },
  'add nonsense': { method: 'POST', path: '/add', body: { name: 'deliver', data: { deliveryId: 'x' }, options: {} } },
  'let one job run at a time': { method: 'PUT', path: '/concurrency', body: { concurrency: 1 } },
  resume: { method: 'PUT', path: '/resume' },
};

const carts = ['serial', 'keyed'] as const;
const skus = Array.from({ length: 8 }, (_, index) => `B${index + 1}`);
const quiet = { timeout: 60_000, interval: 50 };

describe('pressing everything on Bull Board, with lanes on PostgreSQL', () => suite('postgres'));
describeWithRedis('pressing everything on Bull Board, with lanes on Redis', () => suite('redis'));

function suite(backend: 'postgres' | 'redis'): void {
  let redis: Awaited<ReturnType<typeof startPrivateRedis>>;
  let hub: HubUnderTest;
  let shops: ReadonlyMap<string, Shop>;
  const model = new Map(skus.map((sku) => [sku, 0]));
  const random = generator(depth.seed);

  const press = ({ method, path, body }: Press, cart: string, id = '') =>
    call(`${hub.url}/queues/api/queues/lane-${cart}${path.replace(':id', id)}`, method, body, {
      Authorization: `Bearer ${ownerKey}`,
    });
  const jobsIn = async (cart: string, state: JobState): Promise<string[]> => {
    const { body } = await hub.call(
      'GET',
      `/queues/api/queues?activeQueue=lane-${cart}&status=${state}&page=1&jobsPerPage=20`,
    );
    const queue = body.queues.find(({ name }: { name: string }) => name === `lane-${cart}`);
    return queue.jobs.map(({ id }: { id: string }) => id);
  };
  const move = async (sku: string, delta: number) => {
    model.set(sku, (model.get(sku) ?? 0) + delta);
    const answer = await hub.call('POST', '/v1/movements', {
      kind: 'adjusted',
      sku,
      location: 'main',
      delta,
      reason: 'test',
    });
    expect(answer.status).toBe(201);
  };
  const open = async () =>
    (
      await hub.database.pool.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM web_stack WHERE state IN ('waiting', 'in-flight', 'in-doubt', 'held')`,
      )
    ).rows[0]?.n;

  beforeAll(async () => {
    redis = backend === 'redis' ? await startPrivateRedis() : undefined;
    hub = await startHubUnderTest(redis === undefined ? {} : { REDIS_URL: redis.url });
    const items = skus.map((key) => ({ key, title: key, quantity: 0 }));
    const [seti, webhook] = await Promise.all([startShop('seti', { items }), startShop('webhook', { items })]);
    shops = new Map([
      ['serial', seti],
      ['keyed', webhook],
    ]);
    await hub.call('POST', '/v1/locations', { location: 'main', name: 'Main' });
    for (const sku of skus) await hub.call('POST', '/v1/items', { sku, title: sku });
    for (const [id, shop] of shops) {
      const added = await hub.call('POST', '/v1/carts', {
        id,
        name: id,
        type: shop.kind,
        url: shop.url,
        username: shop.user,
        secret: shop.secret,
        locations: ['main'],
        requestTimeoutMs: 1_000,
        quietTimeMs: 300,
        pollIntervalMs: 500,
      });
      expect(added.status).toBe(201);
      await hub.call('PUT', `/v1/carts/${id}/switch`, { on: true, unprobed: 'the sample shop' });
      await hub.call('PUT', `/v1/carts/${id}/listings`, { allItems: true });
      const started = await hub.call('POST', `/v1/carts/${id}/comparison`, { direction: 'send' });
      await until(
        'the carts are compared',
        async () => (await hub.call('GET', started.body.statusUrl)).body.state === 'done',
        60_000,
      );
    }
  });
  afterAll(async () => {
    await hub?.close();
    await Promise.all([...(shops?.values() ?? [])].map((shop) => shop.stop()));
    await redis?.stop();
  });

  it('loses and doubles nothing, whatever state the jobs are in', async () => {
    // Slow answers keep jobs waiting and active; lost ones keep resends delayed.
    const trouble = async () => {
      await shops.get('serial')?.faults({ delayBeforeMs: 80 });
      await shops.get('keyed')?.faults({ delayBeforeMs: 80, dropAfterApply: 2 });
    };
    await trouble();
    const pressed = new Set<string>();
    const traffic = async () => {
      for (let moves = 0; moves < 4; moves += 1)
        await move(skus[Math.floor(random() * skus.length)] as string, Math.floor(random() * 9) - 3 || 4);
    };
    // The short form presses at one of the carts, another one with each backend.
    const pressedAt = depth.minutes > 0 ? carts : [backend === 'redis' ? carts[1] : carts[0]];
    for (const cart of pressedAt) {
      for (const [name, action] of Object.entries(onQueues)) {
        await traffic();
        await press(action, cart);
        pressed.add(name);
      }
      for (const state of jobStates) {
        for (const [name, action] of Object.entries(onJobs)) {
          // A paused queue keeps its jobs waiting; BullMQ has no other state for them.
          if (state === 'paused') await press(onQueues['pause'] as Press, cart);
          await traffic();
          await trouble();
          if (state === 'failed') await press(onQueues['add nonsense'] as Press, cart);
          const ids = await someJobs(() => jobsIn(cart, state === 'paused' ? 'waiting' : state));
          for (const id of ids) await press(action, cart, id);
          if (ids.length > 0) pressed.add(`${name}, ${state}`);
          if (state === 'paused') await press(onQueues['resume'] as Press, cart);
        }
        for (const [name, action] of Object.entries(onStates)) {
          await traffic();
          await press(action(state), cart);
          pressed.add(`${name}, ${state}`);
        }
      }
    }
    for (const [cart, shop] of shops) {
      await press(onQueues['resume'] as Press, cart);
      await shop.faults({});
    }
    await expect.poll(open, quiet).toBe(0);
    await assertInvariants(hub.database);
    await assertShopsAgree(hub.database, shops);
    for (const shop of shops.values()) expect(await shop.stock()).toEqual(model);
    tally({ 'buttons pressed on Bull Board': pressed.size });
    // Which jobs were there at which moment is the machine's doing; no state may go untouched. Those of a paused queue wait.
    for (const state of ['active', 'completed', 'failed', 'paused'])
      expect([...pressed].filter((what) => what.endsWith(`, ${state}`)).length).toBeGreaterThan(2);
  }, 180_000);
}

/** Waits a little for jobs to come into a state; none may be there, and then nothing is pressed. */
async function someJobs(look: () => Promise<string[]>): Promise<string[]> {
  try {
    return await until(
      'a job is in the state',
      async () => {
        const ids = await look();
        return ids.length > 0 && ids.slice(0, 3);
      },
      2_000,
    );
  } catch {
    return [];
  }
}
