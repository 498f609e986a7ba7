import type { PoolClient, QueryConfig } from 'pg';

export interface LockedHead {
  readonly stream: string;
  /** 0n: nothing has happened on the stream yet. */
  readonly version: bigint;
  readonly state: unknown;
  readonly recordedAt: Date | null;
}

export interface LockedHeads {
  readonly heads: readonly LockedHead[];
  /** The clock of the database, read after the last lock was granted. */
  readonly now: Date;
}

/**
 * Heads that were taken to exist do not: that was a guess (known-heads.ts), or an empty one was deleted while we waited for
 * its lock, or somebody exchanged the database. In each case the transaction is begun anew.
 */
export class HeadsMissingError extends Error {
  override readonly name = 'HeadsMissingError';
  constructor(locked: number, wanted: number) {
    super(`Locked ${locked} of ${wanted} stream heads`);
  }
}

/**
 * Creates the heads that do not exist yet, at version 0: a stream exists once its version is above 0. Those on which
 * nothing happens are deleted before the commit, see {@link deleteEmptyHeads}.
 *
 * In: streams. Out: how many there were not. Effects: rows in sorted order; waits for whoever is creating the same ones.
 */
export async function createHeads(client: PoolClient, streams: readonly string[]): Promise<number> {
  const { rowCount } = await client.query({
    name: 'create-heads',
    text: `
      INSERT INTO stream_heads (stream, version, state)
      SELECT stream, 0, 'null'
      FROM unnest($1::text[]) AS wanted (stream)
      ORDER BY stream COLLATE "C"
      ON CONFLICT DO NOTHING`,
    values: [streams],
  });
  return rowCount ?? 0;
}

/**
 * Locks heads to append to them.
 *
 * In: distinct streams whose heads exist. Out: their latest committed state, and the clock.
 * Effects: row locks until the transaction ends, taken in the byte order of the names: the ORDER BY is below the locking.
 * The clock is read row by row while the locks are granted, so the latest reading is after all of them.
 */
export async function lockHeads(client: PoolClient, streams: readonly string[]): Promise<LockedHeads> {
  const { rows } = await client.query<{
    stream: string;
    version: string;
    state: unknown;
    recorded_at: Date | null;
    now: Date;
  }>({
    name: 'lock-heads',
    text: `
      WITH locked AS MATERIALIZED (
        SELECT stream, version, state, recorded_at
        FROM stream_heads
        WHERE stream = ANY ($1::text[])
        ORDER BY stream
        FOR UPDATE
      )
      SELECT stream, version, state, recorded_at, date_trunc('milliseconds', clock_timestamp()) AS now
      FROM locked`,
    values: [streams],
  });
  if (rows.length !== streams.length) throw new HeadsMissingError(rows.length, streams.length);
  return {
    heads: rows.map((row) => ({
      stream: row.stream,
      version: BigInt(row.version),
      state: row.state,
      recordedAt: row.recorded_at,
    })),
    now: new Date(Math.max(...rows.map((row) => row.now.getTime()))),
  };
}

/**
 * Takes back the heads that were created for commands which then were refused: a caller who asks for what does not exist,
 * again and again, must not fill the table. Whoever waits to create the same head finds none after the commit, and makes
 * it himself.
 *
 * In: heads that this transaction has locked. Effects: those at version 0 are gone.
 */
export function deleteEmptyHeads(streams: readonly string[]): QueryConfig {
  return {
    name: 'delete-empty-heads',
    text: 'DELETE FROM stream_heads WHERE stream = ANY ($1::text[]) AND version = 0',
    values: [streams],
  };
}
