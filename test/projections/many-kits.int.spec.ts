import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { inTransaction } from '../../src/database.js';
import { everything } from '../../src/events/rule.js';
import { recomputeChunk } from '../../src/projections/availability/recompute.js';
import { RunListings } from '../../src/projections/availability/run-listings.js';
import { kitListingsMax } from '../../src/projections/fan-out.js';
import { Projector } from '../../src/projections/projector.js';
import { Wakeups } from '../../src/wakeups.js';
import { untilBelowHorizon } from './given-trade.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { until } from '../support/until.js';
import { assertInvariants } from './assert-invariants.js';

const silent = { info: () => undefined, error: () => undefined };
const timing = { requestTimeoutMs: 1_000, quietTimeMs: 300, pollIntervalMs: 1_000, clampsAtZero: false };
const cart = { connector: 'webhook', url: 'http://127.0.0.1:1/', username: '', storeCode: '' } as const;

/** One component in more kits than a batch takes along, listed by two carts, and an item that is in none. */
describe('a component of very many kits', () => {
  const kits = Array.from({ length: kitListingsMax / 2 + 50 }, (_, n) => `KIT-${String(n).padStart(3, '0')}`);
  const pegsIn = (kit: string) => 1 + (Number(kit.slice(4)) % 4);
  let hub: Harness;
  let pegs = 1_000;

  beforeAll(async () => {
    hub = await createHarness({ backend: 'postgres', workers: false });
    await hub.stockUp({ PEG: pegs, OTHER: 50 });
    await Promise.all(kits.map((sku) => hub.ask({ type: 'CreateItem', sku, title: sku })));
    const made = kits.map((sku) =>
      hub.ask({ type: 'SetKit', sku, components: [{ sku: 'PEG', quantity: pegsIn(sku) }], by: 'Ann' }),
    );
    await Promise.all(made);
    const skus = ['PEG', 'OTHER', ...kits];
    for (const cartId of ['a', 'b']) {
      await hub.ask({
        type: 'AddCart',
        cartId,
        name: cartId,
        ...cart,
        locations: ['MAIN'],
        orderLocation: 'MAIN',
        ...timing,
      });
      await hub.ask({ type: 'MapListings', cartId, rows: skus.map((sku) => ({ key: sku, sku })) });
      await hub.ask({ type: 'SwitchCart', cartId, on: true });
      const rows = skus.map((sku) => ({ key: sku, sku, quantity: 10_000 }));
      const at = new Date().toISOString();
      await hub.ask({ type: 'BaselineListings', cartId, kind: 'write', at, mark: null, rows });
    }
    await hub.projector.caughtUp(20_000);
    await hub.projector.stop();
  });
  afterAll(() => hub.close());
  afterEach(async () => {
    const projector = next();
    await until('nothing is left to do', async () => {
      while ((await projector.step()) !== null);
      return await hub.projector.caughtUp(0);
    });
    if ((await differing()) > 0) throw new Error('Kits show another number than their pegs allow');
    await assertInvariants(hub.database);
  });

  const next = () =>
    new Projector({
      database: hub.database,
      wakeups: new Wakeups(hub.database),
      presence: { name: 'onhand another' },
      log: silent,
    });
  const sellPegs = async (quantity: number) => {
    pegs -= quantity;
    await hub.ask({ type: 'SellStock', sku: 'PEG', location: 'MAIN', quantity });
  };
  /** Listings of kits that do not show what the pegs allow. */
  const differing = async () => {
    const rows = await hub.rows<{ key: string; expected: number }>(
      `SELECT key, expected::int FROM listings WHERE key LIKE 'KIT-%'`,
    );
    expect(rows).toHaveLength(kits.length * 2);
    return rows.filter(({ key, expected }) => expected !== Math.floor(pegs / pegsIn(key))).length;
  };
  const shown = async (key: string) =>
    (await hub.rows<{ n: number }>('SELECT expected::int AS n FROM listings WHERE key = $1 ORDER BY cart_id', key)).map(
      ({ n }) => n,
    );
  const runs = () =>
    hub.rows<{ state: string; done: number; total: number | null }>(
      `SELECT state, done::int, total::int FROM recompute_runs WHERE state = 'running' ORDER BY created_at, id`,
    );
  /** A step that has the fact in it: held back by another database of the cluster, the step would look at kits instead. */
  const applied = async (projector: Projector) => {
    await untilBelowHorizon(hub);
    expect((await projector.step())?.facts).toBeGreaterThan(0);
  };

  it('follows after the batch, while a sale of anything else is published by its own batch', async () => {
    const projector = next();
    await sellPegs(4);
    await applied(projector);
    expect([await shown('PEG'), await shown('OTHER')]).toEqual([
      [pegs, pegs],
      [50, 50],
    ]);
    expect(await differing()).toBeGreaterThan(kitListingsMax);
    const ahead = new RunListings();
    const chunk = () => inTransaction(hub.database, (client) => recomputeChunk(client, 40, ahead));
    expect(await chunk()).toMatchObject({ listings: 40 });
    await hub.ask({ type: 'SellStock', sku: 'OTHER', location: 'MAIN', quantity: 1 });
    await applied(projector);
    expect([await runs(), await shown('OTHER')]).toEqual([
      [{ state: 'running', done: 40, total: kits.length * 2 }],
      [49, 49],
    ]);
    expect(await chunk()).toMatchObject({ listings: 40 });
    expect(await runs()).toMatchObject([{ done: 80 }]);
  });

  it('is exact after a crash in the middle, by whichever projector goes on', async () => {
    await sellPegs(8);
    await applied(next());
    const ahead = new RunListings();
    const chunk = (fails: boolean) =>
      inTransaction(hub.database, async (client) => {
        const done = await recomputeChunk(client, 100, ahead);
        if (fails) throw new Error('crash');
        return done;
      });
    await chunk(false);
    await expect(chunk(true)).rejects.toThrow('crash');
    expect(await runs()).toMatchObject([{ done: 100 }]);
    // The same process may go on, too: what it had looked up before the crash is not taken for done.
    expect(await chunk(false)).toMatchObject({ listings: 100 });
    expect(await runs()).toMatchObject([{ done: 200 }]);
  });

  it('is seen by the run that is under way or by the next one, and no third one waits', async () => {
    const projector = next();
    await sellPegs(4);
    await applied(projector);
    await inTransaction(hub.database, (client) => recomputeChunk(client, 100, new RunListings()));
    for (let n = 0; n < 5; n += 1) {
      await sellPegs(4);
      await applied(projector);
    }
    expect(await runs()).toMatchObject([{ done: expect.any(Number) }, { done: 0, total: null }]);
  });

  it('echoes a kit at the cart that sold it at once, and moves on to its other kits after that', async () => {
    const projector = next();
    const sold = kits[7] as string;
    pegs -= pegsIn(sold);
    await hub.ask({
      type: 'ImportOrder',
      source: 'cart:b',
      number: '1',
      revision: 1,
      state: 'open',
      lines: [{ line: '1', sku: sold, key: sold, location: 'MAIN', quantity: 1 }],
      sighting: { after: null, by: new Date().toISOString() },
      cartMovesStock: { at: 'order', restocksOnCancel: true },
    });
    await applied(projector);
    expect((await shown(sold))[1]).toBe(Math.floor(pegs / pegsIn(sold)));
    const records = await hub.rows(
      `SELECT FROM web_stack WHERE cart_id = 'b' AND key = $1 AND cause->>'type' = 'OrderImported'`,
      sold,
    );
    expect(records).toHaveLength(0);
  });
});

