import type { Database } from '../../database.js';
import type { RowOutcome } from './imports.table.js';

export interface NotedRow {
  readonly row: number;
  readonly outcome: RowOutcome;
  readonly column: string | null;
  readonly detail: string | null;
}

/**
 * What came of a chunk.
 *
 * In: where the import stood, where it stands now, and the rows in between that had no outcome.
 * Out: whether the import stood there; otherwise another worker was faster, and nothing is counted.
 * Effects: the import moves on and counts the rows. A row that was simply applied is not written again: that it has no
 * outcome and lies under `applied_through` says so, and spares a million rows from being stored twice.
 */
export async function noteChunk(
  database: Database,
  id: string,
  from: number,
  through: number,
  rows: readonly NotedRow[],
): Promise<boolean> {
  const counts: Record<RowOutcome, number> = { applied: 0, unchanged: 0, refused: 0 };
  for (const { outcome } of rows) counts[outcome] += 1;
  const told = rows.filter(({ outcome, detail }) => outcome !== 'applied' || detail !== null);
  const { rows: moved } = await database.pool.query<{ moved: boolean }>({
    name: 'note-import-chunk',
    text: `
      WITH moved AS (
        UPDATE imports SET applied = applied + $4, unchanged = unchanged + $5, refused = refused + $6,
               applied_through = $3, fault = NULL, updated_at = now()
         WHERE id = $1 AND applied_through = $2
        RETURNING id
      ), told AS (
        UPDATE import_rows r SET outcome = o.outcome, problem_column = o.column, detail = o.detail
          FROM moved, jsonb_to_recordset($7::jsonb) AS o (row integer, outcome text, "column" text, detail text)
         WHERE r.import_id = moved.id AND r.row = o.row AND r.row > $2 AND r.row <= $3)
      SELECT EXISTS (SELECT FROM moved) AS moved`,
    values: [id, from, through, counts.applied, counts.unchanged, counts.refused, JSON.stringify(told)],
  });
  return moved[0]?.moved === true;
}

/** How far an import was applied, by whatever worker. */
export async function appliedThrough(database: Database, id: string): Promise<number> {
  const { rows } = await database.pool.query<{ applied_through: number }>(
    'SELECT applied_through FROM imports WHERE id = $1',
    [id],
  );
  return rows[0]?.applied_through ?? 0;
}
