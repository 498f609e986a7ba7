import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { compare } from '../../src/projections/rebuild.js';
import { verifyAll } from '../../src/projections/verify.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { assertInvariants } from './assert-invariants.js';
import { givenRun, givenTrade, rebuilt, shownRun, trade, tradeSkus, work } from './given-trade.js';

const seed = 20260607;
const sums = `SELECT sku, location, on_hand, open, movements, updated_at FROM quantity_on_hand ORDER BY 1, 2`;
const velocities = `SELECT sku, location, day::text, sold, cancelled, returned, movements FROM velocity ORDER BY 1, 2, 3`;
const stack = `SELECT key, sum(delta)::int AS owed FROM web_stack WHERE ended_at IS NULL GROUP BY 1 ORDER BY 1`;

describe('rebuild', () => {
  let hub: Harness;
  beforeAll(async () => {
    hub = await givenTrade();
    for (let n = 1; n < 60; n += 1) await trade(hub, n);
    await hub.projector.caughtUp(20_000);
  });
  afterEach(async () => {
    await hub.projector.caughtUp(20_000);
    await assertInvariants(hub.database);
  });
  afterAll(() => hub.close());

  it('finds nothing to do where nothing differs', async () => {
    for (const name of ['quantity-on-hand', 'velocity', 'availability'] as const) {
      expect(await rebuilt(hub, name)).toMatchObject({ state: 'done', found: 0, mended: 0, records: 0 });
    }
  });

  it('shows what would change and changes nothing, unless it is told to apply', async () => {
    const before = await hub.rows(sums);
    await hub.rows(`UPDATE quantity_on_hand SET on_hand = on_hand + 7 WHERE sku = 'T03'`);
    const damaged = await hub.rows(sums);
    expect(await rebuilt(hub, 'quantity-on-hand', false)).toMatchObject({ state: 'done', found: 1, mended: 0 });
    expect(await hub.rows(sums)).toEqual(damaged);
    // Nothing was sent because of the wrong number, so nothing has to be sent for the right one.
    expect(await rebuilt(hub, 'quantity-on-hand')).toMatchObject({ state: 'done', found: 1, mended: 1, records: 0 });
    expect(await hub.rows(sums)).toEqual(before);
  });

  it('comes to the same from empty tables, while eight writers write', async () => {
    let writing = true;
    let n = 1_000;
    const writers = Array.from({ length: 8 }, async () => {
      while (writing) await trade(hub, n++);
    });
    await hub.rows('TRUNCATE velocity');
    await hub.rows(`DELETE FROM quantity_on_hand`);
    expect(await rebuilt(hub, 'quantity-on-hand')).toMatchObject({ state: 'done' });
    expect(await rebuilt(hub, 'velocity')).toMatchObject({ state: 'done' });
    writing = false;
    await Promise.all(writers);
    await hub.projector.caughtUp(20_000);
    // While on hand was empty, movements made the cart be told wrong numbers; the rebuild told it the right ones.
    const owed = await hub.rows<{ key: string; owed: number }>(stack);
    await rebuilt(hub, 'availability');
    expect(await hub.rows(stack)).toEqual(owed);
  }, 60_000);

  it('goes on where a process died half way, and a run that was cancelled leaves right rows', async () => {
    const [before, beforeVelocity] = [await hub.rows(sums), await hub.rows(velocities)];
    await hub.rows('UPDATE quantity_on_hand SET on_hand = on_hand + 1');
    const id = await givenRun(hub, 'quantity-on-hand', true);
    // The connection that mends is cut inside its transaction, as a dying process would cut it.
    const holder = await hub.database.pool.connect();
    await holder.query('BEGIN');
    await holder.query('LOCK TABLE quantity_on_hand IN EXCLUSIVE MODE');
    const dying = work(hub, id).catch((error: unknown) => String(error));
    const pid = await until('it waits to mend', async () => {
      const rows = await hub.rows<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%jsonb_to_recordset%'`,
      );
      return rows[0]?.pid;
    });
    await hub.rows('SELECT pg_terminate_backend($1)', pid);
    expect(await dying).toMatch(/terminat|Connection/i);
    await holder.query('ROLLBACK');
    holder.release();
    expect(await shownRun(hub, id)).toMatchObject({ state: 'running', mended: 0 });
    expect(await work(hub, id)).toMatchObject({ state: 'done', found: tradeSkus.length, mended: tradeSkus.length });
    expect(await hub.rows(sums)).toEqual(before);

    await hub.rows('UPDATE velocity SET sold = sold + 1');
    const cancelled = await givenRun(hub, 'velocity', true);
    await hub.rows(`UPDATE projection_runs SET state = 'cancelled', ended_at = now() WHERE id = $1`, cancelled);
    expect(await work(hub, cancelled)).toMatchObject({ state: 'cancelled', mended: 0 });
    await rebuilt(hub, 'velocity');
    expect(await hub.rows(velocities)).toEqual(beforeVelocity);
  });

  it('ends a comparison in the database when it is cancelled', async () => {
    const holder = await hub.database.pool.connect();
    await holder.query('BEGIN');
    await holder.query('LOCK TABLE velocity IN ACCESS EXCLUSIVE MODE');
    const abort = new AbortController();
    const comparing = compare(hub.database, 'velocity', abort.signal).then(
      () => 'ended',
      (error: Error) => error.message,
    );
    await until('it compares', async () => {
      const rows = await hub.rows(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%c AS MATERIALIZED%'`,
      );
      return rows.length > 0;
    });
    abort.abort();
    expect(await comparing).toMatch(/canceling statement/);
    await holder.query('ROLLBACK');
    holder.release();
  });

  it('works up to the fact at which the projector stands', async () => {
    const stopped = { stream: 's', version: '9', type: 'StockSold', error: 'test', at: new Date().toISOString() };
    await hub.rows(`UPDATE projection_checkpoints SET stopped = $1`, JSON.stringify(stopped));
    for (let n = 50_000; n < 50_020; n += 1) await trade(hub, n);
    await hub.rows(`UPDATE quantity_on_hand SET open = open + 2 WHERE sku = 'T05'`);
    expect(await rebuilt(hub, 'quantity-on-hand')).toMatchObject({ mended: 1, stopped: { type: 'StockSold' } });
    expect((await verifyAll(hub.database.pool, 5)).told).toEqual([]);
    await hub.projector.resume();
  });

  it('leaves a listing alone whose expected does not add up, and mends a target', async () => {
    await hub.rows(`UPDATE listings SET target = target + 3 WHERE key = 'T01'`);
    await hub.rows(`UPDATE listings SET expected = expected + 3 WHERE key = 'T02'`);
    const owed = await hub.rows(stack);
    expect(await rebuilt(hub, 'availability')).toMatchObject({ state: 'done', found: 2, mended: 1, records: 0 });
    expect(await hub.rows(stack)).toEqual(owed);
    await hub.rows(`UPDATE listings SET expected = expected - 3 WHERE key = 'T02'`);
  });

  it('is the running projection after any history', async () => {
    console.log(`rebuild: seed ${seed}`);
    let base = 100_000;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(999), { minLength: 5, maxLength: 40 }),
        fc.subarray(tradeSkus, { minLength: 1 }),
        fc.integer({ min: -9, max: 9 }).filter((by) => by !== 0),
        async (steps, skus, by) => {
          for (const n of steps) await trade(hub, base + n);
          base += 1_000;
          await hub.projector.caughtUp(20_000);
          const running = [await hub.rows(sums), await hub.rows(velocities)];
          await hub.rows(`UPDATE quantity_on_hand SET on_hand = on_hand + $2 WHERE sku = ANY ($1)`, skus, by);
          await hub.rows(`DELETE FROM velocity WHERE sku = ANY ($1)`, skus);
          await rebuilt(hub, 'quantity-on-hand');
          await rebuilt(hub, 'velocity');
          expect([await hub.rows(sums), await hub.rows(velocities)]).toEqual(running);
        },
      ),
      { seed, numRuns: 12, endOnFailure: true },
    );
  }, 60_000);
});

