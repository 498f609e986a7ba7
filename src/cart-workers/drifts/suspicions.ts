import type { PoolClient } from 'pg';
import { waitStatesSql } from '../../projections/listings.table.js';

/**
 * A reply that tells the new quantity is compared with what the listing should show once the line has its end. A difference
 * is only a suspicion: mostly an order that was not imported yet. It is looked at again, and repairs nothing by itself. A
 * reply of 0 says nothing where the cart may have cut off what was below.
 *
 * Called in the transaction that records the outcome, with the listings locked. Each is looked up by its key (LATERAL): joined,
 * all listings of the cart were read for each reply until the tables had been analysed.
 */
export async function suspectReplies(
  client: PoolClient,
  replies: readonly {
    readonly cartId: string;
    readonly deliveryId: string;
    readonly key: string;
    readonly quantity: number;
  }[],
): Promise<void> {
  await client.query({
    name: 'suspect-replies',
    text: `INSERT INTO drifts (cart_id, key, sku, raised_by, delivery_id, shown, should, difference, mark, suspected_at, look_at, evidence)
           SELECT l.cart_id, l.key, l.sku, 'reply', t.delivery_id, t.quantity, s.should, t.quantity - s.should, p.mark,
                  clock_timestamp(), clock_timestamp(), jsonb_build_object('reply', t.quantity)
             FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[]) AS t (cart_id, delivery_id, key, quantity)
            CROSS JOIN LATERAL (SELECT * FROM listings x WHERE x.cart_id = t.cart_id AND x.key = t.key OFFSET 0) AS l
             JOIN carts c ON c.cart_id = l.cart_id AND c.generation = l.generation
             LEFT JOIN order_polls p ON p.cart_id = l.cart_id
            CROSS JOIN LATERAL (
              SELECT l.expected - coalesce(sum(w.delta), 0) AS should FROM web_stack w
               WHERE w.cart_id = l.cart_id AND w.key = l.key AND w.state IN ${waitStatesSql}) AS s
            WHERE l.expected IS NOT NULL AND t.quantity <> s.should AND NOT (c.clamps_at_zero AND t.quantity <= 0)
           ON CONFLICT (cart_id, key) WHERE ended_at IS NULL DO NOTHING`,
    values: [
      replies.map(({ cartId }) => cartId),
      replies.map(({ deliveryId }) => deliveryId),
      replies.map(({ key }) => key),
      replies.map(({ quantity }) => quantity),
    ],
  });
}
