import { beginByKeys, inTransaction, type Database } from '../../database.js';

/**
 * A checkout that reads a quantity and later writes what is left swallows every change that came between. Its order tells
 * when that may have been: a line of ours on the same listing, made since the order was not there yet, may be gone. Such a
 * listing is looked at; what it shows is judged like any other difference.
 */

/** An order may be seen before its lines are, and a line is there only after its pieces were taken. */
const checkoutSeconds = 10;
/** Younger, the cart may be in the middle of another one. */
const settledSeconds = 3;
/** A listing that never comes to rest is left to the next comparison of its cart. */
const givenUpMinutes = 10;
/** Whoever took them and died has them taken over after this long. */
const takenSeconds = 60;
/** Sold or changed while it was read: once more, so soon. */
const busySeconds = 2;
/** Of one cart at once. */
const linesMax = 200;

/**
 * Called before the orders are imported: whoever dies in between is told them once more.
 * @param keys that orders name which were not told before, or otherwise
 * @param since by the database's clock: at this moment those orders were not there yet; null: nobody knows
 */
export async function markOverwritten(
  database: Database,
  cartId: string,
  keys: readonly string[],
  since: Date | null,
): Promise<void> {
  if (keys.length === 0) return;
  await database.pool.query({
    name: 'mark-overwritten',
    text: `UPDATE delivery_lines t SET look_at = clock_timestamp() + interval '${settledSeconds} seconds'
             FROM unnest($2::text[]) AS k (key)
            CROSS JOIN LATERAL (
              SELECT d.delivery_id, d.line_no FROM delivery_lines d
               WHERE d.cart_id = $1 AND d.key = k.key AND d.outcome IN ('applied', 'settled as applied', 'declared applied')
                 AND d.ended_at >= coalesce($3, clock_timestamp()) - interval '${checkoutSeconds} seconds'
              UNION ALL
              SELECT d.delivery_id, d.line_no FROM delivery_lines d
               WHERE d.cart_id = $1 AND d.key = k.key AND d.state IN ('in-flight', 'in-doubt', 'quarantined')) AS x
            WHERE t.delivery_id = x.delivery_id AND t.line_no = x.line_no`,
    values: [cartId, [...new Set(keys)], since],
  });
}

/** What is due, taken so that no other process looks at the same. @param resting carts that are left alone */
export async function takeOverwritten(
  database: Database,
  resting: readonly string[],
): Promise<readonly { readonly cart_id: string; readonly key: string }[]> {
  const take = {
    name: 'take-overwritten',
    text: `WITH due AS MATERIALIZED (
             SELECT d.delivery_id, d.line_no FROM carts c JOIN lanes n USING (cart_id)
              CROSS JOIN LATERAL (
                SELECT o.delivery_id, o.line_no FROM delivery_lines o
                 WHERE o.cart_id = c.cart_id AND o.look_at <= clock_timestamp() AND o.ended_at IS NOT NULL
                 ORDER BY o.look_at LIMIT ${linesMax} FOR UPDATE SKIP LOCKED) AS d
              WHERE c.is_on AND n.down_since IS NULL AND c.cart_id <> ALL ($1::text[])),
           taken AS (
             UPDATE delivery_lines t
                SET look_at = CASE WHEN t.ended_at > clock_timestamp() - interval '${givenUpMinutes} minutes'
                                   THEN clock_timestamp() + interval '${takenSeconds} seconds' END
               FROM due WHERE t.delivery_id = due.delivery_id AND t.line_no = due.line_no
             RETURNING t.cart_id, t.key, t.look_at)
           SELECT DISTINCT cart_id, key FROM taken WHERE look_at IS NOT NULL`,
    values: [resting],
  };
  const found = await inTransaction(
    database,
    (client) => client.query<{ cart_id: string; key: string }>(take),
    beginByKeys,
  );
  return found.rows;
}

/** Those that were looked at are done, unless an order has come since that touches them; those that were busy come again. */
export async function endOverwritten(
  database: Database,
  cartId: string,
  keys: readonly string[],
  busy: readonly string[],
): Promise<void> {
  if (keys.length === 0) return;
  await database.pool.query({
    name: 'end-overwritten',
    text: `UPDATE delivery_lines
              SET look_at = CASE WHEN key = ANY ($3::text[]) THEN clock_timestamp() + interval '${busySeconds} seconds' END
            WHERE cart_id = $1 AND key = ANY ($2::text[]) AND look_at > clock_timestamp() + interval '${settledSeconds} seconds'`,
    values: [cartId, keys, busy],
  });
}
