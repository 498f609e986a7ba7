import type { Database } from '../../database.js';
import { brokenOffSentence } from './imports.js';

/** Rows of one transaction: every reader of the log waits behind it. */
const chunkRows = 2_000;
/** An upload stores a batch of rows in milliseconds; one that is silent for so long has lost its process. */
const SILENT_MINUTES = 5;

/** Removes imports that ended, or were never applied, long ago. The log keeps what they moved for ever. */
export async function cleanUpImports(database: Database, olderThanDays: number): Promise<{ imports: number }> {
  const { rows } = await database.pool.query<{ id: string }>(
    `SELECT id FROM imports
      WHERE state IN ('done', 'refused', 'cancelled', 'ready') AND updated_at < now() - $1 * interval '1 day'`,
    [olderThanDays],
  );
  for (const { id } of rows) {
    // One that waited for its "apply" all this time must not begin while its rows are removed.
    await database.pool.query(
      `UPDATE imports SET state = 'cancelled', ended_at = now() WHERE id = $1 AND state = 'ready'`,
      [id],
    );
    for (let removed = chunkRows; removed === chunkRows;) {
      const chunk = await database.pool.query(
        `DELETE FROM import_rows WHERE import_id = $1 AND row IN (SELECT row FROM import_rows WHERE import_id = $1 ORDER BY row LIMIT $2)`,
        [id, chunkRows],
      );
      removed = chunk.rowCount ?? 0;
    }
    await database.pool.query(`DELETE FROM imports WHERE id = $1 AND state IN ('done', 'refused', 'cancelled')`, [id]);
  }
  return { imports: rows.length };
}

/** @returns how many uploads had lost their process */
export async function endBrokenUploads(database: Database): Promise<number> {
  const ended = await database.pool.query(
    `UPDATE imports SET state = 'refused', problem = $1, idempotency_key = NULL, ended_at = now(), updated_at = now()
      WHERE state = 'receiving' AND updated_at < now() - $2 * interval '1 minute'`,
    [brokenOffSentence, SILENT_MINUTES],
  );
  return ended.rowCount ?? 0;
}
