import pg from 'pg';
import { until } from '../support/until.js';

/** Two locks of somebody else: the one that one of ours will wait for, and then one that it has already. */
export interface Competition {
  /** What has to be so before the first is asked for. */
  readonly before?: () => Promise<unknown>;
  readonly first: string;
  /** Makes the hub come by. */
  readonly meanwhile: () => Promise<unknown>;
  /** What the statement says that then waits for the first. */
  readonly waits: string;
  readonly second: string;
  /** Ours may share its transaction with other carts, and then gives up before the server looks for a circle. */
  readonly waitsBriefly?: true;
}

/** How long one of ours waits before the server looks, once, whether it waits in a circle: longer than we take to close it. */
export const deadlockTimeoutMs = 1_000;
/** Somebody else waits longer, so that it is always one of ours that is ended. */
const foreignDeadlockTimeoutMs = 20_000;

/**
 * A foreign transaction in the hub's own tables, which locks in the opposite order: a real deadlock, and it is the hub's
 * transaction that PostgreSQL ends. Resolves when that has happened and the foreign one has given up its locks.
 * @param serverUrl of a superuser, in the hub's database
 */
export async function competeWith(serverUrl: string, competition: Competition): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl, application_name: 'somebody else' });
  await client.connect();
  try {
    await client.query(`SET deadlock_timeout = ${foreignDeadlockTimeoutMs}`);
    await competition.before?.();
    await client.query('BEGIN ISOLATION LEVEL READ COMMITTED');
    await client.query(competition.first);
    await competition.meanwhile();
    await until(`"${competition.waits}" waits for it`, async () => {
      // In one transaction the first look at the activity would be shown again and again.
      await client.query('SELECT pg_stat_clear_snapshot()');
      const { rows } = await client.query<{ query: string }>(
        'SELECT query FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))',
      );
      return rows.some(({ query }) => query.includes(competition.waits));
    });
    // Granted when, and only when, the hub's transaction has been ended: it waits for us.
    await client.query(competition.second);
    await client.query('ROLLBACK');
  } finally {
    await client.end();
  }
}

/** Deadlocks that the server has ended in the database so far. */
export async function deadlocksOf(serverUrl: string): Promise<number> {
  const client = new pg.Client({ connectionString: serverUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ n: number }>(
      'SELECT deadlocks::int AS n FROM pg_stat_database WHERE datname = current_database()',
    );
    return rows[0]?.n ?? 0;
  } finally {
    await client.end();
  }
}
