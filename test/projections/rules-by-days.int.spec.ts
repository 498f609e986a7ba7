import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { everything, type RuleEffect } from '../../src/events/rule.js';
import type { Harness } from '../support/hub-harness.js';
import { assertInvariants } from './assert-invariants.js';
import { givenTrade } from './given-trade.js';

/** Rules that go by days, at their edges: by sales, counts and closed days as facts, through the projector. */
describe('a rule that goes by days', () => {
  let hub: Harness;
  beforeAll(async () => {
    hub = await givenTrade();
  });
  afterAll(() => hub.close());

  const begun = Date.now();
  const day = (from: number) => new Date(begun + from * 86_400_000).toISOString().slice(0, 10);
  const close = (from: number, latencyMs: number | null = null) =>
    hub.ask({ type: 'CloseDay', day: day(from), slowestCart: latencyMs === null ? null : { cartId: 'a', latencyMs } });
  const save = (sku: string, effect: RuleEffect) => {
    const rule = { ruleId: `of-${sku}`, name: sku, scope: { ...everything, sku }, order: 0, effect };
    return hub.ask({ type: 'SaveRule', rule, by: 'Ann' });
  };
  const move = (sku: string, delta: number) => hub.ask({ type: 'AdjustStock', sku, location: 'MAIN', delta });
  /** Sold the day before, and in the count that came after it: on hand stays as it is. */
  const soldYesterday = (sku: string, quantity: number) =>
    hub.ask({ type: 'SellStock', sku, location: 'MAIN', quantity, occurredAt: `${day(-1)}T12:00:00.000Z` });
  const shown = async (sku: string) => {
    expect(await hub.projector.caughtUp(20_000)).toBe(true);
    await assertInvariants(hub.database);
    const [row] = await hub.rows<{ target: number; withheld: boolean }>(
      'SELECT target::int, withheld FROM listings WHERE key = $1',
      sku,
    );
    return row;
  };
  const records = async (sku: string) =>
    (await hub.rows<{ n: number }>('SELECT count(*)::int AS n FROM web_stack WHERE key = $1', sku))[0]?.n;

  it('grows on the days that were planned, once the day before is closed, and not sooner', async () => {
    const steps = [
      { from: day(-2), below: 50 },
      { from: day(0), below: 51 },
    ];
    await save('T00', { kind: 'floor', below: 1, steps, daysOfSales: null, salesWindowDays: 28, margin: 0 });
    expect(await shown('T00')).toMatchObject({ target: 50 });
    await close(-4);
    expect(await shown('T00')).toMatchObject({ target: 50 });
    // The third day before today has begun: 50 are enough, and one less is not.
    await close(-3);
    expect(await shown('T00')).toMatchObject({ target: 50, withheld: false });
    await move('T00', -1);
    expect(await shown('T00')).toMatchObject({ target: 0, withheld: true });
    await move('T00', 1);
    expect(await shown('T00')).toMatchObject({ target: 50 });
    await close(-2);
    expect(await shown('T00')).toMatchObject({ target: 50 });
    await close(-1, 43_200_000);
    expect(await shown('T00')).toMatchObject({ target: 0, withheld: true });
  });

  it('grows with what is sold, and stays at its number where little is', async () => {
    await save('T01', { kind: 'floor', below: 5, steps: [], daysOfSales: 7, salesWindowDays: 28, margin: 0 });
    expect(await shown('T01')).toMatchObject({ target: 50 });
    // 200 in 28 days are 50 in seven, and a piece more is rounded up: 51.
    await soldYesterday('T01', 200);
    expect(await shown('T01')).toMatchObject({ target: 50 });
    await soldYesterday('T01', 1);
    expect(await shown('T01')).toMatchObject({ target: 0 });
    await move('T01', 1);
    expect(await shown('T01')).toMatchObject({ target: 51 });
  });

  it('keeps back what is sold in its days, and does not come and go around its threshold', async () => {
    await soldYesterday('T02', 28);
    await save('T02', { kind: 'velocity-buffer', coverDays: 7, salesWindowDays: 28, margin: 3 });
    expect(await shown('T02')).toMatchObject({ target: 43, withheld: false });
    await move('T02', -42);
    expect(await shown('T02')).toMatchObject({ target: 1, withheld: false });
    await move('T02', -1);
    expect(await shown('T02')).toMatchObject({ target: 0, withheld: true });
    const told = await records('T02');
    // Up and down below the margin: the cart is told nothing.
    for (const delta of [1, -1, 2, -1]) {
      await move('T02', delta);
      expect(await shown('T02')).toMatchObject({ target: 0, withheld: true });
    }
    expect(await records('T02')).toBe(told);
    await move('T02', 2);
    expect(await shown('T02')).toMatchObject({ target: 3, withheld: false });
    await move('T02', -2);
    expect(await shown('T02')).toMatchObject({ target: 1, withheld: false });
  });

  it('keeps back what is sold while the slowest cart does not know, as that was on the day that was closed last', async () => {
    await soldYesterday('T03', 28);
    await save('T03', { kind: 'velocity-buffer', coverDays: null, salesWindowDays: 28, margin: 0 });
    // Half a day at one a day, rounded up.
    expect(await shown('T03')).toMatchObject({ target: 49 });
    await soldYesterday('T03', 29);
    expect(await shown('T03')).toMatchObject({ target: 48 });
  });
});
