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
    await netZeroSums(client, cartId);
    const chosen = await chooseListings(client, cartId, lane.down ? 1 : room * linesPerDeliveryMax);
    const made = await makeDeliveries(client, {
      cartId,
      generation: lane.generation,
      probe: lane.down,
      chosen,
      linesPerDeliveryMax,
    });
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

async function lockLane(client: PoolClient, cartId: string): Promise<LaneRow | null> {
  // Not the row's own lock: workers write their outcomes to the row and must not wait for a controller.
  await client.query({
    name: 'lock-controller',
    text: `SELECT pg_advisory_xact_lock(hashtext('onhand lane'), hashtext($1))`,
    values: [cartId],
  });
  const found = await client.query<LaneRow>({
    name: 'read-lane',
    text: `SELECT l.paused, l.down_since IS NOT NULL AS down, coalesce(l.next_probe_at <= clock_timestamp(), true) AS probe_due,
                  coalesce(l.comparing_until > clock_timestamp(), false) AS comparing,
                  c.is_on AND s.is_on AS in_effect, c.generation, l.job_window,
                  (SELECT count(*) FROM deliveries d
                    WHERE d.cart_id = l.cart_id AND d.state = 'dispatched'
                      AND (d.next_attempt_at IS NULL OR d.next_attempt_at <= clock_timestamp())) AS runnable
             FROM lanes l JOIN carts c USING (cart_id) JOIN system_switch s ON s.id = 1
            WHERE l.cart_id = $1`,
    values: [cartId],
  });
  return found.rows[0] ?? null;
}

/** While the probe is out no second one leaves, even if its worker dies before it can say so. */
async function pushProbeBack(client: PoolClient, cartId: string): Promise<void> {
  await client.query(`UPDATE lanes SET next_probe_at = clock_timestamp() + interval '30 seconds' WHERE cart_id = $1`, [
    cartId,
  ]);
}

/** Listings that are free (nothing in flight, in doubt or quarantined) and whose waiting records are due. */
const freeListings = `
  SELECT w.key, sum(w.delta) AS delta, min(w.created_at) AS oldest, (array_agg(w.target ORDER BY w.id DESC))[1] AS target,
         array_agg(w.id) AS ids
    FROM web_stack w
   WHERE w.cart_id = $1 AND w.state = 'waiting'
     AND w.key IN (SELECT DISTINCT key FROM (SELECT key FROM web_stack WHERE cart_id = $1 AND state = 'waiting'
                                              ORDER BY id LIMIT ${lookAheadRecords}) AS ahead)
     AND NOT EXISTS (SELECT FROM delivery_lines d WHERE d.cart_id = w.cart_id AND d.key = w.key
                        AND d.state IN ('in-flight', 'in-doubt', 'quarantined'))
   GROUP BY w.key
  HAVING max(coalesce(w.not_before, '-infinity')) <= clock_timestamp()`;

/** Records that cancel each other out never become a call. */
async function netZeroSums(client: PoolClient, cartId: string): Promise<void> {
  await client.query({
    name: 'net-zero-sums',
    text: `WITH zero AS (SELECT f.key FROM (${freeListings}) AS f WHERE f.delta = 0)
           UPDATE web_stack w SET state = 'netted', ended_at = date_trunc('milliseconds', clock_timestamp())
             FROM zero WHERE w.cart_id = $1 AND w.key = zero.key AND w.state = 'waiting'`,
    values: [cartId],
  });
}

interface ChosenListing {
  readonly key: string;
  /** Exactly the records whose sum was looked at: what arrives meanwhile waits for the next line. */
  readonly ids: readonly string[];
}

/** Decreases before increases, the scarcest first: what is late there is sold twice. */
async function chooseListings(client: PoolClient, cartId: string, limit: number): Promise<ChosenListing[]> {
  const found = await client.query<ChosenListing>({
    name: 'choose-listings',
    text: `SELECT f.key, f.ids FROM (${freeListings}) AS f
            WHERE f.delta <> 0
            ORDER BY (f.delta < 0 OR f.oldest < clock_timestamp() - interval '${starvationMs} milliseconds') DESC, f.target, f.oldest, f.key
            LIMIT $2`,
    values: [cartId, limit],
  });
  return found.rows;
}

async function makeDeliveries(
  client: PoolClient,
  plan: {
    readonly cartId: string;
    readonly generation: number;
    readonly probe: boolean;
    readonly chosen: readonly ChosenListing[];
    readonly linesPerDeliveryMax: number;
  },
): Promise<Dispatched[]> {
  const { chosen, linesPerDeliveryMax } = plan;
  if (chosen.length === 0) return [];
  const ids: string[] = [];
  for (let at = 0; at < chosen.length; at += linesPerDeliveryMax) ids.push(randomUUID());
  await client.query({
    name: 'insert-deliveries',
    text: `INSERT INTO deliveries (id, cart_id, generation, probe, created_at, queued_at)
           SELECT id, $2, $3, $4, date_trunc('milliseconds', clock_timestamp()), clock_timestamp() FROM unnest($1::uuid[]) AS t (id)`,
    values: [ids, plan.cartId, plan.generation, plan.probe],
  });
  const taken = chosen.flatMap((listing, index) =>
    listing.ids.map((recordId) => ({ recordId, deliveryId: ids[Math.floor(index / linesPerDeliveryMax)] })),
  );
  await client.query({
    name: 'insert-delivery-lines',
    text: `WITH taken AS (
             UPDATE web_stack w SET state = 'in-flight', delivery_id = t.delivery_id
               FROM unnest($2::bigint[], $3::uuid[]) AS t (id, delivery_id)
              WHERE w.id = t.id AND w.state = 'waiting'
              RETURNING w.key, w.delivery_id, w.delta),
           lines AS (SELECT key, delivery_id, sum(delta) AS delta FROM taken GROUP BY key, delivery_id)
           INSERT INTO delivery_lines (delivery_id, line_no, cart_id, key, delta)
           SELECT delivery_id, row_number() OVER (PARTITION BY delivery_id ORDER BY delta, key), $1, key, delta FROM lines`,
    values: [plan.cartId, taken.map((t) => t.recordId), taken.map((t) => t.deliveryId)],
  });
  return ids.map((deliveryId) => ({ deliveryId, take: 1, delayMs: 0 }));
}

/**
 * Deliveries that may have lost their job: nobody has an open attempt on them, they are due, and their job was put into
 * the lane a while ago. The caller looks whether the job is alive and calls {@link takeUpAgain} if it is not.
 * A dead worker's open attempt counts as none once its deadline is past.
 */
export async function findUnattended(
  database: Database,
  cartId: string,
): Promise<{ deliveryId: string; take: number }[]> {
  const found = await database.pool.query<{ id: string; take: number }>({
    name: 'find-unattended',
    text: `SELECT d.id, d.take FROM deliveries d JOIN lanes l USING (cart_id)
            WHERE d.cart_id = $1
              AND (d.state = 'dispatched' AND NOT l.paused
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
