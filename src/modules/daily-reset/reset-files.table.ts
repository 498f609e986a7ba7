import { sql } from 'drizzle-orm';
import { bigint, check, index, integer, jsonb, pgTable, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { bytea, code, time } from '../../columns.js';

/**
 * `seen`: its size and time are watched. `taken`: it is an import, under way or held. The others are ends. Drawn in docs/reset.md.
 */
export const resetFileStates = ['seen', 'taken', 'applied', 'refused', 'rejected', 'repeated', 'older'] as const;
export type ResetFileState = (typeof resetFileStates)[number];

/** Every file of a reset source that was met. Written by the files of this folder only. */
export const resetFiles = pgTable(
  'reset_files',
  {
    id: uuid().primaryKey(),
    sourceId: code('source_id').notNull(),
    name: code().notNull(),
    size: bigint({ mode: 'number' }).notNull(),
    modifiedAt: time('modified_at').notNull(),
    state: text().$type<ResetFileState>().notNull(),
    /** Since when its size and time stand still. */
    seenAt: time('seen_at').notNull().defaultNow(),
    takenAt: time('taken_at'),
    hash: bytea(),
    /** The moment its numbers speak of; of a file that tells it row by row, the latest, once it was checked. */
    asOf: time('as_of'),
    importId: uuid('import_id'),
    by: text().notNull(),
    problem: text(),
    /** What became of it, kept when its import's rows are gone. */
    report: jsonb().$type<Readonly<Record<string, unknown>>>(),
    archivedAs: text('archived_as'),
    archiveTries: integer('archive_tries').notNull().default(0),
    endedAt: time('ended_at'),
  },
  (t) => [
    uniqueIndex('reset_files_same').on(t.sourceId, t.name, t.size, t.modifiedAt),
    uniqueIndex('reset_files_seen')
      .on(t.sourceId, t.name)
      .where(sql`state = 'seen'`),
    index('reset_files_content')
      .on(t.sourceId, t.hash)
      .where(sql`state in ('taken', 'applied')`),
    index('reset_files_newest').on(t.seenAt, t.id),
    index('reset_files_under_way')
      .on(t.sourceId)
      .where(sql`state in ('seen', 'taken')`),
    check('reset_files_state', sql`state in ('seen', 'taken', 'applied', 'refused', 'rejected', 'repeated', 'older')`),
  ],
);

/** How looking goes, per source; nothing that anybody decided, so it is no fact. */
export const resetLooks = pgTable('reset_looks', {
  sourceId: code('source_id').primaryKey(),
  lookedAt: time('looked_at'),
  problem: text(),
  /** A daily file is waited for until then. */
  expectedSince: time('expected_since'),
  expectedUntil: time('expected_until'),
});
