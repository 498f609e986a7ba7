import { randomUUID } from 'node:crypto';
import { DatabaseError, type PoolClient } from 'pg';
import { beginByKeysPlanned, type Database } from '../database.js';
import type { Packets } from '../packets.js';
import { triesSql, waitStatesSql } from '../projections/listings.table.js';
import { SharedTransactions } from '../shared-transactions.js';
import { steadyNow } from '../steady-clock.js';
import type { LaneJobData } from './lane-job.js';

export interface ClaimedLine {
  readonly key: string;
  readonly delta: number;
  readonly attemptsCounted: number;
  /** False: it has its outcome already, and is sent along only because a resend repeats the whole body. */
  readonly open: boolean;
  /** Settling: what was read before, and between which moments. */
  readonly q0: number | null;
  readonly q0From: Date | null;
  readonly q0To: Date | null;
}

export interface Claim {
  readonly kind: 'claimed';
  readonly attemptId: string;
  readonly cartId: string;
  readonly deliveryId: string;
  /**
   * send: the lines leave now. read: they may leave once it is known what the listing shows (the claim is ended and made
   * again). settle: find out whether they were applied.
   */
  readonly purpose: 'send' | 'read' | 'settle';
  readonly createdAtMs: number;
  readonly ambiguous: boolean;
  readonly resends: number;
  readonly probe: boolean;
  /** To settle: those that are due. To send: the whole body. */
  readonly lines: readonly ClaimedLine[];
  /** By this process's steady clock, read before the claim, so never later than the stored one. */
  readonly deadlineMs: number;
  /** Age of the delivery's key at the claim, by the database's clock alone: it made the key. */
  readonly keyAgeMs: number;
}

export type ClaimResult =
  | Claim
  /** Closed, another cart's, or another take of it is meant: this job has nothing to do. */
  | { readonly kind: 'gone' }
  /** The cart wants to be spoken to in another way than was taken for granted: nothing was done, claim it with what is known now. */
  | { readonly kind: 'changed' }
  /** Somebody else may have bytes under way; come back later. */
  | { readonly kind: 'busy'; readonly retryInMs: number };

/** Whose lane it is, and how that cart wants to be spoken to. */
export interface ClaimTerms {
  /** A job in the lane of another cart than its delivery's is nobody's: it would tell a shop what another one is owed. */
  readonly cartId: string;
  /** A repetition by the same key is harmless, so a dead worker's try need not be waited out. */
  readonly keyed: boolean;
  /** What was there before must be known, because a lost answer is settled by comparing quantities. */
  readonly needsQ0: boolean;
  /** It must be read for this very delivery: what is sent is made of it. */
  readonly readsFirst: boolean;
  readonly serial: boolean;
  readonly requestTimeoutMs: number;
  /** A settlement polls orders and reads twice; it may take this long. */
  readonly settleTimeoutMs: number;
  readonly quietTimeMs: number;
  readonly worker: string;
}

const claims = new SharedTransactions(beginByKeysPlanned);

const busyMs = 40;
/** Lost against the unique indexes, a deadlock, a serialization failure, a lock time-out: somebody else is at it. */
const retryableCodes = new Set(['23505', '40P01', '40001', '55P03']);

/**
 * A worker begins here: compare-and-set on the delivery's take, and one open attempt per delivery (per cart where it is a
 * serial one), by unique index. The attempt stands in the database before the first byte leaves.
 * @param attemptId the attempt's name, for whoever has to end it where nobody can tell whether it was written
 * @param sure the terms that hold; while they are being read, the claim begins with `terms`
 */
export async function claim(
  database: Database,
  job: LaneJobData,
  terms: ClaimTerms,
  attemptId: string = randomUUID(),
  sure: () => ClaimTerms | Promise<ClaimTerms> = () => terms,
): Promise<ClaimResult> {
  const begun = { attemptId, startedMs: steadyNow(), sure };
  try {
    return await claims.run(database, terms.cartId, (packets) => claimIn(packets, job, terms, begun));
  } catch (error) {
    if (error instanceof DatabaseError && retryableCodes.has(error.code ?? ''))
      return { kind: 'busy', retryInMs: busyMs };
    throw error;
  }
}

/** Which of a statement's items a row belongs to, counted from 1. */
interface Placed {
  readonly place: string;
}