describe('rebuild, where carts are told', () => {
  let hub: Harness;
  let shop: Shop;
  beforeAll(async () => {
    hub = await createHarness({ backend: 'postgres' });
    shop = await startShop('webhook', { items: ['M1', 'M2'].map((key) => ({ key, title: key, quantity: 20 })) });
    await hub.stockUp({ M1: 20, M2: 20 });
    await hub.connect('m', shop);
    await hub.quiet();
  });
  afterAll(async () => {
    await hub.close();
    await shop.stop();
  });

  it('sends exactly what was told wrongly, with a cause of its own', async () => {
    await hub.rows(`UPDATE quantity_on_hand SET on_hand = on_hand - 5 WHERE sku = 'M1'`);
    await hub.ask({ type: 'ReceiveStock', sku: 'M1', location: 'MAIN', quantity: 2 });
    await hub.quiet();
    expect((await shop.stock()).get('M1')).toBe(17);
    expect(await rebuilt(hub, 'quantity-on-hand')).toMatchObject({ found: 1, mended: 1, records: 1 });
    hub.wakeups.signal('web-stack');
    await hub.quiet();
    expect(await shop.stock()).toEqual(
      new Map([
        ['M1', 22],
        ['M2', 20],
      ]),
    );
    const caused = await hub.rows(
      `SELECT key, delta::int, cause->>'type' AS type FROM web_stack WHERE cause->>'type' = 'Rebuild'`,
    );
    expect(caused).toEqual([{ key: 'M1', delta: 5, type: 'Rebuild' }]);
    expect((await verifyAll(hub.database.pool, 5)).told).toEqual([]);
  });
});
