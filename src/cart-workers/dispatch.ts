import { randomUUID } from 'node:crypto';
import type { PoolClient } from 'pg';
import { beginByKeysPlanned, type Database } from '../database.js';
import { inPackets, type Packets } from '../packets.js';
import { waitStatesSql } from '../projections/listings.table.js';
import { SharedTransactions } from '../shared-transactions.js';
import { toBeSettledByValueSql } from './clamped-listings.js';
import { mayBeginSql } from './lane-openings.js';

/** A delivery that was made or taken up again and now has to be put into its lane. */
export interface Dispatched {
  readonly deliveryId: string;
  readonly take: number;
  readonly delayMs: number;
}

export interface Made extends Dispatched {
  readonly lines: number;
}

/**
 * How many of the oldest waiting records are looked at when choosing listings, for each line that there is room for, and at
 * least and at most; and a quarter as many of the oldest that lower. What they merge with is found by key.
 */
const lookAhead = { perLine: 2, min: 400, max: 2_000 };
/** A line older than this ranks with decreases, so that increases do not starve behind them. */
const starvationMs = 10_000;
/** A delivery whose job is not seen in the lane for this long is put in again. */
export const sweepAfterMs = 2_000;

export interface DispatchLimits {
  readonly linesPerDeliveryMax: number;
  /** No more deliveries under way than that; null: as many as the lane's window lets. */
  readonly callsMax: number | null;
  /** Much is expected to leave: others that leave at the same moment do not wait for it. */
  readonly alone?: boolean;
}

const dispatches = new SharedTransactions(beginByKeysPlanned);

interface LaneRow {
  readonly generation: number;
  readonly clamps: boolean;
  /** It is amber: what leaves is a probe. */
  readonly down: boolean;
  /** Deliveries that may be made. */
  readonly room: number;
}

/**
 * Opens the way from the Web Stack into one lane: takes waiting records, merges them per listing, nets what cancels out,
 * and makes deliveries up to the lane's window. One controller at a time works on a lane, however many processes run.
 *
 * A lane that is red, switched off or being compared gets nothing; an amber one a single probe when that is due.
 */
export async function dispatchLane(database: Database, cartId: string, limits: DispatchLimits): Promise<Made[]> {
  const dispatch = (packets: Packets) => dispatchIn(packets, cartId, limits);
  return limits.alone === true
    ? inPackets(database, beginByKeysPlanned, dispatch)
    : dispatches.run(database, cartId, dispatch);
}

async function dispatchIn(
  packets: Packets,
  cartId: string,
  { linesPerDeliveryMax, callsMax }: DispatchLimits,
): Promise<Made[]> {
  const { client } = packets;
  const open = { cartId, linesMax: linesPerDeliveryMax, callsMax };
  const [, lane, free] = await packets.send(() => [
    packets.ask(lockControllers, cartId),
    packets.ask(readLanes, open),
    packets.ask(findFreeListings, open),
  ]);
  if (lane === null || lane.room <= 0) return [];
  const groups = groupLines(free, { room: lane.room, linesMax: lane.down ? 1 : linesPerDeliveryMax });
  const zero = free.filter((listing) => listing.zero).map((listing) => listing.key);
  const keys = [...zero, ...groups.flat()];
  if (keys.length === 0) return [];
  // Read behind the locks: from here on no record of theirs appears or ends but by us.
  const [unsettled, owed] = await packets.send(() => [
    packets.ask(lockListings, { cartId, keys }),
    packets.ask(readOwed, { cartId, keys, generation: lane.generation }),
  ]);
  const due = dueOf(owed);
  // What came between choosing and locking may have turned a decrease into an increase.
  if (lane.clamps) for (const key of unsettled) if ((due.get(key)?.delta ?? 0) > 0) due.delete(key);
  const lines = linesOf(groups, due);
  const ids = [...new Set(lines.map((line) => line.deliveryId))];
  await packets.commit(() => [
    netZeroSums(client, due),
    lines.length === 0
      ? null
      : packets.ask(makeDeliveries, { cartId, generation: lane.generation, probe: lane.down, lines, ids }),
    lane.down && lines.length > 0 ? pushProbeBack(client, cartId) : null,
  ]);
  return ids.map((deliveryId) => ({
    deliveryId,
    take: 1,
    delayMs: 0,
    lines: lines.filter((line) => line.deliveryId === deliveryId).length,
  }));
}

