/**
 * A log as the hub would have written it over the years, but filled by the database itself: movements of any SKU at two
 * locations, with the heads, on hand and checkpoint that follow from them. Deltas of +1 and −1 in turn.
 *
 * @param {import('pg').Pool} pool
 * @param {{ events: number, skus: number, locations?: string[], perTransaction?: number }} size SKUs are FILL-0 to FILL-(skus − 1)
 */
export async function fillLog(pool, { events, skus, locations = ['MAIN', 'STORE'], perTransaction = 20_000 }) {
  const client = await pool.connect();
  try {
    // Statements this long are none of the hub's own, which are ended much earlier.
    await client.query('SET statement_timeout = 0; SET synchronous_commit = off');
    await withoutIndexes(client, 'events', async () => {
      for (let at = 0; at < events; at += perTransaction) {
        // Minutes apart, the newest one now: so that "as of" has a past to look into.
        await client.query(
          `INSERT INTO events (generation, stream, version, type, data, sku, location, delta, open_delta, balance, open_balance,
             occurred_at, recorded_at, causation_id)
           SELECT 1, 'stock:' || x.location || '/' || x.sku, x.turn + 1, 'StockAdjusted',
                  jsonb_build_object('sku', x.sku, 'location', x.location, 'delta', x.delta, 'openDelta', 0, 'reason', null, 'source', 'direct'),
                  x.sku, x.location, x.delta, 0, (x.turn + 1) % 2, 0, x.at, x.at, 'fill/' || x.n
             FROM (SELECT n, 'FILL-' || n / $6::int % $3 AS sku, ($5::text[])[1 + n % $6::int] AS location,
                          n / ($6::int * $3::int) AS turn, CASE WHEN n / ($6::int * $3::int) % 2 = 0 THEN 1 ELSE -1 END AS delta,
                          date_trunc('milliseconds', now()) - ($4::int - n) * interval '1 second' AS at
                     FROM generate_series($1::int, $2::int) AS n) x`,
          [at, Math.min(at + perTransaction, events) - 1, skus, events, locations, locations.length],
        );
      }
    });
    await client.query(
      `INSERT INTO stream_heads (stream, version, state, recorded_at)
       SELECT stream, max(version), jsonb_build_object('onHand', sum(delta), 'open', 0, 'lastCount', null), max(recorded_at) FROM events GROUP BY stream
       ON CONFLICT DO NOTHING`,
    );
    await client.query(
      `INSERT INTO quantity_on_hand (sku, location, on_hand, open, movements, updated_at)
       SELECT sku, location, sum(delta), 0, count(*), max(recorded_at) FROM events WHERE delta IS NOT NULL GROUP BY sku, location
       ON CONFLICT DO NOTHING`,
    );
    await client.query(
      `UPDATE projection_checkpoints c SET generation = e.generation, transaction_id = e.transaction_id, position = e.position
         FROM (SELECT * FROM events ORDER BY generation DESC, transaction_id DESC, position DESC LIMIT 1) e WHERE c.name = 'main'`,
    );
    await client.query('VACUUM ANALYZE events');
    await client.query('VACUUM ANALYZE stream_heads');
    await client.query('VACUUM ANALYZE quantity_on_hand');
  } finally {
    client.release(true);
  }
}

/** Fills a table without its indexes and makes them afterwards, which takes a third of the time. */
export async function withoutIndexes(client, table, fill) {
  const { rows: indexes } = await client.query(
    `SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS index, c.conname AS constraint,
            pg_get_constraintdef(c.oid) AS definition
       FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u') AND c.conrelid = i.indrelid
      WHERE i.indrelid = $1::regclass`,
    [table],
  );
  for (const { name, constraint } of indexes)
    await client.query(
      constraint === null ? `DROP INDEX ${name}` : `ALTER TABLE ${table} DROP CONSTRAINT "${constraint}"`,
    );
  await fill();
  await client.query("SET maintenance_work_mem = '512MB'");
  for (const { index, constraint, definition } of indexes)
    await client.query(
      constraint === null ? index : `ALTER TABLE ${table} ADD CONSTRAINT "${constraint}" ${definition}`,
    );
}
