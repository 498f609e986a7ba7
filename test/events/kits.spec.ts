import { describe, expect, it } from 'vitest';
import type { Command } from '../../src/events/commands.js';
import { isMovement } from '../../src/events/facts.js';
import type { Decision } from '../../src/events/decision.js';
import { kitStream } from '../../src/events/streams.js';
import { movementsOf, refusalOf, shopWorld, typesOf, type World } from './given.js';

const kit = (sku: string, parts: Readonly<Record<string, number>>): Command => ({
  type: 'SetKit',
  sku,
  components: Object.entries(parts).map(([part, quantity]) => ({ sku: part, quantity })),
  by: 'Ann',
});

/** BOLT, NUT and PLATE; the items SET, BOX and CRATE, which may become kits. */
function kitWorld(): World {
  const world = shopWorld();
  for (const sku of ['BOLT', 'NUT', 'PLATE', 'SET', 'BOX', 'CRATE'])
    world.given({ type: 'CreateItem', sku, title: sku });
  return world;
}

const detailOf = (decision: Decision) => (decision.kind === 'refused' ? decision.refusal.detail : '');
const moved = (decision: Decision) =>
  decision.kind === 'refused'
    ? []
    : decision.facts.flatMap(({ fact }) =>
        isMovement(fact) ? [[fact.data.sku, fact.data.delta, fact.data.openDelta]] : [],
      );

describe('what a kit is made of', () => {
  it('is a fact, changes as a whole, and is undone by setting it again', () => {
    const world = kitWorld();
    expect(typesOf(world.send(kit('SET', { NUT: 1, BOLT: 2 })))).toEqual(['KitSet', 'KitsBegun']);
    expect(world.state(kitStream('SET'))).toEqual({
      components: [
        { sku: 'BOLT', quantity: 2 },
        { sku: 'NUT', quantity: 1 },
      ],
    });
    expect(typesOf(world.send(kit('SET', { BOLT: 2, NUT: 1 })))).toEqual([]);
    expect(typesOf(world.send(kit('SET', { BOLT: 4 })))).toEqual(['KitSet']);
    expect(typesOf(world.send({ type: 'RemoveKit', sku: 'SET', by: 'Ann' }))).toEqual(['KitSet']);
    expect(refusalOf(world.send({ type: 'RemoveKit', sku: 'SET', by: 'Ann' }))).toBe('unknown-kit');
    expect(typesOf(world.send(kit('SET', { BOLT: 2, NUT: 1 })))).toEqual(['KitSet']);
  });

  it.each([
    ['an item that does not exist', kit('NOWHERE', { BOLT: 1 }), 'unknown-item', 'NOWHERE'],
    ['a component that does not exist', kit('SET', { NOWHERE: 1 }), 'unknown-item', 'NOWHERE'],
    ['nothing', kit('SET', {}), 'quantity-out-of-range', 'at least one'],
    ['no piece of a component', kit('SET', { BOLT: 0 }), 'quantity-out-of-range', 'from 1'],
    ['too many pieces of one', kit('SET', { BOLT: 10_001 }), 'quantity-out-of-range', '10000'],
    ['itself', kit('SET', { SET: 1 }), 'kit-not-possible', 'contain itself'],
    [
      'a component twice',
      {
        ...kit('SET', {}),
        components: [
          { sku: 'BOLT', quantity: 1 },
          { sku: 'BOLT', quantity: 2 },
        ],
      } as Command,
      'kit-not-possible',
      'twice',
    ],
  ])('is refused with %s', (_what, command, code, words) => {
    const decision = kitWorld().send(command);
    expect([refusalOf(decision), detailOf(decision)]).toEqual([code, expect.stringContaining(words)]);
  });

  it('may be kits of plain items, and nothing deeper, from whichever side it is tried', () => {
    const world = kitWorld();
    world.given(kit('SET', { BOLT: 2 }));
    world.given(kit('BOX', { SET: 3, NUT: 1 }));
    const above = world.send(kit('CRATE', { BOX: 1 }));
    expect([refusalOf(above), detailOf(above)]).toEqual([
      'kit-not-possible',
      expect.stringContaining('BOX is a kit itself'),
    ]);
    const below = world.send(kit('BOLT', { NUT: 1 }));
    expect([refusalOf(below), detailOf(below)]).toEqual([
      'kit-not-possible',
      expect.stringContaining('BOLT is part of the kit SET'),
    ]);
    world.given(kit('CRATE', { BOLT: 1 }));
    expect(refusalOf(world.send(kit('SET', { CRATE: 1 })))).toBe('kit-not-possible');
  });

  it('never closes a circle, also not through another kit', () => {
    const world = kitWorld();
    world.given(kit('SET', { BOLT: 2 }));
    world.given(kit('BOX', { SET: 1 }));
    const direct = world.send(kit('SET', { BOX: 1 }));
    expect([refusalOf(direct), detailOf(direct)]).toEqual([
      'kit-not-possible',
      expect.stringContaining('BOX contains SET'),
    ]);
    expect(refusalOf(world.send(kit('BOLT', { BOX: 1 })))).toBe('kit-not-possible');
  });

  it('is not for an item that has stock of its own, or open pieces', () => {
    const world = kitWorld();
    world.given({ type: 'ReceiveStock', sku: 'SET', location: 'store', quantity: 3 });
    const decision = world.send(kit('SET', { BOLT: 1 }));
    expect([refusalOf(decision), detailOf(decision)]).toEqual([
      'not-allowed-now',
      expect.stringContaining('3 on hand at store'),
    ]);
    world.given({ type: 'AdjustStock', sku: 'SET', location: 'store', delta: -3 });
    world.given(kit('SET', { BOLT: 1 }));
  });
});

