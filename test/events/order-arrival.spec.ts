import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Command } from '../../src/events/commands.js';
import type { OrderHead } from '../../src/events/order-lines.js';
import { orderStream } from '../../src/events/streams.js';
import { shopWorld, type World } from './given.js';

type Import = Extract<Command, { type: 'ImportOrder' }>;
type Moves = Import['cartMovesStock'];

const sources = ['cart:web', 'phone'] as const;
const numbers = ['1', '2'] as const;
const skus = ['MUG', 'CUP'] as const;
const locations = ['shop', 'store'] as const;

/**
 * The life of one order, its revisions in the order in which they happened: edited while it is open, and then perhaps
 * shipped or cancelled, by the whole order or by a bare cancel without lines. Nothing is given back after it was shipped;
 * that would be a return, and not an edit.
 */
interface Life {
  readonly edits: readonly Import['lines'][];
  readonly end: 'none' | 'shipped' | 'closed' | 'cancelled' | 'cancelled without lines';
}

const quantity = fc.nat({ max: 5 });
const line = (name: string) =>
  fc.record({
    line: fc.constant(name),
    sku: fc.constantFrom(...skus),
    key: fc.constant(`key-${name}`),
    location: fc.constantFrom(...locations),
    quantity,
  });
const lines = fc.tuple(fc.option(line('1')), fc.option(line('2'))).map((both) => both.filter((one) => one !== null));
const anyLife: fc.Arbitrary<Life> = fc.record({
  edits: fc.array(lines, { minLength: 1, maxLength: 4 }),
  end: fc.constantFrom('none', 'shipped', 'cancelled', 'cancelled without lines'),
});
/**
 * A cart that does not restock keeps what an edit takes away, so the revisions between are part of what it did. Whoever
 * hears only of the last one cannot know them: here they take nothing away.
 */
const steadyLife: fc.Arbitrary<Life> = fc.record({
  edits: fc
    .record({ all: lines, times: fc.integer({ min: 1, max: 3 }) })
    .map(({ all, times }) => Array.from({ length: times }, () => all)),
  end: fc.constantFrom('none', 'shipped', 'closed', 'cancelled', 'cancelled without lines'),
});

function revisionsOf({ edits, end }: Life, source: Import['source'], number: string, cartMovesStock: Moves): Import[] {
  const told = edits.map((all) => ({ lines: all, state: 'open' as Import['state'] }));
  if (end === 'cancelled without lines') told.push({ lines: [], state: 'cancelled' });
  else if (end !== 'none') told.push({ lines: edits.at(-1)!, state: end });
  return told.map((revision, at) => ({
    type: 'ImportOrder',
    source,
    number,
    revision: at + 1,
    ...revision,
    sighting: { after: null, by: '2026-03-01T12:00:00.000Z' },
    cartMovesStock,
  }));
}

const moves: Record<string, { readonly cartMovesStock: Moves; readonly life: fc.Arbitrary<Life> }> = {
  'takes at the order and restocks': { cartMovesStock: { at: 'order', restocksOnCancel: true }, life: anyLife },
  'takes at the order and does not restock': {
    cartMovesStock: { at: 'order', restocksOnCancel: false },
    life: steadyLife,
  },
  'takes at fulfilment': { cartMovesStock: { at: 'fulfilment', restocksOnCancel: true }, life: anyLife },
  'moves no stock': { cartMovesStock: { at: 'never', restocksOnCancel: false }, life: anyLife },
};

describe('orders that arrive in any order, any number of times', () => {
  it.each(Object.entries(moves))(
    'end as if they had come in order, at a cart that %s',
    (_name, { cartMovesStock, life }) => {
      const orders = fc
        .array(life, { minLength: 4, maxLength: 4 })
        .map((lives) =>
          lives.flatMap((one, at) => revisionsOf(one, sources[at % 2]!, numbers[at >> 1]!, cartMovesStock)),
        );
      // Every revision at least once, some again, all of it shuffled across orders.
      const arrivals = orders.chain((all) =>
        fc
          .subarray(all)
          .chain((again) => fc.shuffledSubarray([...all, ...again], { minLength: all.length + again.length }))
          .map((shuffled) => ({ all, shuffled })),
      );
      fc.assert(
        fc.property(arrivals, ({ all, shuffled }) => {
          expect(endOf(shuffled)).toEqual(endOf(all));
        }),
        { seed: 20260305, numRuns: 400 },
      );
    },
  );
});

/** What everybody cares about in the end: stock, what each order still holds and has open, and what each cart did itself. */
function endOf(told: readonly Import[]) {
  const world = shopWorld();
  world.given({ type: 'CreateItem', sku: 'CUP', title: 'Cup' });
  for (const order of told) world.given(order);
  const stock = locations.flatMap((location) =>
    skus.map((sku) => {
      const { onHand, open } = world.stock(location, sku);
      return [location, sku, onHand, open];
    }),
  );
  const held = sources.flatMap((source) =>
    numbers.flatMap((number) => {
      const head = world.state(orderStream(source, number)) as OrderHead | null;
      return (head?.lines ?? [])
        .filter((one) => one.held !== 0 || one.open !== 0)
        .map((one) => `${source}/${number}/${one.line} ${one.sku}@${one.location}: ${one.held} held, ${one.open} open`);
    }),
  );
  return { stock, held: held.sort(), echoes: echoesOf(world) };
}

function echoesOf(world: World): [string, number][] {
  const sums = new Map<string, number>();
  for (const { fact } of world.facts) {
    if (fact.type !== 'OrderImported') continue;
    for (const { key, echoDelta } of fact.data.differences) {
      const name = `${fact.data.source}/${fact.data.number}/${key}`;
      sums.set(name, (sums.get(name) ?? 0) + echoDelta);
    }
  }
  return [...sums].filter(([, sum]) => sum !== 0).sort(([a], [b]) => (a < b ? -1 : 1));
}
