import { randomUUID } from 'node:crypto';
import type { PoolClient } from 'pg';
import type { Database } from '../database.js';

/** A delivery that was made or taken up again and now has to be put into its lane. */
export interface Dispatched {
  readonly deliveryId: string;
  readonly take: number;
  readonly delayMs: number;
}

/** How many of the oldest waiting records are looked at when choosing listings; what they merge with is found by key. */
const lookAheadRecords = 2_000;
/** A line older than this ranks with decreases, so that increases do not starve behind them. */
const starvationMs = 10_000;
/** A delivery whose job is not seen in the lane for this long is put in again. */
export const sweepAfterMs = 2_000;

interface LaneRow {
  readonly paused: boolean;
  readonly down: boolean;
  readonly probe_due: boolean;
  readonly comparing: boolean;
  readonly in_effect: boolean;
  readonly generation: number;
  readonly clamps: boolean;
  readonly job_window: number | null;
  readonly runnable: string;
}

/**
 * Opens the way from the Web Stack into one lane: takes waiting records, merges them per listing, nets what cancels out,
 * and makes deliveries up to the lane's window. One controller at a time works on a lane, however many processes run.
 *
 * A lane that is red, switched off or being compared gets nothing; an amber one a single probe when that is due.
 */
export async function dispatchLane(
  database: Database,
  cartId: string,
  linesPerDeliveryMax: number,
): Promise<Dispatched[]> {
  const client = await database.pool.connect();
  try {
    await client.query('BEGIN');
    const lane = await lockLane(client, cartId);
    const room = lane === null ? 0 : roomIn(lane);
    if (lane === null || room <= 0) {
      await client.query('ROLLBACK');
      return [];
    }
    const free = await findFreeListings(client, cartId, lane);
    const groups = groupLines(free, lane.down ? { room: 1, linesMax: 1 } : { room, linesMax: linesPerDeliveryMax });
    const zero = free.filter((listing) => listing.zero).map((listing) => listing.key);
    await lockListings(client, cartId, [...zero, ...groups.flat()]);
    await netZeroSums(client, cartId, lane.generation, zero);
    const made = await makeDeliveries(client, { cartId, generation: lane.generation, probe: lane.down, groups });
    if (lane.down && made.length > 0) await pushProbeBack(client, cartId);
    await client.query('COMMIT');
    return made;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}

function roomIn(lane: LaneRow): number {
  if (lane.paused || lane.comparing || !lane.in_effect) return 0;
  const runnable = Number(lane.runnable);
  if (lane.down) return lane.probe_due && runnable === 0 ? 1 : 0;
  return (lane.job_window ?? 0) - runnable;
}

/**
 * One controller at a time, and none while a comparison takes hold of the lane: whoever has this lock knows that no
 * dispatch is half done. Not the row's own lock: workers write their outcomes to the row and must not wait for it.
 */
export async function lockController(client: PoolClient, cartId: string): Promise<void> {
  await client.query({
    name: 'lock-controller',
    text: `SELECT pg_advisory_xact_lock(hashtext('onhand lane'), hashtext($1))`,
    values: [cartId],
  });
}

async function lockLane(client: PoolClient, cartId: string): Promise<LaneRow | null> {
  await lockController(client, cartId);
  const found = await client.query<LaneRow>({
    name: 'read-lane',
    text: `SELECT l.paused, l.down_since IS NOT NULL AS down, coalesce(l.next_probe_at <= clock_timestamp(), true) AS probe_due,
                  coalesce(l.comparing_until > clock_timestamp(), false) AS comparing,
                  c.is_on AND s.is_on AS in_effect, c.generation, c.clamps_at_zero AS clamps, l.job_window,
                  (SELECT count(*) FROM deliveries d
                    WHERE d.cart_id = l.cart_id AND d.state = 'dispatched'
                      AND (d.next_attempt_at IS NULL OR d.next_attempt_at <= clock_timestamp())) AS runnable
             FROM lanes l JOIN carts c USING (cart_id) JOIN system_switch s ON s.id = 1
            WHERE l.cart_id = $1`,
    values: [cartId],
  });
  return found.rows[0] ?? null;
}

/**
 * No second probe leaves while one is out; this covers the moment between its end and what it found. A little longer than
 * a call may take, so that a probe whose worker died does not keep a cart that is back waiting.
 */
async function pushProbeBack(client: PoolClient, cartId: string): Promise<void> {
  await client.query(
    `UPDATE lanes l SET next_probe_at = clock_timestamp() + (c.settings->>'requestTimeoutMs')::int * interval '1 millisecond' + interval '2 seconds'
       FROM carts c WHERE l.cart_id = $1 AND c.cart_id = l.cart_id`,
    [cartId],
  );
}

/** A listing with a line under way or quarantined; the alias is the row whose cart and key are meant. */
const lineIsOpen = (row: string) =>
  `EXISTS (SELECT FROM delivery_lines d WHERE d.cart_id = ${row}.cart_id AND d.key = ${row}.key
                   AND d.state IN ('in-flight', 'in-doubt', 'quarantined'))`;

interface FreeListing {
  readonly key: string;
  /** Its records cancel each other out. */
  readonly zero: boolean;
  /** Refused before: it goes in a delivery of its own, so that it cannot make the cart refuse others with it. */
  readonly alone: boolean;
}

/**
 * Listings that are free (nothing in flight, in doubt or quarantined) and due, in the order in which they are to leave:
 * decreases before increases, the scarcest first, since what is late there is sold twice.
 *
 * $1 cart, $2 its generation, $3 whether it clamps at zero (then a dead letter holds its listing back, because the sum of
 * what comes later would be clamped at another place). The look-ahead counts only records that could leave: thousands
 * that wait behind a quarantined line must not hide the rest of the lane.
 */
async function findFreeListings(client: PoolClient, cartId: string, lane: LaneRow): Promise<FreeListing[]> {
  const found = await client.query<FreeListing>({
    name: 'find-free-listings',
    text: `SELECT f.key, f.delta = 0 AS zero, f.alone
             FROM (SELECT w.key, sum(w.delta) AS delta, min(w.created_at) AS oldest,
                          (array_agg(w.target ORDER BY w.id DESC))[1] AS target, max(w.attempts_counted) > 0 AS alone
                     FROM web_stack w
                    WHERE w.cart_id = $1 AND w.state = 'waiting' AND w.generation = $2
                      AND w.key IN (SELECT a.key FROM (
                            SELECT r.key FROM web_stack r
                             WHERE r.cart_id = $1 AND r.state = 'waiting' AND r.generation = $2
                               AND NOT ${lineIsOpen('r')}
                               AND NOT EXISTS (SELECT FROM web_stack b
                                                WHERE b.cart_id = $1 AND b.key = r.key
                                                  AND (b.state = 'waiting' AND b.not_before > clock_timestamp()
                                                       OR $3 AND b.state = 'dead-lettered'))
                             ORDER BY r.id LIMIT ${lookAheadRecords}) AS a)
                    GROUP BY w.key) AS f
            ORDER BY (f.delta < 0 OR f.oldest < clock_timestamp() - interval '${starvationMs} milliseconds') DESC,
                     f.target, f.oldest, f.key`,
    values: [cartId, lane.generation, lane.clamps],
  });
  return found.rows;
}

/** @returns the keys of each delivery, at most `room` deliveries */
function groupLines(
  free: readonly FreeListing[],
  limits: { readonly room: number; readonly linesMax: number },
): string[][] {
  const groups: string[][] = [];
  let filling: string[] | undefined;
  for (const { key, zero, alone } of free) {
    if (zero) continue;
    if (!alone && filling !== undefined && filling.length < limits.linesMax) {
      filling.push(key);
    } else if (groups.length < limits.room) {
      const group = [key];
      groups.push(group);
      if (!alone) filling = group;
    }
  }
  return groups;
}

/** As everywhere: listings first and in key order. From here on no record of theirs appears or ends but by us. */
async function lockListings(client: PoolClient, cartId: string, keys: readonly string[]): Promise<void> {
  if (keys.length === 0) return;
  await client.query({
    name: 'lock-listings-to-dispatch',
    text: 'SELECT FROM listings WHERE cart_id = $1 AND key = ANY ($2::text[]) ORDER BY cart_id, key FOR UPDATE',
    values: [cartId, keys],
  });
}

/** Records that cancel each other out never become a call. */
async function netZeroSums(
  client: PoolClient,
  cartId: string,
  generation: number,
  keys: readonly string[],
): Promise<void> {
  if (keys.length === 0) return;
  await client.query({
    name: 'net-zero-sums',
    text: `WITH zero AS (
             SELECT w.key FROM web_stack w
              WHERE w.cart_id = $1 AND w.key = ANY ($3::text[]) AND w.state = 'waiting' AND w.generation = $2 AND NOT ${lineIsOpen('w')}
              GROUP BY w.key HAVING sum(w.delta) = 0)
           UPDATE web_stack w SET state = 'netted', ended_at = date_trunc('milliseconds', clock_timestamp())
             FROM zero WHERE w.cart_id = $1 AND w.key = zero.key AND w.state = 'waiting' AND w.generation = $2`,
    values: [cartId, generation, keys],
  });
}

/** Sums are taken anew on the locked listings: between choosing and locking, records may have come or been superseded. */
async function makeDeliveries(
  client: PoolClient,
  plan: {
    readonly cartId: string;
    readonly generation: number;
    readonly probe: boolean;
    readonly groups: readonly (readonly string[])[];
  },
): Promise<Dispatched[]> {
  const planned = plan.groups.flatMap((keys) => {
    const deliveryId = randomUUID();
    return keys.map((key) => ({ key, deliveryId }));
  });
  if (planned.length === 0) return [];
  const lines = await client.query<{ delivery_id: string }>({
    name: 'insert-delivery-lines',
    text: `WITH planned AS (SELECT * FROM unnest($3::text[], $4::uuid[]) AS t (key, delivery_id)),
           sums AS (
             SELECT w.key, p.delivery_id, sum(w.delta) AS delta
               FROM web_stack w JOIN planned p USING (key)
              WHERE w.cart_id = $1 AND w.state = 'waiting' AND w.generation = $2 AND NOT ${lineIsOpen('w')}
              GROUP BY w.key, p.delivery_id HAVING sum(w.delta) <> 0),
           taken AS (
             UPDATE web_stack w SET state = 'in-flight', delivery_id = s.delivery_id
               FROM sums s WHERE w.cart_id = $1 AND w.key = s.key AND w.state = 'waiting' AND w.generation = $2)
           INSERT INTO delivery_lines (delivery_id, line_no, cart_id, key, delta)
           SELECT delivery_id, row_number() OVER (PARTITION BY delivery_id ORDER BY delta, key), $1, key, delta FROM sums
           RETURNING delivery_id`,
    values: [plan.cartId, plan.generation, planned.map((p) => p.key), planned.map((p) => p.deliveryId)],
  });
  const filled = new Set(lines.rows.map((row) => row.delivery_id));
  const ids = [...new Set(planned.map((p) => p.deliveryId))].filter((id) => filled.has(id));
  await client.query({
    name: 'insert-deliveries',
    text: `INSERT INTO deliveries (id, cart_id, generation, probe, created_at, queued_at)
           SELECT id, $2, $3, $4, date_trunc('milliseconds', clock_timestamp()), clock_timestamp() FROM unnest($1::uuid[]) AS t (id)`,
    values: [ids, plan.cartId, plan.generation, plan.probe],
  });
  return ids.map((deliveryId) => ({ deliveryId, take: 1, delayMs: 0 }));
}

/**
 * Deliveries that may have lost their job: nobody has an open attempt on them, they are due, and their job was put into
 * the lane a while ago. The caller looks whether the job is alive and calls {@link takeUpAgain} if it is not.
 * A dead worker's open attempt counts as none once its deadline is past. In a paused lane only what never left is taken
 * up, to be handed back.
 */
export async function findUnattended(
  database: Database,
  cartId: string,
): Promise<{ deliveryId: string; take: number }[]> {
  const found = await database.pool.query<{ id: string; take: number }>({
    name: 'find-unattended',
    text: `SELECT d.id, d.take FROM deliveries d JOIN lanes l USING (cart_id)
            WHERE d.cart_id = $1
              AND NOT (l.paused AND d.ambiguous)
              AND (d.state = 'dispatched'
                   OR d.state = 'in-doubt' AND EXISTS (SELECT FROM delivery_lines x WHERE x.delivery_id = d.id
                                                          AND x.state = 'in-doubt' AND x.settle_at <= clock_timestamp()))
              AND (d.next_attempt_at IS NULL OR d.next_attempt_at <= clock_timestamp())
              AND (d.queued_at < clock_timestamp() - interval '${sweepAfterMs} milliseconds'
                   OR d.state = 'in-doubt' AND d.queued_at < (SELECT min(x.settle_at) FROM delivery_lines x
                                                               WHERE x.delivery_id = d.id AND x.state = 'in-doubt'))
              AND NOT EXISTS (SELECT FROM attempts a WHERE a.delivery_id = d.id AND a.ended_at IS NULL
                                 AND a.deadline > clock_timestamp())
            ORDER BY d.created_at LIMIT 200`,
    values: [cartId],
  });
  return found.rows.map((row) => ({ deliveryId: row.id, take: row.take }));
}

/** Gives a delivery a new take; an older job of it that turns up later finds that it is not meant any more. */
export async function takeUpAgain(
  database: Database,
  delivery: { deliveryId: string; take: number },
): Promise<Dispatched | null> {
  const taken = await database.pool.query<{ take: number }>({
    name: 'take-up-again',
    text: `UPDATE deliveries SET take = take + 1, queued_at = clock_timestamp()
            WHERE id = $1 AND take = $2 AND state <> 'closed' RETURNING take`,
    values: [delivery.deliveryId, delivery.take],
  });
  const take = taken.rows[0]?.take;
  return take === undefined ? null : { deliveryId: delivery.deliveryId, take, delayMs: 0 };
}

/** The job of a take was just put in, or is known to be alive: no need to look for it for a while. */
export async function markQueued(database: Database, deliveryIds: readonly string[]): Promise<void> {
  await database.pool.query('UPDATE deliveries SET queued_at = clock_timestamp() WHERE id = ANY ($1::uuid[])', [
    deliveryIds,
  ]);
}
