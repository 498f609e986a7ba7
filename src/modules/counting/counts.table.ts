import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  check,
  index,
  integer,
  pgTable,
  primaryKey,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core';
import { code, time } from '../../columns.js';

export const countStates = ['open', 'approving', 'approved', 'cancelled'] as const;
export type CountState = (typeof countStates)[number];

/**
 * A sheet on which people count the shelves of one location. It is paper: nothing moves before it is approved, and then
 * each line is a count in the log. Written by count-sessions.ts only.
 */
export const countSessions = pgTable(
  'count_sessions',
  {
    id: uuid().primaryKey(),
    name: text().notNull(),
    location: code().notNull(),
    /** Whether pieces of orders that were not shipped yet stood on the shelf and were counted. */
    includesOpenOrders: boolean('includes_open_orders').notNull(),
    toleranceUnits: integer('tolerance_units').notNull(),
    tolerancePercent: integer('tolerance_percent').notNull(),
    state: text().$type<CountState>().notNull().default('open'),
    by: text().notNull(),
    createdAt: time('created_at').notNull().defaultNow(),
    /** Who approved or cancelled it, when and why. */
    endedBy: text('ended_by'),
    endedAt: time('ended_at'),
    reason: text(),
  },
  (t) => [
    index('count_sessions_newest').on(t.createdAt, t.id),
    check('count_sessions_state', sql`state in ('open', 'approving', 'approved', 'cancelled')`),
  ],
);

/** What somebody counted. Round 1 is the count, the next ones are recounts. */
export const countEntries = pgTable(
  'count_entries',
  {
    sessionId: uuid('session_id').notNull(),
    sku: code().notNull(),
    round: integer().notNull(),
    quantity: bigint({ mode: 'number' }).notNull(),
    /** The moment of counting. */
    countedAt: timestamp('counted_at', { withTimezone: true, precision: 3 }).notNull(),
    by: text().notNull(),
  },
  (t) => [primaryKey({ columns: [t.sessionId, t.sku, t.round] })],
);
