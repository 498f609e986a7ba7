/**
 * A moment is found in a stream by halving: versions have no gaps, and `recordedAt` never goes back within a stream. So a
 * stream of a million facts costs twenty look-ups, and the log needs no index by time.
 */
import type { Pool, PoolClient } from 'pg';

/**
 * In: streams, and a moment. Out: the last version of each that was recorded by then; none for a stream that had no fact.
 */
export async function versionsAt(
  client: Pool | PoolClient,
  streams: readonly string[],
  at: Date,
): Promise<Map<string, string>> {
  const { rows } = await client.query<{ stream: string; version: string }>({
    name: 'versions-at',
    text: `WITH RECURSIVE search (stream, low, high) AS (
             SELECT h.stream, 0::bigint, h.version FROM stream_heads h WHERE h.stream = ANY ($1::text[])
             UNION ALL
             SELECT s.stream, CASE WHEN e.recorded_at <= $2 THEN m.middle ELSE s.low END,
                    CASE WHEN e.recorded_at <= $2 THEN s.high ELSE m.middle - 1 END
               FROM search s
              CROSS JOIN LATERAL (SELECT (s.low + s.high + 1) / 2 AS middle) m
              CROSS JOIN LATERAL (SELECT v.recorded_at FROM events v WHERE v.stream = s.stream AND v.version = m.middle) e
              WHERE s.low < s.high)
           SELECT stream, low AS version FROM search WHERE low = high AND low > 0`,
    values: [streams, at],
  });
  return new Map(rows.map(({ stream, version }) => [stream, version]));
}
