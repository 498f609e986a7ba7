import type { PoolClient } from 'pg';
import type { AsOfRead, MovedAfter } from './decision.js';
import { orderSourcePattern } from './facts.js';

/**
 * How much each stream moved after a moment of business time: what a count as of that moment has to leave out.
 *
 * In: streams, locked before, each with a moment. Out: sums in the order of the input. Effects: none.
 */
export async function sumMovedAfter(client: PoolClient, reads: readonly AsOfRead[]): Promise<MovedAfter[]> {
  const { rows } = await client.query<{ delta: string; open_delta: string; order_delta: string }>({
    name: 'sum-moved-after',
    text: `
      SELECT moved.delta, moved.open_delta, moved.order_delta
      FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS wanted (stream, as_of, place)
      CROSS JOIN LATERAL (
        SELECT coalesce(sum(e.delta), 0) AS delta, coalesce(sum(e.open_delta), 0) AS open_delta,
               coalesce(sum(e.delta) FILTER (WHERE e.type IN ('StockSold', 'StockReturned')
                 AND e.data->>'source' ~ '${orderSourcePattern.source}'), 0) AS order_delta
        FROM events e
        WHERE e.stream = wanted.stream AND e.occurred_at > wanted.as_of AND e.delta IS NOT NULL
      ) AS moved
      ORDER BY wanted.place`,
    values: [reads.map((read) => read.stream), reads.map((read) => read.asOf)],
  });
  return rows.map((row) => ({
    delta: Number(row.delta),
    openDelta: Number(row.open_delta),
    orderDelta: Number(row.order_delta),
  }));
}
