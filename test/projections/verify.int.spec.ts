import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyAll } from '../../src/projections/verify.js';
import type { Harness } from '../support/hub-harness.js';
import { givenTrade, trade, tradeSkus, verified } from './given-trade.js';

describe('verify', () => {
  let hub: Harness;
  beforeAll(async () => {
    hub = await givenTrade();
  });
  afterAll(() => hub.close());

  it('finds nothing, time and again, while eight writers write and the projector follows', async () => {
    let writing = true;
    let n = 1;
    const writers = Array.from({ length: 8 }, async () => {
      while (writing) await trade(hub, n++);
    });
    for (let round = 0; round < 40; round += 1) {
      const { told } = await verifyAll(hub.database.pool, 5);
      if (told.length > 0) writing = false;
      expect(told).toEqual([]);
    }
    const run = await verified(hub);
    writing = false;
    await Promise.all(writers);
    expect(run).toMatchObject({ state: 'done', found: 0, done: tradeSkus.length, listings: tradeSkus.length });
    expect(n).toBeGreaterThan(100);
  }, 60_000);

  const damages: {
    what: string;
    sql: string;
    mend: string;
    promise: RegExp;
    subject: object;
    stored: object;
    follows: object;
  }[] = [
    {
      what: 'on hand',
      sql: `UPDATE quantity_on_hand SET on_hand = on_hand + 7 WHERE sku = 'D1'`,
      mend: `UPDATE quantity_on_hand SET on_hand = on_hand - 7 WHERE sku = 'D1'`,
      promise: /^I1: on hand/,
      subject: { sku: 'D1', location: 'MAIN' },
      stored: { on_hand: 16 },
      follows: { on_hand: 9 },
    },
    {
      what: 'a row of velocity',
      sql: `UPDATE velocity SET sold = 4 WHERE sku = 'D1'`,
      mend: `UPDATE velocity SET sold = 1 WHERE sku = 'D1'`,
      promise: /^I1: velocity/,
      subject: { sku: 'D1', location: 'MAIN' },
      stored: { sold: 4 },
      follows: { sold: 1 },
    },
    {
      what: 'a balance',
      sql: `UPDATE events SET balance = 8 WHERE sku = 'D1' AND version = 1`,
      mend: `UPDATE events SET balance = 10 WHERE sku = 'D1' AND version = 1`,
      promise: /^I1: each balance/,
      subject: { stream: 'stock:MAIN/D1', version: '1' },
      stored: { balance: 8 },
      follows: { balance: 10 },
    },
    {
      what: 'a head',
      sql: `UPDATE stream_heads SET state = jsonb_set(state, '{onHand}', '3') WHERE stream = 'stock:MAIN/D1'`,
      mend: `UPDATE stream_heads SET state = jsonb_set(state, '{onHand}', '9') WHERE stream = 'stock:MAIN/D1'`,
      promise: /^I1: the head/,
      subject: { stream: 'stock:MAIN/D1' },
      stored: { onHand: 3 },
      follows: { onHand: 9 },
    },
    {
      what: 'an owed record',
      sql: `UPDATE web_stack SET delta = delta - 5 WHERE sku = 'D1'`,
      mend: `UPDATE web_stack SET delta = delta + 5 WHERE sku = 'D1'`,
      promise: /^I2/,
      subject: { cartId: 'a', key: 'D1' },
      stored: { expected: 9 },
      follows: { expected: 4 },
    },
    {
      what: 'a target',
      sql: `UPDATE listings SET target = 2 WHERE key = 'D1'`,
      mend: `UPDATE listings SET target = 9 WHERE key = 'D1'`,
      promise: /^I3/,
      subject: { cartId: 'a', key: 'D1' },
      stored: { expected: 9, target: 2 },
      follows: { expected: 9, target: 9 },
    },
  ];

  describe('of what somebody changed by hand', () => {
    beforeAll(async () => {
      await hub.ask({ type: 'CreateItem', sku: 'D1', title: 'D1' });
      await hub.ask({ type: 'ReceiveStock', sku: 'D1', location: 'MAIN', quantity: 10 });
      await hub.ask({ type: 'MapListings', cartId: 'a', rows: [{ key: 'D1', sku: 'D1' }] });
      const at = new Date().toISOString();
      const rows = [{ key: 'D1', sku: 'D1', quantity: 10 }];
      await hub.ask({ type: 'BaselineListings', cartId: 'a', kind: 'write', at, mark: null, rows });
      await hub.projector.caughtUp(20_000);
      await hub.ask({ type: 'SellStock', sku: 'D1', location: 'MAIN', quantity: 1 });
      await hub.projector.caughtUp(20_000);
    });

    it.each(damages)('names $what', async ({ sql, mend, promise, subject, stored, follows }) => {
      await hub.rows(sql);
      const { told } = await verifyAll(hub.database.pool, 50);
      await hub.rows(mend);
      const named = told.filter((finding) => promise.test(finding.promise));
      expect(named).toMatchObject([{ subject, stored, follows }]);
      expect(told.every((finding) => JSON.stringify(finding.subject).includes('D1'))).toBe(true);
      expect((await verifyAll(hub.database.pool, 50)).told).toEqual([]);
    });

    it('names an expected, which neither adds up nor is the target', async () => {
      await hub.rows(`UPDATE listings SET expected = 6 WHERE key = 'D1'`);
      const { told, total } = await verifyAll(hub.database.pool, 50);
      await hub.rows(`UPDATE listings SET expected = 9 WHERE key = 'D1'`);
      expect(told.map(({ promise }) => promise.slice(0, 2))).toEqual(['I2', 'I3']);
      expect(total).toBe(2);
    });

    it('names rows that nothing accounts for, and rows that are gone', async () => {
      await hub.rows(`INSERT INTO velocity VALUES ('GHOST', 'MAIN', '2020-01-01', 1, 0, 0, 1)`);
      await hub.rows(`DELETE FROM quantity_on_hand WHERE sku = 'D1'`);
      const { told } = await verifyAll(hub.database.pool, 50);
      await hub.rows(`DELETE FROM velocity WHERE sku = 'GHOST'`);
      await hub.rows(`INSERT INTO quantity_on_hand (sku, location, on_hand, open, movements, updated_at, seen_at)
                      SELECT sku, location, sum(delta), sum(open_delta), count(*), max(recorded_at), max(occurred_at)
                        FROM events WHERE sku = 'D1' AND delta IS NOT NULL GROUP BY sku, location`);
      expect(told.find(({ follows }) => follows === null)?.subject).toMatchObject({ sku: 'GHOST', day: '2020-01-01' });
      expect(told.find(({ stored }) => stored === null)?.subject).toEqual({ sku: 'D1', location: 'MAIN' });
      expect((await verifyAll(hub.database.pool, 50)).told).toEqual([]);
    });
  });

  it('still proves expected after the clean-up has removed what was delivered', async () => {
    const { cleanUp } = await import('../../src/cart-workers/clean-up.js');
    await hub.rows(`WITH d AS (INSERT INTO deliveries (id, cart_id, generation, state, closed_at)
                       VALUES (gen_random_uuid(), 'a', 1, 'closed', now()) RETURNING id),
                     l AS (INSERT INTO delivery_lines (delivery_id, line_no, cart_id, key, delta, state, outcome, ended_at)
                       SELECT id, 1, 'a', 'T01', 1, 'done', 'applied', now() FROM d)
                UPDATE web_stack SET state = 'delivered', delivery_id = d.id, ended_at = now() FROM d WHERE key = 'T01' AND state = 'waiting'`);
    expect((await verifyAll(hub.database.pool, 5)).told).toEqual([]);
    const { records } = await cleanUp(hub.database, { olderThanDays: 0 });
    expect(records).toBeGreaterThan(0);
    expect((await verifyAll(hub.database.pool, 5)).told).toEqual([]);
  });

  it('looks as far as the projector came, and says so, where that stands', async () => {
    const stopped = {
      stream: 'stock:MAIN/T00',
      version: '9',
      type: 'StockSold',
      error: 'test',
      at: new Date().toISOString(),
    };
    await hub.rows(`UPDATE projection_checkpoints SET stopped = $1`, JSON.stringify(stopped));
    for (let n = 10_000; n < 10_020; n += 1) await trade(hub, n);
    const run = await verified(hub);
    expect(run).toMatchObject({ state: 'done', found: 0, stopped: { type: 'StockSold' } });
    await hub.projector.resume();
    expect(await hub.projector.caughtUp(20_000)).toBe(true);
  });
});