interface DeliveryRow {
  readonly cart_id: string;
  readonly state: 'dispatched' | 'in-doubt' | 'closed';
  readonly take: number;
  readonly probe: boolean;
  readonly ambiguous: boolean;
  readonly resends: number;
  readonly created_at: Date;
  readonly paused: boolean;
  readonly down: boolean;
  readonly in_effect: boolean;
  /** A probe, or a delivery of absolute quantities, whose cart has not answered a reading yet. */
  readonly to_be_read_first: boolean;
  readonly key_age_ms: string;
  /** How long an unanswered call may still run inside a serial cart, in ms. */
  readonly busy_ms: string;
}

interface Begun {
  readonly attemptId: string;
  readonly startedMs: number;
  readonly sure: () => ClaimTerms | Promise<ClaimTerms>;
}

async function claimIn(
  packets: Packets,
  job: LaneJobData,
  likely: ClaimTerms,
  { attemptId, startedMs, sure }: Begun,
): Promise<ClaimResult> {
  const { client } = packets;
  const [delivery, openAttempts, lines] = await packets.send(() => [
    packets.ask(lockDeliveries, { ...job, ...likely }),
    packets.ask(lockOpenAttempts, { ...job, ...likely }),
    packets.ask(readLines, job.deliveryId),
  ]);
  const terms = await sure();
  if (terms.serial !== likely.serial || terms.readsFirst !== likely.readsFirst) return { kind: 'changed' };
  if (delivery === null || delivery.state === 'closed' || delivery.take !== job.take) return { kind: 'gone' };
  if (delivery.cart_id !== terms.cartId) return { kind: 'gone' };

  if (openAttempts.some(({ id }) => id === attemptId)) await takeBack(client, attemptId);
  const ofOthers = openAttempts.filter(({ id }) => id !== attemptId);
  const open = await closeDeadAttempts(client, job.deliveryId, ofOthers, terms);
  if (open.waitMs > 0) return { kind: 'busy', retryInMs: open.waitMs };
  if (open.lostThis && !terms.keyed) return { kind: 'gone' };
  const ambiguous = delivery.ambiguous || open.lostThis;

  const mayNotLeave = delivery.paused || !delivery.in_effect || (delivery.down && !delivery.probe);
  if (delivery.state === 'dispatched' && !ambiguous && mayNotLeave) {
    await handBack(client, job.deliveryId);
    return { kind: 'gone' };
  }
  // Bytes of this delivery may have been applied: it waits, as it is, until the lane is opened again.
  if (delivery.paused) return { kind: 'gone' };

  const settling = delivery.state === 'in-doubt';
  const busyForMs = Number(delivery.busy_ms);
  if (terms.serial && !settling && busyForMs > 0) return { kind: 'busy', retryInMs: busyForMs };

  if (!lines.some((line) => line.open)) return { kind: 'gone' };
  const purpose = settling ? 'settle' : purposeOf(terms, delivery, lines);
  const timeoutMs = purpose === 'send' ? terms.requestTimeoutMs : terms.settleTimeoutMs;
  const attempt = { ...terms, ...job, attemptId, purpose, timeoutMs, resend: ambiguous };
  await packets.commit(() => [
    packets.ask(beginAttempts, attempt),
    ...(purpose === 'send' && terms.needsQ0 ? [packets.ask(keepQ0, job.deliveryId)] : []),
  ]);
  return {
    kind: 'claimed',
    attemptId,
    cartId: delivery.cart_id,
    deliveryId: job.deliveryId,
    purpose,
    createdAtMs: delivery.created_at.getTime(),
    ambiguous,
    resends: delivery.resends,
    probe: delivery.probe,
    lines,
    deadlineMs: startedMs + timeoutMs,
    keyAgeMs: Number(delivery.key_age_ms),
  };
}

/** What a statement about several claims asks of each. */
type Claimant = LaneJobData & Pick<ClaimTerms, 'cartId' | 'readsFirst' | 'serial'>;

/**
 * In: deliveries. Out: each with what its claim depends on; null where there is none.
 * Effects: locked in the order of their ids, each read as it stands once it is.
 */
