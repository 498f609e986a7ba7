import type { PoolClient } from 'pg';
import { fanOut } from '../fan-out.js';
import { endPush, type Push } from '../guard.js';
import { fanOutLateOf } from '../late-items.js';
import { pushId, type RunCause } from './recompute-runs.js';
import { countInScope, RunListings, type RunPlace } from './run-listings.js';

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

interface RunRow extends RunPlace {
  readonly cause: Omit<RunCause, 'acceptedAt'>;
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
 * @param ahead what the last chunk looked up already
 * @param kitsFirst whether runs over kits go before those of settings; taken in turns neither waits for all of the other
 * @returns null when there is no run
 */
export async function recomputeChunk(
  client: PoolClient,
  listingsMax: number,
  ahead: RunListings,
  kitsFirst = true,
): Promise<Chunk | null> {
  const found = await client.query<RunRow>({
    name: 'oldest-recompute',
    text: `SELECT id, cause, scopes, cursor_cart, cursor_key, total, accepted_at FROM recompute_runs
            WHERE state = 'running' ORDER BY (scopes->0 ? 'partOf') = $1 DESC, created_at, id LIMIT 1 FOR UPDATE`,
    values: [kitsFirst],
  });
  const run = found.rows[0];
  if (run === undefined) return null;
  const { listings, left, end } = await ahead.next(client, run, listingsMax);
  const total = run.total ?? left ?? (await countInScope(client, run.scopes));
  const otherwise = { ...run.cause, acceptedAt: run.accepted_at.toISOString() };
  const moved = listings.length === 0 ? 0 : await fanOutLateOf(client, listings);
  const records =
    listings.length === 0
      ? 0
      : await fanOut(client, { skus: new Map(), listings, echoes: [], otherwise, push: pushOf(run) });
  const last = listings.at(-1);
  await client.query({
    name: 'note-recompute',
    text: `UPDATE recompute_runs
              SET cursor_cart = $2, cursor_key = $3, done = done + $4, records = records + $5,
                  -- Listings come and go while a run waits for somebody who works on it.
                  total = CASE WHEN $6 THEN done + $4 ELSE greatest($7::bigint, done + $4) END,
                  state = CASE WHEN $6 THEN 'done' ELSE state END, ended_at = CASE WHEN $6 THEN clock_timestamp() END
            WHERE id = $1`,
    values: [
      run.id,
      last?.cartId ?? run.cursor_cart,
      last?.key ?? run.cursor_key,
      listings.length,
      records,
      end,
      total,
    ],
  });
  if (end) await endPush(client, pushId(run.id));
  return { listings: listings.length, records: moved + records };
}
