import { sql } from 'drizzle-orm';
import { check, index, jsonb, pgTable, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { code, time } from '../columns.js';
import type { CartProbe, UpdateForm } from '../events/facts.js';

/**
 * An item that a probe has changed at a cart, written before each change. What is here has to be put back, whoever has
 * died meanwhile; what was sold since stays sold.
 */
export interface TouchedItem {
  readonly key: string;
  /** What it showed before the first change. */
  readonly before: number;
  /** Pieces in the cart's orders after `since` at that moment; null: its orders cannot be read. */
  readonly sold: number | null;
  readonly since: string | null;
  /** How changes are written for this script; left out: plain. */
  readonly updates?: UpdateForm | undefined;
  /** Sum of the changes that are known to have taken effect. */
  readonly net: number;
  /** A change was seen to be added, so that no later one is suspected to set. */
  readonly adds: boolean;
  /** A change was seen to replace the quantity: then only an absolute quantity puts it back. */
  readonly sets: boolean;
  /** A change on its way: what it was, of how many parts, and until when it may still take effect. */
  readonly doubt: { readonly delta: number; readonly parts: number; readonly until: string } | null;
}

/** What a probe is asked to do, and how much of it it may. */
export interface ProbeWish {
  /** The cart's own item key. */
  readonly key: string;
  /** Sell it out for a moment, to see whether the cart goes below zero. */
  readonly belowZero: boolean;
  /** Change it two times at once, to see whether one is lost. */
  readonly parallel: boolean;
}

/** Probes of carts, by probe-cart.ts. The queue only carries their ids, so forgetting it loses none. */
export const cartProbes = pgTable(
  'cart_probes',
  {
    id: uuid().primaryKey(),
    cartId: code('cart_id').notNull(),
    wish: jsonb().$type<ProbeWish>().notNull(),
    by: text().notNull(),
    state: text().$type<'waiting' | 'running' | 'done' | 'failed'>().notNull().default('waiting'),
    steps: jsonb()
      .$type<readonly { readonly at: string; readonly step: string }[]>()
      .notNull()
      .default(sql`'[]'`),
    touched: jsonb().$type<TouchedItem>(),
    result: jsonb().$type<CartProbe>(),
    error: text(),
    askedAt: time('asked_at').notNull().defaultNow(),
    endedAt: time('ended_at'),
  },
  (t) => [
    uniqueIndex('cart_probes_one_per_cart')
      .on(t.cartId)
      .where(sql`state in ('waiting', 'running')`),
    index('cart_probes_cart').on(t.cartId, t.askedAt),
    check('cart_probes_state', sql`state in ('waiting', 'running', 'done', 'failed')`),
  ],
);