/** That the next hundred of ten thousand kits were looked for among ten thousand kits for each of them took minutes. */
describe('a component of ten thousand kits', () => {
  const kits = 10_000;
  let hub: Harness;
  beforeAll(async () => {
    hub = await createHarness({ backend: 'postgres', workers: false });
    await hub.stockUp({ PEG: 100 });
    await hub.ask({
      type: 'AddCart',
      cartId: 'a',
      name: 'A',
      ...cart,
      locations: ['MAIN'],
      orderLocation: 'MAIN',
      ...timing,
    });
    await hub.ask({ type: 'SwitchCart', cartId: 'a', on: true });
    await hub.projector.caughtUp(20_000);
    await hub.rows(`INSERT INTO kit_components SELECT 'KIT-' || n, 'PEG', 1 FROM generate_series(1, $1::int) n`, kits);
    await hub.rows('INSERT INTO kit_parts SELECT * FROM kit_components');
    await hub.rows(
      `INSERT INTO listings (cart_id, key, sku, generation, expected, target)
       SELECT 'a', kit, kit, 1, 100, 100 FROM kit_parts`,
    );
    await hub.rows('ANALYZE listings, kit_parts, kit_components');
  });
  afterAll(() => hub.close());

  it('is told to every one of them within seconds', async () => {
    await hub.ask({ type: 'SellStock', sku: 'PEG', location: 'MAIN', quantity: 1 });
    expect(await hub.projector.caughtUp(20_000)).toBe(true);
    const shown = await hub.rows(`SELECT expected::int, count(*)::int FROM listings GROUP BY expected`);
    expect(shown).toEqual([{ expected: 99, count: kits }]);
    const runs = await hub.rows('SELECT done::int, records::int FROM recompute_runs WHERE done > 0');
    // One of them told that there are more, in the batch itself.
    expect(runs).toEqual([{ done: kits, records: kits - 1 }]);
  }, 40_000);

  it('lets what the guard passed go some at a time, so that no change waits for all of it', async () => {
    const effect = { kind: 'cap', units: 50 } as const;
    await hub.ask({
      type: 'SaveRule',
      rule: { ruleId: 'cap', name: 'cap', scope: everything, order: 0, effect },
      by: 'Ann',
    });
    expect(await hub.projector.caughtUp(20_000)).toBe(true);
    await until(
      'all of it went',
      async () => (await hub.rows(`SELECT FROM web_stack WHERE state = 'held'`)).length === 0,
    );
    const transactions = await hub.rows<{ records: number }>(
      `SELECT count(*)::int AS records FROM web_stack WHERE push IS NOT NULL GROUP BY xmin::text`,
    );
    expect(transactions.reduce((sum, { records }) => sum + records, 0)).toBe(kits);
    expect(Math.max(...transactions.map(({ records }) => records))).toBeLessThanOrEqual(2_000);
    expect(await hub.rows('SELECT state FROM pushes WHERE released_to IS NOT NULL')).toEqual([]);
  }, 40_000);
});
