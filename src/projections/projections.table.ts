import { sql } from 'drizzle-orm';
import { bigint, boolean, date, index, integer, jsonb, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { code, time, xid8 } from '../columns.js';
import type {
  CartProbe,
  CartSettings,
  OrderLine,
  OrderSource,
  OrderState,
  ResetSourceSettings,
} from '../events/facts.js';

/**
 * How far each projection has read. Compare-and-set: two projectors may run, one of them commits.
 * `stopped` holds the fact that could not be applied; the projection stands until it is repaired, nothing is skipped.
 */
export const projectionCheckpoints = pgTable('projection_checkpoints', {
  name: text().primaryKey(),
  generation: integer().notNull().default(0),
  transactionId: xid8('transaction_id')
    .notNull()
    .default(sql`'0'`),
  position: bigint({ mode: 'bigint' })
    .notNull()
    .default(sql`0`),
  recordedAt: time('recorded_at'),
  /** The effective projector: the name under which its process says that it lives. The others stand by. */
  projector: text(),
  projectorSince: time('projector_since'),
  stopped: jsonb().$type<{ stream: string; version: string; type: string; error: string; at: string } | null>(),
  updatedAt: time('updated_at').notNull().defaultNow(),
});

/** On hand per SKU and location: the sum of the deltas of its movements. Written by quantity-on-hand.ts only. */
export const quantityOnHand = pgTable(
  'quantity_on_hand',
  {
    sku: code().notNull(),
    location: code().notNull(),
    onHand: bigint('on_hand', { mode: 'number' }).notNull(),
    /** Pieces in open order lines: sold, not yet shipped or closed. */
    open: bigint({ mode: 'number' }).notNull(),
    movements: bigint({ mode: 'number' }).notNull(),
    updatedAt: time('updated_at').notNull(),
    /** When somebody last had a piece in hand: sold, received, brought back, moved or counted it; null: never. */
    seenAt: time('seen_at'),
  },
  (t) => [primaryKey({ columns: [t.sku, t.location] })],
);

/** Units sold per SKU, location and UTC day; what counts as what is said in velocity.ts, the only writer. */
export const velocity = pgTable(
  'velocity',
  {
    sku: code().notNull(),
    location: code().notNull(),
    day: date({ mode: 'string' }).notNull(),
    sold: bigint({ mode: 'number' }).notNull(),
    /** Taken back from order lines before they were shipped. */
    cancelled: bigint({ mode: 'number' }).notNull(),
    returned: bigint({ mode: 'number' }).notNull(),
    movements: bigint({ mode: 'number' }).notNull(),
  },
  (t) => [primaryKey({ columns: [t.sku, t.location, t.day] })],
);

/** Locations, carts and the system switch as the projector has reached them. Written by settings.ts only. */
export const locations = pgTable(
  'locations',
  {
    location: code().primaryKey(),
    name: text().notNull(),
    /** What other programs call it, such as a point of sale's facility. */
    otherCodes: text('other_codes').array().notNull(),
    version: bigint({ mode: 'bigint' }).notNull(),
  },
  (t) => [index('locations_other_codes').using('gin', t.otherCodes)],
);

/** Where daily resets come from. A removed one stays as a row, so that facts that come again change nothing. */
export const resetSources = pgTable('reset_sources', {
  sourceId: code('source_id').primaryKey(),
  settings: jsonb().$type<ResetSourceSettings>().notNull(),
  removed: boolean().notNull().default(false),
  version: bigint({ mode: 'bigint' }).notNull(),
});

export const carts = pgTable('carts', {
  cartId: code('cart_id').primaryKey(),
  settings: jsonb().$type<CartSettings>().notNull(),
  /** The cart switch ("Synchronize Inventory"). In effect only together with the system switch. */
  on: boolean('is_on').notNull().default(false),
  generation: integer().notNull().default(0),
  /** Whether the cart lowers a quantity to 0 at most; out of its settings, where the connector's capability was stated. */
  clampsAtZero: boolean('clamps_at_zero')
    .notNull()
    .generatedAlwaysAs(sql`coalesce((settings->>'clampsAtZero')::boolean, false)`),
  /** Whether changes wait for a moment or for somebody's word; out of its settings. */
  paced: boolean('is_paced')
    .notNull()
    .generatedAlwaysAs(sql`coalesce(settings->'cadence'->>'kind', 'real-time') <> 'real-time'`),
  /** Versions of the facts these columns come from: the global order may tell two facts of one stream the wrong way round. */
  settingsVersion: bigint('settings_version', { mode: 'bigint' }).notNull(),
  /** When it was last switched, on or off; null: never. */
  switchedAt: time('switched_at'),
  switchVersion: bigint('switch_version', { mode: 'bigint' })
    .notNull()
    .default(sql`0`),
  /** The last conformance probe of the cart at this address; null: none. */
  probe: jsonb().$type<CartProbe>(),
  probeVersion: bigint('probe_version', { mode: 'bigint' })
    .notNull()
    .default(sql`0`),
  /** What its script called itself after that probe, where it is another version; null: as it was probed. */
  scriptVersion: text('script_version'),
  scriptVersionVersion: bigint('script_version_version', { mode: 'bigint' })
    .notNull()
    .default(sql`0`),
});

/** Which locations' stock a cart sells; out of its settings, so that fan-out can join. */
export const cartLocations = pgTable(
  'cart_locations',
  { cartId: code('cart_id').notNull(), location: code().notNull() },
  (t) => [primaryKey({ columns: [t.cartId, t.location] }), index('cart_locations_location').on(t.location)],
);

/** One row. `SynchQOH`, the sources' system parameter. */
export const systemSwitch = pgTable('system_switch', {
  id: integer().primaryKey().default(1),
  on: boolean('is_on').notNull(),
  version: bigint({ mode: 'bigint' }).notNull(),
});

/** Orders as last imported, for lists and look-ups; the order stream itself is what decides. Written by settings.ts. */
export const orders = pgTable(
  'orders',
  {
    source: code().$type<OrderSource>().notNull(),
    number: code().notNull(),
    revision: bigint({ mode: 'number' }).notNull(),
    state: text().$type<OrderState>().notNull(),
    placedAt: time('placed_at').notNull(),
    lines: jsonb().$type<readonly OrderLine[]>().notNull(),
    version: bigint({ mode: 'bigint' }).notNull(),
    importedAt: time('imported_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.source, t.number] }), index('orders_placed_at').on(t.placedAt, t.source, t.number)],
);

/**
 * Lines of orders with pieces that are sold and not yet shipped, filled or closed. Written by open-order-lines.ts only.
 * The sum of `open` per SKU and location is that of quantity_on_hand.
 */
export const openOrderLines = pgTable(
  'open_order_lines',
  {
    source: code().$type<OrderSource>().notNull(),
    number: code().notNull(),
    line: code().notNull(),
    sku: code().notNull(),
    location: code().notNull(),
    open: bigint({ mode: 'number' }).notNull(),
    /** Pieces that were not there when they were sold. */
    backOrdered: bigint('back_ordered', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.source, t.number, t.line, t.sku, t.location] }),
    index('open_order_lines_stock').on(t.sku, t.location),
  ],
);
