import fc from 'fast-check';
import type { ShopFaults } from '../support/shops.js';
import { cartIds, type CartId } from './fault-bench.js';

/** Which of a history's own SKUs. */
type Item = 0 | 1 | 2;

/** Two that hold stock; what is on its way between them is nowhere to be sold. */
export const locations = ['MAIN', 'STORE'] as const;
export type Location = (typeof locations)[number];

/** From where each cart sells; its orders are taken from the first. */
export const sells: ReadonlyMap<CartId, readonly [Location, ...Location[]]> = new Map([
  ['key', ['MAIN', 'STORE']],
  ['compare', ['MAIN']],
  ['settle', ['STORE', 'MAIN']],
  ['set', ['MAIN', 'STORE']],
]);

export function orderLocation(cartId: CartId): Location {
  const from = sells.get(cartId);
  if (from === undefined) throw new Error(`Nobody said from where ${cartId} sells`);
  return from[0];
}

/** One thing that happens on a trading day. Business times are minutes before the day began; null: now. */
export type Step =
  | {
      readonly do: 'move';
      readonly item: Item;
      readonly location: Location;
      readonly delta: number;
      readonly minutesAgo: number | null;
    }
  | {
      readonly do: 'count';
      readonly item: Item;
      readonly location: Location;
      readonly quantity: number;
      readonly minutesAgo: number | null;
      readonly as: 'count' | 'reset';
      /** Whether pieces that are sold and still on the shelf were counted too. */
      readonly includesOpen: boolean;
    }
  | {
      readonly do: 'buy';
      readonly cart: CartId;
      readonly lines: readonly { readonly item: Item; readonly quantity: number }[];
    }
  /** An order by phone, told at once or late: nobody but the hub moves stock for it. */
  | {
      readonly do: 'phone';
      readonly lines: readonly { readonly item: Item; readonly location: Location; readonly quantity: number }[];
      readonly minutesAgo: number | null;
    }
  | { readonly do: 'cancel-phone' | 'ship-phone'; readonly nth: number }
  | { readonly do: 'ship-transfer'; readonly item: Item; readonly from: Location; readonly quantity: number }
  /** Everything that is on its way arrives. */
  | { readonly do: 'receive-transfers' }
  /** `nth` of the orders that the shop has at that moment, counted round. */
  | { readonly do: 'cancel' | 'ship'; readonly cart: CartId; readonly nth: number }
  /** The hub is told of an order: as it was at first, as it is now, or only that it is cancelled. */
  | { readonly do: 'tell'; readonly cart: CartId; readonly nth: number; readonly as: 'first' | 'now' | 'bare' }
  | { readonly do: 'edit'; readonly cart: CartId; readonly item: Item; readonly by: number }
  | { readonly do: 'fault'; readonly cart: CartId; readonly faults: ShopFaults }
  /** The shop does not know the item, until its faults change. */
  | { readonly do: 'forget'; readonly cart: CartId; readonly item: Item }
  | { readonly do: 'discard'; readonly cart: CartId; readonly item: Item }
  | { readonly do: 'poll' | 'pause' | 'resume' | 'off' | 'on' | 'redrive' | 'send' | 'get'; readonly cart: CartId }
  | { readonly do: 'system-off' | 'system-on' | 'restart' | 'quiet' };

const item = fc.constantFrom<Item>(0, 1, 2);
const location = fc.constantFrom(...locations);
const few = fc.integer({ min: 1, max: 4 });
const cart = fc.constantFrom(...cartIds);
const nth = fc.nat(5);
const minutesAgo = fc.option(fc.integer({ min: 1, max: 60 }));
const what = <T extends Step['do']>(...names: readonly T[]) => fc.constantFrom(...names);

/** Sums that no deltas of a day add up to: a change by hand of the size of a delta cannot be told from that delta by anybody. */
const edits = [1_009, 2_003, 4_001, 8_009] as const;

const faults = fc.constantFrom<ShopFaults>(
  { dropAfterApply: 1 },
  { dropBeforeApply: 1 },
  { failAfterApply: 2 },
  { throttle: 2, retryAfterSeconds: 0 },
  { refuse: 2 },
  { delayBeforeMs: 150 },
  { delayAfterMs: 150 },
  {},
);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: what('move'),
      item,
      location,
      delta: fc.integer({ min: -5, max: 7 }).filter((delta) => delta !== 0),
      minutesAgo,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: what('count'),
      item,
      location,
      quantity: fc.nat(30),
      minutesAgo,
      as: fc.constantFrom('count' as const, 'reset' as const),
      includesOpen: fc.boolean(),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      do: what('buy'),
      cart,
      lines: fc.array(fc.record({ item, quantity: few }), { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: what('phone'),
      lines: fc.array(fc.record({ item, location, quantity: few }), { minLength: 1, maxLength: 3 }),
      minutesAgo,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: what('cancel-phone', 'ship-phone'), nth }) },
  { weight: 2, arbitrary: fc.record({ do: what('ship-transfer'), item, from: location, quantity: few }) },
  { weight: 1, arbitrary: fc.record({ do: what('receive-transfers') }) },
  { weight: 4, arbitrary: fc.record({ do: what('cancel', 'ship'), cart, nth }) },
  {
    weight: 8,
    arbitrary: fc.record({ do: what('tell'), cart, nth, as: fc.constantFrom('first' as const, 'now', 'bare') }),
  },
  { weight: 2, arbitrary: fc.record({ do: what('edit'), cart, item, by: fc.constantFrom(...edits) }) },
  { weight: 6, arbitrary: fc.record({ do: what('fault'), cart, faults }) },
  { weight: 2, arbitrary: fc.record({ do: what('forget', 'discard'), cart, item }) },
  { weight: 8, arbitrary: fc.record({ do: what('poll', 'pause', 'resume', 'redrive', 'send', 'get'), cart }) },
  { weight: 2, arbitrary: fc.record({ do: what('off', 'on'), cart }) },
  { weight: 2, arbitrary: fc.record({ do: what('system-off', 'system-on', 'restart', 'quiet') }) },
);

export const tradingDay: fc.Arbitrary<Step[]> = fc.array(step, { minLength: 15, maxLength: 30, size: 'max' });
