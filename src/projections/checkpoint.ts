import type { PoolClient } from 'pg';
import type { Checkpoint } from '../events/event-reader.js';
import { isReleasing } from './guard.js';

export interface StoredCheckpoint extends Checkpoint {
  readonly stopped: boolean;
  /** The effective projector: the name of its process; null when there is none. */
  readonly projector: string | null;
  /**
   * How far the work between batches is: items whose listings were put off (late-items.ts), listings that have to be looked at
   * once more (availability/recompute.ts), records to be let go (guard.ts); null: there is none.
   */
  readonly recomputing: string | null;
  /** Whether that process is connected; it may be frozen. */
  readonly projectorLives: boolean;
}

/** @param self who asks; whether that one lives need not be looked up */
export async function readCheckpoint(client: PoolClient, name: string, self: string): Promise<StoredCheckpoint> {
  const found = await client.query<{
    generation: number;
    transaction_id: string;
    position: string;
    stopped: boolean;
    projector: string | null;
    projector_lives: boolean;
    recomputing: string | null;
    late: string | null;
  }>({
    name: 'read-checkpoint',
    text: `SELECT generation, transaction_id::text, position::text, stopped IS NOT NULL AS stopped, projector,
                  CASE WHEN projector = $2 THEN true
                       ELSE EXISTS (SELECT FROM pg_stat_activity p
                                     WHERE p.datname = current_database() AND p.application_name = c.projector)
                  END AS projector_lives,
                  coalesce((SELECT concat_ws(' ', r.id, r.done) FROM recompute_runs r
                             WHERE r.state = 'running' ORDER BY r.created_at, r.id LIMIT 1),
                           (SELECT concat_ws(' ', p.push, p.cart_id, p.released_to) FROM pushes p
                             WHERE ${isReleasing} ORDER BY p.opened_at, p.push, p.cart_id LIMIT 1)) AS recomputing,
                  (SELECT i.id::text FROM late_items i ORDER BY i.id LIMIT 1) AS late
             FROM projection_checkpoints c WHERE name = $1`,
    values: [name, self],
  });
  const row = found.rows[0];
  if (row === undefined) throw new Error(`Projection ${name} has no checkpoint row; ensureCheckpoint was not called`);
  return {
    generation: row.generation,
    transactionId: row.transaction_id,
    position: row.position,
    stopped: row.stopped,
    projector: row.projector,
    projectorLives: row.projector_lives,
    recomputing: row.late === null ? row.recomputing : `${row.recomputing ?? ''} late ${row.late}`,
  };
}

export async function ensureCheckpoint(client: PoolClient, name: string): Promise<void> {
  await client.query('INSERT INTO projection_checkpoints (name) VALUES ($1) ON CONFLICT DO NOTHING', [name]);
}

/**
 * Compare-and-set: moves the checkpoint on only from where this projector read it. Whoever loses rolls everything back,
 * so two projectors at once do double work and never apply anything twice.
 * @returns false when another projector was faster
 */
export async function moveCheckpoint(
  client: PoolClient,
  name: string,
  from: Checkpoint,
  to: Checkpoint & { readonly recordedAt: Date },
): Promise<boolean> {
  const moved = await client.query({
    name: 'move-checkpoint',
    text: `UPDATE projection_checkpoints
              SET generation = $5, transaction_id = $6::xid8, position = $7, recorded_at = $8, updated_at = now()
            WHERE name = $1 AND generation = $2 AND transaction_id = $3::xid8 AND position = $4 AND stopped IS NULL`,
    values: [
      name,
      from.generation,
      from.transactionId,
      from.position,
      to.generation,
      to.transactionId,
      to.position,
      to.recordedAt,
    ],
  });
  return moved.rowCount === 1;
}

/** Any number will do, as long as it is the same in every version. */
const projectionLocks = 0x70726f6a; // "proj"

/**
 * Holds the projection until the end of the transaction, however that comes. It only saves work: a projector that finds it
 * held does not begin a batch that somebody else is at.
 * @returns false when another transaction holds it
 */
export async function holdProjection(client: PoolClient, name: string): Promise<boolean> {
  const held = await client.query<{ held: boolean }>({
    name: 'hold-projection',
    text: 'SELECT pg_try_advisory_xact_lock($1, hashtext($2)) AS held',
    values: [projectionLocks, name],
  });
  return held.rows[0]?.held === true;
}

/**
 * Compare-and-set: makes a projector the effective one, if the checkpoint and the effective projector are still those that
 * were read. Hold the projection first, so that the row is not waited for.
 */
export async function appoint(
  client: PoolClient,
  name: string,
  from: StoredCheckpoint,
  projector: string,
): Promise<boolean> {
  const appointed = await client.query(
    `UPDATE projection_checkpoints SET projector = $5, projector_since = clock_timestamp()
      WHERE name = $1 AND generation = $2 AND transaction_id = $3::xid8 AND position = $4
        AND projector IS NOT DISTINCT FROM $6`,
    [name, from.generation, from.transactionId, from.position, projector, from.projector],
  );
  return appointed.rowCount === 1;
}

/**
 * Waits until no projector is between checkpoint and commit, and keeps them from beginning until the caller's transaction
 * ends: whoever mends what was applied would meet its rows in a circle otherwise. Keep it short.
 */
export async function awaitProjection(client: PoolClient, name: string): Promise<void> {
  await client.query({
    name: 'await-projection',
    text: 'SELECT pg_advisory_xact_lock($1, hashtext($2))',
    values: [projectionLocks, name],
  });
}