/**
 * One controller at a time, and none while a comparison takes hold of the lane: whoever has this lock knows that no
 * dispatch is half done. Not the row's own lock: workers write their outcomes to the row and must not wait for it.
 */
export async function lockController(client: PoolClient, cartId: string): Promise<void> {
  await lockControllers(client, [cartId]);
}

async function lockControllers(client: PoolClient, cartIds: readonly string[]): Promise<void[]> {
  await client.query({
    name: 'lock-controllers',
    text: `SELECT pg_advisory_xact_lock(hashtext('onhand lane'), hashtext(t.cart_id))
             FROM (SELECT cart_id FROM unnest($1::text[]) AS u (cart_id) ORDER BY u.cart_id COLLATE "C" OFFSET 0) AS t`,
    values: [cartIds],
  });
  return cartIds.map(() => undefined);
}

/** A lane that may be served. */
interface OpenLane {
  readonly cartId: string;
  readonly linesMax: number;
  /** null: as many as the lane's window lets. */
  readonly callsMax: number | null;
}

/**
 * SQL: lanes as they are now, of $1 carts, each with $2 calls at most and $3 lines in each. `room` is how many deliveries may be made:
 * none while it is paused, compared or off; one probe, when it is due, while it is amber; else what its window has left.
 * What comes after a dead letter waits for it (`dead_letters_hold`) where its sum would be clamped, or read back, at another place.
 */
const lanesSql = `
  (SELECT t.cart_id, c.generation, c.clamps_at_zero AS clamps, l.down_since IS NOT NULL AS down,
          CASE WHEN l.down_since IS NULL THEN t.lines_max ELSE 1 END AS lines_max,
          c.clamps_at_zero OR coalesce(c.settings->>'delivery' = 'set-only' OR c.probe->'found'->>'delivery' = 'set-only', false) AS dead_letters_hold,
          CASE WHEN l.paused OR l.comparing_until > clock_timestamp() OR NOT (c.is_on AND s.is_on) THEN 0
               WHEN l.down_since IS NOT NULL THEN (coalesce(l.next_probe_at <= clock_timestamp(), true) AND r.runnable = 0)::int
               ELSE least(coalesce(l.job_window, 0), t.calls_max) - r.runnable END AS room
     FROM unnest($1::text[], $2::int[], $3::int[]) AS t (cart_id, calls_max, lines_max)
    CROSS JOIN LATERAL (SELECT * FROM lanes x WHERE x.cart_id = t.cart_id OFFSET 0) AS l
    CROSS JOIN LATERAL (SELECT * FROM carts x WHERE x.cart_id = t.cart_id OFFSET 0) AS c
    CROSS JOIN LATERAL (SELECT count(*)::int AS runnable FROM deliveries d
                         WHERE d.cart_id = t.cart_id AND d.state = 'dispatched'
                           AND (d.next_attempt_at IS NULL OR d.next_attempt_at <= clock_timestamp())) AS r
     JOIN system_switch s ON s.id = 1
   OFFSET 0)`;

const lanesValues = (open: readonly OpenLane[]) => [
  open.map(({ cartId }) => cartId),
  open.map(({ callsMax }) => callsMax),
  open.map(({ linesMax }) => linesMax),
];

