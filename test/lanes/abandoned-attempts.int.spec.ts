import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claim } from '../../src/cart-workers/claim.js';
import { dispatchLane } from '../../src/cart-workers/dispatch.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';

const terms = {
  keyed: true,
  needsQ0: false,
  readsFirst: false,
  serial: false,
  requestTimeoutMs: 1_000,
  settleTimeoutMs: 1_000,
  quietTimeMs: 300,
  worker: 'test',
};
/** Long enough that waiting for a deadline fails the test. */
const requestTimeoutMs = 30_000;
const sku = 'HALF-KNOWN';

let hub: Harness;
const shops = new Map<string, Shop>();

beforeAll(async () => {
  hub = await createHarness({ backend: 'postgres' });
  await hub.stockUp({ [sku]: 10 });
  for (const [cartId, settings] of [
    ['key', {}],
    ['compare', { delivery: 'compare-and-set' }],
    ['settle', {}],
  ] as const) {
    const shop = await startShop(cartId === 'settle' ? 'seti' : 'webhook', {
      items: [{ key: sku, title: sku, quantity: 10 }],
    });
    shops.set(cartId, shop);
    await hub.connect(cartId, shop, { requestTimeoutMs, ...settings });
  }
  await hub.quiet();
});
afterAll(async () => {
  await hub?.close();
  for (const shop of shops.values()) await shop.stop();
});

/** The next transactions that write a try are committed, and nobody hears of it. @returns how many that were */
function loseCommitsOfClaims(times: number): { readonly lost: () => number; readonly stop: () => void } {
  let lost = 0;
  const patched = new WeakSet<PoolClient>();
  const patch = (client: PoolClient) => {
    if (patched.has(client)) return;
    patched.add(client);
    const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>;
    let claims = false;
    client.query = (async (...args: unknown[]) => {
      const name = (args[0] as { name?: string }).name;
      if (name === 'begin-attempts') claims = true;
      const isLost = args[0] === 'COMMIT' && claims && lost < times;
      if (args[0] === 'COMMIT') claims = false;
      if (isLost) lost += 1;
      const answer = await query(...args);
      if (isLost) throw new Error('Connection terminated unexpectedly');
      return answer;
    }) as typeof client.query;
  };
  hub.database.pool.on('acquire', patch);
  return { lost: () => lost, stop: () => hub.database.pool.off('acquire', patch) };
}

describe('a try that was written without its worker hearing of it', () => {
  it.each([1, 2, 4])('does not keep its listing waiting until its deadline, %i times in a row', async (times) => {
    const claims = loseCommitsOfClaims(times);
    await hub.ask({ type: 'AdjustStock', sku, location: 'MAIN', delta: 1 });
    await until('they were lost', () => claims.lost() === times);
    await hub.quiet(requestTimeoutMs / 2);
    claims.stop();
    const onHand = await hub.rows<{ on_hand: string }>('SELECT on_hand FROM quantity_on_hand WHERE sku = $1', sku);
    for (const shop of shops.values()) expect((await shop.stock()).get(sku)).toBe(Number(onHand[0]?.on_hand));
    expect(await hub.rows('SELECT id FROM attempts WHERE ended_at IS NULL')).toEqual([]);
    expect(await hub.rows(`SELECT key FROM delivery_lines WHERE state = 'quarantined'`)).toEqual([]);
  });

  it('is taken back and made anew where several carts were claimed together', async () => {
    await hub.stopWorkers();
    await hub.ask({ type: 'AdjustStock', sku, location: 'MAIN', delta: 1 });
    await hub.projector.caughtUp(10_000);
    const cartIds = ['compare', 'key'];
    const made = await Promise.all(
      cartIds.map((cartId) => dispatchLane(hub.database, cartId, { linesPerDeliveryMax: 1, callsMax: null })),
    );
    const jobs = made.map(([delivery]) => ({ deliveryId: delivery?.deliveryId ?? '', take: 1 }));
    const claims = loseCommitsOfClaims(1);
    const claimed = await Promise.all(
      jobs.map((job, index) => claim(hub.database, job, { ...terms, cartId: cartIds[index] ?? '' })),
    );
    claims.stop();
    expect(claims.lost()).toBe(1);
    expect(claimed).toMatchObject([
      { kind: 'claimed', purpose: 'send', cartId: 'compare' },
      { kind: 'claimed', purpose: 'send', cartId: 'key' },
    ]);
    const tries = await hub.rows<{ tries: number; attempts: number }>(
      `SELECT d.tries, (SELECT count(*)::int FROM attempts a WHERE a.delivery_id = d.id) AS attempts
         FROM deliveries d WHERE d.id = ANY ($1::uuid[])`,
      jobs.map(({ deliveryId }) => deliveryId),
    );
    expect(tries).toEqual([
      { tries: 1, attempts: 1 },
      { tries: 1, attempts: 1 },
    ]);
  });
});