async function lockDeliveries(client: PoolClient, claimants: readonly Claimant[]): Promise<(DeliveryRow | null)[]> {
  const found = await client.query<DeliveryRow & Placed>({
    name: 'lock-deliveries',
    text: `SELECT t.place, d.cart_id, d.state, d.take, d.probe, d.ambiguous, d.resends, d.created_at, l.paused, l.down_since IS NOT NULL AS down,
                  c.is_on AND s.is_on AND c.generation = d.generation AS in_effect,
                  (d.probe OR t.reads_first) AND NOT EXISTS (SELECT FROM attempts r WHERE r.delivery_id = d.id AND r.kind = 'read' AND r.outcome = 'read' OFFSET 0)
                    AS to_be_read_first,
                  ceil(extract(epoch FROM clock_timestamp() - d.created_at) * 1000) AS key_age_ms,
                  greatest(0, ceil(extract(epoch FROM l.busy_until - clock_timestamp()) * 1000)) AS busy_ms
             FROM (SELECT * FROM unnest($1::uuid[], $2::boolean[]) WITH ORDINALITY AS u (id, reads_first, place) ORDER BY u.id) AS t
            CROSS JOIN LATERAL (SELECT * FROM deliveries x WHERE x.id = t.id FOR UPDATE) AS d
            CROSS JOIN LATERAL (SELECT * FROM lanes x WHERE x.cart_id = d.cart_id OFFSET 0) AS l
            CROSS JOIN LATERAL (SELECT * FROM carts x WHERE x.cart_id = d.cart_id OFFSET 0) AS c
             JOIN system_switch s ON s.id = 1`,
    values: [claimants.map(({ deliveryId }) => deliveryId), claimants.map(({ readsFirst }) => readsFirst)],
  });
  return claimants.map((_, index) => found.rows.find(({ place }) => Number(place) === index + 1) ?? null);
}

/** Written by this very claim before, whose COMMIT nobody heard of: nothing was sent under it, so it is no try. */
async function takeBack(client: PoolClient, attemptId: string): Promise<void> {
  await client.query(
    `WITH gone AS (DELETE FROM attempts WHERE id = $1 RETURNING delivery_id, kind)
     UPDATE deliveries d SET tries = d.tries - 1 FROM gone WHERE d.id = gone.delivery_id AND gone.kind = 'send'`,
    [attemptId],
  );
}

/**
 * A cart that is settled by looking is also probed by looking: a delta sent into an outage would put one more line in
 * doubt with every probe.
 */
function purposeOf(terms: ClaimTerms, delivery: DeliveryRow, lines: readonly ClaimedLine[]): Claim['purpose'] {
  if (!terms.needsQ0) return 'send';
  return delivery.to_be_read_first || lines.some((line) => line.open && line.q0 === null) ? 'read' : 'send';
}

/**
 * Attempts whose worker died stay open. While it lives, or as long as it cannot be told, bytes may leave until their
 * deadline; then a keyed one is simply sent again, and any other one puts its lines in doubt, to be settled once its
 * deadline and the cart's quiet time have passed.
 */
async function closeDeadAttempts(
  client: PoolClient,
  deliveryId: string,
  openAttempts: readonly OpenAttempt[],
  terms: ClaimTerms,
): Promise<{ waitMs: number; lostThis: boolean }> {
  let lostThis = false;
  let waitMs = 0;
  for (const attempt of openAttempts) {
    const mine = attempt.delivery_id === deliveryId;
    const leftMs = Number(attempt.left_ms);
    if (leftMs > 0 && !attempt.dead) return { waitMs: Math.min(leftMs, busyMs), lostThis: false };
    await client.query(
      `UPDATE attempts SET ended_at = clock_timestamp(), outcome = 'lost', response = 'The worker did not live to see the answer'
        WHERE id = $1`,
      [attempt.id],
    );
    if (attempt.kind !== 'send') continue;
    lostThis ||= mine;
    // Its worker is dead, but the cart may still be at it.
    if (terms.serial) waitMs = Math.max(waitMs, leftMs);
    if (terms.keyed) await client.query('UPDATE deliveries SET ambiguous = true WHERE id = $1', [attempt.delivery_id]);
    else await putInDoubt(client, attempt.delivery_id, terms.quietTimeMs);
  }
  return { waitMs: lostThis ? 0 : waitMs, lostThis };
}

interface OpenAttempt {
  readonly id: string;
  readonly delivery_id: string;
  readonly kind: string;
  readonly left_ms: string;
  readonly dead: boolean;
}

