import type { PoolClient } from 'pg';

/**
 * Keeps what changed of some listings' memory (see the table), inside the projector's transaction: nothing is written where
 * it is the same as before. The id says the order; `since` is when the fact was recorded that it follows from.
 */
export async function rememberListings(
  client: PoolClient,
  listings: readonly { readonly cartId: string; readonly key: string; readonly since: string }[],
): Promise<void> {
  if (listings.length === 0) return;
  await client.query({
    name: 'remember-listings',
    text: `INSERT INTO listing_memory (cart_id, key, since, sku, generation, leant_on, shown, withheld)
           SELECT l.cart_id, l.key, t.since, l.sku, l.generation, x.leant_on, l.shown, l.withheld
             FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS t (cart_id, key, since)
             JOIN listings l ON l.cart_id = t.cart_id AND l.key = t.key
            CROSS JOIN LATERAL (SELECT CASE WHEN l.leans THEN l.expected END AS leant_on) x
             LEFT JOIN LATERAL (SELECT * FROM listing_memory m WHERE m.cart_id = t.cart_id AND m.key = t.key
                                 ORDER BY m.id DESC LIMIT 1) m ON true
            WHERE (m.sku, m.generation, m.leant_on, m.shown, m.withheld)
                  IS DISTINCT FROM (l.sku, l.generation, x.leant_on, l.shown, l.withheld)
            ORDER BY l.cart_id, l.key`,
    values: [listings.map((l) => l.cartId), listings.map((l) => l.key), listings.map((l) => l.since)],
  });
}
