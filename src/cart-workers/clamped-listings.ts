import type { Database } from '../database.js';
import { waitStatesSql } from '../projections/listings.table.js';
import { mayBeginSql } from './lane-openings.js';

/**
 * At a cart that lowers to 0 at most, −5 on 3 and then +5 show 5 instead of 3: deltas do not commute across zero. So a
 * listing that said 0 (or of which nothing is known) is settled by value before it is raised: compared, which makes what it
 * shows the listing's baseline. A quantity that is the baseline's own is settled already.
 *
 * @param listing the alias of a row of `listings`
 */
export const toBeSettledByValueSql = (listing: string) =>
  `(coalesce(${listing}.last_quantity, 0) <= 0 AND ${listing}.last_quantity_from IS DISTINCT FROM ${listing}.baseline_at)`;

/** Listings that wait to be raised from such a zero, by cart, at most `keysMax` of each. */
export async function clampedListings(
  database: Database,
  keysMax: number,
): Promise<readonly { readonly cartId: string; readonly keys: readonly string[] }[]> {
  const found = await database.pool.query<{ cart_id: string; keys: string[] }>({
    name: 'clamped-listings',
    text: `SELECT l.cart_id, (array_agg(l.key ORDER BY l.key))[1:$1] AS keys
             FROM carts c JOIN system_switch s ON s.id = 1 AND s.is_on JOIN lanes n USING (cart_id)
             JOIN listings l ON l.cart_id = c.cart_id AND l.generation = c.generation
            CROSS JOIN LATERAL (
              SELECT sum(w.delta) FILTER (WHERE w.state = 'waiting' AND w.generation = c.generation) AS delta,
                     coalesce(bool_or(w.state = 'waiting' AND ${mayBeginSql('w', 'c', 'n')}), false) AS may_begin,
                     count(*) FILTER (WHERE w.state <> 'waiting') AS busy
                FROM web_stack w
               WHERE w.cart_id = l.cart_id AND w.key = l.key AND w.state IN ${waitStatesSql}) AS owed
            WHERE c.clamps_at_zero AND c.is_on AND NOT n.paused AND n.down_since IS NULL
              AND ${toBeSettledByValueSql('l')} AND owed.delta > 0 AND owed.may_begin AND owed.busy = 0
            GROUP BY l.cart_id ORDER BY l.cart_id`,
    values: [keysMax],
  });
  return found.rows.map((row) => ({ cartId: row.cart_id, keys: row.keys }));
}
