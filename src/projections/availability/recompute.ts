import type { PoolClient } from 'pg';
import { fanOut, type Touched } from '../fan-out.js';
import { endPush, type Push } from '../guard.js';
import { isEverything, pushId, type RecomputeScope, type RunCause } from './recompute-runs.js';

/**
 * A change of rules, days, locations or switches concerns any number of listings. The projector only notes that they have
 * to be looked at, in the transaction of the change; it works the run off between its batches, chunk by chunk, each in a
 * transaction of its own with the place it got to. Whatever else touches a listing meanwhile sees the new settings at once.
 */

/**
 * A run is one push; but switching a cart on is no accident: it was compared for it, and what differs was shown. Nor are
 * kits whose components moved: what was sold of them is sold.
 */
function pushOf({ id, cause, scopes }: RunRow): Push | undefined {
  if (cause.type === 'CartSwitched') return undefined;
  const title = `${cause.type} (${cause.stream}, version ${cause.version})`;
  if (scopes.some(({ partOf }) => partOf !== undefined))
    return cause.type === 'KitSet' ? { id: pushId(id), kind: 'settings', title } : undefined;
  const kind = cause.type === 'SystemSwitched' ? 'system-switch' : cause.type === 'CartChanged' ? 'settings' : 'rules';
  return { id: pushId(id), kind, title };
}

interface RunRow {
  readonly id: string;
  readonly cause: Omit<RunCause, 'acceptedAt'>;
  readonly scopes: readonly RecomputeScope[];
  readonly cursor_cart: string;
  readonly cursor_key: string;
  readonly total: string | null;
  readonly accepted_at: Date;
}

export interface Chunk {
  /** Listings that were looked at. */
  readonly listings: number;
  readonly records: number;
}

/**
 * The next listings of the oldest run, inside the caller's transaction, which must hold the projection.
 * @param kitsFirst whether runs over kits go before those of settings; taken in turns neither waits for all of the other
 * @returns null when there is no run
 */
export async function recomputeChunk(client: PoolClient, listingsMax: number, kitsFirst = true): Promise<Chunk | null> {
  const found = await client.query<RunRow>({
    name: 'oldest-recompute',
    text: `SELECT id, cause, scopes, cursor_cart, cursor_key, total, accepted_at FROM recompute_runs
            WHERE state = 'running' ORDER BY (scopes->0 ? 'partOf') = $1 DESC, created_at, id LIMIT 1 FOR UPDATE`,
    values: [kitsFirst],
  });
  const run = found.rows[0];
  if (run === undefined) return null;
  if (run.total === null) await countScope(client, run);
  const listings = await listingsInScope(client, run.scopes, [run.cursor_cart, run.cursor_key], listingsMax);
  const otherwise = { ...run.cause, acceptedAt: run.accepted_at.toISOString() };
  const records =
    listings.length === 0
      ? 0
      : await fanOut(client, { skus: new Map(), listings, echoes: [], otherwise, push: pushOf(run) });
  const last = listings.at(-1);
  await client.query({
    name: 'note-recompute',
    text: `UPDATE recompute_runs
              SET cursor_cart = $2, cursor_key = $3, done = done + $4, records = records + $5,
                  state = CASE WHEN $6 THEN 'done' ELSE state END, ended_at = CASE WHEN $6 THEN clock_timestamp() END
            WHERE id = $1`,
    values: [
      run.id,
      last?.cartId ?? run.cursor_cart,
      last?.key ?? run.cursor_key,
      listings.length,
      records,
      listings.length < listingsMax,
    ],
  });
  if (listings.length < listingsMax) await endPush(client, pushId(run.id));
  return { listings: listings.length, records };
}

async function countScope(client: PoolClient, { id, scopes }: RunRow): Promise<void> {
  const { condition, values } = inScopes(scopes, 2);
  await client.query(
    `UPDATE recompute_runs SET total = (SELECT count(*) FROM listings l JOIN carts c USING (cart_id) WHERE ${inStep} AND ${condition})
      WHERE id = $1`,
    [id, ...values],
  );
}

/** Compared in the cart's current generation; whether its switches are on is looked at when it is fanned out. */
export const inStep = 'l.generation = c.generation AND l.expected IS NOT NULL';

async function listingsInScope(
  client: PoolClient,
  scopes: readonly RecomputeScope[],
  [afterCart, afterKey]: readonly [string, string],
  limit: number,
): Promise<Touched['listings']> {
  const { condition, values } = inScopes(scopes, 4);
  const found = await client.query<{ cart_id: string; key: string }>(
    `SELECT l.cart_id, l.key FROM listings l JOIN carts c USING (cart_id)
      WHERE (l.cart_id, l.key) > ($1, $2) AND ${inStep} AND ${condition}
      ORDER BY l.cart_id, l.key LIMIT $3`,
    [afterCart, afterKey, limit, ...values],
  );
  return found.rows.map(({ cart_id: cartId, key }) => ({ cartId, key }));
}

/**
 * A condition over `listings l`: in any of these scopes. Locations are not asked for; a listing too many costs a look.
 * @param first the number of its first parameter
 */
export function inScopes(scopes: readonly RecomputeScope[], first: number): { condition: string; values: unknown[] } {
  if (scopes.some(isEverything)) return { condition: 'true', values: [] };
  const condition = `EXISTS (
        SELECT FROM jsonb_to_recordset($${first}::jsonb) AS s (sku text, tag text, cart text, "partOf" text)
         WHERE (s.sku IS NULL OR s.sku = l.sku) AND (s.cart IS NULL OR s.cart = l.cart_id)
           AND (s.tag IS NULL OR EXISTS (SELECT FROM item_tags t WHERE t.tag = s.tag AND t.sku = l.sku))
           AND (s."partOf" IS NULL OR l.sku IN (SELECT p.kit FROM kit_parts p WHERE p.sku = s."partOf"
                                              UNION ALL SELECT k.kit FROM kit_components k WHERE k.component = s."partOf")))`;
  const values: unknown[] = [JSON.stringify(scopes)];
  // Named SKUs, tags and parts are found by their indexes.
  if (scopes.every(({ sku, tag, partOf }) => sku !== null || tag !== null || partOf !== undefined)) {
    const skus = scopes.flatMap(({ sku }) => sku ?? []);
    const tags = scopes.flatMap(({ sku, tag }) => (sku === null && tag !== null ? tag : []));
    const parts = scopes.flatMap(({ partOf }) => partOf ?? []);
    values.push(skus, tags, parts);
    const named = `SELECT unnest($${first + 1}::text[]) UNION SELECT i.sku FROM item_tags i WHERE i.tag = ANY ($${first + 2}::text[])
        UNION SELECT p.kit FROM kit_parts p WHERE p.sku = ANY ($${first + 3}::text[])
        UNION SELECT k.kit FROM kit_components k WHERE k.component = ANY ($${first + 3}::text[])`;
    return { condition: `l.sku IN (${named}) AND ${condition}`, values };
  }
  return { condition, values };
}
