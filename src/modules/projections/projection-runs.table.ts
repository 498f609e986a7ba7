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
import { time } from '../../columns.js';
import type { ProjectorStatus } from '../../projections/projector-status.js';
import type { RebuildName } from '../../projections/rebuild.js';

export const runStates = ['running', 'done', 'cancelled', 'failed'] as const;
export type RunState = (typeof runStates)[number];

/** One verify or rebuild, as far as it is. Written by the files of this folder only. */
export const projectionRuns = pgTable(
  'projection_runs',
  {
    id: uuid().primaryKey(),
    kind: text().$type<'verify' | 'rebuild'>().notNull(),
    projection: text().$type<RebuildName | 'all'>().notNull(),
    /** Whether a rebuild changes anything; false: it shows what it would change. */
    apply: boolean().notNull(),
    state: text().$type<RunState>().notNull().default('running'),
    by: text().notNull(),
    phase: text().$type<'comparing' | 'mending' | 'verifying'>().notNull(),
    /** The last SKU that was verified: whoever goes on after a crash begins after it. */
    cursor: text().notNull().default(''),
    done: bigint({ mode: 'number' }).notNull().default(0),
    total: bigint({ mode: 'number' }),
    listings: bigint({ mode: 'number' }).notNull().default(0),
    found: bigint({ mode: 'number' }).notNull().default(0),
    mended: bigint({ mode: 'number' }).notNull().default(0),
    records: bigint({ mode: 'number' }).notNull().default(0),
    /** The projector stood then: what was looked at is true as of the fact before. */
    stopped: jsonb().$type<ProjectorStatus['stopped']>(),
    fault: text(),
    createdAt: time('created_at').notNull().defaultNow(),
    updatedAt: time('updated_at').notNull().defaultNow(),
    endedAt: time('ended_at'),
  },
  (t) => [
    // One run of a kind and projection at a time, whoever asks where.
    uniqueIndex('projection_runs_one_running')
      .on(t.kind, t.projection)
      .where(sql`state = 'running'`),
    index('projection_runs_created_at').on(t.createdAt, t.id),
    check('projection_runs_end', sql`(state = 'running') = (ended_at is null)`),
  ],
);

/** The first differences that a run found; how many there are in all stands in the run. */
export const projectionDifferences = pgTable(
  'projection_differences',
  {
    runId: uuid('run_id').notNull(),
    n: integer().notNull(),
    promise: text().notNull(),
    subject: jsonb().$type<Readonly<Record<string, unknown>>>().notNull(),
    /** null: there is no row. */
    stored: jsonb().$type<Readonly<Record<string, unknown>> | null>(),
    /** null: nothing in the log accounts for it. */
    follows: jsonb().$type<Readonly<Record<string, unknown>> | null>(),
  },
  (t) => [primaryKey({ columns: [t.runId, t.n] })],
);
