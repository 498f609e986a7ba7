import type { PoolClient } from 'pg';
import type { Shown } from './evaluate.js';
import { readSettings } from './availability-settings.js';
import { factsOf, listingFactsSql, type ListingFactsRow } from './listing-facts.js';
import { listingsMax, type ListingState, type StateOfSku } from './state-at.js';

interface Row extends ListingFactsRow {
  readonly cart_name: string | null;
  readonly cart_on: boolean;
  readonly system_on: boolean;
  readonly in_step: boolean;
  readonly target: string | null;
  readonly unlisted: ListingNow['unlisted'];
  readonly shown_told: Shown | null;
  readonly recomputing: boolean;
}

export interface ListingNow extends ListingState {
  readonly target: number | null;
  /** null: nobody knows yet what the cart shows. */
  readonly expected: number | null;
  readonly unlisted: 'not-found' | 'not-tracked' | null;
  /** What of its flag the cart confirmed. */
  readonly flagTold: Shown | null;
  /** A change of rules or settings is still on its way to this listing. */
  readonly recomputing: boolean;
}

/**
 * What a SKU's listings follow from as the projector has applied it, out of the same columns that it works with.
 * @param client of a transaction that reads one snapshot
 */
export async function stateNow(
  client: PoolClient,
  sku: string,
  cartId: string | null,
): Promise<StateOfSku<ListingNow>> {
  const settings = await readSettings(client);
  const facts = listingFactsSql(settings, true);
  const { rows } = await client.query<Row>({
    name: `state-now-${facts.name}`,
    text: `SELECT ${facts.columns}, l.target, l.unlisted, l.shown_told, c.settings->>'name' AS cart_name, c.is_on AS cart_on, s.is_on AS system_on,
                  l.generation > 0 AND l.generation = c.generation AND l.expected IS NOT NULL AS in_step,
                  EXISTS (SELECT FROM recompute_runs r
                           WHERE r.state = 'running' AND (l.cart_id, l.key) > (r.cursor_cart, r.cursor_key))
                    OR EXISTS (SELECT FROM late_items i WHERE i.sku = l.sku) AS recomputing
             FROM listings l JOIN carts c ON c.cart_id = l.cart_id JOIN system_switch s ON s.id = 1
            WHERE l.sku = $1 AND ($2::text IS NULL OR l.cart_id = $2)
            ORDER BY l.cart_id, l.key LIMIT ${listingsMax}`,
    values: [sku, cartId],
  });
  const version = await client.query<{ version: string }>(
    'SELECT rules_version AS version FROM availability_settings WHERE id = 1',
  );
  const { book, calendar } = settings;
  return {
    book,
    calendar,
    rulesVersion: version.rows[0]?.version ?? '0',
    lastMovement: undefined,
    leftOut: [],
    listings: rows.map((row) => ({
      cartId: row.cart_id,
      cartName: row.cart_name ?? row.cart_id,
      key: row.key,
      cartOn: row.cart_on,
      systemOn: row.system_on,
      inStep: row.in_step,
      facts: factsOf(row, Number(row.expected ?? 0)),
      target: row.target === null ? null : Number(row.target),
      expected: row.expected === null ? null : Number(row.expected),
      unlisted: row.unlisted,
      flagTold: row.shown_told,
      recomputing: row.recomputing,
    })),
  };
}
