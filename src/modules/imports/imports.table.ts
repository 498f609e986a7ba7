import { sql } from 'drizzle-orm';
import {
  boolean,
  check,
  customType,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';

import type { ResetCheck, ResetPlan } from './reset-plan.js';

const code = customType<{ data: string }>({ dataType: () => 'text COLLATE "C"' });
const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });
const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3 });

/** Files that are sent as they are; a reset comes through its source, which says what it means. */
export const rowsKinds = ['movements', 'counts', 'items', 'orders', 'kits', 'mappings'] as const;
export type RowsKind = (typeof rowsKinds)[number];
export const importKinds = [...rowsKinds, 'reset'] as const;
export type ImportKind = (typeof importKinds)[number];

/** The last three are ends. The way through them is drawn in docs/imports.md. */
export const importStates = ['receiving', 'validating', 'ready', 'applying', 'done', 'refused', 'cancelled'] as const;
export type ImportState = (typeof importStates)[number];

/** One file that was sent. Rows of it are in import_rows; both are written by the files of this folder only. */
export const imports = pgTable(
  'imports',
  {
    id: uuid().primaryKey(),
    kind: text().$type<ImportKind>().notNull(),
    state: text().$type<ImportState>().notNull().default('receiving'),
    onError: text('on_error').$type<'stop' | 'skip'>().notNull(),
    /** Whether it waits, once valid, for somebody to say "apply". */
    preview: boolean().notNull(),
    cartId: text('cart_id'),
    /** Of a reset: what its file means, what it would do, and why it waits for a person. */
    reset: jsonb().$type<ResetPlan>(),
    resetCheck: jsonb('reset_check').$type<ResetCheck>(),
    held: text(),
    /** The API key that sent it: keys of its rows belong to that client, as they would had it sent them one by one. */
    client: code().notNull(),
    by: text().notNull(),
    /** Set free when the upload breaks off, so that the same request may be sent again. */
    idempotencyKey: code('idempotency_key'),
    bodyHash: bytea('body_hash'),
    /** The header as it stood in the file. */
    columns: jsonb()
      .$type<readonly string[]>()
      .notNull()
      .default(sql`'[]'::jsonb`),
    received: integer().notNull().default(0),
    refused: integer().notNull().default(0),
    applied: integer().notNull().default(0),
    unchanged: integer().notNull().default(0),
    /** Number of the last row, and how far checking and applying have come. */
    lastRow: integer('last_row').notNull().default(0),
    validatedThrough: integer('validated_through').notNull().default(0),
    appliedThrough: integer('applied_through').notNull().default(0),
    /** Why all of it was refused. */
    problem: text(),
    /** What applying stumbled over last; it goes on from there by itself. */
    fault: text(),
    createdAt: time('created_at').notNull().defaultNow(),
    updatedAt: time('updated_at').notNull().defaultNow(),
    applyStartedAt: time('apply_started_at'),
    endedAt: time('ended_at'),
  },
  (t) => [
    uniqueIndex('imports_key').on(t.client, t.idempotencyKey),
    index('imports_created_at').on(t.createdAt, t.id),
    index('imports_under_way')
      .on(t.id)
      .where(sql`state in ('receiving', 'validating', 'applying')`),
    check('imports_state', sql`state in ('receiving','validating','ready','applying','done','refused','cancelled')`),
    check('imports_end', sql`(state in ('done','refused','cancelled')) = (ended_at is not null)`),
  ],
);

/**
 * `applied`, `unchanged` (there was nothing to do), `refused`. Null up to where its import was applied: applied, and
 * nothing to say about it. Null beyond: not decided yet, or never applied.
 */
export type RowOutcome = 'applied' | 'unchanged' | 'refused';

/** The staging table: what was in the file, what it means, and what came of it. */
export const importRows = pgTable(
  'import_rows',
  {
    importId: uuid('import_id').notNull(),
    /** As a spreadsheet counts: the header is row 1. */
    row: integer().notNull(),
    /** The row whose number names the command; the first one of an order or a kit, else the row itself. */
    commandRow: integer('command_row').notNull(),
    /** As they stood in the file, to be handed back. */
    cells: jsonb().$type<readonly string[]>().notNull(),
    /** As understood; null where the row is not valid by itself. */
    fields: jsonb(),
    sku: code(),
    location: code(),
    /** What must not be in the file twice with another meaning: a key, an item's SKU, an order's number, a kit. */
    identity: code(),
    hash: bytea(),
    outcome: text().$type<RowOutcome>(),
    problemColumn: text('problem_column'),
    detail: text(),
  },
  (t) => [
    primaryKey({ columns: [t.importId, t.row] }),
    index('import_rows_identity')
      .on(t.importId, t.identity, t.row)
      .where(sql`identity is not null`),
    // All rows of an item at once, whatever its places, as far as they may be applied.
    index('import_rows_sku')
      .on(t.importId, t.sku)
      .where(sql`outcome is null and sku is not null`),
    index('import_rows_refused')
      .on(t.importId, t.row)
      .where(sql`outcome = 'refused'`),
    check('import_rows_outcome', sql`outcome in ('applied', 'unchanged', 'refused')`),
  ],
);