describe('a kit that is moved by hand', () => {
  it('moves what it is made of when it is sold or brought back', () => {
    const world = kitWorld();
    world.given(kit('SET', { BOLT: 2, NUT: 1 }));
    world.given(kit('BOX', { SET: 3, NUT: 1 }));
    expect(moved(world.send({ type: 'SellStock', sku: 'BOX', location: 'shop', quantity: 2 }))).toEqual([
      ['BOLT', -12, 0],
      ['NUT', -8, 0],
    ]);
    const back = world.send({ type: 'ReturnStock', sku: 'SET', location: 'shop', quantity: 1, resellable: false });
    expect(movementsOf(back)).toEqual([
      ['StockReturned', 0, 0],
      ['StockReturned', 0, 0],
    ]);
    expect(back).toMatchObject({
      facts: [{ fact: { data: { quantity: 2, kit: 'SET' } } }, { fact: { data: { quantity: 1 } } }],
    });
  });

  it.each<Command>([
    { type: 'ReceiveStock', sku: 'SET', location: 'shop', quantity: 1 },
    { type: 'AdjustStock', sku: 'SET', location: 'shop', delta: 1 },
    { type: 'CountStock', sku: 'SET', location: 'shop', quantity: 0 },
    { type: 'ResetStock', sku: 'SET', location: 'shop', quantity: 4 },
    { type: 'ShipTransfer', transfer: 'T1', from: 'shop', to: 'store', lines: [{ sku: 'SET', quantity: 1 }] },
  ])('is refused otherwise, with a sentence that names what to move: $type', (command) => {
    const world = kitWorld();
    world.given(kit('SET', { BOLT: 2, NUT: 1 }));
    const decision = world.send(command);
    expect([refusalOf(decision), detailOf(decision)]).toEqual([
      'item-is-kit',
      expect.stringContaining('2 × BOLT, 1 × NUT'),
    ]);
  });
});

