import { sql } from 'drizzle-orm';
import { bigint, boolean, check, index, integer, jsonb, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { code, time } from '../columns.js';
import { alike } from './alike.js';

/**
 * One item of one cart. `expected` is what the cart shows once all that is owed has been applied; it has one writer, the
 * projector. What the cart answered (`lastQuantity` and its time) and whether it knows the item at all are written by the
 * worker, which never touches `expected` or `target`.
 */
export const listings = pgTable(
  'listings',
  {
    cartId: code('cart_id').notNull(),
    key: code().notNull(),
    sku: code().notNull(),
    /** The cart's generation in which the listing was last baselined; synchronised while it is the cart's current one. */
    generation: integer().notNull().default(0),
    target: bigint({ mode: 'number' }),
    expected: bigint({ mode: 'number' }),
    baselineKind: text('baseline_kind').$type<'write' | 'get'>(),
    baselineAt: time('baseline_at'),
    /** The cart's order mark: orders up to it were in the baseline's quantity already. */
    baselineMark: text('baseline_mark'),
    /**
     * The proof of `expected` (I2): what it was at the baseline, and the last record and echo before that. What came
     * since is added up from their rows; the clean-up adds what it removes of them to `baselineExpected`.
     */
    baselineExpected: bigint('baseline_expected', { mode: 'number' }),
    baselineRecord: bigint('baseline_record', { mode: 'bigint' }),
    baselineEcho: bigint('baseline_echo', { mode: 'bigint' }),
    /** What its flags at the cart were last asked to be; null: no rule ever asked, and nobody touches them. */
    shown: text().$type<ListingFlag>(),
    /** What of `shown` the cart confirmed; null: nothing yet, or a call is under way or without an answer. Written by the worker. */
    shownTold: text('shown_told').$type<ListingFlag>(),
    /** A threshold of a rule holds it back: it comes back only with the rule's margin. */
    withheld: boolean().notNull().default(false),
    /** Its target followed from what it showed before: nothing is left, and it is below zero or goes on selling. */
    leans: boolean().notNull().default(false),
    /** null: listed. Otherwise the cart said that it does not know, or does not track, the item. */
    unlisted: text().$type<'not-found' | 'not-tracked'>(),
    /** The last quantity that a read or a reply told, and between which moments it was true: q0 of the next settlement. */
    lastQuantity: bigint('last_quantity', { mode: 'number' }),
    lastQuantityFrom: time('last_quantity_from'),
    lastQuantityTo: time('last_quantity_to'),
    /** When a look last found it equal: what made it differ later came after this. */
    equalAt: time('equal_at'),
  },
  (t) => [
    primaryKey({ columns: [t.cartId, t.key] }),
    index('listings_sku').on(t.sku, t.cartId),
    index('listings_alike').on(t.cartId, sql.raw(alike('key')), t.key),
    index('listings_flags')
      .on(t.cartId, t.key)
      .where(sql`shown is distinct from shown_told`),
    check('listings_shown', sql`${t.shown} in ('visible', 'hidden', 'backorder')`),
    check('listings_unlisted', sql`${t.unlisted} in ('not-found', 'not-tracked')`),
  ],
);

/** What a rule asks of a listing's flags at its cart. */
export type ListingFlag = 'visible' | 'hidden' | 'backorder';

/** Where a record is. The first six are waits, the last four are ends; an end is never left again. */
export const recordStates = [
  'waiting',
  'in-flight',
  'in-doubt',
  'quarantined',
  'dead-lettered',
  'held',
  'delivered',
  'netted',
  'superseded',
  'discarded',
] as const;
export type RecordState = (typeof recordStates)[number];
export const waitStates = recordStates.slice(0, 6);
/** The waits as a list for `IN`, word for word as in the partial index, which is used only for that. */
export const waitStatesSql = `('waiting', 'in-flight', 'in-doubt', 'quarantined', 'dead-lettered', 'held')`;

/** When a change was accepted, in ms since 1970, and by how much. The parts of a record add up to its delta. */
export type RecordPart = readonly [at: number, delta: number];

/**
 * SQL: how much of a record was accepted by a moment: while it waits it takes in more. Counted from then on and not from when it
 * came onto the Web Stack, because a target follows from what was accepted, however far behind the projector was.
 * @param record its alias; @param at a timestamptz
 */
export const acceptedBySql = (record: string, at: string) =>
  `CASE WHEN ${record}.parts IS NULL THEN CASE WHEN ${record}.accepted_at <= ${at} THEN ${record}.delta ELSE 0 END
             ELSE (SELECT coalesce(sum((p->>1)::bigint), 0) FROM jsonb_array_elements(${record}.parts) p
                    WHERE to_timestamp((p->>0)::float8 / 1000) <= ${at}) END`;

/** Tries of the delivery that a record is in; the record counts them itself only when it leaves it. @param record its alias */
export const triesSql = (record: string) =>
  `CASE WHEN ${record}.state IN ('in-flight', 'in-doubt', 'quarantined')
             THEN coalesce((SELECT y.tries FROM deliveries y WHERE y.id = ${record}.delivery_id), 0) ELSE 0 END`;

export interface RecordCause {
  /** The fact that made it; the last of them where one batch held several of the same listing. */
  readonly type: string;
  readonly stream: string;
  readonly version: string;
  readonly recordedAt: string;
  /** How many facts of the batch this record sums up. */
  readonly facts: number;
  readonly reference?: { readonly kind: string; readonly number: string } | null;
}

/**
 * The Web Stack: what each listing is still to be told, and what it was told. Rows are made by listings.ts (the
 * projector); their way from wait to wait to end is deliveries.ts's.
 */
export const webStack = pgTable(
  'web_stack',
  {
    id: bigint({ mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    cartId: code('cart_id').notNull(),
    key: code().notNull(),
    sku: code().notNull(),
    generation: integer().notNull(),
    delta: bigint({ mode: 'number' }).notNull(),
    /** By itself, so that a record which grows keeps its place in the index of those that lower. */
    lowers: boolean()
      .notNull()
      .generatedAlwaysAs(sql`delta < 0`),
    /** What the cart shows once this record and all before it have been applied. */
    target: bigint({ mode: 'number' }).notNull(),
    cause: jsonb().$type<RecordCause>().notNull(),
    /** Changes that it sums up because it still waited when they came: see {@link RecordPart}. Null: it is one change. */
    parts: jsonb().$type<readonly RecordPart[]>(),
    state: text().$type<RecordState>().notNull().default('waiting'),
    deliveryId: uuid('delivery_id'),
    /** The push it belongs to: see guard.ts. Null: it came by itself. */
    push: text(),
    /** Made by a Send or Get run: what else the cart is owed goes first. */
    behind: boolean().notNull().default(false),
    /** Every try, probes too. */
    attempts: integer().notNull().default(0),
    /** The tries that count towards dead-lettering. */
    attemptsCounted: integer('attempts_counted').notNull().default(0),
    lastResponse: text('last_response'),
    notBefore: time('not_before'),
    /**
     * At a cart with a cadence: the record may begin a line once the lane was opened at this moment or later. When it was
     * accepted, at first; then when it left, so that latency leaves its waiting out; the epoch where it need not wait at
     * all. null: the cart is told at once.
     */
    pacedAt: time('paced_at'),
    /** When the change was accepted (recordedAt of the cause). */
    acceptedAt: time('accepted_at').notNull(),
    createdAt: time('created_at').notNull(),
    endedAt: time('ended_at'),
  },
  (t) => [
    index('web_stack_waiting')
      .on(t.cartId, t.key, t.id)
      .where(sql`state in ('waiting', 'in-flight', 'in-doubt', 'quarantined', 'dead-lettered', 'held')`),
    // Which listings of a cart back off: asked at each dispatch, however long the backlog.
    index('web_stack_backing_off')
      .on(t.cartId, t.notBefore)
      .where(sql`state = 'waiting' and not_before is not null`),
    // Whether a lane was opened for anything that waits: asked each tenth of a second, however much waits for the next time.
    index('web_stack_paced')
      .on(t.cartId, t.pacedAt)
      .where(sql`state = 'waiting' and paced_at is not null`),
    // What leaves next, oldest first, with everything that lets others go first at its end, however much that is.
    index('web_stack_ahead')
      .on(t.cartId, t.behind, t.id)
      .where(sql`state = 'waiting'`),
    // The oldest that lower what a cart shows: found behind any number that raise it.
    index('web_stack_lowering')
      .on(t.cartId, t.behind, t.id)
      .where(sql`state = 'waiting' and lowers`),
    index('web_stack_cart_state').on(t.cartId, t.state, t.id),
    index('web_stack_delivery')
      .on(t.deliveryId)
      .where(sql`delivery_id is not null`),
    index('web_stack_held')
      .on(t.push, t.cartId, t.id)
      .where(sql`state = 'held'`),
    index('web_stack_sku').on(t.sku, t.id),
    check(
      'web_stack_state',
      sql`state in ('waiting','in-flight','in-doubt','quarantined','dead-lettered','held','delivered','netted','superseded','discarded')`,
    ),
    check('web_stack_end', sql`(state in ('delivered','netted','superseded','discarded')) = (ended_at is not null)`),
    check('web_stack_delta', sql`delta <> 0`),
  ],
);

/**
 * What carts did to their own listings by themselves: the order differences behind each echo. Settlement reads them to
 * tell a lost delta from a sale of the same size.
 */
export const echoes = pgTable(
  'echoes',
  {
    id: bigint({ mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    cartId: code('cart_id').notNull(),
    key: code().notNull(),
    delta: bigint({ mode: 'number' }).notNull(),
    orderNumber: text('order_number').notNull(),
    line: text().notNull(),
    /** Placed after this moment (null: unknown) and before that one: see OrderSighting. */
    seenAfter: time('seen_after'),
    seenBy: time('seen_by').notNull(),
    /** False: older than the listing's baseline, so it moved no `expected`. */
    applied: boolean().notNull(),
    /** What it changed `expected` by: less than `delta` at a cart that clamps at zero, 0 where it was not applied. */
    expectedDelta: bigint('expected_delta', { mode: 'number' }).notNull(),
  },
  (t) => [index('echoes_listing').on(t.cartId, t.key, t.seenBy)],
);

/**
 * What of a listing does not follow from facts alone, from a moment on: which item it is, the generation in which it was
 * last made equal, what its number leant on, its flags, and whether a threshold holds it back. One row per change of these;
 * never removed, so that any number ever published can be worked out again. Written by listing-memory.ts only.
 */
export const listingMemory = pgTable(
  'listing_memory',
  {
    cartId: code('cart_id').notNull(),
    key: code().notNull(),
    id: bigint({ mode: 'bigint' }).notNull().generatedAlwaysAsIdentity(),
    /** When the fact behind it was recorded. */
    since: time('since').notNull(),
    sku: code().notNull(),
    generation: integer().notNull(),
    /** null: its target followed from stock and rules. */
    leantOn: bigint('leant_on', { mode: 'number' }),
    shown: text().$type<ListingFlag>(),
    withheld: boolean().notNull(),
  },
  (t) => [primaryKey({ columns: [t.cartId, t.key, t.id] })],
);
