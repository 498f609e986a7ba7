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
import { code, time } from '../../columns.js';
import type { Direction } from '../baselining.js';

export const qohRunStates = ['running', 'held', 'done', 'cancelled', 'failed'] as const;
export type QohRunState = (typeof qohRunStates)[number];

/** Which listings of its cart a run is about; nothing said: all of them. */
export interface QohRunScope {
  /** Only items with this tag. */
  readonly tag?: string | undefined;
  /** Only these items. */
  readonly skus?: readonly string[] | undefined;
  /** Items for which the other side is right than for the rest. */
  readonly otherwise?: readonly string[] | undefined;
}

/** What a run met that a person may want to do something about; the first hundred of each. */
export interface QohRunNotes {
  /** Mapped keys that the cart does not list. */
  readonly notListed: readonly string[];
  /** Keys of the cart that no item is mapped to; all of them are on the list of unknown SKUs. */
  readonly unknownAtHub: readonly string[];
  /** Keys that the cart gives to several of its products: which of them is meant is never guessed, so they are left out. */
  readonly doubled: readonly string[];
  /** Listings that were too busy to be read reliably; ask again. */
  readonly unsettled: readonly string[];
}

/**
 * One Send or Get QOH of one cart, as far as it is. First the cart is looked at (`looking`): that is the preview, and what
 * the guard judges. Then listings are made equal, group by group (`equalising`). Written by qoh-run-work.ts, and begun,
 * cancelled and resumed by modules/jobs/qoh-runs.ts.
 */
export const qohRuns = pgTable(
  'qoh_runs',
  {
    id: uuid().primaryKey(),
    cartId: code('cart_id').notNull(),
    direction: text().$type<Direction>().notNull(),
    scope: jsonb().$type<QohRunScope>().notNull(),
    /** Only looked at. */
    preview: boolean().notNull(),
    createNewProducts: boolean('create_new_products').notNull().default(false),
    by: text().notNull(),
    /** The asker's key: asked again with it, this run is answered. */
    repeatKey: text('repeat_key'),
    state: text().$type<QohRunState>().notNull().default('running'),
    phase: text().$type<'looking' | 'equalising'>().notNull().default('looking'),
    /** Listings that it is about; null: not counted yet. */
    total: bigint({ mode: 'number' }),
    looked: bigint({ mode: 'number' }).notNull().default(0),
    /** Of those that were looked at: differing, and what would be brought to zero or raised to twice as much or more. */
    differing: bigint({ mode: 'number' }).notNull().default(0),
    zeroed: bigint({ mode: 'number' }).notNull().default(0),
    inflated: bigint({ mode: 'number' }).notNull().default(0),
    /** Made equal so far, and how many of them were different. */
    equal: bigint({ mode: 'number' }).notNull().default(0),
    differences: bigint({ mode: 'number' }).notNull().default(0),
    /** Of those that were made equal: brought to zero or doubled. More of them than were let pass, and it is looked at anew. */
    dangerous: bigint({ mode: 'number' }).notNull().default(0),
    letPass: bigint('let_pass', { mode: 'number' }),
    created: bigint({ mode: 'number' }).notNull().default(0),
    notes: jsonb().$type<QohRunNotes>().notNull(),
    /** How often it was looked at; the name of the push that holds it follows from it. */
    looks: integer().notNull().default(0),
    /** Why it is held, or was ended. */
    why: text(),
    /** What it stumbled over last; while it runs, it tries again by itself. */
    fault: text(),
    startedAt: time('started_at'),
    /** When the phase began, by the database's clock: what was made equal since then need not be again. */
    phaseAt: time('phase_at').notNull().defaultNow(),
    createdAt: time('created_at').notNull().defaultNow(),
    updatedAt: time('updated_at').notNull().defaultNow(),
    endedAt: time('ended_at'),
  },
  (t) => [
    // One of a cart at a time, whoever asks where; looking disturbs nobody.
    uniqueIndex('qoh_runs_one_of_cart')
      .on(t.cartId)
      .where(sql`state in ('running', 'held') and not preview`),
    uniqueIndex('qoh_runs_repeat_key')
      .on(t.repeatKey)
      .where(sql`repeat_key is not null`),
    index('qoh_runs_created_at').on(t.createdAt, t.id),
    index('qoh_runs_cart').on(t.cartId, t.createdAt, t.id),
    index('qoh_runs_open')
      .on(t.createdAt)
      .where(sql`state in ('running', 'held')`),
    check('qoh_runs_state', sql`state in ('running', 'held', 'done', 'cancelled', 'failed')`),
    check('qoh_runs_end', sql`(state in ('running', 'held')) = (ended_at is null)`),
  ],
);

/** What a look found to differ: shown in previews, and chosen from. */
export const qohRunRows = pgTable(
  'qoh_run_rows',
  {
    runId: uuid('run_id').notNull(),
    key: code().notNull(),
    sku: code().notNull(),
    /** What the cart showed, and what it should. */
    shown: bigint({ mode: 'number' }).notNull(),
    should: bigint({ mode: 'number' }).notNull(),
    /** Which side follows. */
    direction: text().$type<Direction>().notNull(),
  },
  (t) => [primaryKey({ columns: [t.runId, t.key] })],
);

export type StoredQohRun = typeof qohRuns.$inferSelect;
