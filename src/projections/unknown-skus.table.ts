import { sql } from 'drizzle-orm';
import { bigint, index, integer, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { code, time } from '../columns.js';

/**
 * Keys of carts that are no item of ours and not mapped, in sight until they are. This and the next table are written by
 * unknown-skus.ts only.
 */
export const unknownSkus = pgTable(
  'unknown_skus',
  {
    cartId: code('cart_id').notNull(),
    key: code().notNull(),
    /** As the cart calls it; null: it never said. */
    title: text(),
    /** `order 1001` or `comparison` */
    firstMetIn: text('first_met_in').notNull(),
    firstMetAt: time('first_met_at').notNull(),
    lastMetIn: text('last_met_in').notNull(),
    lastMetAt: time('last_met_at').notNull(),
    timesMet: integer('times_met').notNull(),
    ignoredReason: text('ignored_reason'),
    ignoredBy: text('ignored_by'),
    ignoredAt: time('ignored_at'),
  },
  (t) => [
    primaryKey({ columns: [t.cartId, t.key] }),
    index('unknown_skus_key').on(t.key),
    index('unknown_skus_heeded')
      .on(t.cartId, t.key)
      .where(sql`ignored_at is null`),
  ],
);

/** Order lines that took their pieces under an unknown key. `mappedTo`: what the key is now; the order is to be resolved. */
export const unknownOrderLines = pgTable(
  'unknown_order_lines',
  {
    cartId: code('cart_id').notNull(),
    number: code().notNull(),
    line: code().notNull(),
    key: code().notNull(),
    quantity: bigint({ mode: 'number' }).notNull(),
    mappedTo: code('mapped_to'),
  },
  (t) => [
    primaryKey({ columns: [t.cartId, t.number, t.line] }),
    index('unknown_order_lines_key').on(t.cartId, t.key),
    index('unknown_order_lines_sku').on(t.key),
    index('unknown_order_lines_mapped')
      .on(t.cartId, t.number)
      .where(sql`mapped_to is not null`),
  ],
);
