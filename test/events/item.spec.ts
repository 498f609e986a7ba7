import { describe, expect, it } from 'vitest';
import { tagsMax } from '../../src/events/item.js';
import { itemStream } from '../../src/events/streams.js';
import { refusalOf, shopWorld, typesOf } from './given.js';

const mug = itemStream('MUG');

describe('an item', () => {
  it('is changed field by field; what is not named stays', () => {
    const world = shopWorld();
    world.given({
      type: 'ChangeItem',
      sku: 'MUG',
      barcode: '4006381333931',
      shopifyProductId: null,
      tags: ['Sale', 'blue', 'sale'],
    });
    expect(world.state(mug)).toEqual({
      title: 'Mug',
      barcode: '4006381333931',
      shopifyProductId: null,
      tags: ['blue', 'sale'],
      active: true,
    });
    world.given({
      type: 'ChangeItem',
      sku: 'MUG',
      title: 'Mug, blue',
      addTags: ['NEW'],
      removeTags: ['SALE', 'absent'],
    });
    world.given({ type: 'ChangeItem', sku: 'MUG', barcode: null, active: false });
    expect(world.state(mug)).toEqual({
      title: 'Mug, blue',
      barcode: null,
      shopifyProductId: null,
      tags: ['blue', 'new'],
      active: false,
    });
  });

  it('that is like this already is no fact', () => {
    const world = shopWorld();
    world.given({ type: 'ChangeItem', sku: 'MUG', tags: ['a', 'b'] });
    const same = {
      type: 'ChangeItem',
      sku: 'MUG',
      title: 'Mug',
      tags: ['B', 'a'],
      addTags: ['b'],
      active: true,
    } as const;
    expect(world.send(same)).toMatchObject({ facts: [], note: expect.stringContaining('Nothing to do') });
  });

  it('is not made up by a change, and has a limit of tags', () => {
    const world = shopWorld();
    expect(refusalOf(world.send({ type: 'ChangeItem', sku: 'CUP', title: 'Cup' }))).toBe('unknown-item');
    const tags = Array.from({ length: tagsMax + 1 }, (_, at) => `t${at}`);
    expect(refusalOf(world.send({ type: 'ChangeItem', sku: 'MUG', tags }))).toBe('not-allowed-now');
    expect(refusalOf(world.send({ type: 'CreateItem', sku: 'CUP', title: 'Cup', tags }))).toBe('not-allowed-now');
    world.given({ type: 'ChangeItem', sku: 'MUG', tags: tags.slice(1) });
    expect(refusalOf(world.send({ type: 'ChangeItem', sku: 'MUG', addTags: ['one-more'] }))).toBe('not-allowed-now');
  });

  it('is saved: created with a title, changed without one', () => {
    const world = shopWorld();
    expect(refusalOf(world.send({ type: 'SaveItem', sku: 'CUP', active: false }))).toBe('unknown-item');
    expect(typesOf(world.send({ type: 'SaveItem', sku: 'CUP', title: 'Cup', active: false }))).toEqual(['ItemCreated']);
    expect(typesOf(world.send({ type: 'SaveItem', sku: 'CUP', tags: ['x'] }))).toEqual(['ItemChanged']);
    expect(world.state(itemStream('CUP'))).toEqual({
      title: 'Cup',
      barcode: null,
      shopifyProductId: null,
      tags: ['x'],
      active: false,
    });
  });

  it('that is inactive still sells, is received and counted', () => {
    const world = shopWorld();
    world.given({ type: 'ChangeItem', sku: 'MUG', active: false });
    world.given({ type: 'ReceiveStock', sku: 'MUG', location: 'shop', quantity: 5 });
    world.given({ type: 'SellStock', sku: 'MUG', location: 'shop', quantity: 2 });
    world.given({ type: 'CountStock', sku: 'MUG', location: 'shop', quantity: 4 });
    expect(world.stock('shop', 'MUG').onHand).toBe(4);
  });
});