async function readLanes(client: PoolClient, open: readonly OpenLane[]): Promise<(LaneRow | null)[]> {
  const found = await client.query<LaneRow & { readonly cart_id: string }>({
    name: 'read-lanes',
    text: `SELECT n.cart_id, n.generation, n.clamps, n.down, n.room FROM ${lanesSql} AS n`,
    values: lanesValues(open),
  });
  const lanes = new Map(found.rows.map((row) => [row.cart_id, row]));
  return open.map(({ cartId }) => lanes.get(cartId) ?? null);
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

interface Limits {
  /** Deliveries that may be made. */
  readonly room: number;
  readonly linesMax: number;
}

interface FreeListing {
  readonly key: string;
  /** Its records cancel each other out. */
  readonly zero: boolean;
  /** Refused before: it goes in a delivery of its own, so that it cannot make the cart refuse others with it. */
  readonly alone: boolean;
}

const oldest = (which: string, limit: string) => `
               SELECT r.key FROM web_stack r JOIN carts c ON c.cart_id = r.cart_id JOIN lanes l ON l.cart_id = r.cart_id
                WHERE r.cart_id = n.cart_id AND r.state = 'waiting' ${which} AND r.generation = n.generation AND r.key NOT IN (SELECT b.key FROM blocked b)
                  AND ${mayBeginSql('r', 'c', 'l')}
                ORDER BY r.behind, r.id LIMIT ${limit}`;

/**
 * Of each lane the listings that are free (nothing in flight, in doubt or quarantined; not of several products of the cart) and due,
 * in the order in which they are to leave: decreases before increases, the scarcest first, since what is late there is sold twice;
 * and behind all of them, listings that only a Send or Get run makes owed anything. Where a cart clamps at zero, a zero that was not
 * settled by value holds increases back (clamped-listings.ts).
 *
 * The look-ahead counts only records that could leave: thousands that wait behind a quarantined line
 * must not hide the rest of the lane, nor thousands that raise hide one that lowers. Sums are looked up key by key (LATERAL):
 * joined, the statement took 2 s over 2,000 records of one listing.
 */
async function findFreeListings(client: PoolClient, open: readonly OpenLane[]): Promise<FreeListing[][]> {
  const due = `WHERE w.state = 'waiting' AND w.generation = n.generation`;
  const found = await client.query<FreeListing & { readonly cart_id: string }>({
    name: 'find-free-listings',
    text: `SELECT n.cart_id, o.key, o.zero, o.alone
             FROM ${lanesSql} AS n
            CROSS JOIN LATERAL (SELECT least(${lookAhead.max}, greatest(${lookAhead.min}, n.room * n.lines_max * ${lookAhead.perLine})) AS of_any) AS look
            CROSS JOIN LATERAL (
           WITH blocked AS MATERIALIZED (
             SELECT key FROM delivery_lines WHERE cart_id = n.cart_id AND state IN ('in-flight', 'in-doubt', 'quarantined')
             UNION
             SELECT key FROM web_stack WHERE cart_id = n.cart_id AND state = 'waiting' AND not_before IS NOT NULL AND not_before > clock_timestamp()
             UNION
             SELECT key FROM doubled_keys WHERE cart_id = n.cart_id
             UNION
             SELECT key FROM web_stack WHERE n.dead_letters_hold AND cart_id = n.cart_id AND state = 'dead-lettered'),
           ahead AS MATERIALIZED (
             SELECT key FROM (${oldest('', 'look.of_any')}) AS of_any
             UNION
             SELECT key FROM (${oldest('AND r.lowers', 'ceil(look.of_any / 4.0)::int')}) AS that_lower)
           SELECT f.key, f.delta = 0 AS zero, f.alone,
                  row_number() OVER (ORDER BY f.behind, (f.delta < 0 OR f.oldest < clock_timestamp() - interval '${starvationMs} milliseconds') DESC,
                                              f.target, f.oldest, f.key) AS place
             FROM (SELECT a.key, s.*
                     FROM ahead a
                    CROSS JOIN LATERAL (
                      SELECT sum(w.delta) FILTER (${due}) AS delta, min(w.created_at) FILTER (${due}) AS oldest,
                             bool_and(w.behind) FILTER (${due}) AS behind,
                             (array_agg(w.target ORDER BY w.id DESC) FILTER (${due}))[1] AS target,
                             coalesce(max(w.attempts_counted) FILTER (${due}), 0) > 0 AS alone
                        FROM web_stack w
                       WHERE w.cart_id = n.cart_id AND w.key = a.key
                         AND w.state IN ${waitStatesSql}) AS s) AS f
            WHERE NOT (n.clamps AND f.delta > 0 AND EXISTS (SELECT FROM listings x WHERE x.cart_id = n.cart_id AND x.key = f.key AND ${toBeSettledByValueSql('x')}))
                 ) AS o
            WHERE n.room > 0
            ORDER BY n.cart_id, o.place`,
    values: lanesValues(open),
  });
  const free = new Map<string, FreeListing[]>(open.map(({ cartId }) => [cartId, []]));
  for (const { cart_id: cartId, ...listing } of found.rows) free.get(cartId)?.push(listing);
  return open.map(({ cartId }) => free.get(cartId) ?? []);
}

/** @returns the keys of each delivery, at most `room` deliveries */
function groupLines(free: readonly FreeListing[], limits: Limits): string[][] {
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

/** Listings of one cart. */
interface Chosen {
  readonly cartId: string;
  readonly keys: readonly string[];
}

const pairsOf = <C extends Chosen>(chosen: readonly C[]) =>
  chosen.flatMap((one) => one.keys.map((key) => ({ ...one, key })));

/**
 * As everywhere: listings first, in the order of their carts and keys.
 * @returns of each cart those that, where it clamps at zero, it must not be told to raise yet
 */
async function lockListings(client: PoolClient, chosen: readonly Chosen[]): Promise<string[][]> {
  const pairs = pairsOf(chosen);
  const locked = await client.query<{ cart_id: string; key: string; unsettled: boolean }>({
    name: 'lock-listings-to-dispatch',
    // Which of them are unsettled is not asked by a WHERE: the planner would move it below the locks, and the others had none.
    text: `SELECT l.cart_id, l.key, ${toBeSettledByValueSql('l')} AS unsettled
             FROM (SELECT * FROM unnest($1::text[], $2::text[]) AS u (cart_id, key) ORDER BY u.cart_id COLLATE "C", u.key COLLATE "C") AS t
            CROSS JOIN LATERAL (SELECT * FROM listings x WHERE x.cart_id = t.cart_id AND x.key = t.key FOR UPDATE) AS l`,
    values: [pairs.map(({ cartId }) => cartId), pairs.map(({ key }) => key)],
  });
  const unsettled = locked.rows.filter((row) => row.unsettled);
  return chosen.map(({ cartId }) => unsettled.filter((row) => row.cart_id === cartId).map(({ key }) => key));
}

interface Due {
  readonly ids: string[];
  /** One of its records may begin a line by the cart's cadence; the others go along. */
  mayBegin: boolean;
  delta: number;
}

interface OwedRow {
  readonly cart_id: string;
  readonly id: string;
  readonly key: string;
  readonly delta: string;
  readonly state: string;
  readonly may_begin: boolean;
}

/**
 * What the locked listings are owed now; between choosing and locking, records may have come or been superseded, and those of
 * a listing may have left: what has a line under way is not due. The wide list of states makes the planner use the index by
 * listing, key by key (LATERAL: with a list of keys it may read all that waits and compare), and ids keep the updates from
 * being joined: without statistics both were seen to take minutes over some thousand records of one listing. For the same
 * reason the OFFSET 0: what is under way is looked up key by key.
 */
async function readOwed(
  client: PoolClient,
  chosen: readonly (Chosen & { readonly generation: number })[],
): Promise<OwedRow[][]> {
  const pairs = pairsOf(chosen);
  const found = await client.query<OwedRow>({
    name: 'read-due',
    text: `SELECT w.id, t.cart_id, w.key, w.delta, w.state, ${mayBeginSql('w', 'c', 'n')} AS may_begin
             FROM unnest($1::text[], $2::text[], $3::int[]) AS t (cart_id, key, generation)
            CROSS JOIN LATERAL (SELECT * FROM web_stack x
                                 WHERE x.cart_id = t.cart_id AND x.key = t.key AND x.state IN ${waitStatesSql} AND x.generation = t.generation
                                OFFSET 0) AS w
            CROSS JOIN LATERAL (SELECT x.is_paced FROM carts x WHERE x.cart_id = t.cart_id OFFSET 0) AS c
            CROSS JOIN LATERAL (SELECT x.opened_at FROM lanes x WHERE x.cart_id = t.cart_id OFFSET 0) AS n
            WHERE NOT EXISTS (SELECT FROM delivery_lines d
                               WHERE d.cart_id = t.cart_id AND d.key = t.key AND d.state IN ('in-flight', 'in-doubt', 'quarantined') OFFSET 0)`,
    values: [pairs.map(({ cartId }) => cartId), pairs.map(({ key }) => key), pairs.map(({ generation }) => generation)],
  });
  const owed = new Map<string, OwedRow[]>(chosen.map(({ cartId }) => [cartId, []]));
  for (const row of found.rows) owed.get(row.cart_id)?.push(row);
  return chosen.map(({ cartId }) => owed.get(cartId) ?? []);
}

function dueOf(owed: readonly OwedRow[]): Map<string, Due> {
  const due = new Map<string, Due>();
  for (const { id, key, delta, state, may_begin: mayBegin } of owed) {
    if (state !== 'waiting') continue;
    const sum = due.get(key) ?? { ids: [], mayBegin: false, delta: 0 };
    sum.ids.push(id);
    sum.delta += Number(delta);
    sum.mayBegin ||= mayBegin;
    due.set(key, sum);
  }
  // The record that let it be chosen may have ended since.
  for (const [key, { mayBegin }] of due) if (!mayBegin) due.delete(key);
  return due;
}

/** Records that cancel each other out never become a call. */
async function netZeroSums(client: PoolClient, due: ReadonlyMap<string, Due>): Promise<void> {
  const ids = [...due.values()].filter(({ delta }) => delta === 0).flatMap((sum) => sum.ids);
  if (ids.length === 0) return;
  await client.query({
    name: 'net-zero-sums',
    text: `UPDATE web_stack SET state = 'netted', ended_at = date_trunc('milliseconds', clock_timestamp()) WHERE id = ANY ($1::bigint[])`,
    values: [ids],
  });
}

interface NewLine extends Due {
  readonly key: string;
  readonly deliveryId: string;
}

function linesOf(groups: readonly (readonly string[])[], due: ReadonlyMap<string, Due>): NewLine[] {
  return groups.flatMap((keys) => {
    const deliveryId = randomUUID();
    return keys.flatMap((key) => {
      const sum = due.get(key);
      return sum === undefined || sum.delta === 0 ? [] : [{ key, deliveryId, ...sum }];
    });
  });
}

/** What leaves into one lane. */
interface Leaving {
  readonly cartId: string;
  readonly generation: number;
  readonly probe: boolean;
  readonly lines: readonly NewLine[];
  /** Of the deliveries that the lines are in. */
  readonly ids: readonly string[];
}

async function makeDeliveries(client: PoolClient, leaving: readonly Leaving[]): Promise<void[]> {
  const made = leaving.flatMap((lane) => lane.ids.map((id) => ({ ...lane, id })));
  const lines = leaving.flatMap((lane) => lane.lines.map((line) => ({ ...line, cartId: lane.cartId })));
  const taken = lines.flatMap(({ deliveryId, ids }) => ids.map((id) => ({ id, deliveryId })));
  await client.query({
    name: 'make-deliveries',
    text: `WITH made AS (
             INSERT INTO deliveries (id, cart_id, generation, probe, created_at, queued_at)
             SELECT id, cart_id, generation, probe, date_trunc('milliseconds', clock_timestamp()), clock_timestamp()
               FROM unnest($1::uuid[], $2::text[], $3::int[], $4::boolean[]) AS t (id, cart_id, generation, probe)),
           lines AS (
             INSERT INTO delivery_lines (delivery_id, line_no, cart_id, key, delta)
             SELECT t.delivery_id, row_number() OVER (PARTITION BY t.delivery_id ORDER BY t.delta, t.key), t.cart_id, t.key, t.delta
               FROM unnest($5::uuid[], $6::text[], $7::text[], $8::bigint[]) AS t (delivery_id, cart_id, key, delta))
           UPDATE web_stack w
              SET state = 'in-flight', delivery_id = t.delivery_id,
                  paced_at = CASE WHEN w.paced_at <> w.accepted_at THEN w.paced_at
                                  WHEN w.paced_at IS NOT NULL THEN coalesce((SELECT n.opened_at FROM lanes n WHERE n.cart_id = w.cart_id AND n.opened_at >= w.paced_at), clock_timestamp()) END
             FROM unnest($9::bigint[], $10::uuid[]) AS t (id, delivery_id) WHERE w.id = t.id`,
    values: [
      made.map(({ id }) => id),
      made.map(({ cartId }) => cartId),
      made.map(({ generation }) => generation),
      made.map(({ probe }) => probe),
      lines.map(({ deliveryId }) => deliveryId),
      lines.map(({ cartId }) => cartId),
      lines.map(({ key }) => key),
      lines.map(({ delta }) => delta),
      taken.map(({ id }) => id),
      taken.map(({ deliveryId }) => deliveryId),
    ],
  });
  return leaving.map(() => undefined);
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
