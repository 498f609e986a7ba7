import type { PoolClient } from 'pg';
import type { Database } from '../database.js';

/** What becomes of one line, as the worker (or a settlement) found out. */
export type LineEnd = {
  readonly key: string;
  /** The cart's own words, or ours where it said none. */
  readonly response: string;
} & (
  | {
      readonly end: 'delivered';
      readonly outcome: 'applied' | 'settled as applied' | 'declared applied';
      /** What the cart shows after it, where known, and between which moments that was so. */
      readonly quantity: number | null;
      readonly quantityFrom: Date | null;
      readonly quantityTo: Date | null;
    }
  /** Definitely not applied: its records wait again and leave under a new key. */
  | {
      readonly end: 'returned';
      readonly outcome: string;
      readonly delayMs: number;
      readonly counted: boolean;
      /** Known after a settlement. */
      readonly quantity?: number | null;
      readonly quantityFrom?: Date | null;
      readonly quantityTo?: Date | null;
    }
  | { readonly end: 'dead-lettered'; readonly outcome: string; readonly unlisted: 'not-found' | 'not-tracked' | null }
  /** Nobody knows; settle it no sooner than after `settleInMs`. */
  | { readonly end: 'in-doubt'; readonly settleInMs: number; readonly settleRead?: unknown }
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
}

/**
 * Records how a try ended, in one transaction and compare-and-set throughout: a line or record that meanwhile reached
 * another end keeps that one. A late success is still taken, as long as its line is open, and so stops a pending resend.
 *
 * Listings are locked first and in key order, as the projector does.
 */
