import { describe, expect, it } from 'vitest';
import type { CartOrder } from './connectors/connector.js';
import { dayToAskFrom, newestDay, OldOrders, ToldBefore, wasAskedFor } from './order-days.js';

const order = (number: string, placedAt: string | null): CartOrder => ({
  number,
  revision: 0,
  placedAt,
  state: 'open',
  lines: [],
});
const now = new Date('2026-06-12T08:00:00Z');

describe('orders that are asked for by date', () => {
  it('are asked for two days back, a week back every five minutes, and all of them until there is one', () => {
    expect(dayToAskFrom('2026-03-01', 'none')).toBe('2026-02-27');
    expect(dayToAskFrom('2026-03-01', 'shallow')).toBe('2026-02-27');
    expect(dayToAskFrom('2026-03-01', 'deep')).toBe('2026-02-22');
    expect(dayToAskFrom(null, 'deep')).toBeNull();
  });

  it('the newest day never goes back, and not beyond tomorrow', () => {
    expect(newestDay('2026-06-10', [order('1', '2026-06-09T23:00:00Z')], now)).toBe('2026-06-10');
    expect(newestDay('2026-06-10', [order('1', '2026-06-11T23:00:00Z'), order('2', null)], now)).toBe('2026-06-11');
    expect(newestDay('2026-06-10', [order('1', '2099-01-01T00:00:00Z')], now)).toBe('2026-06-13');
    expect(newestDay(null, [order('1', null)], now)).toBeNull();
  });

  it('one of a day that every poll asks for was not there at the poll before; of an older one nobody knows', () => {
    expect(wasAskedFor('2026-06-10', order('1', '2026-06-10T00:00:00Z'))).toBe(true);
    expect(wasAskedFor('2026-06-10', order('1', '2026-06-09T00:00:00Z'))).toBe(false);
    expect(wasAskedFor('2026-06-10', order('1', null))).toBe(false);
    expect(wasAskedFor(null, order('1', null))).toBe(true);
  });

  it('those of the first poll are remembered as far back as any later poll asks', () => {
    const old = new OldOrders();
    old.add([order('A', '2026-05-31T00:00:00Z'), order('B', '2026-06-01T00:00:00Z'), order('C', null)]);
    old.add([order('D', '2026-06-10T00:00:00Z')]);
    expect(old.remembered('2026-06-10')).toEqual({ numbers: ['B', 'C', 'D'], beforeDay: '2026-06-01' });
    expect(new OldOrders().remembered(null)).toEqual({ numbers: [], beforeDay: null });
  });

  it('one that is told again as it was imported is known, until it or what its keys are called changes', () => {
    const told = new ToldBefore();
    const first = { order: order('1', '2026-06-10T00:00:00Z'), skus: ['MUG'], version: '1' };
    told.known('shop', first);
    expect(told.isSame('shop', { ...first })).toBe(true);
    expect(told.isSame('other', first)).toBe(false);
    expect(told.isSame('shop', { ...first, order: { ...first.order, state: 'cancelled' } })).toBe(false);
    expect(told.isSame('shop', { ...first, skus: ['CUP'] })).toBe(false);
    expect(told.isSame('shop', { ...first, version: '2' })).toBe(false);
  });
});
