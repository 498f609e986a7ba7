import type { Database } from '../../database.js';

export interface Repeat {
  readonly sku: string;
  readonly location: string;
  readonly delta: number;
  readonly reason: string | null;
  readonly recordedAt: string;
  readonly earlierAt: string;
  readonly seconds: number;
  /** The API key that sent it. */
  readonly client: string;
}

/** More is not looked at: a month of a busy chain, read from an index in its order. */
const LOOKED_AT_MAX = 100_000;

/**
 * Movements of points of sale that equal the one before of the same caller, item and place, soon after it, and that no
 * idempotency key tells apart.
 *
 * In: how soon, how far back, how many. Out: the newest first. Effects: none.
 */
export async function findRepeats(
  database: Database,
  { withinSeconds, hours, limit }: { withinSeconds: number; hours: number; limit: number },
): Promise<Repeat[]> {
  const { rows } = await database.pool.query<Omit<Repeat, 'recordedAt' | 'earlierAt'> & Record<string, Date>>({
    name: 'point-of-sale-repeats',
    text: `
      WITH told AS (
        SELECT e.sku, e.location, e.delta, e.data->>'reason' AS reason, e.recorded_at, e.stream, e.version,
               split_part(e.causation_id, '/', 1) AS client,
               substr(e.causation_id, strpos(e.causation_id, '/') + 1) AS key
          FROM events e
         WHERE (e.data -> 'reference' ->> 'kind') = 'other' AND (e.data -> 'reference' ->> 'number') = 'point-of-sale'
           AND e.delta IS NOT NULL AND e.type <> 'CountCorrected'
         ORDER BY e.generation DESC, e.transaction_id DESC, e.position DESC LIMIT ${LOOKED_AT_MAX}),
      keyless AS (
        SELECT t.* FROM told t
         WHERE t.recorded_at > now() - $1 * interval '1 hour'
           AND NOT EXISTS (SELECT FROM commands c WHERE c.client = t.client AND c.idempotency_key = t.key)),
      beside AS (
        SELECT k.*, lag(k.recorded_at) OVER (PARTITION BY k.stream, k.client, k.delta, k.reason ORDER BY k.version) AS earlier_at
          FROM keyless k)
      SELECT sku, location, delta::float8 AS delta, reason, recorded_at AS "recordedAt", earlier_at AS "earlierAt",
             extract(epoch FROM recorded_at - earlier_at)::float8 AS seconds, client
        FROM beside WHERE recorded_at - earlier_at <= $2 * interval '1 second'
       ORDER BY recorded_at DESC, sku LIMIT $3`,
    values: [hours, withinSeconds, limit],
  });
  return rows.map((row) => ({
    ...row,
    recordedAt: row['recordedAt']!.toISOString(),
    earlierAt: row['earlierAt']!.toISOString(),
  }));
}
