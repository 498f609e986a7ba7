import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { movementsOf, refusalOf, shopWorld, World } from './given.js';

const mug = { sku: 'MUG', location: 'shop' } as const;
const at = (minute: number) => new Date(Date.UTC(2026, 1, 1, 0, minute)).toISOString();

describe('stock', () => {
  it('adds receipts, takes sales and may go below zero', () => {
    const world = shopWorld();
    world.given({ type: 'ReceiveStock', ...mug, quantity: 3 });
    world.given({ type: 'SellStock', ...mug, quantity: 5 });
    expect(world.stock('shop', 'MUG')).toMatchObject({ onHand: -2, open: 0 });
  });

  it('records a return that cannot be sold again without counting it', () => {
    const world = shopWorld();
    expect(movementsOf(world.send({ type: 'ReturnStock', ...mug, quantity: 2, resellable: false }))).toEqual([
      ['StockReturned', 0, 0],
    ]);
    expect(movementsOf(world.send({ type: 'ReturnStock', ...mug, quantity: 2, resellable: true }))).toEqual([
      ['StockReturned', 2, 0],
    ]);
  });

  it.each([0, -1, 1.5, 1_000_000_001])('refuses to receive %d pieces', (quantity) => {
    expect(refusalOf(shopWorld().send({ type: 'ReceiveStock', ...mug, quantity }))).toBe('quantity-out-of-range');
  });

  it('refuses a moment more than five minutes ahead and accepts a clock that is a little fast', () => {
    const world = shopWorld();
    const sell = (occurredAt: string) => world.send({ type: 'SellStock', ...mug, quantity: 1, occurredAt }, at(0));
    expect(refusalOf(sell(at(6)))).toBe('time-in-future');
    expect(refusalOf(sell('1969-12-31T23:59:59Z'))).toBe('quantity-out-of-range');
    expect(refusalOf(sell(at(5)))).toBeNull();
  });

  it('asks for the item and the location at the first movement only', () => {
    const world = shopWorld();
    expect(refusalOf(world.send({ type: 'SellStock', sku: 'CUP', location: 'shop', quantity: 1 }))).toBe(
      'unknown-item',
    );
    expect(refusalOf(world.send({ type: 'SellStock', sku: 'MUG', location: 'attic', quantity: 1 }))).toBe(
      'unknown-location',
    );
    expect(refusalOf(world.send({ type: 'ReceiveStock', sku: 'MUG', location: 'in-transit', quantity: 1 }))).toBeNull();
  });
});

describe('a count', () => {
  it('sets on hand to what was found', () => {
    const world = shopWorld();
    world.given({ type: 'ReceiveStock', ...mug, quantity: 9 });
    expect(movementsOf(world.send({ type: 'CountStock', ...mug, quantity: 7 }))).toEqual([['StockCounted', -2, 0]]);
  });

  it('as of an earlier moment leaves what came after it alone', () => {
    const world = shopWorld();
    world.given({ type: 'ReceiveStock', ...mug, quantity: 10 }, at(0));
    world.given({ type: 'SellStock', ...mug, quantity: 4 }, at(20));
    world.given({ type: 'CountStock', ...mug, quantity: 8, asOf: at(10) }, at(30));
    expect(world.stock('shop', 'MUG').onHand).toBe(4);
    expect(world.onHandAsOf('shop', 'MUG', at(10))).toBe(8);
  });

  it('that includes open orders subtracts the pieces that were open at its moment', () => {
    const world = shopWorld();
    world.given({ type: 'ReceiveStock', ...mug, quantity: 10 }, at(0));
    world.given(order({ quantity: 2, revision: 1, placedAt: at(5) }), at(5));
    world.given(order({ quantity: 3, revision: 2 }), at(20));
    world.given({ type: 'CountStock', ...mug, quantity: 9, asOf: at(10), includesOpenOrders: true }, at(30));
    expect(world.onHandAsOf('shop', 'MUG', at(10))).toBe(7);
    expect(world.stock('shop', 'MUG')).toMatchObject({ onHand: 6, open: 3 });
  });

  it('older than the last one is on record and changes nothing', () => {
    const world = shopWorld();
    world.given({ type: 'CountStock', ...mug, quantity: 7, asOf: at(20) }, at(20));
    const decision = world.send({ type: 'CountStock', ...mug, quantity: 3, asOf: at(10) }, at(30));
    expect(movementsOf(decision)).toEqual([['StockCounted', 0, 0]]);
    expect(decision).toMatchObject({ note: expect.stringContaining('older than the count of') as string });
    expect(world.stock('shop', 'MUG')).toMatchObject({ onHand: 7, lastCount: { asOf: at(20), version: '1' } });
  });

  it('takes no negative number from a person, but one from a file', () => {
    const world = shopWorld();
    expect(refusalOf(world.send({ type: 'CountStock', ...mug, quantity: -1 }))).toBe('quantity-out-of-range');
    expect(movementsOf(world.send({ type: 'ResetStock', ...mug, quantity: -1 }))).toEqual([['StockReset', -1, 0]]);
  });
});

