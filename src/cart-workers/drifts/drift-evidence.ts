import type { Database } from '../../database.js';
import type { OwnChange, ToldLine } from './drift-class.js';

/** Of one listing, no more than that many of each; beyond, too many stories fit anyway. */
const rowsMax = 40;

/** A cart carries out at last what it was sent, or never: after so long nothing more is expected of a try without an answer. */
const lateHours = 24;

/** What happened to a listing between the last time it was equal and the first reading that differed. */
export interface History {
  readonly since: Date | null;
  readonly lines: readonly (ToldLine & { readonly deliveryId: string; readonly quantity: number | null })[];
  readonly changes: readonly (OwnChange & { readonly order: string })[];
  /** An earlier drift of the opposite size was repaired, and an order of that size came after. */
  readonly repairedBeforeItsOrder: boolean;
}

/** @param listings each with its difference and the moment of the first reading that told it */
export async function readHistories(
  database: Database,
  cartId: string,
  listings: readonly { readonly key: string; readonly difference: number | null; readonly until: Date }[],
): Promise<Map<string, History>> {
  const found = await database.pool.query<Row>({
    name: 'drift-histories',
    text: historiesSql,
    values: [
      cartId,
      listings.map((listing) => listing.key),
      listings.map((listing) => listing.difference),
      listings.map((listing) => listing.until),
    ],
  });
  return new Map(
    found.rows.map((row) => [
      row.key,
      {
        since: row.since,
        lines: row.lines.map((line) => ({ ...line, from: new Date(line.from), to: new Date(line.to) })),
        changes: row.changes.map((change) => ({
          ...change,
          from: change.from === null ? null : new Date(change.from),
          to: new Date(change.to),
        })),
        repairedBeforeItsOrder: row.repaired_before,
      },
    ]),
  );
}

interface Row {
  readonly key: string;
  readonly since: Date | null;
  readonly lines: readonly {
    deliveryId: string;
    delta: number;
    outcome: string;
    quantity: number | null;
    proven: boolean;
    sends: number;
    late: boolean;
    from: string;
    to: string;
  }[];
  readonly changes: readonly { order: string; delta: number; from: string | null; to: string }[];
  readonly repaired_before: boolean;
}

/**
 * $1 cart, $2 keys, $3 differences, $4 the moments of the first readings. A reply's quantity proves its line unless it was that
 * reply which raised a suspicion that has not been explained, or a 0 of a cart that cuts off there. Of what ended before the
 * listing was last equal, only tries that nobody heard of again are evidence: a cart may carry them out at any time.
 */
const historiesSql = `
  SELECT l.key, b.since, coalesce(d.lines, '[]') AS lines, coalesce(e.changes, '[]') AS changes,
         EXISTS (SELECT FROM drifts o JOIN echoes h ON h.cart_id = o.cart_id AND h.key = o.key AND h.seen_by > o.suspected_at
                  WHERE o.cart_id = l.cart_id AND o.key = l.key AND o.state = 'repaired'
                    AND o.difference = -t.difference AND h.delta = o.difference AND h.seen_by > coalesce(b.since, '-infinity')) AS repaired_before
    FROM unnest($2::text[], $3::bigint[], $4::timestamptz[]) AS t (key, difference, until)
    JOIN listings l ON l.cart_id = $1 AND l.key = t.key
    JOIN carts c ON c.cart_id = l.cart_id
   CROSS JOIN LATERAL (SELECT greatest(l.baseline_at, l.equal_at) AS since) AS b
    LEFT JOIN LATERAL (
      SELECT jsonb_agg(jsonb_build_object('deliveryId', x.delivery_id, 'delta', x.delta, 'outcome', x.outcome, 'quantity', x.quantity,
               'proven', x.quantity IS NOT NULL AND x.outcome IN ('applied', 'settled as applied')
                         AND NOT (c.clamps_at_zero AND x.quantity <= 0)
                         AND NOT EXISTS (SELECT FROM drifts o WHERE o.cart_id = l.cart_id AND o.key = l.key
                                            AND o.delivery_id = x.delivery_id AND o.state <> 'cleared'),
               'sends', x.sends, 'late', x.late, 'from', coalesce(x.began, x.ended_at), 'to', x.ended_at) ORDER BY x.ended_at) AS lines
        FROM (SELECT y.*, a.sends, a.began, y.ended_at <= coalesce(b.since, '-infinity') AS late
                FROM delivery_lines y
                LEFT JOIN LATERAL (SELECT count(*) AS sends, min(s.started_at) AS began FROM attempts s
                                    WHERE s.delivery_id = y.delivery_id AND s.kind = 'send') a ON true
               WHERE y.cart_id = l.cart_id AND y.key = l.key AND y.state = 'done' AND y.ended_at <= t.until
                 AND y.ended_at > least(coalesce(b.since, '-infinity'), t.until - interval '${lateHours} hours')
                 AND CASE WHEN y.outcome IN ('applied', 'settled as applied', 'declared applied') THEN y.ended_at > coalesce(b.since, '-infinity') OR a.sends > 1
                          ELSE a.sends > 0 END
               ORDER BY y.ended_at DESC LIMIT ${rowsMax}) x) AS d ON true
    LEFT JOIN LATERAL (
      SELECT jsonb_agg(jsonb_build_object('order', y.order_number, 'delta', y.delta, 'from', y.seen_after, 'to', y.seen_by) ORDER BY y.id) AS changes
        FROM (SELECT * FROM echoes z WHERE z.cart_id = l.cart_id AND z.key = l.key AND z.applied AND z.seen_by > coalesce(b.since, '-infinity')
               ORDER BY z.id DESC LIMIT ${rowsMax}) y) AS e ON true`;
