import { jsonb, pgTable, primaryKey } from 'drizzle-orm/pg-core';
import { code, time } from '../columns.js';

/** Keys that a cart gave to several of its products when it was last read. Nothing is sent for them. Written by doubled-keys.ts only. */
export const doubledKeys = pgTable(
  'doubled_keys',
  {
    cartId: code('cart_id').notNull(),
    key: code().notNull(),
    /** What each of the products showed. */
    quantities: jsonb().$type<readonly (number | null)[]>().notNull(),
    seenAt: time('seen_at').notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.cartId, t.key] })],
);