/** In: deliveries. Out: the open attempts of each, and where its cart takes one call at a time those of the cart. */
async function lockOpenAttempts(client: PoolClient, claimants: readonly Claimant[]): Promise<OpenAttempt[][]> {
  const found = await client.query<OpenAttempt & Placed>({
    name: 'open-attempts',
    text: `SELECT t.place, a.id, a.delivery_id, a.kind, ceil(extract(epoch FROM a.deadline - clock_timestamp()) * 1000) AS left_ms,
                  NOT EXISTS (SELECT FROM pg_stat_activity p WHERE p.application_name = a.worker) AS dead
             FROM (SELECT * FROM unnest($1::uuid[], $2::text[], $3::boolean[]) WITH ORDINALITY AS u (delivery_id, cart_id, serial, place)
                    ORDER BY u.delivery_id) AS t
            CROSS JOIN LATERAL (SELECT * FROM attempts x
                                 WHERE x.ended_at IS NULL AND (x.delivery_id = t.delivery_id OR (t.serial AND x.serial AND x.cart_id = t.cart_id))
                                   FOR UPDATE) AS a`,
    values: [
      claimants.map(({ deliveryId }) => deliveryId),
      claimants.map(({ cartId }) => cartId),
      claimants.map(({ serial }) => serial),
    ],
  });
  return rowsByPlace(claimants.length, found.rows);
}

async function putInDoubt(client: PoolClient, deliveryId: string, quietTimeMs: number): Promise<void> {
  await client.query(
    `WITH lines AS (
       UPDATE delivery_lines SET state = 'in-doubt',
              settle_at = greatest(clock_timestamp(), (SELECT max(deadline) FROM attempts WHERE delivery_id = $1 AND kind = 'send'))
                          + $2 * interval '1 millisecond'
        WHERE delivery_id = $1 AND state = 'in-flight' RETURNING cart_id, key),
     records AS (
       UPDATE web_stack w SET state = 'in-doubt', last_response = 'No answer: the worker died while the call was under way'
         FROM lines l WHERE w.delivery_id = $1 AND w.key = l.key AND w.state = 'in-flight'),
     unknown AS (
       UPDATE listings s SET last_quantity = NULL, last_quantity_from = NULL, last_quantity_to = NULL
         FROM lines l WHERE s.cart_id = l.cart_id AND s.key = l.key),
     busy AS (
       UPDATE lanes SET busy_until = a.deadline
         FROM (SELECT cart_id, max(deadline) AS deadline FROM attempts WHERE delivery_id = $1 AND kind = 'send' GROUP BY cart_id) AS a
        WHERE lanes.cart_id = a.cart_id)
     UPDATE deliveries SET state = 'in-doubt', ambiguous = true WHERE id = $1`,
    [deliveryId, quietTimeMs],
  );
}

/** Nothing of the delivery ever left: its records wait again, uncounted, and merge with what came since. */
async function handBack(client: PoolClient, deliveryId: string): Promise<void> {
  await client.query(
    `WITH lines AS (
       UPDATE delivery_lines SET state = 'done', outcome = 'handed back', ended_at = clock_timestamp()
        WHERE delivery_id = $1 AND state = 'in-flight' RETURNING key),
     records AS (
       UPDATE web_stack w SET state = 'waiting', delivery_id = NULL, attempts = w.attempts + ${triesSql('w')}
         FROM lines l WHERE w.delivery_id = $1 AND w.key = l.key AND w.state = 'in-flight')
     UPDATE deliveries SET state = 'closed', closed_at = clock_timestamp() WHERE id = $1`,
    [deliveryId],
  );
}

/**
 * The lines of a delivery, with q0 taken from the listing where the line has none yet. To be settled: those in doubt
 * whose time has come, since before it what was sent may still take effect. To be sent: all of them, because the body
 * under one key never changes. What is known of each is looked up by its key (LATERAL): joined, each line may be compared with
 * each record of the delivery.
 */
