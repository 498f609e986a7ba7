import { describe, expect, it } from 'vitest';
import type { Command } from '../../src/events/commands.js';
import type { Decision } from '../../src/events/decision.js';
import { movementsOf, refusalOf, shopCommands, shopWorld, typesOf } from './given.js';

const ship = (quantity: number, more: Partial<Extract<Command, { type: 'ShipTransfer' }>> = {}): Command => ({
  type: 'ShipTransfer',
  transfer: 'T1',
  from: 'shop',
  to: 'store',
  lines: [{ sku: 'MUG', quantity }],
  ...more,
});

describe('a transfer', () => {
  it('moves pieces into transit and out of it', () => {
    const world = shopWorld();
    world.given(ship(5));
    expect([world.stock('shop', 'MUG').onHand, world.stock('in-transit', 'MUG').onHand]).toEqual([-5, 5]);
    const received = world.send({
      type: 'ReceiveTransfer',
      transfer: 'T1',
      lines: [{ sku: 'MUG', quantity: 2 }],
      close: false,
    });
    expect(typesOf(received)).toEqual(['TransferReceived', 'StockTransferred', 'StockTransferred']);
    expect([world.stock('in-transit', 'MUG').onHand, world.stock('store', 'MUG').onHand]).toEqual([3, 2]);
  });

  it('is closed by itself when everything has come', () => {
    const world = shopWorld();
    world.given(ship(5));
    world.given({ type: 'ReceiveTransfer', transfer: 'T1', close: false });
    expect(world.stock('store', 'MUG').onHand).toBe(5);
    expect(refusalOf(world.send({ type: 'ReceiveTransfer', transfer: 'T1', close: false }))).toBe('transfer-closed');
  });

  it('closed short writes off what never came', () => {
    const world = shopWorld();
    world.given(ship(5));
    const closed = world.send({
      type: 'ReceiveTransfer',
      transfer: 'T1',
      lines: [{ sku: 'MUG', quantity: 4 }],
      close: true,
    });
    expect(movementsOf(closed).at(-1)).toEqual(['StockAdjusted', -1, 0]);
    expect(closed).toMatchObject({
      facts: [
        { fact: { data: { short: [{ sku: 'MUG', quantity: 1 }], closed: true } } },
        {},
        {},
        { fact: { data: { reason: 'transfer short' } } },
      ],
    });
    expect(world.stock('in-transit', 'MUG').onHand).toBe(0);
  });

  it('refuses more than is in transit, also over several lines of one SKU', () => {
    const world = shopWorld();
    world.given(ship(5));
    const lines = [
      { sku: 'MUG', quantity: 3 },
      { sku: 'MUG', quantity: 3 },
    ];
    expect(refusalOf(world.send({ type: 'ReceiveTransfer', transfer: 'T1', lines, close: false }))).toBe(
      'not-enough-in-transit',
    );
    expect(world.stock('in-transit', 'MUG').onHand).toBe(5);
  });

  it('refuses what makes no sense', () => {
    const world = shopWorld();
    expect(refusalOf(world.send({ type: 'ReceiveTransfer', transfer: 'T9', close: false }))).toBe('unknown-transfer');
    expect(refusalOf(world.send(ship(1, { to: 'shop' })))).toBe('not-allowed-now');
    expect(refusalOf(world.send(ship(1, { to: 'attic' })))).toBe('unknown-location');
    expect(refusalOf(world.send(ship(1, { lines: [{ sku: 'CUP', quantity: 1 }] })))).toBe('unknown-item');
    expect(refusalOf(world.send(ship(1, { lines: [] })))).toBe('quantity-out-of-range');
    world.given(ship(1));
    expect(refusalOf(world.send(ship(1)))).toBe('already-exists');
  });
});

describe('items and locations', () => {
  it('are created once', () => {
    const world = shopWorld();
    expect(refusalOf(world.send({ type: 'CreateItem', sku: 'MUG', title: 'Mug' }))).toBe('already-exists');
    expect(refusalOf(world.send({ type: 'AddLocation', location: 'shop', name: 'Shop' }))).toBe('already-exists');
    expect(refusalOf(world.send({ type: 'AddLocation', location: 'in-transit', name: 'On the way' }))).toBe(
      'already-exists',
    );
    expect(refusalOf(world.send({ type: 'AddLocation', location: 'a/b', name: 'Slash' }))).toBe('not-allowed-now');
  });
});

