import { randomUUID } from 'node:crypto';
import type { PoolClient } from 'pg';
import type { RuleScope } from '../../events/rule.js';
import { fanOut, type Cause, type Touched } from '../fan-out.js';
import { endPush, type Push } from '../guard.js';

/**
 * A change of rules, days, locations or switches concerns any number of listings. The projector only notes that they have
 * to be looked at, in the transaction of the change; it works the run off between its batches, chunk by chunk, each in a
 * transaction of its own with the place it got to. Whatever else touches a listing meanwhile sees the new settings at once.
 */

/**
 * Notes a run. An older one whose listings are all in this one's scopes ends here: this one looks at them anyway.
 * @param scopes listings that are in any of these
 */
export async function beginRecompute(client: PoolClient, scopes: readonly RuleScope[], cause: Cause): Promise<void> {
  if (scopes.length === 0) return;
  const distinct = scopes.some(isEverything) ? scopes.filter(isEverything).slice(0, 1) : scopes;
  const { acceptedAt, ...rest } = cause;
  const absorbed = await client.query<{ id: string }>({
    name: 'begin-recompute',
    text: `WITH absorbed AS (
             UPDATE recompute_runs SET state = 'absorbed', ended_at = clock_timestamp()
              WHERE state = 'running' AND ($2::jsonb @> scopes OR $5) RETURNING id),
           made AS (
           INSERT INTO recompute_runs (id, scopes, cause, accepted_at, created_at) VALUES ($1, $2, $3, $4, clock_timestamp()))
           SELECT id FROM absorbed`,
    values: [randomUUID(), JSON.stringify(distinct), JSON.stringify(rest), acceptedAt, scopes.some(isEverything)],
  });
  // What they came to already is judged by itself.
  for (const { id } of absorbed.rows) await endPush(client, pushId(id));
}

const pushId = (runId: string) => `recompute:${runId}`;

/** A run is one push; but switching a cart on is no accident: it was compared for it, and what differs was shown. */
function pushOf({ id, cause }: RunRow): Push | undefined {
  if (cause.type === 'CartSwitched') return undefined;
  const kind = cause.type === 'SystemSwitched' ? 'system-switch' : cause.type === 'CartChanged' ? 'settings' : 'rules';
  return { id: pushId(id), kind, title: `${cause.type} (${cause.stream}, version ${cause.version})` };
}

const isEverything = ({ sku, tag, cart }: RuleScope) => sku === null && tag === null && cart === null;

interface RunRow {
  readonly id: string;
  readonly cause: Omit<Cause, 'acceptedAt'>;
  readonly scopes: readonly RuleScope[];
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
 * @returns null when there is no run
 */
export async function recomputeChunk(client: PoolClient, listingsMax: number): Promise<Chunk | null> {
  const found = await client.query<RunRow>({
    name: 'oldest-recompute',
    text: `SELECT id, cause, scopes, cursor_cart, cursor_key, total, accepted_at FROM recompute_runs
            WHERE state = 'running' ORDER BY created_at, id LIMIT 1 FOR UPDATE`,
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
  scopes: readonly RuleScope[],
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
export function inScopes(scopes: readonly RuleScope[], first: number): { condition: string; values: unknown[] } {
  if (scopes.some(isEverything)) return { condition: 'true', values: [] };
  const condition = `EXISTS (
        SELECT FROM jsonb_to_recordset($${first}::jsonb) AS s (sku text, tag text, cart text)
         WHERE (s.sku IS NULL OR s.sku = l.sku) AND (s.cart IS NULL OR s.cart = l.cart_id)
           AND (s.tag IS NULL OR EXISTS (SELECT FROM item_tags t WHERE t.tag = s.tag AND t.sku = l.sku)))`;
  const values: unknown[] = [JSON.stringify(scopes)];
  // Named SKUs and tags are found by their indexes.
  if (scopes.every(({ sku, tag }) => sku !== null || tag !== null)) {
    const skus = scopes.flatMap(({ sku }) => sku ?? []);
    const tags = scopes.flatMap(({ sku, tag }) => (sku === null && tag !== null ? tag : []));
    values.push(skus, tags);
    const named = `SELECT unnest($${first + 1}::text[]) UNION SELECT i.sku FROM item_tags i WHERE i.tag = ANY ($${first + 2}::text[])`;
    return { condition: `l.sku IN (${named}) AND ${condition}`, values };
  }
  return { condition, values };
}
