import { describe, expect, it } from 'vitest';
import type { Command } from '../../src/events/commands.js';
import { movementsOf, refusalOf, shopWorld, typesOf, type World } from './given.js';

const mug = (quantity: number, line = '1') => ({ line, sku: 'MUG', key: 'MUG', location: 'shop', quantity });
const order = (lines: readonly ReturnType<typeof mug>[], number = '7', revision = 0): Command => ({
  type: 'ImportOrder',
  source: 'phone',
  number,
  revision,
  state: 'open',
  lines,
  sighting: { after: null, by: '2026-03-01T12:00:00.000Z' },
  cartMovesStock: { at: 'never', restocksOnCancel: false },
});
const receive = (quantity: number): Command => ({ type: 'ReceiveStock', sku: 'MUG', location: 'shop', quantity });
const fill = (...lines: { line: string; quantity: number }[]): Command => ({
  type: 'FillOrder',
  source: 'phone',
  number: '7',
  ...(lines.length > 0 && { lines }),
});
const stockOf = (world: World) => {
  const { onHand, open } = world.stock('shop', 'MUG');
  return { onHand, open };
};

describe('filling a back-ordered line', () => {
  it('gives it the pieces that a receipt brought, and moves nothing on hand: the sale had taken them', () => {
    const world = shopWorld();
    world.given(order([mug(4)]));
    expect(stockOf(world)).toEqual({ onHand: -4, open: 4 });
    world.given(receive(10));
    const filled = world.send(fill());
    expect(typesOf(filled)).toEqual(['OrderFilled', 'OrderLineClosed']);
    expect(movementsOf(filled)).toEqual([['OrderLineClosed', 0, -4]]);
    expect(filled).toMatchObject({ facts: [{ fact: { data: { complete: true } } }, {}] });
    expect(stockOf(world)).toEqual({ onHand: 6, open: 0 });
  });

  it('gives what is there and leaves the rest open', () => {
    const world = shopWorld();
    world.given(order([mug(4), mug(3, '2')]));
    expect(world.send(fill())).toMatchObject({ facts: [], note: expect.stringContaining('is there') as string });
    world.given(receive(5));
    expect(world.send(fill())).toMatchObject({
      facts: [
        {
          fact: {
            data: {
              complete: false,
              lines: [
                { line: '1', quantity: 4 },
                { line: '2', quantity: 1 },
              ],
            },
          },
        },
        {},
        {},
      ],
    });
    expect(stockOf(world)).toEqual({ onHand: -2, open: 2 });
  });

  it('refuses pieces that are not there, while shipping is a report and is believed', () => {
    const world = shopWorld();
    world.given(order([mug(4), mug(3, '2')]));
    world.given(receive(5));
    const both = [
      { line: '1', quantity: 4 },
      { line: '2', quantity: 2 },
    ];
    expect(refusalOf(world.send(fill(...both)))).toBe('not-enough-there');
    expect(refusalOf(world.send(fill({ line: '1', quantity: 5 })))).toBe('not-allowed-now');
    expect(refusalOf(world.send({ type: 'ShipOrder', source: 'phone', number: '7', lines: both }))).toBeNull();
  });

  it('takes pieces that are open for another order: which one comes first is for people to say', () => {
    const world = shopWorld();
    world.given(receive(2));
    world.given(order([mug(2)], 'earlier'));
    world.given(order([mug(2)]));
    expect(movementsOf(world.send(fill()))).toEqual([['OrderLineClosed', 0, -2]]);
    expect(movementsOf(world.send({ ...fill(), number: 'earlier' } as Command))).toEqual([]);
    expect(stockOf(world)).toEqual({ onHand: -2, open: 2 });
  });

  it('keeps its pieces when the order is edited or cancelled afterwards', () => {
    const world = shopWorld();
    world.given(receive(1));
    world.given(order([mug(4)]));
    world.given(fill());
    world.given({ ...order([mug(4)], '7', 2), state: 'cancelled' } as Command);
    expect(stockOf(world)).toEqual({ onHand: 0, open: 0 });
  });
});

describe('an order of another origin', () => {
  it('is another order, though its number is the same', () => {
    const world = shopWorld();
    for (const source of ['phone', 'store', 'marketplace', 'cart:web'] as const) {
      world.given({ ...order([mug(1)]), source } as Command);
    }
    expect(stockOf(world)).toEqual({ onHand: -4, open: 4 });
    world.given({ type: 'ShipOrder', source: 'store', number: '7' });
    expect(stockOf(world)).toEqual({ onHand: -4, open: 3 });
  });

  it('names itself as the source of what it moves, so that a count can say it knew of it', () => {
    const world = shopWorld();
    world.given({ type: 'CountStock', sku: 'MUG', location: 'shop', quantity: 5, knows: ['store'] });
    const late = { ...order([mug(1)]), placedAt: '2026-02-28T12:00:00Z' };
    const known = world.send({ ...late, source: 'store' } as Command, '2026-03-01T13:00:00Z');
    expect(movementsOf(known)).toEqual([
      ['StockSold', -1, 1],
      ['CountCorrected', 1, 0],
    ]);
    expect(movementsOf(world.send({ ...late, source: 'phone' } as Command))).toEqual([['StockSold', -1, 1]]);
  });
});
