import type { PoolClient } from 'pg';
import type { Checkpoint } from '../events/event-reader.js';

export async function readCheckpoint(
  client: PoolClient,
  name: string,
): Promise<Checkpoint & { readonly stopped: boolean }> {
  const found = await client.query<{ generation: number; transaction_id: string; position: string; stopped: boolean }>({
    name: 'read-checkpoint',
    text: `SELECT generation, transaction_id::text, position::text, stopped IS NOT NULL AS stopped
             FROM projection_checkpoints WHERE name = $1`,
    values: [name],
  });
  const row = found.rows[0];
  if (row === undefined) throw new Error(`Projection ${name} has no checkpoint row; ensureCheckpoint was not called`);
  return {
    generation: row.generation,
    transactionId: row.transaction_id,
    position: row.position,
    stopped: row.stopped,
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

/** "onhand projector": whoever applies holds it shared, whoever mends what was applied holds it alone. */
const APPLYING_LOCK = 0x6f6e7072;

/**
 * Held by each projector from before it reads its checkpoint until it commits. Projectors do not wait for each other (the
 * checkpoint is compare-and-set); they wait for {@link lockAgainstApplying}, instead of meeting its rows in a circle.
 * An advisory lock takes no transaction id, so a projector that finds nothing to do still writes nothing.
 */
export async function lockForApplying(client: PoolClient): Promise<void> {
  await client.query({
    name: 'lock-for-applying',
    text: 'SELECT pg_advisory_xact_lock_shared($1)',
    values: [APPLYING_LOCK],
  });
}

/** No projector is between checkpoint and commit, and none begins, until the caller's transaction ends. Keep it short. */
export async function lockAgainstApplying(client: PoolClient): Promise<void> {
  await client.query({
    name: 'lock-against-applying',
    text: 'SELECT pg_advisory_xact_lock($1)',
    values: [APPLYING_LOCK],
  });
}
