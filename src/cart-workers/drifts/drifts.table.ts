import { sql } from 'drizzle-orm';
import { bigint, check, index, integer, jsonb, pgTable, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { code, time } from '../../columns.js';
import type { DriftClass } from './drift-class.js';

/** The first three are open, the others are ends. */
export const driftStates = ['suspected', 'confirmed', 'parked', 'repaired', 'accepted', 'cleared'] as const;
export type DriftState = (typeof driftStates)[number];

/**
 * A listing that showed something other than `expected − owed`. Suspected: one reading says so. Confirmed: a second look,
 * with the orders imported before and after it and nothing under way, said the same. Parked: corrected too often in a row,
 * so that only a person goes on. Repaired, accepted, cleared (it was nothing, or explained itself): over.
 */
export const drifts = pgTable(
  'drifts',
  {
    id: bigint({ mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    cartId: code('cart_id').notNull(),
    key: code().notNull(),
    sku: code().notNull(),
    state: text().$type<DriftState>().notNull().default('suspected'),
    /** Null while it is only suspected. */
    class: text().$type<DriftClass>(),
    /** What fits the evidence: one, and it is the class; several, and the class is `unknown`. */
    candidates: jsonb().$type<readonly DriftClass[]>().notNull().default([]),
    raisedBy: text('raised_by').$type<'reply' | 'comparison'>().notNull(),
    /** The delivery whose reply raised it. */
    deliveryId: uuid('delivery_id'),
    /** Null: not listed, or not tracked. */
    shown: bigint({ mode: 'number' }),
    should: bigint({ mode: 'number' }).notNull(),
    difference: bigint({ mode: 'number' }),
    /** Readings, orders and deliveries that the class was told from. */
    evidence: jsonb().notNull().default({}),
    looks: integer().notNull().default(1),
    /** When it is looked at again by itself; null: with the next comparison. */
    lookAt: time('look_at'),
    /** The cart's order mark at the first reading: once it moves, no older order can be outstanding. */
    mark: text(),
    suspectedAt: time('suspected_at').notNull().defaultNow(),
    confirmedAt: time('confirmed_at'),
    /**
     * While the policy corrects it: when the reading began that the correction is made of. A baseline of the listing from then on
     * is that correction, whichever look sees first that it is equal, and whatever becomes of the process that made it.
     */
    correctingFrom: time('correcting_from'),
    endedAt: time('ended_at'),
    /** How it ended, and for an end that a person made, who and why. */
    resolution: text(),
    by: text('ended_by'),
    reason: text(),
  },
  (t) => [
    uniqueIndex('drifts_one_open_per_listing')
      .on(t.cartId, t.key)
      .where(sql`ended_at is null`),
    index('drifts_to_look_at')
      .on(t.lookAt)
      .where(sql`ended_at is null and look_at is not null`),
    index('drifts_listing').on(t.cartId, t.key, t.endedAt),
    check('drifts_state', sql`state in ('suspected', 'confirmed', 'parked', 'repaired', 'accepted', 'cleared')`),
    check('drifts_end', sql`(state in ('repaired', 'accepted', 'cleared')) = (ended_at is not null)`),
  ],
);

/** Each time a whole cart was looked at: what makes the trend, and says when the next one is due. */
export const cartComparisons = pgTable(
  'cart_comparisons',
  {
    id: uuid().primaryKey().defaultRandom(),
    cartId: code('cart_id').notNull(),
    generation: integer().notNull(),
    worker: text().notNull(),
    startedAt: time('started_at').notNull().defaultNow(),
    endedAt: time('ended_at'),
    /** Null: it ran to its end. */
    error: text(),
    looked: integer().notNull().default(0),
    equal: integer().notNull().default(0),
    /** Listings that differed, those known before included. */
    differing: integer().notNull().default(0),
    /** Too busy to be told; the next comparison looks again. */
    busy: integer().notNull().default(0),
  },
  (t) => [
    uniqueIndex('cart_comparisons_one_at_a_time')
      .on(t.cartId)
      .where(sql`ended_at is null`),
    index('cart_comparisons_cart').on(t.cartId, t.startedAt),
  ],
);
