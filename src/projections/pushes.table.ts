import { sql } from 'drizzle-orm';
import { bigint, check, index, integer, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { code, time } from '../columns.js';

export const pushKinds = ['settings', 'system-switch', 'rules', 'reset', 'send', 'get', 'rebuild'] as const;
export type PushKind = (typeof pushKinds)[number];
export const pushStates = ['collecting', 'passed', 'held', 'let-through', 'rejected'] as const;
export type PushState = (typeof pushStates)[number];

/**
 * One cause that changes many listings at once, and what it would do to one cart. Its records are `held` while it is
 * collected; at its end the guard lets them go or holds them as a whole. Written by guard.ts only.
 */
export const pushes = pgTable(
  'pushes',
  {
    push: code().notNull(),
    cartId: code('cart_id').notNull(),
    kind: text().$type<PushKind>().notNull(),
    title: text().notNull(),
    state: text().$type<PushState>().notNull().default('collecting'),
    /** Listings it changes; those among them that it brings to zero, and those that it raises to twice as much or more. */
    changed: integer().notNull().default(0),
    zeroed: integer().notNull().default(0),
    inflated: integer().notNull().default(0),
    /** Synchronised listings of the cart when it was judged, and the guard of the cart then, as a sentence. */
    listings: integer(),
    why: text(),
    openedAt: time('opened_at').notNull().defaultNow(),
    judgedAt: time('judged_at'),
    decidedAt: time('decided_at'),
    decidedBy: text('decided_by'),
    reason: text(),
    /** While its records are let go, some at a time: those up to this one went. null: there are none to let go. */
    releasedTo: bigint('released_to', { mode: 'bigint' }),
  },
  (t) => [
    primaryKey({ columns: [t.push, t.cartId] }),
    index('pushes_held')
      .on(t.openedAt)
      .where(sql`state in ('collecting', 'held')`),
    index('pushes_releasing')
      .on(t.openedAt, t.push, t.cartId)
      .where(sql`released_to is not null`),
    check('pushes_state', sql`state in ('collecting', 'passed', 'held', 'let-through', 'rejected')`),
  ],
);
