import type { Pool, PoolClient } from 'pg';

export interface CountLine {
  readonly sku: string;
  /** Rounds in which it was counted. */
  readonly rounds: number;
  readonly quantity: number;
  readonly countedAt: string;
  readonly by: string;
  /** What the books said of the shelf at the moment of counting, as they know it today. */
  readonly expected: number;
  readonly difference: number;
  /** Of the round before. */
  readonly differenceBefore: number | null;
  /** `recount`: the difference is out of tolerance, and no second count has confirmed it. */
  readonly state: 'within' | 'confirmed' | 'recount';
}

/**
 * Lines of a session, by SKU. What the books say is read anew each time, as of each line's own moment of counting: what was
 * sold before it and is told only now changes it.
 *
 * In: the session; after which SKU, how many; only of one state. Out: lines. Effects: none.
 */
export async function countLines(
  client: Pool | PoolClient,
  sessionId: string,
  { after = '', limit, state }: { after?: string; limit: number; state?: CountLine['state'] | undefined },
): Promise<CountLine[]> {
  const { rows } = await client.query<Omit<CountLine, 'countedAt'> & { countedAt: Date }>(
    `WITH entry AS (
       SELECT e.sku, e.round, e.quantity, e.counted_at, e.by, s.location, s.includes_open_orders, s.tolerance_units, s.tolerance_percent,
              count(*) OVER (PARTITION BY e.sku) AS rounds,
              row_number() OVER (PARTITION BY e.sku ORDER BY e.round DESC) AS age
         FROM count_entries e JOIN count_sessions s ON s.id = e.session_id
        WHERE e.session_id = $1 AND e.sku > $2),
     booked AS (
       SELECT e.*, coalesce((h.state->>'onHand')::bigint, 0) - moved.delta
                   + CASE WHEN e.includes_open_orders THEN coalesce((h.state->>'open')::bigint, 0) - moved.open ELSE 0 END AS expected
         FROM entry e LEFT JOIN stream_heads h ON h.stream = 'stock:' || e.location || '/' || e.sku AND h.version > 0
         CROSS JOIN LATERAL (
           SELECT coalesce(sum(v.delta), 0) AS delta, coalesce(sum(v.open_delta), 0) AS open FROM events v
            WHERE v.stream = 'stock:' || e.location || '/' || e.sku AND v.occurred_at > e.counted_at AND v.delta IS NOT NULL) moved
        WHERE e.age <= 2),
     line AS (
       SELECT l.sku, l.rounds, l.quantity, l.counted_at, l.by, l.expected, l.quantity - l.expected AS difference,
              p.quantity - p.expected AS before,
              abs(l.quantity - l.expected) <= greatest(l.tolerance_units, floor(abs(l.expected) * l.tolerance_percent / 100.0)) AS within
         FROM booked l LEFT JOIN booked p ON p.sku = l.sku AND p.age = 2 WHERE l.age = 1),
     told AS (
       SELECT *, CASE WHEN within THEN 'within' WHEN before = difference THEN 'confirmed' ELSE 'recount' END AS state FROM line)
     SELECT sku, rounds::integer, quantity::float8, counted_at AS "countedAt", by, expected::float8, difference::float8,
            before::float8 AS "differenceBefore", state
       FROM told WHERE $4::text IS NULL OR state = $4 ORDER BY sku LIMIT $3`,
    [sessionId, after, limit, state ?? null],
  );
  return rows.map((row) => ({ ...row, countedAt: row.countedAt.toISOString() }));
}
