import { describe, expect, it } from 'vitest';
import type { Command } from '../../src/events/commands.js';
import type { Decision } from '../../src/events/decision.js';
import { orderStream } from '../../src/events/streams.js';
import { movementsOf, refusalOf, shopWorld, typesOf } from './given.js';

type Import = Extract<Command, { type: 'ImportOrder' }>;

const placedAt = '2026-02-27T09:00:00.000Z';
const order = (sku: string, more: Partial<Import> = {}): Import => ({
  type: 'ImportOrder',
  source: 'cart:web',
  number: '1',
  revision: 1,
  placedAt,
  state: 'open',
  lines: [
    { line: '1', key: 'MUG', sku: 'MUG', location: 'shop', quantity: 1 },
    { line: '2', key: 'K-9', sku, location: 'shop', quantity: 3, title: 'Strange cup' },
  ],
  sighting: { after: null, by: '2026-03-01T11:00:00.000Z' },
  cartMovesStock: { at: 'order', restocksOnCancel: false },
  ...more,
});
const resolve: Command = {
  type: 'ResolveOrderLines',
  source: 'cart:web',
  number: '1',
  rows: [{ key: 'K-9', sku: 'CUP' }],
};

function world() {
  const made = shopWorld();
  made.given({ type: 'CreateItem', sku: 'CUP', title: 'Cup' }, '2026-01-01T00:00:00Z');
  made.given(order('K-9'), '2026-03-01T12:00:00Z');
  return made;
}
const echoesOf = (decision: Decision) =>
  decision.kind === 'refused'
    ? null
    : decision.facts.flatMap(({ fact }) =>
        fact.type === 'OrderImported' ? fact.data.differences.map(({ echoDelta }) => echoDelta) : [],
      );
const stocks = (made: ReturnType<typeof world>) => ['K-9', 'CUP'].map((sku) => made.stock('shop', sku));

describe('an order line with an unknown key', () => {
  it('takes its pieces under the key, and from the item once it is mapped: as of the sale, without an echo', () => {
    const made = world();
    expect(stocks(made)).toMatchObject([
      { onHand: -3, open: 3 },
      { onHand: 0, open: 0 },
    ]);
    const decided = made.send(resolve, '2026-03-02T12:00:00Z');
    expect(movementsOf(decided)).toEqual([
      ['StockReturned', 3, -3],
      ['StockSold', -3, 3],
    ]);
    expect(echoesOf(decided)).toEqual([0, 0]);
    expect(stocks(made)).toMatchObject([
      { onHand: 0, open: 0 },
      { onHand: -3, open: 3 },
    ]);
    expect(made.facts.at(-1)).toMatchObject({ occurredAt: placedAt, fact: { data: { source: 'cart:web' } } });
    expect(typesOf(made.send(resolve))).toEqual([]);
  });

  it('keeps what it is, whatever the cart tells again and with whichever look at the mappings', () => {
    const made = world();
    made.given(resolve);
    const before = made.facts.length;
    for (const sku of ['K-9', 'CUP']) expect(typesOf(made.send(order(sku)))).toEqual([]);
    expect(made.facts).toHaveLength(before);
    const shipped = made.send(order('K-9', { revision: 2, state: 'shipped' }));
    expect(movementsOf(shipped)).toEqual([
      ['OrderLineClosed', 0, -1],
      ['OrderLineClosed', 0, -3],
    ]);
    expect(stocks(made)).toMatchObject([
      { onHand: 0, open: 0 },
      { onHand: -3, open: 0 },
    ]);
  });

  it('becomes known by the order itself, too, and what changed with it moves and echoes once', () => {
    const made = world();
    const lines = order('CUP').lines.map((line) => (line.line === '2' ? { ...line, quantity: 5 } : line));
    const decided = made.send(order('CUP', { revision: 2, lines }));
    expect(movementsOf(decided)).toEqual([
      ['StockReturned', 3, -3],
      ['StockSold', -3, 3],
      ['StockSold', -2, 2],
    ]);
    expect(echoesOf(decided)?.filter((echo) => echo !== 0)).toEqual([-2]);
    expect(stocks(made)).toMatchObject([
      { onHand: 0, open: 0 },
      { onHand: -5, open: 5 },
    ]);
  });

  it('moves with all of its pieces when it was shipped before', () => {
    const made = world();
    made.given({ type: 'ShipOrder', source: 'cart:web', number: '1', lines: [{ line: '2', quantity: 2 }] });
    made.given(resolve);
    expect(stocks(made)).toMatchObject([
      { onHand: 0, open: 0 },
      { onHand: -3, open: 1 },
    ]);
    expect(made.state(orderStream('cart:web', '1'))).toMatchObject({ lines: [{}, { sku: 'CUP', held: 3, open: 1 }] });
  });

  it('of a cancelled order moves nothing', () => {
    const made = world();
    made.given(order('K-9', { revision: 2, state: 'cancelled' }));
    expect(movementsOf(made.send(resolve))).toEqual([]);
    expect(stocks(made)).toMatchObject([{ onHand: 0 }, { onHand: 0 }]);
  });

  it('is not taken twice where a count of the item knew of the cart already', () => {
    const made = world();
    const count = {
      type: 'CountStock',
      sku: 'CUP',
      location: 'shop',
      quantity: 7,
      asOf: '2026-02-28T00:00:00Z',
    } as const;
    made.given({ ...count, knows: ['direct', 'cart:web'] });
    expect(movementsOf(made.send(resolve)).at(-1)?.[0]).toBe('CountCorrected');
    expect(made.stock('shop', 'CUP').onHand).toBe(7);
  });

  it('stays where it is when an item is created under the key itself', () => {
    const made = world();
    made.given({ type: 'CreateItem', sku: 'K-9', title: 'Strange cup' });
    expect(typesOf(made.send(resolve))).toEqual([]);
    expect(stocks(made)).toMatchObject([{ onHand: -3 }, { onHand: 0 }]);
  });

  it('is not mapped to what does not exist', () => {
    const made = world();
    const rows = [{ key: 'K-9', sku: 'CUPP' }];
    expect(refusalOf(made.send({ type: 'MapListings', cartId: 'web', rows }))).toBe('unknown-item');
    expect(refusalOf(made.send({ type: 'ResolveOrderLines', source: 'cart:web', number: '1', rows }))).toBe(
      'unknown-item',
    );
  });
});
