import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  check,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import { bytea, code, time } from '../columns.js';
import type { ListingFlag } from '../projections/listings.table.js';

/**
 * One lane per cart: its light, its pause, when it may try again. Kept here and not in the queue, which is transport and
 * may forget everything.
 */
export const lanes = pgTable('lanes', {
  cartId: code('cart_id').primaryKey(),
  /** What the road shows: red when paused, else amber while backing off, else green. */
  paused: boolean().notNull().default(false),
  pausedBy: text('paused_by'),
  pausedReason: text('paused_reason'),
  pausedAt: time('paused_at'),
  /** Set while the cart is down: the lane is amber, and one probe goes at `nextProbeAt`. */
  downSince: time('down_since'),
  probes: integer().notNull().default(0),
  nextProbeAt: time('next_probe_at'),
  lastResponse: text('last_response'),
  /**
   * A call to a cart that takes one at a time went unanswered and may still run inside the cart until its deadline: nothing
   * else is sent before that. Two at once were measured to lose updates that both were answered OK.
   */
  busyUntil: time('busy_until'),
  /** While a comparison reads the cart nothing new is sent to it; runs out by itself if the comparison dies. */
  comparingUntil: time('comparing_until'),
  /** At a cart with a cadence: what was accepted up to here may leave. The last moment of its pattern, or somebody's word. */
  openedAt: time('opened_at'),
  lastSuccessAt: time('last_success_at'),
  /** Most runnable jobs in the queue at once; null until a worker has opened the lane. */
  window: integer('job_window'),
  updatedAt: time('updated_at').notNull().defaultNow(),
});

/** Which worker has opened a cart's lane, or why it did not; of processes that live (presence.ts), others are not believed. */
export const laneWorkers = pgTable(
  'lane_workers',
  {
    cartId: code('cart_id').notNull(),
    worker: text().notNull(),
    /** A sentence; null: the lane is open there. */
    refusal: text(),
  },
  (t) => [primaryKey({ columns: [t.cartId, t.worker] })],
);

/** A cart's secret, encrypted (cart-secrets.ts). Write-only from outside. */
export const cartSecrets = pgTable('cart_secrets', {
  cartId: code('cart_id').primaryKey(),
  keyId: text('key_id').notNull(),
  ciphertext: bytea().notNull(),
  updatedAt: time('updated_at').notNull().defaultNow(),
});

/** How far a cart's order feed has been read, and when. */
export const orderPolls = pgTable('order_polls', {
  cartId: code('cart_id').primaryKey(),
  mark: text(),
  /** Start and end of the last poll that was imported completely. */
  startedAt: time('started_at'),
  endedAt: time('ended_at'),
  lastError: text('last_error'),
  ordersSeen: bigint('orders_seen', { mode: 'number' }).notNull().default(0),
  /** The last orders it told (order-overlap.ts), oldest first: from one of them on it is asked again now and then. */
  recent: jsonb()
    .$type<readonly string[]>()
    .notNull()
    .default(sql`'[]'`),
  /** The last orders of the first poll: they were in the first comparison already, and are not imported. */
  before: jsonb()
    .$type<readonly string[]>()
    .notNull()
    .default(sql`'[]'`),
  /** Where orders are asked for by date (order-days.ts): the newest day told, as the cart writes its days. */
  day: text(),
  /** Orders placed before this day are from before the cart was connected; null: only those in `before` are. */
  beforeDay: text('before_day'),
  /** Start of the last poll that asked for the last orders again, and of the last that asked for many. */
  overlappedAt: time('overlapped_at'),
  deepAt: time('deep_at'),
});

/**
 * Orders that a cart told and that could not be imported, such as one with a negative quantity. They hold nobody up and
 * stay in sight until the cart tells them in a way that can be imported.
 */
export const orderRefusals = pgTable(
  'order_refusals',
  {
    cartId: code('cart_id').notNull(),
    number: code().notNull(),
    detail: text().notNull(),
    /** The cart's keys that its lines name, none where they cannot be read: a line in doubt on one of them cannot be settled by arithmetic. */
    keys: jsonb().$type<readonly string[]>().notNull(),
    refusedAt: time('refused_at').notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.cartId, t.number] })],
);

/**
 * What one lane job carries. Key and body (its lines) never change while the outcome is open.
 * dispatched: on its way, or between two tries · in-doubt: being settled · closed: every line has its outcome.
 */
export const deliveries = pgTable(
  'deliveries',
  {
    id: uuid().primaryKey(),
    cartId: code('cart_id').notNull(),
    generation: integer().notNull(),
    state: text().$type<'dispatched' | 'in-doubt' | 'closed'>().notNull().default('dispatched'),
    /** Which job may work on it: one more each time it is put into the lane again. */
    take: integer().notNull().default(1),
    /** A single line sent to see whether a cart that was down is back. */
    probe: boolean().notNull().default(false),
    /** An earlier try may have been applied: from here on only the same bytes again, or settlement. */
    ambiguous: boolean().notNull().default(false),
    resends: integer().notNull().default(0),
    /** Tries so far that its records do not count yet: each adds them with its own end. */
    tries: integer().notNull().default(0),
    /** When the job of this take was last put into the lane; the sweeper looks for lost ones some time after it. */
    queuedAt: time('queued_at').notNull().defaultNow(),
    nextAttemptAt: time('next_attempt_at'),
    createdAt: time('created_at').notNull().defaultNow(),
    closedAt: time('closed_at'),
  },
  (t) => [
    index('deliveries_open')
      .on(t.cartId, t.createdAt)
      .where(sql`state <> 'closed'`),
    check('deliveries_state', sql`state in ('dispatched', 'in-doubt', 'closed')`),
  ],
);

