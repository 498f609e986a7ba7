import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Moment } from '../../src/moments.js';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { startHubProcess, type HubProcess } from './hub-process.js';

const listings = 900;
/** What the first chunk of a process takes (availability/chunk-size.ts). */
const firstChunk = 250;
const skus = Array.from({ length: listings }, (_, n) => `R-${String(n).padStart(4, '0')}`);

/**
 * A rule for everything, and the process that carries it through the listings is killed again and again: once with a chunk
 * written and not committed, once with it committed and the next not begun, and once in the chunk after that.
 */
describe('a change of rules whose projectors are killed', () => {
  let harness: Harness;
  let shop: Shop;
  const ownerKey = `ohk_${randomBytes(32).toString('base64url')}`;
  const running = new Set<HubProcess>();

  beforeAll(async () => {
    harness = await createHarness({ backend: 'postgres' });
    shop = await startShop('webhook', { items: skus.map((key) => ({ key, title: key, quantity: 100 })) });
    await harness.ask({ type: 'AddLocation', location: 'MAIN', name: 'Main' });
    await Promise.all(skus.map((sku) => harness.ask({ type: 'CreateItem', sku, title: sku })));
    await Promise.all(skus.map((sku) => harness.ask({ type: 'CountStock', sku, location: 'MAIN', quantity: 100 })));
    await harness.projector.caughtUp(30_000);
    await harness.connect('shop', shop, { requestTimeoutMs: 2_000 });
    await harness.quiet();
    // From here on the processes do the work; this one looks.
    await harness.stopWorkers();
    await harness.projector.stop();
  }, 120_000);
  afterAll(async () => {
    for (const hub of running) await hub.kill();
    await harness.close();
    await shop.stop();
  });

  const start = async (roles: string) => {
    const hub = await startHubProcess({
      DATABASE_URL: harness.database.url,
      ONHAND_ENCRYPTION_KEY: harness.encryptionKey.toString('base64'),
      ONHAND_OWNER_KEY: ownerKey,
      ONHAND_ALLOW_PRIVATE_CART_URLS: 'true',
      ONHAND_LANES_MAX: '8',
      ONHAND_ROLES: roles,
    });
    running.add(hub);
    return hub;
  };
  const run = async () => {
    const [found] = await harness.rows<{ state: string; done: number; total: number | null; records: number }>(
      'SELECT state, done::int, total::int, records::int FROM recompute_runs ORDER BY created_at DESC LIMIT 1',
    );
    return found;
  };

  it('goes on from the last chunk that was committed: each listing is told once, and its progress is true', async () => {
    const moments: Moment[] = ['projector:recomputing', 'projector:recomputed', 'projector:recomputing'];
    const victims: HubProcess[] = [];
    for (const moment of moments) {
      const hub = await start('api,projector');
      await hub.arm({ moment, cartId: null, signal: 'SIGKILL' });
      victims.push(hub);
    }
    // Whichever of them is effective: the others stand by, and take over from the dead.
    const effect = { kind: 'cap', units: 5 } as const;
    const scope = { sku: null, tag: null, locations: null, cart: null };
    await harness.ask({ type: 'SaveRule', rule: { ruleId: 'few', name: 'few', scope, order: 0, effect }, by: 'Ann' });
    for (const victim of victims) await victim.struck();

    expect(await run()).toEqual({ state: 'running', done: firstChunk, total: listings, records: firstChunk });
    const [half] = await harness.rows<{ told: number; records: number }>(
      `SELECT (SELECT count(*) FROM listings WHERE target = 5 AND expected = 5)::int AS told,
              (SELECT count(*) FROM web_stack WHERE push IS NOT NULL)::int AS records`,
    );
    expect(half).toEqual({ told: firstChunk, records: firstChunk });

    // Sold while nobody works on it, of a listing that the run has still to come to.
    const sold = skus.at(-1) as string;
    await harness.ask({ type: 'SellStock', sku: sold, location: 'MAIN', quantity: 97 });
    await start('api,projector,worker');
    await until('the run is done', async () => (await run())?.state === 'done', 60_000);
    expect(await run()).toEqual({ state: 'done', done: listings, total: listings, records: listings - 1 });
    await harness.quiet(60_000);

    const records = await harness.rows<{ key: string; delta: number; state: string }>(
      `SELECT key, delta::int, state FROM web_stack WHERE created_at > (SELECT min(created_at) FROM recompute_runs WHERE cause->>'type' = 'RuleSaved')
        ORDER BY key`,
    );
    expect(records).toEqual(skus.map((key) => ({ key, delta: key === sold ? -97 : -95, state: 'delivered' })));
    const stock = await shop.stock();
    expect(skus.filter((sku) => stock.get(sku) !== (sku === sold ? 3 : 5))).toEqual([]);
    await assertInvariants(harness.database);
    await assertShopsAgree(harness.database, new Map([['shop', shop]]));
  }, 180_000);
});
