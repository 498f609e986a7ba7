import type { PoolClient } from 'pg';
import type { BaselineRow } from '../events/facts.js';
import { triesSql, waitStatesSql } from './listings.table.js';

/**
 * Listings are locked first and in key order, in a statement of its own: the next one must see what a dispatcher or a
 * worker did that held the rows until now.
 * @param keys null: all of the cart
 */
export async function lockListings(client: PoolClient, cartId: string, keys: readonly string[] | null): Promise<void> {
  await client.query(
    'SELECT FROM listings WHERE cart_id = $1 AND ($2::text[] IS NULL OR key = ANY ($2::text[])) ORDER BY cart_id, key FOR UPDATE',
    [cartId, keys],
  );
}

/**
 * A listing exists from the moment its key is mapped; what the cart shows is unknown until its first comparison. A key
 * that now means another item is told nothing any more of what was owed to the one before.
 */
export async function mapListings(
  client: PoolClient,
  cartId: string,
  rows: readonly { readonly key: string; readonly sku: string }[],
): Promise<void> {
  const keys = rows.map((r) => r.key);
  const skus = rows.map((r) => r.sku);
  await lockListings(client, cartId, keys);
  await client.query({
    name: 'supersede-remapped',
    text: `UPDATE web_stack w SET state = 'superseded', ended_at = date_trunc('milliseconds', clock_timestamp())
             FROM unnest($2::text[], $3::text[]) AS t (key, sku) JOIN listings l ON l.cart_id = $1 AND l.key = t.key AND l.sku <> t.sku
            WHERE l.key = ANY ($2::text[]) AND w.cart_id = l.cart_id AND w.key = l.key AND w.state IN ('waiting', 'dead-lettered', 'held')`,
    values: [cartId, keys, skus],
  });
  await client.query({
    name: 'map-listings',
    text: `INSERT INTO listings AS l (cart_id, key, sku)
           SELECT $1, t.key, t.sku FROM unnest($2::text[], $3::text[]) AS t (key, sku) ORDER BY t.key COLLATE "C"
           ON CONFLICT (cart_id, key) DO UPDATE
              SET sku = excluded.sku, generation = 0, expected = NULL, target = NULL, unlisted = NULL
            WHERE l.sku <> excluded.sku`,
    values: [cartId, keys, skus],
  });
}

/**
 * Makes listings equal to what was read, and supersedes all that was owed to them: the reading already shows how much of
 * it arrived. A listing with a line under way, or with one that ended after the reading began (the projector may be far
 * behind), is left alone, since nobody can say whether the reading saw that line; so is one that sold meanwhile, whose
 * echo stands before the baseline in the log and would be forgotten. The reader asks again for those. A line in doubt that
 * the reader vouches for (`settles`) ends here: whatever became of it is in the quantity.
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
  await lockListings(
    client,
    baseline.cartId,
    baseline.rows.map((r) => r.key),
  );
  const done = await client.query<{ key: string }>({
    name: 'baseline-listings',
    text: `WITH rows AS (
             SELECT l.cart_id, l.key, t.quantity, t.settles, t.listed
               FROM unnest($2::text[], $3::bigint[], $8::uuid[], $9::boolean[]) AS t (key, quantity, settles, listed)
               JOIN listings l ON l.cart_id = $1 AND l.key = t.key
              WHERE NOT EXISTS (SELECT FROM delivery_lines d
                                 WHERE d.cart_id = l.cart_id AND d.key = l.key
                                   AND (d.state = 'in-flight' OR d.state = 'in-doubt' AND d.delivery_id IS DISTINCT FROM t.settles
                                        OR d.ended_at > $6))
                AND NOT EXISTS (SELECT FROM echoes e WHERE e.cart_id = l.cart_id AND e.key = l.key AND e.seen_by > $6)),
           superseded AS (
             UPDATE web_stack w
                SET state = 'superseded', ended_at = date_trunc('milliseconds', clock_timestamp()),
                    attempts = w.attempts + ${triesSql('w')}
               FROM rows r
              WHERE w.cart_id = r.cart_id AND w.key = r.key
                AND w.state IN ${waitStatesSql}),
           lines AS (
             UPDATE delivery_lines d
                SET state = 'done', outcome = 'superseded', ended_at = date_trunc('milliseconds', clock_timestamp())
               FROM rows r
              WHERE d.cart_id = r.cart_id AND d.key = r.key AND d.state IN ('quarantined', 'in-doubt'))
           UPDATE listings l
              SET expected = coalesce(r.quantity, 0), target = NULL, generation = $4,
                  baseline_kind = $5, baseline_at = $6, baseline_mark = $7, unlisted = CASE WHEN NOT r.listed THEN 'not-found' END,
                  baseline_expected = coalesce(r.quantity, 0),
                  baseline_record = (SELECT coalesce(max(id), 0) FROM web_stack),
                  baseline_echo = (SELECT coalesce(max(id), 0) FROM echoes),
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
      baseline.rows.map((r) => r.settles ?? null),
      baseline.rows.map((r) => r.listed ?? true),
    ],
  });
  await closeSettledDeliveries(
    client,
    baseline.rows.flatMap((r) => r.settles ?? []),
  );
  return done.rows.map((r) => r.key);
}

/** A delivery is open exactly as long as a line of it is. */
async function closeSettledDeliveries(client: PoolClient, deliveryIds: readonly string[]): Promise<void> {
  if (deliveryIds.length === 0) return;
  await client.query({
    name: 'close-settled-deliveries',
    text: `UPDATE deliveries d SET state = 'closed', closed_at = clock_timestamp()
            WHERE d.id = ANY ($1::uuid[]) AND d.state <> 'closed'
              AND NOT EXISTS (SELECT FROM delivery_lines l WHERE l.delivery_id = d.id AND l.state IN ('in-flight', 'in-doubt'))`,
    values: [[...new Set(deliveryIds)]],
  });
}

/**
 * Records that a person gave up: none of them was applied, so what the cart shows once all is owed to it lacks their sum
 * from here on. Where the cart could not be read, or does not list the item, the listing is told nothing more until a
 * comparison looks at it again; where it could, that comparison follows and what was read stays here as evidence only.
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
  await lockListings(client, discard.cartId, [discard.key]);
  await client.query(
    `WITH gone AS (
       UPDATE web_stack SET state = 'discarded', ended_at = date_trunc('milliseconds', clock_timestamp())
        WHERE cart_id = $1 AND key = $2 AND id = ANY ($3::bigint[]) AND state IN ('waiting', 'dead-lettered', 'held')
        RETURNING delta)
     UPDATE listings l
        SET expected = l.expected - (SELECT coalesce(sum(delta), 0) FROM gone),
            generation = CASE WHEN $4::bigint IS NULL THEN 0 ELSE l.generation END,
            unlisted = CASE WHEN $4::bigint IS NULL THEN l.unlisted END
      WHERE l.cart_id = $1 AND l.key = $2`,
    [discard.cartId, discard.key, discard.recordIds, discard.quantity],
  );
}

/** Switching a cart off ends what waits for it: on again, it is compared anew. Lines under way finish. */
export async function supersedeWaiting(client: PoolClient, cartId: string): Promise<void> {
  await lockListings(client, cartId, null);
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