describe('a movement told after a count', () => {
  const counted = () => {
    const world = shopWorld();
    world.given({ type: 'CountStock', ...mug, quantity: 7, asOf: at(10), knows: ['direct', 'cart:web'] }, at(10));
    return world;
  };

  it('is already in the count when it happened before and the count knew its source', () => {
    const world = counted();
    const decision = world.send({ type: 'SellStock', ...mug, quantity: 2, occurredAt: at(9) }, at(30));
    expect(movementsOf(decision)).toEqual([
      ['StockSold', -2, 0],
      ['CountCorrected', 2, 0],
    ]);
    expect(decision).toMatchObject({
      facts: [{ occurredAt: at(9) }, { occurredAt: at(10), fact: { data: { countedVersion: '1' } } }],
    });
  });

  it('counts when it happened afterwards, when its source was not known, or when nobody said when it happened', () => {
    const world = counted();
    const deltas = [
      world.send({ type: 'SellStock', ...mug, quantity: 1, occurredAt: at(11) }, at(30)),
      world.send({ type: 'SellStock', ...mug, quantity: 1, occurredAt: at(9), source: 'phone' }, at(30)),
      world.send({ type: 'SellStock', ...mug, quantity: 1 }, at(30)),
    ].map(movementsOf);
    expect(deltas).toEqual([[['StockSold', -1, 0]], [['StockSold', -1, 0]], [['StockSold', -1, 0]]]);
  });

  it('is an order from before the count: its pieces are open, and on hand stays as counted', () => {
    const world = counted();
    world.given(order({ quantity: 2, revision: 1, placedAt: at(5) }), at(30));
    expect(world.stock('shop', 'MUG')).toMatchObject({ onHand: 7, open: 2 });
  });

  it('is an open order whose pieces the shelf still held, when the count included open orders', () => {
    const world = shopWorld();
    world.given(
      { type: 'CountStock', ...mug, quantity: 7, asOf: at(10), includesOpenOrders: true, knows: ['cart:web'] },
      at(10),
    );
    world.given(order({ quantity: 2, revision: 1, placedAt: at(5) }), at(30));
    expect(world.stock('shop', 'MUG')).toMatchObject({ onHand: 5, open: 2 });
  });

  it('is an order shipped before that count: nothing of it was on the shelf', () => {
    const world = shopWorld();
    world.given(
      { type: 'CountStock', ...mug, quantity: 7, asOf: at(10), includesOpenOrders: true, knows: ['cart:web'] },
      at(10),
    );
    world.given(order({ quantity: 2, revision: 1, placedAt: at(5), state: 'shipped' }), at(30));
    expect(world.stock('shop', 'MUG')).toMatchObject({ onHand: 7, open: 0 });
  });
});

/**
 * The naive model keeps a list of (moment, change) and knows the answer by adding up: a count puts the sum at its moment
 * right, a late movement that the count knew is left out.
 */
