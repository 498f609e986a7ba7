import { Inject, Injectable } from '@nestjs/common';
import { and, asc, desc, eq, gt, isNull, lte, or, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';
import { answerColumns } from './header.js';
import { importRows, imports, type ImportKind, type ImportState } from './imports.table.js';
import type { StoredImport } from './imports.js';

/** How imports are shown: how far each is, and what came of each row. */
@Injectable()
export class ImportReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  async list(query: {
    kind?: ImportKind | undefined;
    state?: ImportState | undefined;
    cursor?: string | undefined;
    limit: number;
  }) {
    const before = decodeCursor(query.cursor, z.tuple([z.iso.datetime(), z.uuid()]));
    const rows = await this.database.orm
      .select()
      .from(imports)
      .where(
        and(
          query.kind === undefined ? undefined : eq(imports.kind, query.kind),
          query.state === undefined ? undefined : eq(imports.state, query.state),
          before === null
            ? undefined
            : sql`(${imports.createdAt}, ${imports.id}) < (${before[0]}::timestamptz, ${before[1]}::uuid)`,
        ),
      )
      .orderBy(desc(imports.createdAt), desc(imports.id))
      .limit(query.limit + 1);
    return pageOf(rows, query.limit, (row) => [row.createdAt.toISOString(), row.id], shownImport);
  }

  /** The first rows that were refused, beside how far the import is. */
  async withProblems(found: StoredImport) {
    const rows = await this.database.orm
      .select({ row: importRows.row, column: importRows.problemColumn, detail: importRows.detail })
      .from(importRows)
      .where(and(eq(importRows.importId, found.id), eq(importRows.outcome, 'refused')))
      .orderBy(asc(importRows.row))
      .limit(PROBLEMS_MAX);
    return { ...shownImport(found), problems: rows.map((row) => ({ ...row, column: row.column || null })) };
  }

  /** Every row as it stood in the file, and before it what came of it; page by page from the table, as it is read. */
  async *rowsCsv(
    found: StoredImport,
    outcome: 'applied' | 'unchanged' | 'refused' | undefined,
  ): AsyncGenerator<string> {
    yield csvLine([...answerColumns, ...found.columns.map((name) => name.trim())]);
    for (let after = 0; ;) {
      const rows = await this.database.orm
        .select()
        .from(importRows)
        .where(
          and(
            eq(importRows.importId, found.id),
            gt(importRows.row, after),
            outcome === undefined ? undefined : or(eq(importRows.outcome, outcome), unsaid(found, outcome)),
          ),
        )
        .orderBy(asc(importRows.row))
        .limit(PAGE_ROWS);
      if (rows.length > 0)
        yield rows
          .map((row) =>
            csvLine([
              String(row.row),
              row.outcome ?? (row.row <= found.appliedThrough ? 'applied' : 'not applied'),
              row.problemColumn ?? '',
              row.detail ?? '',
              ...row.cells,
            ]),
          )
          .join('');
      if (rows.length < PAGE_ROWS) return;
      after = rows.at(-1)!.row;
    }
  }
}

/** Rows that were applied without a word keep no outcome of their own. */
const unsaid = (found: StoredImport, outcome: string) =>
  outcome === 'applied' ? and(isNull(importRows.outcome), lte(importRows.row, found.appliedThrough)) : undefined;

const PROBLEMS_MAX = 20;
const PAGE_ROWS = 1_000;

/** RFC 4180. */
function csvLine(cells: readonly string[]): string {
  return `${cells.map((cell) => (/[",\r\n\t;]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(',')}\r\n`;
}

export function shownImport(row: StoredImport) {
  return {
    id: row.id,
    kind: row.kind,
    state: row.state,
    onError: row.onError,
    preview: row.preview,
    /** Of a reset: why it waits for a person. */
    held: row.state === 'ready' ? row.held : null,
    cartId: row.cartId,
    by: row.by,
    rows: {
      received: row.received,
      applied: row.applied,
      unchanged: row.unchanged,
      refused: row.refused,
      waiting: row.received - row.applied - row.unchanged - row.refused,
    },
    progress: progressOf(row),
    /** Why all of it was refused. */
    problem: row.problem,
    /** What it stumbled over last; it tries again by itself. */
    fault: row.fault,
    createdAt: row.createdAt.toISOString(),
    applyStartedAt: row.applyStartedAt?.toISOString() ?? null,
    endedAt: row.endedAt?.toISOString() ?? null,
    statusUrl: `/v1/imports/${row.id}`,
    rowsUrl: `/v1/imports/${row.id}/rows.csv`,
  };
}

function progressOf(row: StoredImport) {
  const phases: Record<ImportState, [number, number | null, Date | null]> = {
    receiving: [row.received, null, row.createdAt],
    validating: [row.validatedThrough, row.lastRow, null],
    ready: [row.lastRow, row.lastRow, null],
    applying: [row.appliedThrough, row.lastRow, row.applyStartedAt],
    done: [row.lastRow, row.lastRow, row.applyStartedAt],
    refused: [0, null, null],
    cancelled: [0, null, null],
  };
  const [done, total, since] = phases[row.state];
  const seconds = since === null ? 0 : ((row.endedAt ?? row.updatedAt).getTime() - since.getTime()) / 1_000;
  return { done, total, rowsPerSecond: seconds > 0 ? Math.round(done / seconds) : null };
}