export async function recordOutcome(database: Database, end: AttemptEnd): Promise<void> {
  const client = await database.pool.connect();
  try {
    await client.query('BEGIN');
    await lockListings(client, end);
    await endAttempt(client, end);
    if (end.lines.length > 0) await endLines(client, end);
    await endDelivery(client, end);
    if (end.cart !== null) await judgeLane(client, end);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}

async function lockListings(client: PoolClient, end: AttemptEnd): Promise<void> {
  await client.query({
    name: 'lock-listings-of-lines',
    text: 'SELECT FROM listings WHERE cart_id = $1 AND key = ANY ($2::text[]) ORDER BY cart_id, key FOR UPDATE',
    values: [end.cartId, end.lines.map((line) => line.key)],
  });
}

async function endAttempt(client: PoolClient, end: AttemptEnd): Promise<void> {
  await client.query({
    name: 'end-attempt',
    text: `UPDATE attempts
              SET ended_at = clock_timestamp(), outcome = $2, response = $3,
                  duration_ms = extract(epoch FROM clock_timestamp() - started_at) * 1000
            WHERE id = $1 AND (ended_at IS NULL OR outcome = 'lost')`,
    values: [end.attemptId, end.outcome, end.response],
  });
}

const lineStates = { delivered: 'done', returned: 'done', 'dead-lettered': 'done', open: 'in-flight' } as const;
const recordStates = { returned: 'waiting', open: 'in-flight' } as const;

async function endLines(client: PoolClient, end: AttemptEnd): Promise<void> {
  const rows = end.lines.map((line) => ({
    key: line.key,
    response: line.response.slice(0, 500),
    line_state: line.end in lineStates ? lineStates[line.end as keyof typeof lineStates] : line.end,
    record_state: line.end in recordStates ? recordStates[line.end as keyof typeof recordStates] : line.end,
    outcome: 'outcome' in line ? line.outcome : null,
    quantity: 'quantity' in line ? (line.quantity ?? null) : null,
    quantity_from: 'quantityFrom' in line ? (line.quantityFrom ?? null) : null,
    quantity_to: 'quantityTo' in line ? (line.quantityTo ?? null) : null,
    delay_ms: line.end === 'returned' ? line.delayMs : 0,
    counted: (line.end === 'returned' && line.counted) || line.end === 'dead-lettered' ? 1 : 0,
    unlisted: line.end === 'dead-lettered' ? line.unlisted : null,
    settle_in_ms: line.end === 'in-doubt' ? line.settleInMs : null,
    settle_read: line.end === 'in-doubt' ? (line.settleRead ?? null) : null,
    evidence: line.end === 'quarantined' ? line.evidence : null,
  }));
  await client.query({
    name: 'end-lines',
    text: endLinesSql,
    values: [end.deliveryId, end.cartId, JSON.stringify(rows)],
  });
}

/**
 * $1 delivery, $2 cart, $3 the rows above. What a listing was last seen to show is kept only when this very line ended
 * with a known quantity: after any other end it has to be read before the next delta that may need settling.
 * A cart that does not know the item takes every waiting record of the listing along into its one dead letter.
 */
const endLinesSql = `
  WITH rows AS (
    SELECT * FROM jsonb_to_recordset($3::jsonb) AS r (
      key text, response text, line_state text, record_state text, outcome text, quantity bigint, quantity_from timestamptz,
      quantity_to timestamptz, delay_ms int, counted int, unlisted text, settle_in_ms int, settle_read jsonb, evidence jsonb)),
  lines AS (
    UPDATE delivery_lines d
       SET state = r.line_state, outcome = r.outcome, response = r.response, quantity = r.quantity,
           settle_at = CASE WHEN r.settle_in_ms IS NULL THEN d.settle_at ELSE clock_timestamp() + r.settle_in_ms * interval '1 millisecond' END,
           settle_read = r.settle_read, evidence = r.evidence,
           ended_at = CASE WHEN r.line_state = 'done' THEN clock_timestamp() END
      FROM rows r
     WHERE d.delivery_id = $1 AND d.key = r.key AND d.state IN ('in-flight', 'in-doubt')
    RETURNING d.key),
  records AS (
    UPDATE web_stack w
       SET state = r.record_state, last_response = r.response, attempts_counted = w.attempts_counted + r.counted,
           delivery_id = CASE WHEN r.record_state = 'waiting' THEN NULL ELSE w.delivery_id END,
           not_before = CASE WHEN r.record_state = 'waiting' AND r.delay_ms > 0
                             THEN clock_timestamp() + r.delay_ms * interval '1 millisecond' END,
           ended_at = CASE WHEN r.record_state = 'delivered' THEN date_trunc('milliseconds', clock_timestamp()) END
      FROM rows r JOIN lines l ON l.key = r.key
     WHERE w.delivery_id = $1 AND w.key = r.key AND w.state IN ('in-flight', 'in-doubt')),
  joined AS (
    UPDATE web_stack w SET state = 'dead-lettered', last_response = r.response
      FROM rows r JOIN lines l ON l.key = r.key
     WHERE r.unlisted IS NOT NULL AND w.cart_id = $2 AND w.key = r.key AND w.state = 'waiting')
  UPDATE listings s
     SET last_quantity = r.quantity, last_quantity_from = r.quantity_from, last_quantity_to = r.quantity_to,
         unlisted = CASE WHEN r.line_state = 'done' THEN r.unlisted ELSE s.unlisted END
    FROM rows r JOIN lines l ON l.key = r.key
   WHERE s.cart_id = $2 AND s.key = r.key AND r.record_state <> 'in-flight'`;

/** A delivery is closed with its last open line; otherwise it is to be sent again, or settled. */
async function endDelivery(client: PoolClient, end: AttemptEnd): Promise<void> {
  await client.query({
    name: 'end-delivery',
    text: `UPDATE deliveries d
              SET state = CASE WHEN o.open = 0 THEN 'closed' WHEN o.in_doubt > 0 THEN 'in-doubt' ELSE 'dispatched' END,
                  closed_at = CASE WHEN o.open = 0 THEN clock_timestamp() END,
                  ambiguous = d.ambiguous OR $2::int IS NOT NULL OR o.in_doubt > 0,
                  queued_at = CASE WHEN $2::int IS NULL THEN d.queued_at ELSE clock_timestamp() END,
                  next_attempt_at = CASE WHEN o.open > 0 AND $2::int IS NOT NULL THEN clock_timestamp() + $2::int * interval '1 millisecond' END
             FROM (SELECT count(*) FILTER (WHERE state IN ('in-flight', 'in-doubt')) AS open,
                          count(*) FILTER (WHERE state = 'in-doubt') AS in_doubt
                     FROM delivery_lines WHERE delivery_id = $1) AS o
            WHERE d.id = $1 AND d.state <> 'closed'`,
    values: [end.deliveryId, end.resendInMs ?? null],
  });
}

/** Green again with the first answer; amber with a growing pause while the cart is down. Pause is not touched: it is a person's. */
async function judgeLane(client: PoolClient, end: AttemptEnd): Promise<void> {
  if (end.cart === 'up') {
    await client.query({
      name: 'lane-up',
      text: `UPDATE lanes SET down_since = NULL, probes = 0, next_probe_at = NULL, last_success_at = clock_timestamp(), last_response = $2
              WHERE cart_id = $1 AND (down_since IS NOT NULL OR last_success_at IS NULL
                                      OR last_success_at < clock_timestamp() - interval '1 second')`,
      values: [end.cartId, end.response],
    });
    return;
  }
  await client.query({
    name: 'lane-down',
    text: `UPDATE lanes SET down_since = coalesce(down_since, clock_timestamp()), probes = probes + 1,
                            next_probe_at = clock_timestamp() + $2 * interval '1 millisecond', last_response = $3
            WHERE cart_id = $1`,
    values: [end.cartId, end.probeInMs ?? 0, end.response],
  });
}