describe('as-of arithmetic', () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('move' as const),
      delta: fc.integer({ min: -9, max: 9 }),
      ago: fc.integer({ min: 0, max: 30 }),
      direct: fc.boolean(),
      given: fc.boolean(),
    }),
    fc.record({
      kind: fc.constant('count' as const),
      quantity: fc.integer({ min: 0, max: 50 }),
      ago: fc.integer({ min: 0, max: 30 }),
    }),
  );

  it('agrees with a model that adds up, whatever is counted in the past or told late', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const world: World = shopWorld();
        const model: { at: string; delta: number }[] = [];
        let counted: { at: string; quantity: number } | null = null;
        const sumTo = (moment: string) => model.filter((m) => m.at <= moment).reduce((sum, m) => sum + m.delta, 0);
        for (const [i, s] of steps.entries()) {
          const now = at(100 + i);
          const moment = at(100 + i - s.ago);
          if (s.kind === 'count') {
            world.given({ type: 'CountStock', ...mug, quantity: s.quantity, asOf: moment }, now);
            if (counted !== null && moment < counted.at) continue;
            model.push({ at: moment, delta: s.quantity - sumTo(moment) });
            counted = { at: moment, quantity: s.quantity };
          } else {
            const source = s.direct ? ('direct' as const) : ('phone' as const);
            world.given(
              { type: 'AdjustStock', ...mug, delta: s.delta, source, ...(s.given ? { occurredAt: moment } : {}) },
              now,
            );
            const occurred = s.given ? moment : now;
            model.push({ at: occurred, delta: s.delta });
            if (s.given && s.direct && counted !== null && occurred <= counted.at)
              model.push({ at: counted.at, delta: -s.delta });
          }
        }
        const end = at(1000);
        expect(world.stock('shop', 'MUG').onHand).toBe(sumTo(end));
        for (let minute = 60; minute < 145; minute++)
          expect(world.onHandAsOf('shop', 'MUG', at(minute))).toBe(sumTo(at(minute)));
      }),
      { seed: 20260301, numRuns: 300 },
    );
  });

  it('keeps the last count true as of its moment while only sources it knew tell something late', () => {
    const late = fc.record({ delta: fc.integer({ min: -9, max: 9 }), minute: fc.integer({ min: 0, max: 60 }) });
    fc.assert(
      fc.property(fc.array(late), fc.integer({ min: 0, max: 50 }), (movements, quantity) => {
        const world = shopWorld();
        world.given({ type: 'CountStock', ...mug, quantity, asOf: at(30) }, at(30));
        for (const { delta, minute } of movements)
          world.given({ type: 'AdjustStock', ...mug, delta, occurredAt: at(minute) }, at(90));
        expect(world.onHandAsOf('shop', 'MUG', at(30))).toBe(quantity);
      }),
      { seed: 20260302 },
    );
  });
});

function order(o: { quantity: number; revision: number; placedAt?: string; state?: 'open' | 'shipped' }) {
  return {
    type: 'ImportOrder' as const,
    source: 'cart:web' as const,
    number: '1001',
    revision: o.revision,
    placedAt: o.placedAt,
    state: o.state ?? ('open' as const),
    lines: [{ line: '1', sku: 'MUG', key: 'k-mug', location: 'shop', quantity: o.quantity }],
    sighting: { after: null, by: at(5) },
    cartMovesStock: { at: 'order' as const, restocksOnCancel: true },
  };
}

describe('a reset of a program that knows no orders', () => {
  const reset = { type: 'ResetStock', ...mug, source: 'file:erp', ordersSince: at(0), knows: ['direct'] } as const;
  const order = (number: string, quantity: number, minute: number, state: 'open' | 'shipped' = 'open') =>
    ({
      type: 'ImportOrder',
      source: 'phone',
      number,
      revision: 1,
      placedAt: at(minute),
      state,
      lines: [{ line: '1', sku: 'MUG', key: 'MUG', location: 'shop', quantity }],
      sighting: { after: null, by: at(minute) },
      cartMovesStock: { at: 'never', restocksOnCancel: false },
    }) as const;

  it('takes away what orders took since it was right, until its moment, shipped or not', () => {
    const world = shopWorld();
    world.given({ type: 'ReceiveStock', ...mug, quantity: 20, occurredAt: at(1) }, at(1));
    world.given(order('1', 3, 2), at(2));
    world.given(order('2', 4, 3, 'shipped'), at(3));
    world.given({ ...reset, quantity: 20, asOf: at(5) }, at(6));
    expect(world.stock('shop', 'MUG').onHand).toBe(13);
    world.given(order('3', 2, 7), at(7));
    world.given({ type: 'SellStock', ...mug, quantity: 1, occurredAt: at(8) }, at(8));
    world.given({ ...reset, quantity: 19, asOf: at(9) }, at(10));
    expect(world.stock('shop', 'MUG').onHand).toBe(10);
  });

  it('leaves out what a count had corrected, because the program does not know of that either', () => {
    const world = shopWorld();
    world.given({ type: 'CountStock', ...mug, quantity: 10, asOf: at(4), knows: ['direct', 'phone'] }, at(4));
    world.given(order('1', 3, 2), at(5));
    expect(world.stock('shop', 'MUG').onHand).toBe(10);
    world.given(order('2', 2, 3, 'shipped'), at(5));
    expect(world.stock('shop', 'MUG').onHand).toBe(10);
    world.given({ ...reset, quantity: 10, asOf: at(6) }, at(7));
    expect(world.stock('shop', 'MUG').onHand).toBe(5);
  });
});
