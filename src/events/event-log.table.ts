import { sql } from 'drizzle-orm';
import {
  bigint,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  smallint,
  text,
  timestamp,
  uniqueIndex,
} from 'drizzle-orm/pg-core';
import { bytea, code, xid8 } from '../columns.js';

/** The paper behind a movement, as the index of the log has it; a query must use these very words to be served by it. */
export const referenceKind = sql`(data -> 'reference' ->> 'kind')`;
export const referenceNumber = sql`(data -> 'reference' ->> 'number')`;

/**
 * The log. Written by event-store.ts only.
 *
 * The global order is (generation, transaction_id, position), read strictly below the oldest transaction still running:
 * positions are handed out before commit, so a reader of positions alone skips whatever commits late. `generation` rises
 * when a restore may have set transaction ids back.
 */
export const events = pgTable(
  'events',
  {
    generation: integer().notNull(),
    transactionId: xid8('transaction_id')
      .notNull()
      .default(sql`pg_current_xact_id()`),
    position: bigint({ mode: 'bigint' }).notNull().generatedAlwaysAsIdentity({ cache: 50 }),
    stream: code().notNull(),
    version: bigint({ mode: 'bigint' }).notNull(),
    type: text().notNull(),
    /** The shape of `data`; upcasters.ts brings older ones forward. */
    shape: smallint().notNull().default(1),
    data: jsonb().notNull(),
    /** The columns of a movement, null for every other fact: projections add them without opening `data`. */
    sku: code(),
    location: code(),
    delta: bigint({ mode: 'number' }),
    openDelta: bigint('open_delta', { mode: 'number' }),
    /** On hand and open pieces right after this movement: the running balance of the ledger, exact because the head was locked. */
    balance: bigint({ mode: 'number' }),
    openBalance: bigint('open_balance', { mode: 'number' }),
    /** Business time. */
    occurredAt: timestamp('occurred_at', { withTimezone: true, precision: 3 }).notNull(),
    /** Ours; never goes back within a stream. */
    recordedAt: timestamp('recorded_at', { withTimezone: true, precision: 3 }).notNull(),
    /** The request that caused it: `client/idempotency key`, or a generated id. */
    causationId: text('causation_id').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.generation, t.transactionId, t.position] }),
    uniqueIndex('events_stream_version').on(t.stream, t.version),
    index('events_stream_occurred_at')
      .on(t.stream, t.occurredAt)
      .where(sql`delta is not null`),
    /** How a cart was set and switched at a moment: few facts among the many of its stream. */
    index('events_cart_settings')
      .on(t.stream, t.version)
      .where(sql`type in ('CartAdded', 'CartChanged', 'CartSwitched')`),
    index('events_sku_ledger')
      .on(t.sku, t.generation, t.transactionId, t.position)
      .where(sql`delta is not null`),
    /** Movements of one paper. Most have none, and are not in it. */
    index('events_reference')
      .on(referenceKind, referenceNumber, t.generation, t.transactionId, t.position)
      .where(sql`delta is not null and ${referenceNumber} is not null`),
  ],
);

/** Where each stream stands: its last version and the folded state that the next decision needs. Locked to append. */
export const streamHeads = pgTable('stream_heads', {
  stream: code().primaryKey(),
  version: bigint({ mode: 'bigint' }).notNull(),
  state: jsonb().notNull(),
  recordedAt: timestamp('recorded_at', { withTimezone: true, precision: 3 }),
});

/** One row per command that named an idempotency key: whoever inserts it decides, everybody else repeats its answer. */
export const commands = pgTable(
  'commands',
  {
    client: code().notNull(),
    idempotencyKey: code('idempotency_key').notNull(),
    bodyHash: bytea('body_hash').notNull(),
    /** Who decided it; its events carry the same id. */
    transactionId: xid8('transaction_id')
      .notNull()
      .default(sql`pg_current_xact_id()`),
    /** Null where it says nothing but which events were appended: read-answers.ts finds them. */
    answer: jsonb(),
    recordedAt: timestamp('recorded_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.client, t.idempotencyKey] })],
);

/** One row: which generation of the log is written now, and in which cluster. */
export const logGeneration = pgTable('log_generation', {
  generation: integer().primaryKey(),
  systemIdentifier: text('system_identifier').notNull(),
  startedAt: timestamp('started_at', { withTimezone: true }).notNull().defaultNow(),
});
