import type { PoolClient } from 'pg';
import { isEverything, type RecomputeScope } from './recompute-runs.js';

interface ListingKey {
  readonly cartId: string;
  readonly key: string;
}

/** A run as far as its listings are concerned: those behind the place that it got to. */
export interface RunPlace {
  readonly id: string;
  readonly scopes: readonly RecomputeScope[];
  readonly cursor_cart: string;
  readonly cursor_key: string;
}

/** Looked up at once; a few megabytes at most. */
const aheadMax = 20_000;

/**
 * The listings of a run, in the order of their keys, looked up for many chunks at once: to find the next hundred of ten
 * thousand kits costs as much as to find them all. What comes into step meanwhile is published with the new settings
 * anyway, and what went out of it is found so behind its lock.
 */
export class RunListings {
  private readonly ahead = new Map<string, Ahead>();

  /**
   * @param run a chunk that was rolled back is seen by its place, and looked up once more
   * @returns the next ones; `left`: how many there are with those behind them, null: not known
   */
  async next(
    client: PoolClient,
    run: RunPlace,
    max: number,
  ): Promise<{ readonly listings: readonly ListingKey[]; readonly left: number | null; readonly end: boolean }> {
    const known = this.ahead.get(run.id);
    this.ahead.delete(run.id);
    const goesOn = known?.cart === run.cursor_cart && known.key === run.cursor_key;
    const { found, isLast } =
      goesOn && (known.isLast || known.found.length > 0) ? known : await lookAhead(client, run, max);
    const listings = found.slice(0, max);
    const behind = found.slice(max);
    const last = listings.at(-1);
    const end = isLast && behind.length === 0;
    if (!end && last !== undefined) this.ahead.set(run.id, { cart: last.cartId, key: last.key, found: behind, isLast });
    for (const oldest of this.ahead.keys()) if (this.ahead.size > runsMax) this.ahead.delete(oldest);
    return { listings, left: isLast ? found.length : null, end };
  }
}

/** What was looked up behind a place. */
interface Ahead {
  readonly cart: string;
  readonly key: string;
  readonly found: readonly ListingKey[];
  readonly isLast: boolean;
}

/** One over kits and one of settings take turns. */
const runsMax = 2;

async function lookAhead(client: PoolClient, run: RunPlace, max: number): Promise<Pick<Ahead, 'found' | 'isLast'>> {
  const limit = Math.max(aheadMax, max);
  const found = await listingsInScope(client, run, limit);
  return { found, isLast: found.length < limit };
}

export async function countInScope(client: PoolClient, scopes: readonly RecomputeScope[]): Promise<number> {
  const { from, condition, values } = inScopes(scopes, 1);
  const { rows } = await client.query<{ total: string }>(
    `SELECT count(*) AS total FROM ${from} JOIN carts c ON c.cart_id = l.cart_id WHERE ${inStep} AND ${condition}`,
    values,
  );
  return Number(rows[0]?.total ?? 0);
}

/** Compared in the cart's current generation; whether its switches are on is looked at when it is fanned out. */
const inStep = 'l.generation = c.generation AND l.expected IS NOT NULL';

async function listingsInScope(
  client: PoolClient,
  { scopes, cursor_cart: afterCart, cursor_key: afterKey }: RunPlace,
  limit: number,
): Promise<readonly ListingKey[]> {
  const { from, condition, values } = inScopes(scopes, 4);
  const found = await client.query<{ cart_id: string; key: string }>(
    `SELECT l.cart_id, l.key FROM ${from} JOIN carts c ON c.cart_id = l.cart_id
      WHERE (l.cart_id, l.key) > ($1, $2) AND ${inStep} AND ${condition}
      ORDER BY l.cart_id, l.key LIMIT $3`,
    [afterCart, afterKey, limit, ...values],
  );
  return found.rows.map(({ cart_id: cartId, key }) => ({ cartId, key }));
}

/**
 * Listings `l` that are in any of these scopes. Locations are not asked for; a listing too many costs a look. Where every
 * scope names items, a tag or a part, the way goes from these by index to their listings, whatever the planner believes:
 * the other way round it compares each listing with each name.
 * @param first the number of its first parameter
 */
function inScopes(
  scopes: readonly RecomputeScope[],
  first: number,
): { readonly from: string; readonly condition: string; readonly values: unknown[] } {
  if (scopes.some(isEverything)) return { from: 'listings l', condition: 'true', values: [] };
  const condition = `EXISTS (
        SELECT FROM jsonb_to_recordset($${first}::jsonb) AS s (sku text, tag text, cart text, "partOf" text)
         WHERE (s.sku IS NULL OR s.sku = l.sku) AND (s.cart IS NULL OR s.cart = l.cart_id)
           AND (s.tag IS NULL OR EXISTS (SELECT FROM item_tags t WHERE t.tag = s.tag AND t.sku = l.sku))
           AND (s."partOf" IS NULL OR EXISTS (SELECT FROM kit_parts p WHERE p.kit = l.sku AND p.sku = s."partOf")
                OR EXISTS (SELECT FROM kit_components k WHERE k.kit = l.sku AND k.component = s."partOf")))`;
  const values: unknown[] = [JSON.stringify(scopes)];
  if (scopes.some(({ sku, tag, partOf }) => sku === null && tag === null && partOf === undefined))
    return { from: 'listings l', condition, values };
  const skus = scopes.flatMap(({ sku }) => sku ?? []);
  const tags = scopes.flatMap(({ sku, tag }) => (sku === null && tag !== null ? tag : []));
  const parts = scopes.flatMap(({ partOf }) => partOf ?? []);
  const from = `
         (SELECT unnest($${first + 1}::text[]) COLLATE "C" AS sku
          UNION SELECT i.sku FROM item_tags i WHERE i.tag = ANY ($${first + 2}::text[])
          UNION SELECT p.kit FROM kit_parts p WHERE p.sku = ANY ($${first + 3}::text[])
          UNION SELECT k.kit FROM kit_components k WHERE k.component = ANY ($${first + 3}::text[])) AS named
         CROSS JOIN LATERAL (SELECT x.cart_id, x.key, x.sku, x.generation, x.expected FROM listings x WHERE x.sku = named.sku OFFSET 0) AS l`;
  return { from, condition, values: [...values, skus, tags, parts] };
}
