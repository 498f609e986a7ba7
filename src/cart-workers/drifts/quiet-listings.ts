import type { Database } from '../../database.js';
import { waitStatesSql } from '../../projections/listings.table.js';

/** What one reading told of a key. */
export interface Shown {
  readonly key: string;
  readonly listed: boolean;
  /** null: not listed, or listed and not tracked. */
  readonly quantity: number | null;
}

/** A synchronised listing as it was read, and what it should have shown. */
export interface LookedAt extends Shown {
  readonly sku: string;
  readonly should: number;
  /** Something was under way or sold while it was read, or since: nobody can say what it should have shown. */
  readonly busy: boolean;
  /** A person has accepted that it shows exactly this. */
  readonly accepted: boolean;
}

/**
 * Lays readings beside `expected − owed`. The listings need not be held still: a record that came since changes both sides
 * alike, and one that was sent or an order that was heard since the reading began makes the listing busy. The projector must
 * have heard all orders that were imported.
 *
 * Left out: what is not synchronised, what is known to be unlisted already, and keys that several products share.
 * @param from by the database's clock, before the first byte of the reading was asked for
 */
export async function layBeside(
  database: Database,
  cartId: string,
  shown: readonly Shown[],
  from: Date,
): Promise<LookedAt[]> {
  if (shown.length === 0) return [];
  const found = await database.pool.query<{
    key: string;
    sku: string;
    should: string;
    busy: boolean;
    accepted: boolean;
    accepted_difference: string | null;
  }>({
    name: 'lay-beside',
    text: `SELECT l.key, l.sku, l.expected - s.owed AS should,
                  s.under_way OR l.baseline_at >= $3
                    OR EXISTS (SELECT FROM delivery_lines d WHERE d.cart_id = l.cart_id AND d.key = l.key AND d.ended_at >= $3)
                    OR EXISTS (SELECT FROM echoes e WHERE e.cart_id = l.cart_id AND e.key = l.key AND e.seen_by >= $3) AS busy,
                  a.id IS NOT NULL AS accepted, a.difference AS accepted_difference
             FROM unnest($2::text[], $4::boolean[]) AS t (key, listed)
             JOIN listings l ON l.cart_id = $1 AND l.key = t.key
             JOIN carts c ON c.cart_id = l.cart_id AND c.generation = l.generation AND c.is_on
            CROSS JOIN LATERAL (
              SELECT coalesce(sum(w.delta), 0) AS owed,
                     coalesce(bool_or(w.state IN ('in-flight', 'in-doubt', 'quarantined')), false) AS under_way
                FROM web_stack w
               WHERE w.cart_id = l.cart_id AND w.key = l.key AND w.state IN ${waitStatesSql}) AS s
             LEFT JOIN LATERAL (
              SELECT o.id, o.difference FROM drifts o
               WHERE o.cart_id = l.cart_id AND o.key = l.key AND o.state = 'accepted' AND o.ended_at > l.baseline_at
               ORDER BY o.ended_at DESC LIMIT 1) AS a ON true
            WHERE l.expected IS NOT NULL AND (t.listed OR l.unlisted IS NULL)
              AND NOT EXISTS (SELECT FROM doubled_keys k WHERE k.cart_id = l.cart_id AND k.key = l.key)
            ORDER BY l.key`,
    values: [cartId, shown.map((row) => row.key), from, shown.map((row) => row.listed)],
  });
  const byKey = new Map(shown.map((row) => [row.key, row]));
  return found.rows.map((row) => {
    const one = byKey.get(row.key) as Shown;
    const should = Number(row.should);
    const difference = one.quantity === null ? null : one.quantity - should;
    const known = row.accepted_difference === null ? null : Number(row.accepted_difference);
    return { ...one, sku: row.sku, should, busy: row.busy, accepted: row.accepted && known === difference };
  });
}

export const isEqual = (looked: LookedAt) =>
  looked.accepted || (looked.quantity !== null && looked.quantity === looked.should);