describe('a cart', () => {
  const add = shopCommands.find((command) => command.type === 'AddCart') as Extract<Command, { type: 'AddCart' }>;

  it('is added once, with locations that exist and one of them for its orders', () => {
    const world = shopWorld();
    expect(refusalOf(world.send(add))).toBe('already-exists');
    expect(refusalOf(world.send({ ...add, cartId: 'b', orderLocation: 'store' }))).toBe('not-allowed-now');
    expect(refusalOf(world.send({ ...add, cartId: 'b', locations: ['shop', 'attic'] }))).toBe('unknown-location');
  });

  it('lets nothing but its settings into the log', () => {
    const decision = shopWorld().send({ ...add, cartId: 'b', password: 'secret' } as Command);
    expect(JSON.stringify(decision)).not.toContain('secret');
    expect(decision).toMatchObject({ facts: [{ fact: { type: 'CartAdded', data: { type: 'sample', cartId: 'b' } } }] });
  });

  it('changes only what was given, and states the whole', () => {
    const world = shopWorld();
    const changed = world.send({
      type: 'ChangeCart',
      cartId: 'web',
      name: 'New',
      url: undefined,
    } as unknown as Command);
    expect(changed).toMatchObject({
      facts: [{ fact: { type: 'CartChanged', data: { name: 'New', url: add.url, type: 'sample' } } }],
    });
    expect(typesOf(world.send({ type: 'ChangeCart', cartId: 'web', name: 'New' }))).toEqual([]);
    expect(refusalOf(world.send({ type: 'ChangeCart', cartId: 'web', orderLocation: 'store' }))).toBe(
      'not-allowed-now',
    );
    expect(refusalOf(world.send({ type: 'ChangeCart', cartId: 'nowhere', name: 'New' }))).toBe('unknown-cart');
  });

  it('counts how often it was switched on', () => {
    const world = shopWorld();
    const generations = [true, true, false, true].map((on) => {
      const decision = world.send({ type: 'SwitchCart', cartId: 'web', on });
      return decision.kind === 'accepted'
        ? decision.facts.map(({ fact }) => (fact.type === 'CartSwitched' ? fact.data.generation : null))
        : null;
    });
    expect(generations).toEqual([[1], [], [1], [2]]);
  });

  it('takes mappings and discards, at most a thousand rows at once', () => {
    const world = shopWorld();
    const rows = Array.from({ length: 1001 }, (_, i) => ({ key: `k${i}`, sku: 'MUG' }));
    expect(refusalOf(world.send({ type: 'MapListings', cartId: 'web', rows }))).toBe('quantity-out-of-range');
    expect(typesOf(world.send({ type: 'MapListings', cartId: 'web', rows: rows.slice(1) }))).toEqual([
      'ListingsMapped',
    ]);
    const discard: Command = {
      type: 'DiscardRecords',
      cartId: 'web',
      key: 'k',
      recordIds: ['1'],
      reason: 'gone',
      by: 'me',
      quantity: null,
    };
    expect(typesOf(world.send(discard))).toEqual(['RecordsDiscarded']);
    expect(refusalOf(world.send({ ...discard, cartId: 'nowhere' }))).toBe('unknown-cart');
  });
});

describe('a baseline', () => {
  const at = '2026-03-01T10:00:00.000Z';
  const reset = (version: string) => ({ key: 'k-mug', sku: 'MUG', difference: 8, version });
  const baseline = (more: Partial<Extract<Command, { type: 'BaselineListings' }>> = {}): Command => ({
    type: 'BaselineListings',
    cartId: 'web',
    kind: 'get',
    at,
    mark: 'm1',
    rows: [{ key: 'k-mug', sku: 'MUG', quantity: 8 }],
    resets: [reset('0')],
    ...more,
  });

  it('by get resets the stock as of its moment, and later sales stay taken', () => {
    const world = shopWorld();
    world.given({ type: 'SellStock', sku: 'MUG', location: 'shop', quantity: 1, occurredAt: '2026-03-01T11:00:00Z' });
    const decision = world.send(baseline({ resets: [reset('1')] }));
    // The reset comes first: where the baseline stands, on hand is what the cart shows, and nothing is owed to it.
    expect(typesOf(decision)).toEqual(['StockReset', 'ListingsBaselined']);
    expect(decision).toMatchObject({
      facts: [
        {
          occurredAt: at,
          fact: { data: { quantity: 8, asOf: at, knows: ['cart:web'], reason: 'taken over from cart' } },
        },
        {},
      ],
    });
    expect(world.stock('shop', 'MUG').onHand).toBe(7);
  });

  it('by get leaves a listing out whose stock has moved since it was looked at', () => {
    const world = shopWorld();
    world.given({ type: 'SellStock', sku: 'MUG', location: 'shop', quantity: 1, occurredAt: '2026-03-01T09:00:00Z' });
    expect(typesOf(world.send(baseline()))).toEqual([]);
    expect(world.stock('shop', 'MUG').onHand).toBe(-1);
  });

  it('by get already has the orders that were placed before it', () => {
    const world = shopWorld();
    world.given(baseline());
    world.given({
      type: 'ImportOrder',
      source: 'cart:web',
      number: '1',
      revision: 1,
      placedAt: '2026-03-01T09:00:00Z',
      state: 'open',
      lines: [{ line: '1', sku: 'MUG', key: 'k-mug', location: 'shop', quantity: 3 }],
      sighting: { after: null, by: at },
      cartMovesStock: { at: 'order', restocksOnCancel: true },
    });
    expect(world.stock('shop', 'MUG').onHand).toBe(8);
  });

  it('of a cart that is off is made for the generation that switching it on begins', () => {
    const world = shopWorld();
    const generationOf = (decision: Decision) =>
      decision.kind === 'refused'
        ? null
        : decision.facts.flatMap(({ fact }) => (fact.type === 'ListingsBaselined' ? [fact.data.generation] : []));
    expect(generationOf(world.send(baseline({ resets: [] })))).toEqual([1]);
    world.given({ type: 'SwitchCart', cartId: 'web', on: true });
    expect(generationOf(world.send(baseline({ resets: [] })))).toEqual([1]);
  });

  it('by write resets no stock', () => {
    const world = shopWorld();
    expect(refusalOf(world.send(baseline({ kind: 'write' })))).toBe('not-allowed-now');
    expect(typesOf(world.send(baseline({ kind: 'write', resets: undefined })))).toEqual(['ListingsBaselined']);
  });
});

describe('the system switch', () => {
  it('is a fact when it changes', () => {
    const world = shopWorld();
    const types = [true, true, false].map((on) => typesOf(world.send({ type: 'SwitchSystem', on })));
    expect(types).toEqual([['SystemSwitched'], [], ['SystemSwitched']]);
  });
});
