import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { until } from '../support/until.js';
import { claim } from '../../src/cart-workers/claim.js';
import { dispatchLane } from '../../src/cart-workers/dispatch.js';
import { laneBench, type LaneBackend } from './lane-bench.js';

/** From the Web Stack into the lane: what is merged, in which order it leaves, and how much of it at once. */
export function dispatchSuite(backendOf: () => LaneBackend): void {
  describe('dispatch', () => {
    // A call that is looked at while it is under way takes long enough for a busy machine, and is not given up meanwhile.
    const slowMs = 2_000;
    const bench = laneBench(backendOf, { requestTimeoutMs: 10_000 });
    const pauseAll = () => Promise.all(['a', 'b'].map((cart) => bench.hub.laneControl.pause(cart, 'test', null)));
    const resumeAll = () => Promise.all(['a', 'b'].map((cart) => bench.hub.laneControl.resume(cart)));
    const deltasOf = async (shop: typeof bench.a, sku: string) =>
      (await shop.journal())
        .filter((change) => change.kind === 'delta' && change.key === sku)
        .map(({ delta }) => delta);

    const recordsOf = (sku: string) =>
      bench.hub.rows<{ delta: number; facts: number; parts: number[] | null }>(
        `SELECT delta::int, (cause->>'facts')::int AS facts,
                (SELECT array_agg((p->>1)::int ORDER BY p->>0, n) FROM jsonb_array_elements(parts) WITH ORDINALITY AS x (p, n)) AS parts
           FROM web_stack WHERE cart_id = 'a' AND key = $1 ORDER BY id`,
        sku,
      );

    it('tells both shops of a receipt, as a delta', async () => {
      const sku = bench.sku();
      await bench.receive(sku, 100);
      await bench.hub.quiet();
      expect(await bench.shown(sku)).toEqual([110, 110]);
      expect(await deltasOf(bench.a, sku)).toEqual([100]);
    });

    it('merges what waits of one listing into one line', async () => {
      const sku = bench.sku();
      await pauseAll();
      for (const quantity of [1, 2, 3]) {
        await bench.receive(sku, quantity);
        await bench.hub.projector.caughtUp(5_000);
      }
      // What waits grows in place, and says what it is made of.
      expect(await recordsOf(sku)).toEqual([{ delta: 6, facts: 3, parts: [1, 2, 3] }]);
      await resumeAll();
      await bench.hub.quiet();
      expect(await deltasOf(bench.a, sku)).toEqual([6]);
      expect(await deltasOf(bench.b, sku)).toEqual([6]);
    });

    it('begins another record beside one that was tried, that waits for a later moment, or that sums up enough', async () => {
      const [tried, later, long] = [bench.sku(), bench.sku(), bench.sku()];
      await pauseAll();
      for (const sku of [tried, later, long]) await bench.receive(sku, 1);
      await bench.hub.projector.caughtUp(5_000);
      const change = (sku: string, set: string) =>
        bench.hub.rows(`UPDATE web_stack SET ${set} WHERE cart_id = 'a' AND key = $1 AND state = 'waiting'`, sku);
      await change(tried, 'attempts = 1');
      await change(later, `not_before = clock_timestamp() + interval '1 second'`);
      await change(
        long,
        `parts = (SELECT jsonb_agg(jsonb_build_array(0, CASE n WHEN 1 THEN 1 ELSE 0 END)) FROM generate_series(1, 50) n)`,
      );
      for (const sku of [tried, later, long]) await bench.receive(sku, 2);
      await bench.hub.projector.caughtUp(5_000);
      for (const sku of [tried, later, long]) expect((await recordsOf(sku)).map(({ delta }) => delta)).toEqual([1, 2]);
      await resumeAll();
      await bench.hub.quiet();
      for (const sku of [tried, later, long]) expect(await deltasOf(bench.a, sku)).toEqual([3]);
    });

    it('nets what cancels out: no call, and the records say so', async () => {
      const sku = bench.sku();
      await pauseAll();
      await bench.receive(sku, 4);
      await bench.hub.projector.caughtUp(5_000);
      await bench.sell(sku, 4);
      await bench.hub.projector.caughtUp(5_000);
      await resumeAll();
      await bench.hub.quiet();
      expect((await bench.records('a', sku)).map((record) => record.state)).toEqual(['netted', 'netted']);
      expect(await deltasOf(bench.a, sku)).toEqual([]);
    });

    it('sends decreases before increases, and the scarcest first', async () => {
      const [more, scarce, plenty] = [bench.sku(), bench.sku(), bench.sku()];
      await pauseAll();
      await bench.receive(more, 5);
      await bench.sell(plenty, 1);
      await bench.sell(scarce, 9);
      await bench.hub.projector.caughtUp(5_000);
      await resumeAll();
      await bench.hub.quiet();
      const order = (await bench.a.journal()).map((change) => change.key).slice(-3);
      expect(order).toEqual([scarce, plenty, more]);
    });

    it('lets an increase that has waited for ten seconds rank with the decreases', async () => {
      const [old, plenty] = [bench.sku(), bench.sku()];
      await pauseAll();
      await bench.sell(plenty, 1);
      await bench.hub.ask({ type: 'CountStock', sku: old, location: 'MAIN', quantity: 0 });
      await bench.hub.projector.caughtUp(5_000);
      await resumeAll();
      await bench.hub.quiet();
      await pauseAll();
      await bench.sell(plenty, 1);
      await bench.receive(old, 2);
      await bench.hub.projector.caughtUp(5_000);
      await bench.hub.rows(
        `UPDATE web_stack SET created_at = created_at - interval '11 seconds' WHERE key = $1 AND state = 'waiting'`,
        old,
      );
      await resumeAll();
      await bench.hub.quiet();
      expect((await bench.a.journal()).map((change) => change.key).slice(-2)).toEqual([old, plenty]);
    });

    it('keeps a second change of a SKU back while the first is under way, and lets other SKUs pass', async () => {
      const [slow, other] = [bench.sku(), bench.sku()];
      await bench.b.faults({ delayBeforeMs: slowMs });
      await bench.receive(slow, 1);
      await bench.recordIn('b', slow, 'in-flight');
      await until('the call is under way', async () => (await openAttempts('b')).length === 1);
      await bench.b.faults({});
      await bench.receive(slow, 2);
      await bench.receive(other, 5);
      await bench.recordIn('b', other, 'delivered');
      expect((await bench.records('b', slow)).map((record) => record.state)).toEqual(['in-flight', 'waiting']);
      await bench.hub.quiet();
      expect(await deltasOf(bench.b, slow)).toEqual([1, 2]);
    });

    it('writes the attempt before the request reaches the shop', async () => {
      const sku = bench.sku();
      await bench.a.faults({ delayBeforeMs: slowMs });
      await bench.receive(sku, 1);
      const [attempt] = await until('an attempt is open', async () => {
        const open = await openAttempts('a');
        return open.length > 0 && open;
      });
      expect(attempt).toMatchObject({ kind: 'send', serial: true });
      expect(await deltasOf(bench.a, sku)).toEqual([]);
      expect((await bench.records('a', sku))[0]).toMatchObject({ state: 'in-flight', attempts: 1 });
      await bench.hub.quiet();
      expect(await bench.hub.rows('SELECT outcome FROM attempts WHERE id = $1', attempt?.id)).toEqual([
        { outcome: 'applied' },
      ]);
    });

    it('makes no more jobs than the window holds; the backlog stays in Postgres', async () => {
      const skus = Array.from({ length: 6 }, () => bench.sku());
      await pauseAll();
      for (const sku of skus) await bench.receive(sku, 1);
      await bench.hub.projector.caughtUp(5_000);
      await bench.a.faults({ delayBeforeMs: slowMs });
      await resumeAll();
      await until('a call to the serial shop is under way', async () => (await openAttempts('a')).length === 1);
      const [lane] = await bench.hub.rows<{ window: number; dispatched: number; waiting: number }>(
        `SELECT l.job_window AS window, (SELECT count(*)::int FROM deliveries d WHERE d.cart_id = 'a' AND d.state = 'dispatched') AS dispatched,
                (SELECT count(*)::int FROM web_stack w WHERE w.cart_id = 'a' AND w.state = 'waiting') AS waiting
           FROM lanes l WHERE l.cart_id = 'a'`,
      );
      expect(lane?.dispatched).toBeLessThanOrEqual(lane?.window ?? 0);
      expect(lane?.waiting).toBeGreaterThanOrEqual(skus.length - (lane?.window ?? 0));
      await bench.a.faults({});
      await bench.hub.quiet();
    });

    it('finds what can leave behind thousands of records that cannot', async () => {
      // The look-ahead counted records of a listing that was blocked: 2,000 of them hid the whole rest of the lane.
      const [blocked, other] = [bench.sku(), bench.sku()];
      await bench.receive(blocked, 1);
      await bench.hub.quiet();
      const insert = `INSERT INTO web_stack (cart_id, key, sku, generation, delta, target, cause, accepted_at, created_at, not_before)
        SELECT 'b', $1, $1, 1, CASE WHEN n % 2 = 0 THEN 1 ELSE -1 END, 11, '{}', now(), now(), now() + interval '1 hour' FROM generate_series(1, 2100) n`;
      await bench.hub.rows(insert, blocked);
      await bench.receive(other, 1);
      await bench.recordIn('b', other, 'delivered');
      const waiting = (await bench.records('b', blocked)).filter(({ state }) => state === 'waiting');
      expect(waiting).toHaveLength(2_100);
      await bench.hub.rows(`UPDATE web_stack SET not_before = NULL WHERE cart_id = 'b' AND key = $1`, blocked);
    });

    it('finds what lowers behind thousands of records that raise', async () => {
      const [raised, lowered] = [bench.sku(), bench.sku()];
      for (const sku of [raised, lowered]) await bench.receive(sku, 5);
      await bench.hub.quiet();
      await bench.hub.stopWorkers();
      // They come to nothing together, so that the shop and what is expected of it stay what they are.
      const insert = `INSERT INTO web_stack (cart_id, key, sku, generation, delta, target, cause, accepted_at, created_at)
        SELECT 'b', $1, $1, 1, CASE WHEN n = 2100 THEN -2099 ELSE 1 END, 11, '{}', now(), now() FROM generate_series(1, 2100) n`;
      await bench.hub.rows(insert, raised);
      await bench.hub.ask({ type: 'SellStock', sku: lowered, location: 'MAIN', quantity: 1 });
      await bench.hub.projector.caughtUp(5_000);
      const made = await dispatchLane(bench.hub.database, 'b', { linesPerDeliveryMax: 1, callsMax: null });
      const lines = await bench.hub.rows<{ key: string }>(
        'SELECT key FROM delivery_lines WHERE delivery_id = $1',
        made[0]?.deliveryId,
      );
      expect(lines).toEqual([{ key: lowered }]);
      await bench.hub.restartWorkers();
      await bench.recordIn('b', lowered, 'delivered');
      await bench.hub.quiet();
    });

    it('lets nothing of a listing leave that somebody else is changing, and then all that it is owed', async () => {
      const sku = bench.sku();
      await bench.hub.stopWorkers();
      await bench.receive(sku, 3);
      await bench.hub.projector.caughtUp(5_000);
      const holder = await bench.hub.database.pool.connect();
      const limits = { linesPerDeliveryMax: 10, callsMax: null };
      try {
        await holder.query('BEGIN');
        await holder.query(`SELECT FROM listings WHERE cart_id = 'b' AND key = $1 FOR UPDATE`, [sku]);
        let done = false;
        const made = dispatchLane(bench.hub.database, 'b', limits).finally(() => (done = true));
        await until('the dispatch waits for the listing', async () => {
          const waiting = await bench.hub.rows(
            `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                AND query LIKE '%FROM listings%FOR UPDATE%'`,
          );
          return done || waiting.length > 0;
        });
        expect(done).toBe(false);
        await holder.query(
          `UPDATE web_stack SET delta = delta + 4 WHERE cart_id = 'b' AND key = $1 AND state = 'waiting'`,
          [sku],
        );
        await holder.query('COMMIT');
        const lines = await bench.hub.rows<{ delta: string }>(
          'SELECT delta FROM delivery_lines WHERE delivery_id = $1',
          (await made)[0]?.deliveryId,
        );
        expect(lines).toEqual([{ delta: '7' }]);
        await bench.hub.rows(`UPDATE web_stack SET delta = 3 WHERE cart_id = 'b' AND key = $1`, sku);
        await bench.hub.rows(`UPDATE delivery_lines SET delta = 3 WHERE cart_id = 'b' AND key = $1`, sku);
      } finally {
        await holder.query('ROLLBACK');
        holder.release();
        await bench.hub.restartWorkers();
      }
      await bench.hub.quiet();
    });

    it('lets a job that is repeated, stale or in the wrong lane do nothing', async () => {
      const sku = bench.sku();
      await bench.a.faults({ delayBeforeMs: slowMs });
      await bench.receive(sku, 1);
      const [attempt] = await until('an attempt is open', async () => {
        const open = await openAttempts('a');
        return open.length > 0 && open;
      });
      const deliveryId = attempt?.delivery_id ?? '';
      const terms = {
        cartId: 'a',
        keyed: false,
        needsQ0: true,
        readsFirst: false,
        serial: true,
        requestTimeoutMs: 600,
        settleTimeoutMs: 600,
        quietTimeMs: 300,
        worker: 'other',
      };
      expect(await claim(bench.hub.database, { deliveryId, take: 1 }, terms)).toMatchObject({ kind: 'busy' });
      expect(await claim(bench.hub.database, { deliveryId, take: 2 }, terms)).toEqual({ kind: 'gone' });
      expect(await claim(bench.hub.database, { deliveryId, take: 1 }, { ...terms, cartId: 'b' })).toEqual({
        kind: 'gone',
      });
      // Begun in the belief that the cart takes several calls at once, which it does not any more.
      const believed = { ...terms, serial: false };
      expect(
        await claim(bench.hub.database, { deliveryId, take: 1 }, believed, randomUUID(), () => Promise.resolve(terms)),
      ).toEqual({ kind: 'changed' });
      expect(await openAttempts('a')).toEqual([attempt]);
      await bench.hub.quiet();
      expect(await claim(bench.hub.database, { deliveryId, take: 1 }, terms)).toEqual({ kind: 'gone' });
      expect(await deltasOf(bench.a, sku)).toEqual([1]);
    });

    it('the database itself refuses a second open line of a listing, and a second open call to a serial cart', async () => {
      const sku = bench.sku();
      await bench.a.faults({ delayBeforeMs: slowMs });
      await bench.receive(sku, 1);
      await until('an attempt is open', async () => (await openAttempts('a')).length > 0);
      const line = `INSERT INTO delivery_lines (delivery_id, line_no, cart_id, key, delta)
                    SELECT gen_random_uuid(), line_no, cart_id, key, delta FROM delivery_lines WHERE key = $1 AND cart_id = 'a' AND state = 'in-flight'`;
      await expect(bench.hub.rows(line, sku)).rejects.toMatchObject({ constraint: 'delivery_lines_one_per_listing' });
      const attempt = `INSERT INTO attempts (id, delivery_id, cart_id, take, kind, serial, worker, started_at, deadline)
                       SELECT gen_random_uuid(), gen_random_uuid(), cart_id, 1, kind, serial, worker, started_at, deadline
                         FROM attempts WHERE cart_id = 'a' AND ended_at IS NULL`;
      await expect(bench.hub.rows(attempt)).rejects.toMatchObject({ constraint: 'attempts_one_open_per_serial_cart' });
    });

    it('never makes two lines of one listing, however much is appended at once', async () => {
      const skus = [bench.sku(), bench.sku()];
      const moves = Array.from({ length: 60 }, (_, n) => bench.receive(skus[n % 2] as string, 1));
      await Promise.all(moves);
      await bench.hub.quiet();
      for (const sku of skus) expect(await bench.shown(sku)).toEqual([40, 40]);
    });

    const openAttempts = (cartId: string) =>
      bench.hub.rows<{ id: string; delivery_id: string; kind: string; serial: boolean }>(
        'SELECT id, delivery_id, kind, serial FROM attempts WHERE cart_id = $1 AND ended_at IS NULL',
        cartId,
      );
  });
}
