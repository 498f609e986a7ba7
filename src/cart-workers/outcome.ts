import type { PoolClient } from 'pg';
import { beginByKeysPlanned, type Database } from '../database.js';
import { gatheredLinesMax, Gathering } from '../gathering.js';
import { reached } from '../moments.js';
import { inPackets } from '../packets.js';
import { waitStatesSql } from '../projections/listings.table.js';
import { beginFor } from '../shared-transactions.js';
import { suspectReplies } from './drifts/suspicions.js';

/** What a listing showed, and between which moments (by the database's clock); null: as long as the try lasted. */
export interface SeenQuantity {
  readonly quantity: number | null;
  readonly seen: { readonly from: Date; readonly to: Date } | null;
}

/** What becomes of one line, as the worker (or a settlement) found out. */
export type LineEnd = {
  readonly key: string;
  /** The cart's own words, or ours where it said none. */
  readonly response: string;
} &
  /** With what the cart shows after it, where known. */
  (
    | ({
        readonly end: 'delivered';
        readonly outcome: 'applied' | 'settled as applied';
      } & SeenQuantity)
    /** Definitely not applied: its records wait again and leave under a new key. What is known after a settlement is kept. */
    | ({
        readonly end: 'returned';
        readonly outcome: string;
        readonly delayMs: number;
        readonly counted: boolean;
        /** What the listing was seen to show is out of date: it is read before the next try. */
        readonly lookAgain?: boolean;
      } & Partial<SeenQuantity>)
    | { readonly end: 'dead-lettered'; readonly outcome: string; readonly unlisted: 'not-found' | 'not-tracked' | null }
    /** Nobody knows; settled no sooner than `settleInMs` after now and after the deadline of every try. */
    | { readonly end: 'in-doubt'; readonly settleInMs: number }
    | { readonly end: 'quarantined'; readonly evidence: unknown }
    /** The same bytes go again. */
    | { readonly end: 'open' }
  );

export interface AttemptEnd {
  readonly attemptId: string;
  readonly deliveryId: string;
  readonly cartId: string;
  /** One word for lists. */
  readonly outcome: string;
  readonly response: string;
  readonly lines: readonly LineEnd[];
  /** Set when the delivery stays open: bytes may have been applied, and it is tried again after this time. */
  readonly resendInMs?: number | undefined;
  /** What the try says about the cart as a whole. */
  readonly cart: 'up' | 'down' | null;
  /** For a cart that is down: when the next probe may go. */
  readonly probeInMs?: number | undefined;
  /** Whether this was a look whether the cart is back: only those make the pauses grow, not calls that failed side by side. */
  readonly probe?: boolean;
  /** A try that ended before its lines could be sent; those that sent were counted when they began. */
  readonly countsAsTry?: boolean;
  /** Where a try is a sequence of calls: the moment by which the one that writes had left, sooner than the try's own deadline. */
  readonly lastByteBy?: Date | undefined;
  /** No answer came, and the cart takes one call at a time: it may still be carrying this one out until its deadline. */
  readonly mayStillRun?: boolean;
}

/** Pauses before recording is tried again: through a deadlock as well as a database that is just restarting. */
const recordPausesMs = [20, 100, 500, 2_000] as const;

/**
 * Records how a try ended, in one transaction and compare-and-set throughout: a line or record that meanwhile reached
 * another end keeps that one. What the cart said is known only here, so a fault of the database is outlasted; recording
 * the same end twice changes nothing.
 *
 * Listings are locked first and in key order, as the projector does.
 */
