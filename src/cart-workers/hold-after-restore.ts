import type { Database } from '../database.js';

/**
 * After a restore the hub has forgotten what it sent since the backup, so nothing may leave before each cart has been
 * compared: every lane is paused, and what was under way is quarantined, to be superseded by the comparison's baselines.
 * @returns how many lanes are paused now, and how many lines were under way
 */
export async function holdAfterRestore(
  database: Database,
): Promise<{ readonly lanes: number; readonly lines: number }> {
  const paused = await database.pool.query(
    `INSERT INTO lanes (cart_id, paused, paused_by, paused_reason, paused_at)
     SELECT cart_id, true, 'after-restore', 'compare this cart first (Send QOH or Get QOH), then resume it', clock_timestamp() FROM carts
     ON CONFLICT (cart_id) DO UPDATE
        SET paused = true, paused_by = excluded.paused_by, paused_reason = excluded.paused_reason, paused_at = excluded.paused_at`,
  );
  const lines = await database.pool.query(
    `WITH open AS (
       UPDATE delivery_lines SET state = 'quarantined', response = $1, evidence = jsonb_build_object('why', $1::text)
        WHERE state IN ('in-flight', 'in-doubt') RETURNING delivery_id, key),
     records AS (
       UPDATE web_stack w SET state = 'quarantined', last_response = $1
         FROM open WHERE w.delivery_id = open.delivery_id AND w.key = open.key AND w.state IN ('in-flight', 'in-doubt')),
     tries AS (UPDATE attempts SET ended_at = clock_timestamp(), outcome = 'lost', response = $1 WHERE ended_at IS NULL),
     closed AS (UPDATE deliveries SET state = 'closed', closed_at = clock_timestamp() WHERE state <> 'closed')
     SELECT * FROM open`,
    ['The database was restored from a backup; compare the cart'],
  );
  return { lanes: paused.rowCount ?? 0, lines: lines.rowCount ?? 0 };
}
