import { sql } from 'drizzle-orm';
import { bigint, check, date, index, integer, jsonb, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { code, time } from '../../columns.js';
import type { CalendarFact, Rule } from '../../events/rule.js';
import type { RecordCause } from '../listings.table.js';
import type { RecomputeScope } from './recompute-runs.js';

/** Rules as the projector has reached them; earlier versions are in the log. Written by availability-settings.ts only. */
export const rules = pgTable('rules', {
  ruleId: code('rule_id').primaryKey(),
  rule: jsonb().$type<Rule>().notNull(),
  /** Of the rule set, when this rule was saved. */
  version: bigint({ mode: 'bigint' }).notNull(),
  savedBy: text('saved_by').notNull(),
  savedAt: time('saved_at').notNull(),
});

/** One row, from the first rule or closed day on. Written by availability-settings.ts only. */
export const availabilitySettings = pgTable('availability_settings', {
  id: integer().primaryKey().default(1),
  /** Another one after each change, in every database: what was prepared from the settings is kept under it. */
  version: uuid().notNull(),
  rulesVersion: bigint('rules_version', { mode: 'bigint' })
    .notNull()
    .default(sql`0`),
  /** The last closed day, UTC. */
  day: date({ mode: 'string' }),
  slowestCart: jsonb('slowest_cart').$type<CalendarFact['data']['slowestCart']>(),
});

export const recomputeStates = ['running', 'done', 'absorbed'] as const;

/**
 * A setting changed what listings should show: they are looked at once more, in the order of their keys. Written by
 * recompute-runs.ts and recompute.ts only.
 */
export const recomputeRuns = pgTable(
  'recompute_runs',
  {
    id: uuid().primaryKey(),
    cause: jsonb().$type<RecordCause>().notNull(),
    /** Listings that are in any of these. */
    scopes: jsonb().$type<readonly RecomputeScope[]>().notNull(),
    state: text().$type<(typeof recomputeStates)[number]>().notNull().default('running'),
    cursorCart: code('cursor_cart').notNull().default(''),
    cursorKey: code('cursor_key').notNull().default(''),
    /** Listings in scope when the first of them was looked at; null: not begun. */
    total: bigint({ mode: 'number' }),
    done: bigint({ mode: 'number' }).notNull().default(0),
    /** Put onto the Web Stack. */
    records: bigint({ mode: 'number' }).notNull().default(0),
    acceptedAt: time('accepted_at').notNull(),
    createdAt: time('created_at').notNull(),
    endedAt: time('ended_at'),
  },
  (t) => [
    index('recompute_runs_running')
      .on(t.createdAt, t.id)
      .where(sql`state = 'running'`),
    index('recompute_runs_created_at').on(t.createdAt, t.id),
    check('recompute_runs_end', sql`(state = 'running') = (ended_at is null)`),
  ],
);