async function readLines(client: PoolClient, deliveryIds: readonly string[]): Promise<ClaimedLine[][]> {
  const found = await client.query<
    Placed & {
      key: string;
      delta: string;
      attempts_counted: number;
      open: boolean;
      q0: string | null;
      q0_from: Date | null;
      q0_to: Date | null;
    }
  >({
    name: 'read-lines',
    text: `SELECT t.place, d.key, d.delta, d.state IN ('in-flight', 'in-doubt') AS open,
                  coalesce(w.attempts_counted, 0) AS attempts_counted,
                  coalesce(d.q0, s.last_quantity) AS q0,
                  CASE WHEN d.q0 IS NULL THEN s.last_quantity_from ELSE d.q0_from END AS q0_from,
                  CASE WHEN d.q0 IS NULL THEN s.last_quantity_to ELSE d.q0_to END AS q0_to
             FROM unnest($1::uuid[]) WITH ORDINALITY AS t (id, place)
            CROSS JOIN LATERAL (SELECT x.state FROM deliveries x WHERE x.id = t.id OFFSET 0) AS whole
            CROSS JOIN LATERAL (SELECT * FROM delivery_lines x WHERE x.delivery_id = t.id OFFSET 0) AS d
            CROSS JOIN LATERAL (SELECT * FROM listings x WHERE x.cart_id = d.cart_id AND x.key = d.key OFFSET 0) AS s
            CROSS JOIN LATERAL (SELECT max(x.attempts_counted) AS attempts_counted FROM web_stack x
                                 WHERE x.cart_id = d.cart_id AND x.key = d.key AND x.state IN ${waitStatesSql}
                                   AND x.delivery_id = t.id) AS w
            WHERE whole.state <> 'in-doubt' OR d.state = 'in-doubt' AND d.settle_at <= clock_timestamp()
            ORDER BY t.place, d.line_no`,
    values: [deliveryIds],
  });
  return rowsByPlace(deliveryIds.length, found.rows).map((rows) =>
    rows.map((row) => ({
      key: row.key,
      delta: Number(row.delta),
      attemptsCounted: row.attempts_counted,
      open: row.open,
      q0: row.q0 === null ? null : Number(row.q0),
      q0From: row.q0_from,
      q0To: row.q0_to,
    })),
  );
}

interface NewAttempt extends LaneJobData, Pick<ClaimTerms, 'cartId' | 'serial' | 'worker'> {
  readonly attemptId: string;
  readonly purpose: Claim['purpose'];
  readonly timeoutMs: number;
  /** The same bytes have left before. */
  readonly resend: boolean;
}

/** A try to send is counted on its delivery: its records would each be written once more for it. */
async function beginAttempts(client: PoolClient, attempts: readonly NewAttempt[]): Promise<void[]> {
  const sends = attempts.filter(({ purpose }) => purpose === 'send');
  await client.query({
    name: 'begin-attempts',
    text: `WITH counted AS (
             UPDATE deliveries d SET tries = d.tries + 1, resends = d.resends + t.resent, next_attempt_at = NULL
               FROM unnest($9::uuid[], $10::int[]) AS t (id, resent) WHERE d.id = t.id)
           INSERT INTO attempts (id, delivery_id, cart_id, take, kind, serial, worker, started_at, deadline)
           SELECT t.id, t.delivery_id, t.cart_id, t.take, t.kind, t.serial, t.worker, date_trunc('milliseconds', clock_timestamp()),
                  clock_timestamp() + t.timeout_ms * interval '1 millisecond'
             FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::text[], $6::boolean[], $7::text[], $8::bigint[])
               AS t (id, delivery_id, cart_id, take, kind, serial, worker, timeout_ms)`,
    values: [
      attempts.map(({ attemptId }) => attemptId),
      attempts.map(({ deliveryId }) => deliveryId),
      attempts.map(({ cartId }) => cartId),
      attempts.map(({ take }) => take),
      attempts.map(({ purpose }) => purpose),
      attempts.map(({ serial }) => serial),
      attempts.map(({ worker }) => worker),
      attempts.map(({ timeoutMs }) => timeoutMs),
      sends.map(({ deliveryId }) => deliveryId),
      sends.map(({ resend }) => (resend ? 1 : 0)),
    ],
  });
  return attempts.map(() => undefined);
}

/** What its listing showed before a line, where it has none yet. */
async function keepQ0(client: PoolClient, deliveryIds: readonly string[]): Promise<void[]> {
  await client.query({
    name: 'keep-q0',
    text: `UPDATE delivery_lines d SET q0 = s.last_quantity, q0_from = s.last_quantity_from, q0_to = s.last_quantity_to
             FROM unnest($1::uuid[]) AS t (id)
            CROSS JOIN LATERAL (SELECT * FROM delivery_lines x WHERE x.delivery_id = t.id AND x.q0 IS NULL OFFSET 0) AS l
            CROSS JOIN LATERAL (SELECT * FROM listings x WHERE x.cart_id = l.cart_id AND x.key = l.key OFFSET 0) AS s
            WHERE d.delivery_id = l.delivery_id AND d.line_no = l.line_no`,
    values: [deliveryIds],
  });
  return deliveryIds.map(() => undefined);
}

function rowsByPlace<Row extends Placed>(places: number, rows: readonly Row[]): Row[][] {
  const groups: Row[][] = Array.from({ length: places }, () => []);
  for (const row of rows) groups[Number(row.place) - 1]?.push(row);
  return groups;
}
