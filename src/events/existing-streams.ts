import type { PoolClient } from 'pg';

/**
 * Which of these streams exist. No lock is needed: items, locations and carts never vanish, so what is seen stays true.
 *
 * In: streams. Out: those on which something has happened. Effects: none.
 */
export async function existingStreams(client: PoolClient, streams: readonly string[]): Promise<string[]> {
  const { rows } = await client.query<{ stream: string }>({
    name: 'existing-streams',
    text: `SELECT stream FROM stream_heads WHERE stream = ANY ($1::text[]) AND version > 0`,
    values: [streams],
  });
  return rows.map((row) => row.stream);
}