/** The sum of one listing's records in one delivery. */
export const deliveryLines = pgTable(
  'delivery_lines',
  {
    deliveryId: uuid('delivery_id').notNull(),
    lineNo: integer('line_no').notNull(),
    cartId: code('cart_id').notNull(),
    key: code().notNull(),
    delta: bigint({ mode: 'number' }).notNull(),
    state: text().$type<'in-flight' | 'in-doubt' | 'quarantined' | 'done'>().notNull().default('in-flight'),
    /** How it ended: applied, settled as applied or not, returned, refused, superseded. */
    outcome: text(),
    response: text(),
    /** What the listing showed before this line, and between which moments that was read. */
    q0: bigint({ mode: 'number' }),
    q0From: time('q0_from'),
    q0To: time('q0_to'),
    /** The cart's quantity after it, where the reply told. */
    quantity: bigint({ mode: 'number' }),
    settleAt: time('settle_at'),
    /** An order that is older than the verdict was told after it, so the verdict may be wrong: the listing is compared. */
    reopenedAt: time('reopened_at'),
    comparedAt: time('compared_at'),
    /** The cart's own checkout may have written over it: the listing is looked at then (overwritten-lines.ts). */
    lookAt: time('look_at'),
    /** Everything a person needs to decide a quarantined line. */
    evidence: jsonb(),
    endedAt: time('ended_at'),
  },
  (t) => [
    primaryKey({ columns: [t.deliveryId, t.lineNo] }),
    // At most one line in flight, in doubt or quarantined per listing: this index is the promise.
    uniqueIndex('delivery_lines_one_per_listing')
      .on(t.cartId, t.key)
      .where(sql`state in ('in-flight', 'in-doubt', 'quarantined')`),
    // A baseline asks whether a line of its listing ended after the reading began.
    index('delivery_lines_listing').on(t.cartId, t.key, t.endedAt),
    index('delivery_lines_reopened')
      .on(t.cartId)
      .where(sql`reopened_at is not null and compared_at is null`),
    index('delivery_lines_to_look_at')
      .on(t.cartId, t.lookAt)
      .where(sql`look_at is not null`),
    index('delivery_lines_settled')
      .on(t.cartId, t.key)
      .where(sql`outcome in ('settled as applied', 'settled as not applied') and reopened_at is null`),
    check('delivery_lines_state', sql`state in ('in-flight', 'in-doubt', 'quarantined', 'done')`),
  ],
);

/** Each try, written before the call. An open attempt (no end) says that bytes may be under way until its deadline. */
export const attempts = pgTable(
  'attempts',
  {
    id: uuid().primaryKey(),
    deliveryId: uuid('delivery_id').notNull(),
    cartId: code('cart_id').notNull(),
    take: integer().notNull(),
    /** What was tried. */
    kind: text().$type<'send' | 'read' | 'settle'>().notNull(),
    /** Whether the cart is a serial one: then at most one open attempt may exist for it. */
    serial: boolean().notNull(),
    worker: text().notNull(),
    startedAt: time('started_at').notNull(),
    deadline: time('deadline').notNull(),
    endedAt: time('ended_at'),
    outcome: text(),
    response: text(),
    durationMs: integer('duration_ms'),
  },
  (t) => [
    uniqueIndex('attempts_one_open_per_delivery')
      .on(t.deliveryId)
      .where(sql`ended_at is null`),
    uniqueIndex('attempts_one_open_per_serial_cart')
      .on(t.cartId)
      .where(sql`ended_at is null and serial`),
    index('attempts_delivery').on(t.deliveryId, t.startedAt),
  ],
);

/**
 * The last call about a listing's flag at its cart, written before the call. A flag is set and not added, so the same may be
 * said again at once; another one waits until a request without an answer can no longer run. Written by flags.ts only.
 */
export const flagCalls = pgTable(
  'flag_calls',
  {
    cartId: code('cart_id').notNull(),
    key: code().notNull(),
    said: text().$type<ListingFlag>().notNull(),
    /** Calls about this flag without success. */
    attempts: integer().notNull().default(0),
    lastResponse: text('last_response'),
    /** Refused as often as a change may be: said again once an hour only. */
    refused: boolean().notNull().default(false),
    retryAt: time('retry_at').notNull(),
    quietAt: time('quiet_at').notNull(),
    confirmedAt: time('confirmed_at'),
  },
  (t) => [
    primaryKey({ columns: [t.cartId, t.key] }),
    index('flag_calls_refused')
      .on(t.cartId, t.key)
      .where(sql`refused`),
  ],
);