export async function recordOutcome(database: Database, end: AttemptEnd): Promise<void> {
  reached('worker:answered', end.cartId);
  for (const pauseMs of recordPausesMs) {
    try {
      await recordOnce(database, end);
      reached('worker:outcome-recorded', end.cartId);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
  await recordOnce(database, end);
  reached('worker:outcome-recorded', end.cartId);
}

const outcomes = new Gathering<AttemptEnd, void>(recordTogether);

async function recordOnce(database: Database, end: AttemptEnd): Promise<void> {
  if (end.lines.length > gatheredLinesMax) await recordTogether(database, [end]);
  else await outcomes.run(database, end);
}

/** @param ends of different carts, in the order of these */
async function recordTogether(database: Pick<Database, 'pool'>, ends: readonly AttemptEnd[]): Promise<void[]> {
  return inPackets(database, beginFor(ends.length, beginByKeysPlanned), async (packets) => {
    const { client } = packets;
    const [, open] = await packets.send(() => [lockListings(client, ends), findOpen(client, ends)]);
    const effective = ends.flatMap((end) => (open.has(end.attemptId) ? end : (ifLate(end) ?? [])));
    if (effective.length > 0) await packets.commit(() => record(client, effective));
    return ends.map(() => undefined);
  });
}

/** @returns what it sent */
function record(client: PoolClient, ends: readonly AttemptEnd[]): readonly Promise<void>[] {
  const replies = ends.flatMap(({ cartId, deliveryId, lines }) =>
    lines.flatMap(toldQuantity).map((told) => ({ cartId, deliveryId, ...told })),
  );
  const up = ends.filter(({ cart }) => cart === 'up');
  return [
    endAttempts(client, ends),
    ...(ends.some(({ lines }) => lines.length > 0) ? [endLines(client, ends)] : []),
    endDeliveries(client, ends),
    ...(replies.length > 0 ? [suspectReplies(client, replies)] : []),
    ...(up.length > 0 ? [lanesUp(client, up)] : []),
    ...ends.filter(({ cart }) => cart === 'down').map((end) => laneDown(client, end)),
    ...ends.filter(({ mayStillRun }) => mayStillRun === true).map((end) => keepOthersAway(client, end)),
  ];
}

const toldQuantity = (line: LineEnd) =>
  line.end === 'delivered' && line.quantity !== null ? [{ key: line.key, quantity: line.quantity }] : [];

/** Nothing else goes to a serial cart before an unanswered call's deadline. */
async function keepOthersAway(client: PoolClient, end: AttemptEnd): Promise<void> {
  await client.query({
    name: 'keep-others-away',
    text: `UPDATE lanes SET busy_until = a.deadline FROM attempts a WHERE a.id = $1 AND lanes.cart_id = a.cart_id`,
    values: [end.attemptId],
  });
}

/** @returns those of the attempts that have not ended */
async function findOpen(client: PoolClient, ends: readonly AttemptEnd[]): Promise<Set<string>> {
  const found = await client.query<{ id: string; open: boolean }>({
    name: 'lock-attempts',
    text: 'SELECT id, ended_at IS NULL AS open FROM attempts WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE',
    values: [ends.map(({ attemptId }) => attemptId)],
  });
  return new Set(found.rows.filter(({ open }) => open).map(({ id }) => id));
}

/**
 * A try that was given up as lost has been taken over: the same key may be on its way again, or a settlement. Of what it
 * says late only success still counts, and stops both. Its "nothing was applied" says nothing about the other try.
 */
function ifLate(end: AttemptEnd): AttemptEnd | null {
  const lines = end.lines.filter((line) => line.end === 'delivered');
  return lines.length === 0 ? null : { ...end, lines, resendInMs: undefined, cart: null, countsAsTry: false };
}

async function lockListings(client: PoolClient, ends: readonly AttemptEnd[]): Promise<void> {
  const keys = ends.flatMap(({ cartId, lines }) => lines.map(({ key }) => ({ cartId, key })));
  if (keys.length === 0) return;
  await client.query({
    name: 'lock-listings-of-lines',
    text: `SELECT FROM (SELECT * FROM unnest($1::text[], $2::text[]) AS k (cart_id, key) ORDER BY k.cart_id COLLATE "C", k.key COLLATE "C") AS t
            CROSS JOIN LATERAL (SELECT FROM listings x WHERE x.cart_id = t.cart_id AND x.key = t.key FOR UPDATE) AS l`,
    values: [keys.map(({ cartId }) => cartId), keys.map(({ key }) => key)],
  });
}

/**
 * One that had been given up keeps its end: from there on others were at it. What it says late is its outcome all the same.
 * The moment is cut off as its records' is, and not rounded, or the answer could seem to come after what followed from it.
 */
async function endAttempts(client: PoolClient, ends: readonly AttemptEnd[]): Promise<void> {
  await client.query({
    name: 'end-attempts',
    text: `UPDATE attempts a
              SET ended_at = coalesce(a.ended_at, date_trunc('milliseconds', clock_timestamp())), outcome = t.outcome, response = t.response,
                  deadline = least(a.deadline, t.last_byte_by), duration_ms = extract(epoch FROM clock_timestamp() - a.started_at) * 1000
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) AS t (id, outcome, response, last_byte_by)
            WHERE a.id = t.id`,
    values: [
      ends.map(({ attemptId }) => attemptId),
      ends.map(({ outcome }) => outcome),
      ends.map(({ response }) => response),
      ends.map(({ lastByteBy }) => lastByteBy ?? null),
    ],
  });
}

const lineStates = { delivered: 'done', returned: 'done', 'dead-lettered': 'done', open: 'in-flight' } as const;
const recordStates = { returned: 'waiting', open: 'in-flight' } as const;

async function endLines(client: PoolClient, ends: readonly AttemptEnd[]): Promise<void> {
  const rows = ends.flatMap((end) => end.lines.map((line) => ({ ...rowOf(line), ...ofDelivery(end) })));
  await client.query({ name: 'end-lines', text: endLinesSql, values: [JSON.stringify(rows)] });
}

const ofDelivery = (end: AttemptEnd) => ({
  delivery_id: end.deliveryId,
  cart_id: end.cartId,
  attempt_id: end.attemptId,
  tries: end.countsAsTry === true ? 1 : 0,
});

function rowOf(line: LineEnd) {
  return {
    key: line.key,
    response: line.response.slice(0, 500),
    line_state: line.end in lineStates ? lineStates[line.end as keyof typeof lineStates] : line.end,
    record_state: line.end in recordStates ? recordStates[line.end as keyof typeof recordStates] : line.end,
    outcome: 'outcome' in line ? line.outcome : null,
    quantity: 'quantity' in line ? (line.quantity ?? null) : null,
    seen_from: 'seen' in line ? (line.seen?.from ?? null) : null,
    seen_to: 'seen' in line ? (line.seen?.to ?? null) : null,
    delay_ms: line.end === 'returned' ? line.delayMs : 0,
    look_again: line.end === 'returned' && line.lookAgain === true,
    counted: (line.end === 'returned' && line.counted) || line.end === 'dead-lettered' ? 1 : 0,
    unlisted: line.end === 'dead-lettered' ? line.unlisted : null,
    settle_in_ms: line.end === 'in-doubt' ? line.settleInMs : null,
    evidence: line.end === 'quarantined' ? line.evidence : null,
  };
}

/**
 * $1: the rows above. What a listing was last seen to show is kept only when this very line ended with a known quantity, or
 * definitely changed nothing: after any other end it has to be read before the next delta that may need settling. A cart
 * that does not know the item takes every waiting record of the listing along into its one dead letter. A quarantined line
 * is reached only by a late success: proof, better than a person's word.
 */
const endLinesSql = `
  WITH rows AS (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS r (
      delivery_id uuid, cart_id text, attempt_id uuid, tries int,
      key text, response text, line_state text, record_state text, outcome text, quantity bigint, seen_from timestamptz,
      seen_to timestamptz, delay_ms int, counted int, look_again boolean, unlisted text, settle_in_ms int, evidence jsonb)),
  -- Each is found by its key, one by one, and written where it was found (the listings are locked): joined, each row may be
  -- compared with each line under way, or each listing there is.
  open AS MATERIALIZED (
    SELECT r.*, o.line FROM rows r
     CROSS JOIN LATERAL (SELECT x.ctid AS line FROM delivery_lines x
                          WHERE x.cart_id = r.cart_id AND x.key = r.key AND x.state IN ('in-flight', 'in-doubt', 'quarantined')
                            AND x.delivery_id = r.delivery_id
                            AND (x.state <> 'quarantined' OR r.record_state = 'delivered')
                         OFFSET 0) AS o),
  lines AS (
    UPDATE delivery_lines d
       SET state = r.line_state, outcome = r.outcome, response = r.response, quantity = r.quantity,
           settle_at = CASE WHEN r.settle_in_ms IS NULL THEN d.settle_at
                            ELSE greatest(clock_timestamp(), (SELECT max(a.deadline) FROM attempts a
                                                               WHERE a.delivery_id = r.delivery_id AND a.kind = 'send'))
                                 + r.settle_in_ms * interval '1 millisecond' END,
           evidence = r.evidence,
           ended_at = CASE WHEN r.line_state = 'done' THEN clock_timestamp() END
      FROM open r WHERE d.ctid = r.line
    RETURNING r.*),
  owed AS MATERIALIZED (
    SELECT r.*, o.place, o.leaves FROM lines r
     CROSS JOIN LATERAL (SELECT w.ctid AS place, w.state <> 'waiting' AS leaves FROM web_stack w
                          WHERE w.cart_id = r.cart_id AND w.key = r.key AND w.state IN ${waitStatesSql}
                            AND (w.delivery_id = r.delivery_id AND w.state IN ('in-flight', 'in-doubt', 'quarantined')
                                 OR r.unlisted IS NOT NULL AND w.state = 'waiting')
                         OFFSET 0) AS o),
  records AS (
    UPDATE web_stack w
       SET state = r.record_state, last_response = r.response,
           attempts = w.attempts + CASE WHEN r.line_state = 'done'
                                        THEN r.tries + (SELECT t.tries FROM deliveries t WHERE t.id = r.delivery_id) ELSE 0 END,
           attempts_counted = w.attempts_counted + r.counted,
           delivery_id = CASE WHEN r.record_state = 'waiting' THEN NULL ELSE w.delivery_id END,
           not_before = CASE WHEN r.record_state = 'waiting' AND r.delay_ms > 0
                             THEN clock_timestamp() + r.delay_ms * interval '1 millisecond' END,
           ended_at = CASE WHEN r.record_state = 'delivered' THEN date_trunc('milliseconds', clock_timestamp()) END
      FROM owed r WHERE w.ctid = r.place AND r.leaves),
  joined AS (
    UPDATE web_stack w SET state = 'dead-lettered', last_response = r.response
      FROM owed r WHERE w.ctid = r.place AND NOT r.leaves),
  -- Most listings have nothing to forget and nothing to learn: their rows stay as they are.
  learning AS MATERIALIZED (
    SELECT r.*, o.listing FROM lines r
     CROSS JOIN LATERAL (SELECT x.ctid AS listing FROM listings x
                          WHERE x.cart_id = r.cart_id AND x.key = r.key AND r.record_state <> 'in-flight'
                            AND NOT (r.record_state = 'waiting' AND r.quantity IS NULL AND NOT r.look_again)
                            AND (r.quantity IS NOT NULL OR x.last_quantity_from IS NOT NULL OR x.last_quantity IS NOT NULL
                                 OR r.line_state = 'done' AND x.unlisted IS DISTINCT FROM r.unlisted)
                         OFFSET 0) AS o)
  UPDATE listings s
     SET last_quantity = r.quantity,
         last_quantity_from = CASE WHEN r.quantity IS NOT NULL
                                   THEN coalesce(r.seen_from, (SELECT a.started_at FROM attempts a WHERE a.id = r.attempt_id)) END,
         last_quantity_to = CASE WHEN r.quantity IS NOT NULL THEN coalesce(r.seen_to, clock_timestamp()) END,
         unlisted = CASE WHEN r.line_state = 'done' THEN r.unlisted ELSE s.unlisted END
    FROM learning r WHERE s.ctid = r.listing`;

/** A delivery is closed with its last open line; otherwise it is to be sent again, or settled. */
async function endDeliveries(client: PoolClient, ends: readonly AttemptEnd[]): Promise<void> {
  await client.query({
    name: 'end-deliveries',
    text: `UPDATE deliveries d
              SET state = CASE WHEN t.open = 0 THEN 'closed' WHEN t.in_doubt > 0 THEN 'in-doubt' ELSE 'dispatched' END,
                  closed_at = CASE WHEN t.open = 0 THEN clock_timestamp() END,
                  ambiguous = d.ambiguous OR t.resend_in_ms IS NOT NULL OR t.in_doubt > 0,
                  tries = d.tries + t.tries,
                  queued_at = CASE WHEN t.resend_in_ms IS NULL THEN d.queued_at ELSE clock_timestamp() END,
                  next_attempt_at = CASE WHEN t.open > 0 AND t.resend_in_ms IS NOT NULL
                                         THEN clock_timestamp() + t.resend_in_ms * interval '1 millisecond' END
             FROM (SELECT e.*, o.* FROM unnest($1::uuid[], $2::int[], $3::int[]) AS e (id, resend_in_ms, tries)
                    CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE l.state IN ('in-flight', 'in-doubt')) AS open,
                                               count(*) FILTER (WHERE l.state = 'in-doubt') AS in_doubt
                                          FROM delivery_lines l WHERE l.delivery_id = e.id) AS o) AS t
            WHERE d.id = t.id AND d.state <> 'closed'`,
    values: [
      ends.map(({ deliveryId }) => deliveryId),
      ends.map(({ resendInMs }) => resendInMs ?? null),
      ends.map((end) => ofDelivery(end).tries),
    ],
  });
}

/** Green again with the first answer. Pause is not touched: it is a person's. */
async function lanesUp(client: PoolClient, ends: readonly AttemptEnd[]): Promise<void> {
  await client.query({
    name: 'lanes-up',
    text: `UPDATE lanes l SET down_since = NULL, probes = 0, next_probe_at = NULL, last_success_at = clock_timestamp(), last_response = t.response
             FROM unnest($1::text[], $2::text[]) AS t (cart_id, response)
            WHERE l.cart_id = t.cart_id
              AND (l.down_since IS NOT NULL OR l.last_success_at IS NULL OR l.last_success_at < clock_timestamp() - interval '1 second')`,
    values: [ends.map(({ cartId }) => cartId), ends.map(({ response }) => response)],
  });
}

/** Amber, with a growing pause, while the cart is down. */
async function laneDown(client: PoolClient, end: AttemptEnd): Promise<void> {
  await client.query({
    name: 'lane-down',
    text: `UPDATE lanes SET down_since = coalesce(down_since, clock_timestamp()),
                            probes = probes + CASE WHEN down_since IS NULL OR $4 THEN 1 ELSE 0 END,
                            next_probe_at = greatest(clock_timestamp() + $2 * interval '1 millisecond',
                                                     CASE WHEN down_since IS NOT NULL AND NOT $4 THEN next_probe_at END),
                            last_response = $3
            WHERE cart_id = $1`,
    values: [end.cartId, end.probeInMs ?? 0, end.response, end.probe === true],
  });
}
