/**
 * The global order of the log leans on transaction ids, which belong to one cluster and only rise. After a restore, a
 * fail-over or a move they may have gone back, and new events would sort before old ones. So every start compares.
 */
import type { Pool, PoolClient } from 'pg';

export interface LogGeneration {
  readonly generation: number;
  readonly systemIdentifier: string;
}

/** The log was written by another cluster, or further on in the life of this one. The message says what to do. */
export class LogWentBackError extends Error {
  override readonly name = 'LogWentBackError';
}

/**
 * Begins the first generation in a new database, and in every other one makes sure that its transaction ids go on from
 * those in the log. Several processes may start at once.
 * @throws LogWentBackError when they do not; nothing must be appended then
 */
export async function ensureLogGeneration(pool: Pool): Promise<LogGeneration> {
  const client = await pool.connect();
  try {
    await beginFirstGeneration(client);
    const current = await readCurrent(client);
    if (current.system_identifier !== current.cluster_identifier) {
      throw new LogWentBackError(
        `The log was written in another PostgreSQL cluster (${current.system_identifier}; this one is ${current.cluster_identifier}). ` +
          'If this database was restored or moved, run: node dist/main.js after-restore',
      );
    }
    if (current.went_back) {
      throw new LogWentBackError(
        `The log holds transaction ${current.last_transaction_id}, which this PostgreSQL cluster has not reached yet. ` +
          'If this database was restored or failed over, run: node dist/main.js after-restore',
      );
    }
    return { generation: current.generation, systemIdentifier: current.system_identifier };
  } finally {
    client.release();
  }
}

/**
 * Starts a new generation in this cluster: its events come after all older ones, whatever their transaction ids.
 * For `main.js after-restore`, with every other process stopped. The caller compares every listing before anything is sent.
 */
export async function startNewGeneration(pool: Pool): Promise<LogGeneration> {
  const { rows } = await pool.query<{ generation: number; system_identifier: string }>(`
    INSERT INTO log_generation (generation, system_identifier)
    SELECT coalesce((SELECT max(generation) FROM log_generation), 0) + 1, system_identifier::text FROM pg_control_system()
    RETURNING generation, system_identifier`);
  const row = rows[0];
  if (row === undefined) throw new Error('No generation was inserted');
  return { generation: row.generation, systemIdentifier: row.system_identifier };
}

async function beginFirstGeneration(client: PoolClient): Promise<void> {
  await client.query(`
    INSERT INTO log_generation (generation, system_identifier)
    SELECT 1, system_identifier::text FROM pg_control_system()
    WHERE NOT EXISTS (SELECT FROM log_generation)
    ON CONFLICT DO NOTHING`);
}

interface CurrentRow {
  readonly generation: number;
  readonly system_identifier: string;
  readonly cluster_identifier: string;
  readonly last_transaction_id: string | null;
  readonly went_back: boolean;
}

/** The last transaction of the newest generation is the end of the primary key's index. */
async function readCurrent(client: PoolClient): Promise<CurrentRow> {
  const { rows } = await client.query<CurrentRow>(`
    SELECT g.generation, g.system_identifier, c.system_identifier::text AS cluster_identifier,
      l.transaction_id::text AS last_transaction_id,
      coalesce(l.transaction_id >= pg_snapshot_xmax(pg_current_snapshot()), false) AS went_back
    FROM pg_control_system() c
    CROSS JOIN (SELECT * FROM log_generation ORDER BY generation DESC LIMIT 1) g
    LEFT JOIN LATERAL (
      SELECT transaction_id FROM events WHERE generation = g.generation ORDER BY transaction_id DESC LIMIT 1
    ) l ON true`);
  const row = rows[0];
  if (row === undefined) throw new Error('The log has no generation');
  return row;
}
