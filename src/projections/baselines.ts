import type { PoolClient } from 'pg';
import type { BaselineRow } from '../events/facts.js';

/** A listing exists from the moment its key is mapped; what the cart shows is unknown until its first comparison. */
export async function mapListings(
  client: PoolClient,
  cartId: string,
  rows: readonly { readonly key: string; readonly sku: string }[],
): Promise<void> {
  await client.query({
    name: 'map-listings',
    text: `INSERT INTO listings AS l (cart_id, key, sku)
           SELECT $1, t.key, t.sku FROM unnest($2::text[], $3::text[]) AS t (key, sku) ORDER BY t.key COLLATE "C"
           ON CONFLICT (cart_id, key) DO UPDATE SET sku = excluded.sku, generation = 0, expected = NULL, target = NULL
            WHERE l.sku <> excluded.sku`,
    values: [cartId, rows.map((r) => r.key), rows.map((r) => r.sku)],
  });
}

/**
 * Makes listings equal to what was read, and supersedes all that was owed to them: the reading already shows how much of
 * it arrived. A listing with a line under way is left alone, since nobody can say whether the reading saw that line; the
 * reader asks again for those.
 *
 * @returns the keys that were baselined
 */
export async function baselineListings(
  client: PoolClient,
  baseline: {
    readonly cartId: string;
    readonly generation: number;
    readonly kind: 'write' | 'get';
    readonly at: string;
    readonly mark: string | null;
    readonly rows: readonly BaselineRow[];
  },
): Promise<string[]> {
  // Locked in a statement of its own: the next one must see the lines of a dispatcher that held the rows until now.
  await client.query(
    'SELECT FROM listings WHERE cart_id = $1 AND key = ANY ($2::text[]) ORDER BY cart_id, key FOR UPDATE',
    [baseline.cartId, baseline.rows.map((r) => r.key)],
  );
  const done = await client.query<{ key: string }>({
    name: 'baseline-listings',
    text: `WITH rows AS (
             SELECT l.cart_id, l.key, t.quantity
               FROM unnest($2::text[], $3::bigint[]) AS t (key, quantity)
               JOIN listings l ON l.cart_id = $1 AND l.key = t.key
              WHERE NOT EXISTS (SELECT FROM delivery_lines d
                                 WHERE d.cart_id = l.cart_id AND d.key = l.key AND d.state IN ('in-flight', 'in-doubt'))),
           superseded AS (
             UPDATE web_stack w
                SET state = 'superseded', ended_at = date_trunc('milliseconds', clock_timestamp())
               FROM rows r
              WHERE w.cart_id = r.cart_id AND w.key = r.key
                AND w.state IN ('waiting', 'in-flight', 'in-doubt', 'quarantined', 'dead-lettered', 'held')),
           lines AS (
             UPDATE delivery_lines d
                SET state = 'done', outcome = 'superseded', ended_at = date_trunc('milliseconds', clock_timestamp())
               FROM rows r
              WHERE d.cart_id = r.cart_id AND d.key = r.key AND d.state = 'quarantined')
           UPDATE listings l
              SET expected = coalesce(r.quantity, 0), target = NULL, generation = $4,
                  baseline_kind = $5, baseline_at = $6, baseline_mark = $7, unlisted = NULL,
                  last_quantity = r.quantity, last_quantity_from = $6, last_quantity_to = $6
             FROM rows r
            WHERE l.cart_id = r.cart_id AND l.key = r.key
           RETURNING l.key`,
    values: [
      baseline.cartId,
      baseline.rows.map((r) => r.key),
      baseline.rows.map((r) => r.quantity),
      baseline.generation,
      baseline.kind,
      baseline.at,
      baseline.mark,
    ],
  });
  return done.rows.map((r) => r.key);
}

/**
 * Records that a person gave up. What the cart was seen to show decides what `expected` is now; where it could not be
 * read, the records' sum is taken back and the listing stays unlisted until somebody looks for it again.
 */
export async function discardRecords(
  client: PoolClient,
  discard: {
    readonly cartId: string;
    readonly key: string;
    readonly recordIds: readonly string[];
    readonly quantity: number | null;
  },
): Promise<void> {
  const gone = await client.query<{ delta: string }>(
    `UPDATE web_stack SET state = 'discarded', ended_at = date_trunc('milliseconds', clock_timestamp())
      WHERE cart_id = $1 AND key = $2 AND id = ANY ($3::bigint[]) AND state IN ('waiting', 'dead-lettered', 'held')
      RETURNING delta`,
    [discard.cartId, discard.key, discard.recordIds],
  );
  const sum = gone.rows.reduce((total, row) => total + Number(row.delta), 0);
  await client.query(
    `UPDATE listings l
        SET expected = CASE WHEN $3::bigint IS NULL THEN l.expected - $4
                            ELSE $3 + (SELECT coalesce(sum(w.delta), 0) FROM web_stack w
                                        WHERE w.cart_id = l.cart_id AND w.key = l.key
                                          AND w.state IN ('waiting', 'in-flight', 'in-doubt', 'quarantined', 'dead-lettered', 'held'))
                       END,
            generation = CASE WHEN $3::bigint IS NULL THEN 0 ELSE l.generation END,
            unlisted = CASE WHEN $3::bigint IS NULL THEN l.unlisted END
      WHERE l.cart_id = $1 AND l.key = $2`,
    [discard.cartId, discard.key, discard.quantity, sum],
  );
}

/** Switching a cart off ends what waits for it: on again, it is compared anew. Lines under way finish. */
export async function supersedeWaiting(client: PoolClient, cartId: string): Promise<void> {
  await client.query(
    `WITH gone AS (
       UPDATE web_stack SET state = 'superseded', ended_at = date_trunc('milliseconds', clock_timestamp())
        WHERE cart_id = $1 AND state IN ('waiting', 'dead-lettered', 'held')
        RETURNING key, delta)
     UPDATE listings l SET expected = l.expected - g.delta
       FROM (SELECT key, sum(delta) AS delta FROM gone GROUP BY key) g
      WHERE l.cart_id = $1 AND l.key = g.key`,
    [cartId],
  );
}
