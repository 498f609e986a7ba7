import type { Database } from '../database.js';

export interface CleanUpReport {
  readonly deliveries: number;
  readonly attempts: number;
  readonly records: number;
}

/** How long records, deliveries and attempts are kept after they ended. */
export const recordsKeptDays = 90;

/** Rows of one transaction: none of ours may stay open long, since every reader of the log waits behind it. */
const chunkRows = 2_000;

/**
 * Removes what reached its end long ago: delivered, netted, superseded and discarded records with their deliveries and
 * attempts. The log keeps every movement for ever; what waits is never touched.
 */
export async function cleanUp(
  database: Database,
  { olderThanDays }: { readonly olderThanDays: number },
): Promise<CleanUpReport> {
  const records = await inChunks(
    database,
    // What a listing was told since its baseline stays in the proof of its `expected`.
    `WITH listed AS (
       SELECT l.cart_id, l.key, l.baseline_record FROM listings l
        WHERE (l.cart_id, l.key) IN (SELECT w.cart_id, w.key FROM web_stack w WHERE w.id IN (${oldRecords}))
        ORDER BY l.cart_id, l.key FOR UPDATE),
     removed AS (
       DELETE FROM web_stack WHERE id IN (${oldRecords}) RETURNING id, cart_id, key, delta, state),
     kept AS (
       UPDATE listings l SET baseline_expected = l.baseline_expected + told.delta
         FROM (SELECT r.cart_id, r.key, sum(r.delta) AS delta
                 FROM removed r JOIN listed x ON x.cart_id = r.cart_id AND x.key = r.key AND r.id > x.baseline_record
                WHERE r.state IN ('delivered', 'netted') GROUP BY r.cart_id, r.key) told
        WHERE l.cart_id = told.cart_id AND l.key = told.key AND told.delta <> 0)
     SELECT FROM removed`,
    olderThanDays,
  );
  const attempts = await inChunks(
    database,
    `DELETE FROM attempts WHERE id IN (
       SELECT a.id FROM attempts a JOIN deliveries d ON d.id = a.delivery_id
        WHERE ${closedAndForgotten} LIMIT $2)`,
    olderThanDays,
  );
  await inChunks(
    database,
    `DELETE FROM delivery_lines WHERE (delivery_id, line_no) IN (
       SELECT x.delivery_id, x.line_no FROM delivery_lines x JOIN deliveries d ON d.id = x.delivery_id
        WHERE x.state = 'done' AND ${closedAndForgotten} LIMIT $2)`,
    olderThanDays,
  );
  const deliveries = await inChunks(
    database,
    `DELETE FROM deliveries WHERE id IN (
       SELECT d.id FROM deliveries d WHERE ${closedAndForgotten}
          AND NOT EXISTS (SELECT FROM delivery_lines x WHERE x.delivery_id = d.id)
          AND NOT EXISTS (SELECT FROM attempts a WHERE a.delivery_id = d.id) LIMIT $2)`,
    olderThanDays,
  );
  await inChunks(
    database,
    `DELETE FROM drifts WHERE id IN (SELECT id FROM drifts WHERE ended_at < clock_timestamp() - $1 * interval '1 day' LIMIT $2)`,
    olderThanDays,
  );
  await inChunks(
    database,
    `DELETE FROM cart_comparisons WHERE id IN (
       SELECT id FROM cart_comparisons WHERE ended_at < clock_timestamp() - $1 * interval '1 day' LIMIT $2)`,
    olderThanDays,
  );
  return { deliveries, attempts, records };
}

const oldRecords = `SELECT id FROM web_stack WHERE ended_at < clock_timestamp() - $1 * interval '1 day' ORDER BY id LIMIT $2`;

/** A record that still waits (a dead letter, say) keeps the delivery that tells its story. */
const closedAndForgotten = `d.state = 'closed' AND d.closed_at < clock_timestamp() - $1 * interval '1 day'
          AND NOT EXISTS (SELECT FROM web_stack w WHERE w.delivery_id = d.id)`;

async function inChunks(database: Database, sql: string, olderThanDays: number): Promise<number> {
  let total = 0;
  for (;;) {
    const removed = await database.pool.query(sql, [olderThanDays, chunkRows]);
    total += removed.rowCount ?? 0;
    if ((removed.rowCount ?? 0) < chunkRows) return total;
  }
}
