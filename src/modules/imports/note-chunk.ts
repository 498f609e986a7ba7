import type { QueryConfig } from 'pg';
import type { Database } from '../../database.js';
import type { RowOutcome } from './imports.table.js';

export interface NotedRow {
  readonly row: number;
  readonly outcome: RowOutcome;
  readonly column: string | null;
  readonly detail: string | null;
}

/**
 * Whose chunk is next. A second worker on the same import waits here until the first one has committed, and finds no row.
 *
 * In: where the import stood when the chunk was read. Out: one row while it stands there still. Effects: it is locked.
 */
export const claimChunk = (id: string, from: number): QueryConfig => ({
  name: 'claim-import-chunk',
  text: `SELECT FROM imports WHERE id = $1 AND applied_through = $2 AND state = 'applying' FOR UPDATE`,
  values: [id, from],
});

/**
 * What came of a chunk, in the transaction that appends it.
 *
 * In: where the import stands now, and the rows since {@link claimChunk} that had no outcome.
 * Effects: the import moves on and counts the rows. A row that was simply applied is not written again: that it has no
 * outcome and lies under `applied_through` says so, and spares a million rows from being stored twice.
 */
export function noteChunk(id: string, through: number, rows: readonly NotedRow[]): QueryConfig {
  const counts: Record<RowOutcome, number> = { applied: 0, unchanged: 0, refused: 0 };
  for (const { outcome } of rows) counts[outcome] += 1;
  const told = rows.filter(({ outcome, detail }) => outcome !== 'applied' || detail !== null);
  return {
    name: 'note-import-chunk',
    text: `
      WITH told AS (
        UPDATE import_rows r SET outcome = o.outcome, problem_column = o.column, detail = o.detail
          FROM jsonb_to_recordset($6::jsonb) AS o (row integer, outcome text, "column" text, detail text)
         WHERE r.import_id = $1 AND r.row = o.row)
      UPDATE imports SET applied = applied + $3, unchanged = unchanged + $4, refused = refused + $5,
             applied_through = $2, fault = NULL, updated_at = now()
       WHERE id = $1`,
    values: [id, through, counts.applied, counts.unchanged, counts.refused, JSON.stringify(told)],
  };
}

/** How far an import was applied, by whatever worker. */
export async function appliedThrough(database: Database, id: string): Promise<number> {
  const { rows } = await database.pool.query<{ applied_through: number }>(
    'SELECT applied_through FROM imports WHERE id = $1',
    [id],
  );
  return rows[0]?.applied_through ?? 0;
}
