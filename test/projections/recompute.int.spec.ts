import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { everything, type Rule, type RuleEffect, type RuleScope } from '../../src/events/rule.js';
import { inTransaction } from '../../src/database.js';
import { recomputeChunk } from '../../src/projections/availability/recompute.js';
import { RunListings } from '../../src/projections/availability/run-listings.js';
import { Projector } from '../../src/projections/projector.js';
import { Wakeups } from '../../src/wakeups.js';
import type { Harness } from '../support/hub-harness.js';
import { assertInvariants } from './assert-invariants.js';
import { givenTrade, rebuilt, tradeSkus, untilBelowHorizon, verified } from './given-trade.js';

const silent = { info: () => undefined, error: () => undefined };
const cap = (units: number): RuleEffect => ({ kind: 'cap', units });

describe('a change of the rules', () => {
  let hub: Harness;
  beforeAll(async () => {
    hub = await givenTrade();
  });
  afterAll(() => hub.close());

  const save = (ruleId: string, effect: RuleEffect, scope: Partial<RuleScope> = {}) => {
    const rule: Rule = { ruleId, name: ruleId, scope: { ...everything, ...scope }, order: 0, effect };
    return hub.ask({ type: 'SaveRule', rule, by: 'Ann' });
  };
  const remove = (ruleId: string) => hub.ask({ type: 'RemoveRule', ruleId, by: 'Ann' });
  const caughtUp = async () => {
    expect(await hub.projector.caughtUp(20_000)).toBe(true);
    await assertInvariants(hub.database);
  };
  const listing = async (key: string) => {
    const [row] = await hub.rows<{ target: number; expected: number; shown: string | null; withheld: boolean }>(
      `SELECT target::int, expected::int, shown, withheld FROM listings WHERE key = $1`,
      key,
    );
    return row as NonNullable<typeof row>;
  };
  const runs = () =>
    hub.rows<{ state: string; total: number; done: number; records: number }>(
      'SELECT state, total::int, done::int, records::int FROM recompute_runs ORDER BY created_at, id',
    );

  const belowHorizon = () => untilBelowHorizon(hub);

  it('reaches the listings it concerns and no other, and its undoing takes it back', async () => {
    await save('cap', cap(9), { sku: 'T01' });
    await caughtUp();
    expect([await listing('T01'), await listing('T02')]).toMatchObject([{ target: 9 }, { target: 50 }]);
    expect((await runs()).at(-1)).toEqual({ state: 'done', total: 1, done: 1, records: 1 });
    const [record] = await hub.rows<{ cause: object }>(
      `SELECT cause FROM web_stack WHERE key = 'T01' ORDER BY id DESC LIMIT 1`,
    );
    expect(record?.cause).toMatchObject({ type: 'RuleSaved', stream: 'rules', version: '1' });
    await remove('cap');
    await caughtUp();
    expect(await listing('T01')).toMatchObject({ target: 50, expected: 50 });
  });

  it('holds for whatever moves from then on', async () => {
    await save('buffer', { kind: 'buffer', units: 3, percent: null });
    await hub.ask({ type: 'SellStock', sku: 'T03', location: 'MAIN', quantity: 10 });
    await caughtUp();
    expect([await listing('T03'), await listing('T04')]).toMatchObject([{ target: 37 }, { target: 47 }]);
    await hub.ask({ type: 'ReceiveStock', sku: 'T03', location: 'MAIN', quantity: 1 });
    await caughtUp();
    expect(await listing('T03')).toMatchObject({ target: 38 });
    await remove('buffer');
    await caughtUp();
    expect(await listing('T03')).toMatchObject({ target: 41 });
  });

  it('follows the tags of items', async () => {
    await save('sale', cap(5), { tag: 'sale' });
    await caughtUp();
    expect(await listing('T05')).toMatchObject({ target: 50 });
    await hub.ask({ type: 'ChangeItem', sku: 'T05', tags: ['sale'] });
    await caughtUp();
    expect(await listing('T05')).toMatchObject({ target: 5 });
    await save('sale', cap(6), { tag: 'sale' });
    await caughtUp();
    expect([await listing('T05'), await listing('T06')]).toMatchObject([{ target: 6 }, { target: 50 }]);
    await hub.ask({ type: 'ChangeItem', sku: 'T05', tags: [] });
    await caughtUp();
    expect(await listing('T05')).toMatchObject({ target: 50 });
    await remove('sale');
  });

  it('follows the locations of a cart, and counts a floor over all of them', async () => {
    await hub.ask({ type: 'AddLocation', location: 'SHOP', name: 'Shop' });
    await hub.ask({ type: 'ReceiveStock', sku: 'T07', location: 'SHOP', quantity: 7 });
    const floor = { kind: 'floor', below: 57, steps: [], daysOfSales: null, salesWindowDays: 28, margin: 0 } as const;
    await save('floor', floor, { sku: 'T07' });
    await caughtUp();
    expect(await listing('T07')).toMatchObject({ target: 50, withheld: false });
    await hub.ask({ type: 'SellStock', sku: 'T07', location: 'SHOP', quantity: 1 });
    await caughtUp();
    expect(await listing('T07')).toMatchObject({ target: 0, withheld: true });
    await hub.ask({ type: 'ReceiveStock', sku: 'T07', location: 'SHOP', quantity: 1 });
    await hub.ask({ type: 'ChangeCart', cartId: 'a', locations: ['MAIN', 'SHOP'] });
    await caughtUp();
    expect(await listing('T07')).toMatchObject({ target: 57, withheld: false });
    await hub.ask({ type: 'ChangeCart', cartId: 'a', locations: ['MAIN'] });
    await remove('floor');
    await caughtUp();
    expect(await listing('T07')).toMatchObject({ target: 50 });
  });

  it('sends nothing where selling goes on at zero, and makes up for it once there is stock or no such rule', async () => {
    await save('on', { kind: 'at-zero', policy: 'keep-selling' }, { sku: 'T08' });
    await hub.ask({ type: 'AdjustStock', sku: 'T08', location: 'MAIN', delta: -53 });
    await caughtUp();
    expect(await listing('T08')).toMatchObject({ target: 50, expected: 50, shown: null });
    await hub.ask({
      type: 'ImportOrder',
      source: 'cart:a',
      number: '1',
      revision: 1,
      state: 'open',
      lines: [{ line: '1', sku: 'T08', key: 'T08', location: 'MAIN', quantity: 2 }],
      sighting: { after: null, by: new Date().toISOString() },
      cartMovesStock: { at: 'order', restocksOnCancel: true },
    });
    await caughtUp();
    expect(await listing('T08')).toMatchObject({ target: 48, expected: 48 });
    await hub.ask({ type: 'ReceiveStock', sku: 'T08', location: 'MAIN', quantity: 10 });
    await caughtUp();
    expect(await listing('T08')).toMatchObject({ target: 5, expected: 5 });
    await hub.ask({ type: 'AdjustStock', sku: 'T08', location: 'MAIN', delta: -6 });
    await caughtUp();
    expect(await listing('T08')).toMatchObject({ target: 5, expected: 5 });
    await remove('on');
    await caughtUp();
    expect(await listing('T08')).toMatchObject({ target: 0, expected: 0 });
  });

  it('asks for a flag only where a rule says so, and gives it back', async () => {
    await save('hide', { kind: 'at-zero', policy: 'hide' }, { sku: 'T09' });
    await caughtUp();
    expect(await listing('T09')).toMatchObject({ shown: null });
    await hub.ask({ type: 'AdjustStock', sku: 'T09', location: 'MAIN', delta: -50 });
    await caughtUp();
    expect(await listing('T09')).toMatchObject({ target: 0, shown: 'hidden' });
    await hub.ask({ type: 'AdjustStock', sku: 'T09', location: 'MAIN', delta: 50 });
    await caughtUp();
    expect(await listing('T09')).toMatchObject({ target: 50, shown: 'visible' });
    await remove('hide');
    await caughtUp();
    expect(await listing('T10')).toMatchObject({ shown: null });
  });

  it('looks at listings again when a day is closed, if a rule goes by days', async () => {
    await hub.ask({ type: 'CloseDay', day: '2026-01-01', slowestCart: null });
    await caughtUp();
    const before = (await runs()).length;
    const unconfirmed = { kind: 'unconfirmed', atMost: 2, days: 30 } as const;
    await save('doubtful', unconfirmed, { sku: 'T11' });
    await hub.ask({ type: 'AdjustStock', sku: 'T11', location: 'MAIN', delta: -48 });
    await caughtUp();
    expect(await listing('T11')).toMatchObject({ target: 2 });
    const seenAt = async () =>
      (await hub.rows<{ at: Date }>(`SELECT seen_at AS at FROM quantity_on_hand WHERE sku = 'T11'`))[0]?.at;
    const seen = await seenAt();
    // Nobody can wait for forty days; what was moved by hand is found again, and mended, at the end.
    const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
    await hub.rows(`UPDATE quantity_on_hand SET seen_at = seen_at - interval '40 days' WHERE sku = 'T11'`);
    await hub.ask({ type: 'CloseDay', day: yesterday, slowestCart: null });
    expect(await hub.projector.caughtUp(20_000)).toBe(true);
    expect(await listing('T11')).toMatchObject({ target: 0 });
    expect((await runs()).length).toBe(before + 2);
    expect((await verified(hub)).found).toBe(1);
    expect(await rebuilt(hub, 'quantity-on-hand')).toMatchObject({ found: 1, mended: 1, records: 1 });
    expect(await seenAt()).toEqual(seen);
    expect(await listing('T11')).toMatchObject({ target: 2 });
    await remove('doubtful');
    await caughtUp();
  });

  it('reaches listings whose sales a rebuild of velocity has put right', async () => {
    // The rebuild mended the sales and left what rules had made of the wrong ones.
    const yesterday = new Date(Date.now() - 86_400_000).toISOString();
    // A sale from before the count: in the count already, and sold all the same.
    await hub.ask({ type: 'SellStock', sku: 'T02', location: 'MAIN', quantity: 10, occurredAt: yesterday });
    const days = { daysOfSales: 28, salesWindowDays: 28, margin: 0 };
    await save('floor', { kind: 'floor', below: 0, steps: [], ...days }, { sku: 'T02' });
    await caughtUp();
    expect(await listing('T02')).toMatchObject({ target: 50 });
    await hub.rows(`UPDATE velocity SET sold = 100 WHERE sku = 'T02'`);
    await hub.ask({ type: 'ReceiveStock', sku: 'T02', location: 'MAIN', quantity: 1 });
    expect(await hub.projector.caughtUp(20_000)).toBe(true);
    expect(await listing('T02')).toMatchObject({ target: 0 });
    expect(await rebuilt(hub, 'velocity')).toMatchObject({ state: 'done', mended: 1, records: 1 });
    expect(await listing('T02')).toMatchObject({ target: 51, expected: 51 });
    await remove('floor');
    await hub.ask({ type: 'AdjustStock', sku: 'T02', location: 'MAIN', delta: -1 });
    await caughtUp();
  });

  it('is gone through chunk by chunk, between batches; a crash repeats one chunk, and a newer change begins anew', async () => {
    await hub.projector.stop();
    const { database } = hub;
    const presence = { name: 'onhand another' };
    const next = () => new Projector({ database, wakeups: new Wakeups(database), presence, log: silent });
    const ahead = new RunListings();
    const chunk = (listingsMax: number) =>
      inTransaction(database, (client) => recomputeChunk(client, listingsMax, ahead));
    await save('cap', cap(4));
    await belowHorizon();
    await next().step();
    expect(await chunk(5)).toMatchObject({ listings: 5 });
    const crash = inTransaction(database, async (client) => {
      await recomputeChunk(client, 5, ahead);
      throw new Error('crash');
    });
    await expect(crash).rejects.toThrow('crash');
    expect((await runs()).at(-1)).toMatchObject({ state: 'running', done: 5, total: 12 });
    expect([await listing('T04'), await listing('T05')]).toMatchObject([{ target: 4 }, { target: 50 }]);
    // Verified meanwhile, the listings that the run has still to come to are not wrong yet.
    await assertInvariants(database);

    await save('cap', cap(1));
    await belowHorizon();
    await next().step();
    expect((await runs()).slice(-2)).toMatchObject([{ state: 'absorbed' }, { state: 'running', done: 0 }]);
    expect(await chunk(5)).toMatchObject({ listings: 5 });
    await hub.ask({ type: 'ReceiveStock', sku: 'T10', location: 'MAIN', quantity: 1 });
    await belowHorizon();
    const successor = next();
    expect(await successor.step()).toMatchObject({ facts: 1, recomputing: true });
    expect([await listing('T09'), await listing('T10')]).toMatchObject([{ target: 50 }, { target: 1 }]);
    expect(await successor.step()).toMatchObject({ facts: 0 });
    expect(await successor.step()).toBeNull();
    expect((await runs()).at(-1)).toMatchObject({ state: 'done', done: 12, total: 12 });
    for (const sku of tradeSkus) expect((await listing(sku)).target).toBeLessThanOrEqual(1);
    expect(await listing('T11')).toMatchObject({ target: 1 });
    await assertInvariants(database);
  });

  it('tells progress that ends where its total does, though listings came while nobody worked on it', async () => {
    const { database } = hub;
    const presence = { name: 'onhand a third' };
    const step = () => new Projector({ database, wakeups: new Wakeups(database), presence, log: silent }).step();
    // Each as another process, which has looked nothing up yet.
    const chunk = (listingsMax: number) =>
      inTransaction(database, (client) => recomputeChunk(client, listingsMax, new RunListings()));
    const applied = async () => {
      await belowHorizon();
      expect((await step())?.facts).toBeGreaterThan(0);
    };
    await save('cap', cap(2));
    await applied();
    expect(await chunk(5)).toMatchObject({ listings: 5 });
    // Two more, behind the place that the run has got to.
    await hub.ask({ type: 'CreateItem', sku: 'T99', title: 'Late' });
    const rows = ['T98', 'T99'].map((key) => ({ key, sku: 'T99' }));
    await hub.ask({ type: 'MapListings', cartId: 'a', rows });
    const at = new Date().toISOString();
    const read = rows.map((row) => ({ ...row, quantity: 0 }));
    await hub.ask({ type: 'BaselineListings', cartId: 'a', kind: 'write', at, mark: null, rows: read });
    await applied();
    expect(await chunk(5)).toMatchObject({ listings: 5 });
    expect((await runs()).at(-1)).toMatchObject({ state: 'running', done: 10, total: 12 });
    expect(await chunk(3)).toMatchObject({ listings: 3 });
    expect((await runs()).at(-1)).toMatchObject({ done: 13, total: 13 });
    expect(await chunk(100)).toMatchObject({ listings: 1 });
    expect((await runs()).at(-1)).toMatchObject({ state: 'done', done: 14, total: 14 });
  });
});
