import { bigint, index, jsonb, pgTable } from 'drizzle-orm/pg-core';
import { code, time } from '../columns.js';
import type { RecordCause } from './listings.table.js';

/**
 * Items whose on hand is up to date and whose listings are still to be looked at, because the projector was far behind.
 * Written by late-items.ts only; empty on any ordinary day.
 */
export const lateItems = pgTable(
  'late_items',
  {
    sku: code().primaryKey(),
    /** Their order: an item keeps its place whatever else comes for it. */
    id: bigint({ mode: 'bigint' }).notNull().generatedAlwaysAsIdentity(),
    /** The last of the facts that it sums up. */
    cause: jsonb().$type<RecordCause>().notNull(),
    /** When the first of them was accepted: since then its carts are to know. */
    acceptedAt: time('accepted_at').notNull(),
  },
  (t) => [index('late_items_order').on(t.id)],
);
