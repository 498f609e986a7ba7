import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inTransaction } from '../../src/database.js';
import { everything } from '../../src/events/rule.js';
import { recomputeChunk } from '../../src/projections/availability/recompute.js';
import { RunListings } from '../../src/projections/availability/run-listings.js';
import { fanOutLate } from '../../src/projections/late-items.js';
import { Projector } from '../../src/projections/projector.js';
import { Wakeups } from '../../src/wakeups.js';
import type { Harness } from '../support/hub-harness.js';
import { assertInvariants } from './assert-invariants.js';
import { givenTrade, tradeSkus, untilBelowHorizon } from './given-trade.js';

const silent = { info: () => undefined, error: () => undefined };

interface Late {
  readonly sku: string;
  readonly facts: number;
}

describe('a projector that is far behind', () => {
  let hub: Harness;
  beforeAll(async () => {
    hub = await givenTrade();
    await hub.projector.stop();
  });
  afterAll(() => hub.close());

  const projector = (farBehindFacts: number) => {
    const { database } = hub;
    const presence = { name: 'onhand another' };
    return new Projector({ database, wakeups: new Wakeups(database), presence, log: silent, farBehindFacts });
  };
  const receive = (sku: string, quantity: number) => hub.ask({ type: 'ReceiveStock', sku, location: 'MAIN', quantity });
  const late = () => hub.rows<Late>(`SELECT sku, (cause->>'facts')::int AS facts FROM late_items ORDER BY id`);
  const onHand = async (sku: string) =>
    (await hub.rows<{ n: number }>('SELECT on_hand::int AS n FROM quantity_on_hand WHERE sku = $1', sku))[0]?.n;
  const expected = async (key: string) =>
    (await hub.rows<{ n: number }>('SELECT expected::int AS n FROM listings WHERE key = $1', key))[0]?.n;
  const records = (key: string) =>
    hub.rows<{ delta: number; facts: number; waits: boolean }>(
      `SELECT delta::int, (cause->>'facts')::int AS facts, accepted_at < created_at AS waits
         FROM web_stack WHERE key = $1 AND state = 'waiting' ORDER BY id`,
      key,
    );
  const belowHorizon = () => untilBelowHorizon(hub);
  /** Everything, as the projector does it by itself. */
  const follow = async (one: Projector) => {
    await belowHorizon();
    while ((await one.step()) !== null);
    expect(await late()).toEqual([]);
    await assertInvariants(hub.database);
  };

  it('brings on hand up to date at once, and looks at each item once however often it moved', async () => {
    for (let round = 0; round < 4; round += 1) for (const sku of ['T00', 'T01', 'T02']) await receive(sku, 1);
    await belowHorizon();
    const one = projector(5);
    const before = (await records('T00')).length;
    expect(await one.step()).toMatchObject({ facts: 12, records: 0, recomputing: true });
    expect(await onHand('T01')).toBe(54);
    expect(await expected('T01')).toBe(50);
    expect(await late()).toEqual(['T00', 'T01', 'T02'].map((sku) => ({ sku, facts: 4 })));
    // What is late is not wrong.
    await assertInvariants(hub.database);
    await follow(one);
    expect(await expected('T01')).toBe(54);
    expect((await records('T00')).slice(before)).toEqual([]);
    expect((await records('T00')).at(-1)).toMatchObject({ delta: 6, facts: 5, waits: true });
  });

  it('says how late it is, and has not caught up before it looked at everything', async () => {
    await receive('T03', 1);
    await receive('T03', 1);
    await belowHorizon();
    const one = projector(0);
    await one.step();
    expect(await one.status()).toMatchObject({ lagFacts: 2 });
    expect((await one.status()).lagMs).toBeGreaterThan(0);
    expect(await one.caughtUp(20)).toBe(false);
    expect(await one.applied(20)).toBe(false);
    await follow(one);
    expect(await one.status()).toMatchObject({ lagFacts: 0, lagMs: 0 });
    expect(await one.caughtUp(20)).toBe(true);
  });

  it('keeps the place of an item that moves again, and what it sums up', async () => {
    for (const sku of ['T04', 'T05', 'T04']) {
      await receive(sku, 1);
      await belowHorizon();
      const one = projector(0);
      await one.step();
    }
    expect(await late()).toEqual([
      { sku: 'T04', facts: 2 },
      { sku: 'T05', facts: 1 },
    ]);
    await follow(projector(0));
  });

  it('repeats a chunk after a crash and nothing else, whoever goes on', async () => {
    await receive('T06', 2);
    await receive('T07', 3);
    await belowHorizon();
    await projector(1).step();
    await inTransaction(hub.database, (client) => fanOutLate(client, 1));
    expect(await expected('T06')).toBe(52);
    const crash = inTransaction(hub.database, async (client) => {
      await fanOutLate(client, 1);
      throw new Error('crash');
    });
    await expect(crash).rejects.toThrow('crash');
    expect([await expected('T07'), await late()]).toEqual([50, [{ sku: 'T07', facts: 1 }]]);
    await follow(projector(2_000));
    expect([await expected('T06'), await expected('T07')]).toEqual([52, 53]);
  });

  it('takes what a cart sold itself from its listing at once, and never sends it back', async () => {
    await receive('T08', 5);
    await hub.ask({
      type: 'ImportOrder',
      source: 'cart:a',
      number: '8001',
      revision: 1,
      state: 'open',
      lines: [{ line: '1', sku: 'T08', key: 'T08', location: 'MAIN', quantity: 3 }],
      sighting: { after: null, by: new Date().toISOString() },
      cartMovesStock: { at: 'order', restocksOnCancel: true },
    });
    await belowHorizon();
    const one = projector(0);
    await one.step();
    // The listing of the echo is looked at with everything that is known: five came, three were sold there.
    expect(await expected('T08')).toBe(52);
    expect((await records('T08')).reduce((sum, { delta }) => sum + delta, 0)).toBe(2 + 5);
    await follow(one);
    expect((await records('T08')).reduce((sum, { delta }) => sum + delta, 0)).toBe(2 + 5);
  });

  it('does not let a change of the rules take movements along into what its guard may hold', async () => {
    const states = () =>
      hub.rows<{ key: string; state: string }>(
        `SELECT DISTINCT ON (key) key, state FROM web_stack WHERE key IN ('T01', 'T02') ORDER BY key, id DESC`,
      );
    const rule = {
      ruleId: 'cap',
      name: 'cap',
      scope: everything,
      order: 0,
      effect: { kind: 'cap', units: 9 },
    } as const;
    await hub.ask({ type: 'SaveRule', rule, by: 'Ann' });
    await receive('T02', 4);
    await belowHorizon();
    await projector(0).step();
    expect(await late()).toEqual([{ sku: 'T02', facts: 1 }]);
    await inTransaction(hub.database, (client) => recomputeChunk(client, 5, new RunListings()));
    expect([await states(), await late()]).toEqual([
      [
        { key: 'T01', state: 'held' },
        { key: 'T02', state: 'waiting' },
      ],
      [],
    ]);
    await hub.ask({ type: 'RemoveRule', ruleId: 'cap', by: 'Ann' });
    await follow(projector(2_000));
  });

  it('looks at kits when what they are made of is looked at', async () => {
    await hub.ask({ type: 'AdjustStock', sku: 'T10', location: 'MAIN', delta: -50 });
    await hub.ask({ type: 'SetKit', sku: 'T10', components: [{ sku: 'T11', quantity: 2 }], by: 'Ann' });
    await follow(projector(0));
    const before = await expected('T10');
    await receive('T11', 10);
    await belowHorizon();
    const one = projector(0);
    await one.step();
    expect(await expected('T10')).toBe(before);
    await assertInvariants(hub.database);
    await follow(one);
    expect(await expected('T10')).toBe((before ?? 0) + 5);
  });

  it('leaves nothing behind that a whole look finds', async () => {
    for (const sku of tradeSkus) if (sku !== 'T10') await receive(sku, 1);
    await follow(projector(3));
  });
});
