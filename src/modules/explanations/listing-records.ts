import type { PoolClient } from 'pg';
import { acceptedBySql, triesSql, type RecordCause, type RecordState } from '../../projections/listings.table.js';

/** Of one listing: what was owed to it at a moment, its last records and the cart's last answer by then. */
export interface ToldListing {
  readonly owed: number;
  readonly records: readonly ShownRecord[];
  readonly lastAnswer: {
    readonly at: string;
    readonly outcome: string | null;
    readonly response: string | null;
    readonly quantity: number | null;
  } | null;
}

export interface ShownRecord {
  readonly id: string;
  readonly delta: number;
  readonly target: number;
  readonly cause: RecordCause;
  /** As it is today; `waitedThen` says whether it was still owed at the moment. */
  readonly state: RecordState;
  readonly waitedThen: boolean;
  readonly attempts: number;
  readonly lastResponse: string | null;
  readonly acceptedAt: string;
  readonly endedAt: string | null;
}

interface RecordRow {
  readonly cart_id: string;
  readonly key: string;
  readonly id: string;
  /** Its delta as it was at the moment: while it waited it may have taken in more. */
  readonly by_then: string;
  readonly target: string;
  readonly cause: RecordCause;
  readonly state: RecordState;
  readonly waited: boolean;
  readonly tries: number;
  readonly last_response: string | null;
  readonly accepted_at: Date;
  readonly ended_at: Date | null;
  readonly owed: string;
}

/** Records of a SKU that are looked through, the newest first: more than a hot item has in the days they are kept. */
const lookedThroughMax = 20_000;
const recordsShownMax = 5;

/**
 * @param at null: now
 * @returns by `cart/key`; a listing that was never told anything is left out
 */
export async function recordsOf(
  client: PoolClient,
  sku: string,
  cartId: string | null,
  at: Date | null,
): Promise<Map<string, ToldListing>> {
  const { rows } = await client.query<RecordRow>({
    name: 'explained-records',
    text: `SELECT x.*, x.attempts + ${triesSql('x')} AS tries FROM (
             SELECT w.*, w.ended_at IS NULL OR w.ended_at > $3 AS waited,
                    coalesce(sum(w.by_then) FILTER (WHERE w.ended_at IS NULL OR w.ended_at > $3) OVER (PARTITION BY w.cart_id, w.key), 0) AS owed,
                    row_number() OVER (PARTITION BY w.cart_id, w.key ORDER BY w.id DESC) AS place
               FROM (SELECT s.*, ${acceptedBySql('s', '$3')} AS by_then
                       FROM web_stack s WHERE s.sku = $1 ORDER BY s.id DESC LIMIT ${lookedThroughMax}) w
              WHERE w.accepted_at <= $3 AND ($2::text IS NULL OR w.cart_id = $2)) x
            WHERE place <= ${recordsShownMax} ORDER BY cart_id, key, id DESC`,
    values: [sku, cartId, at ?? 'infinity'],
  });
  const answers = await lastAnswers(client, sku, cartId, at);
  const told = new Map<string, ToldListing>();
  for (const [name, lastAnswer] of answers) told.set(name, { owed: 0, records: [], lastAnswer });
  for (const row of rows) {
    const name = `${row.cart_id}/${row.key}`;
    const known = told.get(name);
    told.set(name, {
      owed: Number(row.owed),
      records: [...(known?.records ?? []), shown(row)],
      lastAnswer: known?.lastAnswer ?? null,
    });
  }
  return told;
}

function shown(row: RecordRow): ShownRecord {
  return {
    id: row.id,
    delta: Number(row.by_then),
    target: Number(row.target),
    cause: row.cause,
    state: row.state,
    waitedThen: row.waited,
    attempts: row.tries,
    lastResponse: row.last_response,
    acceptedAt: row.accepted_at.toISOString(),
    endedAt: row.ended_at?.toISOString() ?? null,
  };
}

interface AnswerRow {
  readonly cart_id: string;
  readonly key: string;
  readonly ended_at: Date;
  readonly outcome: string | null;
  readonly response: string | null;
  readonly quantity: string | null;
}

async function lastAnswers(client: PoolClient, sku: string, cartId: string | null, at: Date | null) {
  const { rows } = await client.query<AnswerRow>({
    name: 'explained-answers',
    text: `SELECT l.cart_id, l.key, a.ended_at, a.outcome, a.response, a.quantity
             FROM listings l
            CROSS JOIN LATERAL (SELECT d.* FROM delivery_lines d
                                 WHERE d.cart_id = l.cart_id AND d.key = l.key AND d.ended_at <= $3
                                 ORDER BY d.ended_at DESC LIMIT 1) a
            WHERE l.sku = $1 AND ($2::text IS NULL OR l.cart_id = $2)`,
    values: [sku, cartId, at ?? 'infinity'],
  });
  return rows.map(
    (row) =>
      [
        `${row.cart_id}/${row.key}`,
        {
          at: row.ended_at.toISOString(),
          outcome: row.outcome,
          response: row.response,
          quantity: row.quantity === null ? null : Number(row.quantity),
        },
      ] as const,
  );
}
