import type { PoolClient } from 'pg';
import { usualGuard, type CartGuard } from '../events/facts.js';
import type { PushKind } from './pushes.table.js';

/**
 * The guard against pushes that would bring too much of a cart to zero, or raise too much of it at once: a wrong file, a
 * slip in a rule, an empty warehouse.
 *
 * A *push* is a named set of records with one cause. Whoever changes many listings for one reason names it: hands the same
 * {@link Push} to each fan-out, in one transaction or several, and ends it with {@link endPush}. Its records are held while it is collected, and judged as a whole for each cart at its end: they go
 * on to the Web Stack as waiting, or stay held until a person lets them through or rejects them. Records of any other
 * cause pass it by.
 */
export interface Push {
  /** Unique for ever, such as the stream and version of the fact that caused it; naming it again adds to it. */
  readonly id: string;
  readonly kind: PushKind;
  /** What a person reads: "Locations of main-shop changed". */
  readonly title: string;
}

/** One listing that a push changes. */
export interface PushedChange {
  readonly cartId: string;
  readonly before: number;
  readonly after: number;
}

/** A cart smaller than this is not guarded by share: one listing of two is half of it. */
const listingsFloor = 10;

/** Adds what one fan-out did to its push; called by fan-out.ts, whose records are held. */
export async function countPushed(client: PoolClient, push: Push, changes: readonly PushedChange[]): Promise<void> {
  const rows = new Map<string, { cartId: string; changed: number; zeroed: number; inflated: number }>();
  for (const { cartId, before, after } of changes) {
    const row = rows.get(cartId) ?? { cartId, changed: 0, zeroed: 0, inflated: 0 };
    row.changed += 1;
    if (isZeroed(before, after)) row.zeroed += 1;
    if (isInflated(before, after)) row.inflated += 1;
    rows.set(cartId, row);
  }
  await client.query({
    name: 'count-pushed',
    text: `INSERT INTO pushes AS p (push, cart_id, kind, title, changed, zeroed, inflated, opened_at)
           SELECT $1, r."cartId", $2, $3, r.changed, r.zeroed, r.inflated, clock_timestamp()
             FROM jsonb_to_recordset($4::jsonb) AS r ("cartId" text, changed int, zeroed int, inflated int)
            ORDER BY r."cartId" COLLATE "C"
           ON CONFLICT (push, cart_id) DO UPDATE
              SET changed = p.changed + excluded.changed, zeroed = p.zeroed + excluded.zeroed, inflated = p.inflated + excluded.inflated,
                  state = CASE WHEN p.state = 'passed' THEN 'collecting' ELSE p.state END`,
    values: [push.id, push.kind, push.title, JSON.stringify([...rows.values()])],
  });
}

export const isZeroed = (before: number, after: number) => before > 0 && after <= 0;
/** To twice as much or more; from nothing, to two or more. */
export const isInflated = (before: number, after: number) => after >= 2 * Math.max(before, 1);

/**
 * All of a push is there: it is judged for each of its carts by that cart's guard, set by set. What is within it goes; the
 * rest stays held. Judged once; a push that a person decided on stays decided.
 */
export async function endPush(client: PoolClient, id: string): Promise<void> {
  const found = await client.query<PushCounts & { cart_id: string; guard: CartGuard | null }>({
    name: 'read-push',
    text: `SELECT p.cart_id, p.zeroed, p.inflated, n.listings, c.settings->'guard' AS guard
             FROM pushes p JOIN carts c USING (cart_id)
            CROSS JOIN LATERAL (SELECT count(*)::int AS listings FROM listings l
                                 WHERE l.cart_id = p.cart_id AND l.generation = c.generation AND l.expected IS NOT NULL) AS n
            WHERE p.push = $1 AND p.state = 'collecting'`,
    values: [id],
  });
  await client.query({
    name: 'judge-push',
    text: `UPDATE pushes p
              SET state = CASE WHEN j.why IS NULL THEN 'passed' ELSE 'held' END, why = j.why, listings = j.listings, judged_at = clock_timestamp()
             FROM unnest($2::text[], $3::text[], $4::int[]) AS j (cart_id, why, listings)
            WHERE p.push = $1 AND p.cart_id = j.cart_id AND p.state = 'collecting'`,
    values: [
      id,
      found.rows.map((row) => row.cart_id),
      found.rows.map((row) => whyHeld(row, row.guard ?? usualGuard)),
      found.rows.map((row) => row.listings),
    ],
  });
  await release(client, id, null, 'passed');
}

export interface PushCounts {
  readonly zeroed: number;
  readonly inflated: number;
  /** Of the cart, or of the part of it that the push is about. */
  readonly listings: number;
}

/** @returns the sentence for which a push is held; null: it is within the guard. Pure. */
export function whyHeld(
  { zeroed, inflated, listings }: PushCounts,
  { sharePercent, listingsMax }: CartGuard,
): string | null {
  const dangerous = zeroed + inflated;
  const told = 'listings would be brought to zero or at least doubled; the guard lets';
  if (dangerous > listingsMax) return `${dangerous} ${told} ${listingsMax} pass`;
  if (listings >= listingsFloor && dangerous * 100 > listings * sharePercent)
    return `${dangerous} of ${listings} ${told} ${sharePercent} % pass`;
  return null;
}

