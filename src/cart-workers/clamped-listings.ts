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

/**
 * Listings that wait to be raised from such a zero, by cart, at most `keysMax` of each. Begins with what waits: begun with
 * the listings, each look read all of them, of every cart.
 */
export async function clampedListings(
  database: Database,
  keysMax: number,
): Promise<readonly { readonly cartId: string; readonly keys: readonly string[] }[]> {
  const found = await database.pool.query<{ cart_id: string; keys: string[] }>({
    name: 'clamped-listings',
    text: `SELECT c.cart_id, (array_agg(o.key ORDER BY o.key))[1:$1] AS keys
             FROM carts c JOIN system_switch s ON s.id = 1 AND s.is_on JOIN lanes n USING (cart_id)
            CROSS JOIN LATERAL (
              SELECT w.key FROM web_stack w
               WHERE w.cart_id = c.cart_id AND w.state IN ${waitStatesSql}
               GROUP BY w.key
              HAVING sum(w.delta) FILTER (WHERE w.state = 'waiting' AND w.generation = c.generation) > 0
                 AND bool_or(w.state = 'waiting' AND ${mayBeginSql('w', 'c', 'n')})
                 AND count(*) FILTER (WHERE w.state <> 'waiting') = 0) AS o
            CROSS JOIN LATERAL (
              SELECT ${toBeSettledByValueSql('l')} AS unsettled FROM listings l
               WHERE l.cart_id = c.cart_id AND l.key = o.key AND l.generation = c.generation OFFSET 0) AS found
            WHERE c.clamps_at_zero AND c.is_on AND NOT n.paused AND n.down_since IS NULL AND found.unsettled
            GROUP BY c.cart_id ORDER BY c.cart_id`,
    values: [keysMax],
  });
  return found.rows.map((row) => ({ cartId: row.cart_id, keys: row.keys }));
}