describe('an order of a kit', () => {
  const order = (quantity: number, more: Partial<Extract<Command, { type: 'ImportOrder' }>> = {}): Command => ({
    type: 'ImportOrder',
    source: 'cart:web',
    number: '7',
    revision: 1,
    state: 'open',
    lines: [{ line: '1', sku: 'SET', key: 'set-key', location: 'shop', quantity }],
    sighting: { after: null, by: '2026-03-01T12:00:00.000Z' },
    cartMovesStock: { at: 'order', restocksOnCancel: true },
    ...more,
  });
  const world = () => {
    const given = kitWorld();
    given.given(kit('SET', { BOLT: 2, NUT: 1 }));
    return given;
  };
  const echoesOf = (decision: Decision) =>
    decision.kind === 'refused'
      ? []
      : decision.facts.flatMap(({ fact }) =>
          fact.type === 'OrderImported'
            ? fact.data.differences.map(({ key, echoDelta, partEchoes }) => [key, echoDelta, partEchoes ?? []])
            : [],
        );

  it('moves what the kit is made of, and echoes on the kit that was sold', () => {
    const decision = world().send(order(2));
    expect(moved(decision)).toEqual([
      ['BOLT', -4, 4],
      ['NUT', -2, 2],
    ]);
    expect(echoesOf(decision)).toEqual([['set-key', -2, []]]);
  });

  it('echoes on the components where the cart lowers those itself', () => {
    const decision = world().send(
      order(2, { cartMovesStock: { at: 'order', restocksOnCancel: true, kits: 'components' } }),
    );
    expect(echoesOf(decision)).toEqual([
      [
        'set-key',
        0,
        [
          { sku: 'BOLT', delta: -4 },
          { sku: 'NUT', delta: -2 },
        ],
      ],
    ]);
  });

  it('stays what it was when it was taken: edits, cancels, shipping and closing know nothing of a later composition', () => {
    const given = world();
    given.given(order(2));
    given.given(kit('SET', { PLATE: 5 }));
    expect(moved(given.send(order(3, { revision: 2 })))).toEqual([
      ['BOLT', -2, 2],
      ['NUT', -1, 1],
    ]);
    expect(
      moved(given.send({ type: 'ShipOrder', source: 'cart:web', number: '7', lines: [{ line: '1', quantity: 1 }] })),
    ).toEqual([
      ['BOLT', 0, -2],
      ['NUT', 0, -1],
    ]);
    given.given({ type: 'RemoveKit', sku: 'SET', by: 'Ann' });
    const cancelled = given.send(order(3, { revision: 3, state: 'cancelled' }));
    expect(moved(cancelled)).toEqual([
      ['BOLT', 4, -4],
      ['NUT', 2, -2],
    ]);
    expect([given.stock('shop', 'BOLT'), given.stock('shop', 'SET')]).toMatchObject([
      { onHand: -2, open: 0 },
      { onHand: 0, open: 0 },
    ]);
    expect(moved(given.send(order(1, { number: '8' })))).toEqual([['SET', -1, 1]]);
  });

  it('is filled as far as its scarcest part is there', () => {
    const given = world();
    given.given(order(3));
    given.given({ type: 'ReceiveStock', sku: 'BOLT', location: 'shop', quantity: 5 });
    given.given({ type: 'ReceiveStock', sku: 'NUT', location: 'shop', quantity: 9 });
    const fill = { type: 'FillOrder', source: 'cart:web', number: '7' } as const;
    expect(refusalOf(given.send({ ...fill, lines: [{ line: '1', quantity: 3 }] }))).toBe('not-enough-there');
    expect(moved(given.send(fill))).toEqual([
      ['BOLT', 0, -4],
      ['NUT', 0, -2],
    ]);
  });

  it('under a key that was unknown takes its parts once the key is mapped', () => {
    const given = world();
    const unknown = { line: '1', sku: 'odd', key: 'odd', location: 'shop', quantity: 2 };
    given.given(order(2, { lines: [unknown] }));
    const rows = [{ key: 'odd', sku: 'SET' }];
    expect(moved(given.send({ type: 'ResolveOrderLines', source: 'cart:web', number: '7', rows }))).toEqual([
      ['odd', 2, -2],
      ['BOLT', -4, 4],
      ['NUT', -2, 2],
    ]);
    expect(moved(given.send(order(2, { revision: 2, state: 'cancelled' })))).toEqual([
      ['BOLT', 4, -4],
      ['NUT', 2, -2],
    ]);
  });
});