/** How many listings of so many may be brought to zero or doubled before {@link whyHeld} has something against it. */
export function letsPass(listings: number, { sharePercent, listingsMax }: CartGuard): number {
  return listings < listingsFloor ? listingsMax : Math.min(listingsMax, Math.floor((listings * sharePercent) / 100));
}

/** A Send or Get run was looked at and is held before anything of it is a record: decided like every other push. */
export async function holdRun(
  client: PoolClient,
  run: PushCounts & Push & { readonly cartId: string; readonly changed: number; readonly why: string },
): Promise<void> {
  await client.query(
    `INSERT INTO pushes (push, cart_id, kind, title, state, changed, zeroed, inflated, listings, why, opened_at, judged_at)
     VALUES ($1, $2, $3, $4, 'held', $5, $6, $7, $8, $9, clock_timestamp(), clock_timestamp())
     ON CONFLICT (push, cart_id) DO NOTHING`,
    [run.id, run.cartId, run.kind, run.title, run.changed, run.zeroed, run.inflated, run.listings, run.why],
  );
}

/**
 * A person decided. Let through, its records go on; rejected, see {@link reject}.
 * @returns the listings that are told nothing more
 */
export async function decidePush(
  client: PoolClient,
  decision: {
    readonly push: string;
    readonly cartId: string;
    readonly verdict: 'let-through' | 'rejected';
    readonly by: string;
    readonly reason: string;
  },
): Promise<readonly string[]> {
  const { push, cartId, verdict, by, reason } = decision;
  const decided = await client.query(
    `UPDATE pushes SET state = $3, decided_by = $4, reason = $5, decided_at = clock_timestamp()
      WHERE push = $1 AND cart_id = $2 AND state IN ('collecting', 'held')`,
    [push, cartId, verdict, by, reason],
  );
  if (decided.rowCount === 0) return [];
  if (verdict === 'rejected') return reject(client, push, cartId);
  await release(client, push, cartId, 'let-through');
  return [];
}

/** @param cartId null: every cart in that state */
async function release(client: PoolClient, push: string, cartId: string | null, state: string): Promise<void> {
  const { rowCount } = await client.query({
    name: 'begin-release',
    text: `UPDATE pushes SET released_to = 0
            WHERE push = $1 AND ($2::text IS NULL OR cart_id = $2) AND state = $3 AND changed > 0`,
    values: [push, cartId, state],
  });
  if (rowCount === 0) return;
  for (let left = releasedAtOnceMax; left > 0;) {
    const released = await releaseChunk(client, left);
    if (released === null) return;
    left -= Math.max(1, released);
  }
}

/** So many records go in the transaction that says so; what is behind them goes between the batches, chunk by chunk. */
const releasedAtOnceMax = 1_000;

/** A push that records are to be let go of. */
export const isReleasing = `released_to IS NOT NULL AND state IN ('passed', 'let-through')`;

/**
 * Lets the next records go of the oldest push that may: set-based, bounded, and again after a crash.
 * @returns how many went; null where there is no such push
 */
export async function releaseChunk(client: PoolClient, recordsMax: number): Promise<number | null> {
  const { rows } = await client.query<{ released: number }>({
    name: 'release-chunk',
    text: `WITH p AS MATERIALIZED (
             SELECT push, cart_id, released_to FROM pushes
              WHERE ${isReleasing} ORDER BY opened_at, push, cart_id LIMIT 1),
           -- From the push to its records: joined, the planner went through all that is held, for pushes that nobody lets go of yet.
           next AS MATERIALIZED (
             SELECT n.id FROM p CROSS JOIN LATERAL (
               SELECT w.id FROM web_stack w
                WHERE w.push = p.push AND w.cart_id = p.cart_id AND w.state = 'held' AND w.id > p.released_to
                ORDER BY w.id LIMIT $1) n),
           gone AS (
             UPDATE web_stack w SET state = 'waiting' WHERE w.id = ANY (ARRAY(SELECT id FROM next)) AND w.state = 'held')
           UPDATE pushes q SET released_to = CASE WHEN x.count = $1 THEN x.last END
             FROM p, (SELECT count(*)::int AS count, max(id) AS last FROM next) x
            WHERE q.push = p.push AND q.cart_id = p.cart_id
           RETURNING x.count AS released`,
    values: [recordsMax],
  });
  return rows[0]?.released ?? null;
}

/**
 * None of it is sent. Its cause still stands, though (a rule, a file), and would make the same records again with the next
 * change: so the listings are told nothing more until they are compared, when that is mended.
 */
async function reject(client: PoolClient, push: string, cartId: string): Promise<readonly string[]> {
  await client.query(
    `SELECT FROM listings WHERE cart_id = $2 AND key IN (SELECT key FROM web_stack WHERE push = $1 AND cart_id = $2 AND state = 'held')
      ORDER BY cart_id, key FOR UPDATE`,
    [push, cartId],
  );
  const told = await client.query<{ key: string }>(
    `WITH gone AS (
       UPDATE web_stack SET state = 'discarded', ended_at = date_trunc('milliseconds', clock_timestamp()), last_response = 'The push was rejected'
        WHERE push = $1 AND cart_id = $2 AND state = 'held' RETURNING key, delta)
     UPDATE listings l SET expected = l.expected - g.delta, generation = 0
       FROM (SELECT key, sum(delta) AS delta FROM gone GROUP BY key) g
      WHERE l.cart_id = $2 AND l.key = g.key RETURNING l.key`,
    [push, cartId],
  );
  return told.rows.map(({ key }) => key);
}
