import { fileURLToPath } from 'node:url';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { isPgPool, runMigrations, type PgPool } from 'bullmq';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { migrate as applyMigrations } from 'drizzle-orm/node-postgres/migrator';
import pg from 'pg';

/**
 * The only maker of PostgreSQL pools, so that every connection has the same limits and the same type parsing:
 * `timestamptz` arrives as Date, `int8` stays a *string* (pg's defaults; positions are larger than a JavaScript number
 * can hold, and a global parser would also change what BullMQ and drizzle read). Convert with `BigInt(...)` where
 * needed; drizzle's `bigint(..., { mode: 'bigint' })` columns do it themselves. Note that drizzle switches the
 * parsing of dates off for its raw `orm.execute(sql...)`, where a timestamptz is therefore text.
 */
export interface Database {
  readonly pool: pg.Pool;
  readonly orm: NodePgDatabase;
  /** Waits for borrowed connections to come back, then closes them all. Safe to call twice. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly url: string;
  readonly poolMax: number;
  /** Shown in pg_stat_activity, and so in health's "who holds the horizon". */
  readonly applicationName: string;
  /** Told about idle connections that died; the pool replaces them by itself. */
  readonly onIdleError?: (error: Error) => void;
}

/** No statement of ours may take longer; bulk work goes in chunks. */
const STATEMENT_TIMEOUT_MS = 30_000;
/**
 * A process that freezes in the middle of a transaction (a paused container, a machine that swaps) keeps its locks and
 * holds every reader's horizon back, while its connection looks alive. So the server ends a transaction that waits for
 * its client for that long; whoever had it rolls back and tries again when it wakes.
 */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000;
/**
 * The same for a client that froze while an answer larger than the sockets' buffers was on its way: the server is then
 * stuck in writing, which no other time-out of its ends. Only Linux servers can do it; elsewhere it is without effect.
 */
const UNREAD_ANSWER_TIMEOUT_MS = 8_000;
/**
 * The server ends what takes too long; this is for the answer that never comes, because the way to it swallows everything
 * without closing. The connection is then given up, as pg does with pipelined ones; on others it would wait for ever.
 */
const ANSWER_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 10_000;
const LOCK_TIMEOUT_MS = 10_000;
/**
 * Statements that lock rows and then read see what was committed while they waited; at any other level they would see what
 * was there before, or fail. So it is said here and not left to what somebody set for the server, the database or the user.
 */
const READ_COMMITTED = '-c default_transaction_isolation=read\\ committed';
const CONNECT_TIMEOUT_MS = 10_000;

export function createDatabase(options: DatabaseOptions): Database {
  const pool = createPool(options);
  let closing: Promise<void> | undefined;
  return {
    pool,
    orm: drizzle(pool),
    close: () => (closing ??= pool.end()),
  };
}

/**
 * The pool that BullMQ's PostgreSQL backend works on. Its schema is `bullmq` and must be first on the search path, because
 * BullMQ cannot set that on a pool it did not make. Every lane keeps one connection for LISTEN checked out as long as
 * it lives: `poolMax` must exceed the number of lanes, or the last ones wait for ever.
 * Run {@link migrateQueues} once before the first queue is made.
 */
export function createQueuePool(options: DatabaseOptions): QueuePool {
  const pool = createPool(options, { options: '-c search_path=bullmq' });
  // Every queue and worker listens for its errors; that is as many as there are lanes, and no leak.
  pool.setMaxListeners(0);
  if (!isPgPool(pool)) throw new Error('BullMQ does not recognise the pool; its version and that of pg do not fit.');
  return pool;
}

/** Both types at once: BullMQ describes a pool in its own words, which pg's type does not satisfy as it stands. */
export type QueuePool = pg.Pool & PgPool;

/** Several processes may start at once: the first migrates, the others wait for it. */
const MIGRATION_LOCK = 0x6f6e6861; // "onha"

/** `../drizzle` seen from src/ and from dist/ alike. */
const MIGRATIONS_FOLDER = fileURLToPath(new URL('../drizzle', import.meta.url));

/**
 * Brings our tables up to date. Uses its own connection without timeouts, since a migration or the wait for another
 * process's may take as long as it needs; ending the connection releases the lock in every case.
 * @throws Error when the tables were made by a newer program, or cannot be changed
 */
export async function migrate(database: Database): Promise<void> {
  if (!existsSync(path.join(MIGRATIONS_FOLDER, 'meta', '_journal.json'))) {
    throw new Error(`There are no migrations in ${MIGRATIONS_FOLDER}; make them with: npm run db:generate`);
  }
  await withUnlimitedConnection(database.pool, async (client) => {
    await client.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    await refuseNewerSchema(client);
    try {
      await applyMigrations(drizzle(client), { migrationsFolder: MIGRATIONS_FOLDER });
      await leaveRoomOnPages(client);
    } catch (error) {
      throw new Error(
        `The tables are older than this program and could not be brought up to date: ${reasonOf(error)}. Nothing was changed. Run "node dist/main.js migrate" with a DATABASE_URL whose user owns the tables and may create others.`,
        { cause: error },
      );
    }
  });
}

/**
 * Rows of these tables change in place over and over, in columns that no index has. With room on its page a new version
 * stays there and no index is written (HOT); without, each change writes all of them. In percent of a page that is filled
 * by new rows. Drizzle's tables cannot say it.
 */
const filledPages = { stream_heads: 70, quantity_on_hand: 70, listings: 70, web_stack: 85, deliveries: 80 };

async function leaveRoomOnPages(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: keyof typeof filledPages; options: readonly string[] | null }>(
    'SELECT relname AS name, reloptions AS options FROM pg_class WHERE oid = ANY ($1::regclass[])',
    [Object.keys(filledPages)],
  );
  for (const { name, options } of rows) {
    if (options?.includes(`fillfactor=${filledPages[name]}`) === true) continue;
    await client.query(`ALTER TABLE ${name} SET (fillfactor = ${filledPages[name]})`);
  }
}

/** An older program would write what the newer tables' rules do not expect; drizzle itself does not look. */
async function refuseNewerSchema(client: pg.Client): Promise<void> {
  const made = await client.query<{ there: boolean }>(
    `SELECT to_regclass('drizzle.__drizzle_migrations') IS NOT NULL AS there`,
  );
  if (made.rows[0]?.there !== true) return;
  const { rows } = await client.query<{ last: string | null }>(
    'SELECT max(created_at)::text AS last FROM drizzle.__drizzle_migrations',
  );
  if (Number(rows[0]?.last ?? 0) <= lastMigration()) return;
  throw new Error(
    'This program is older than the database: a newer Onhand has changed its tables. Start that one again, or restore a backup from before.',
  );
}

/** When the newest migration that comes with this program was made, in ms since 1970; drizzle's own order. */
function lastMigration(): number {
  const journal = JSON.parse(readFileSync(path.join(MIGRATIONS_FOLDER, 'meta', '_journal.json'), 'utf8')) as {
    readonly entries: readonly { readonly when: number }[];
  };
  return Math.max(...journal.entries.map(({ when }) => when));
}

/** drizzle puts the statement into its message and the reason into the cause. */
const reasonOf = (error: unknown): string =>
  error instanceof Error && error.cause instanceof Error
    ? error.cause.message
    : error instanceof Error
      ? error.message
      : String(error);

/**
 * How transactions begin that find a known set of rows by their keys, over and over. Left to itself the planner reads a whole index of
 * "everything under way" beside the one that was meant, or the whole table, because its statistics are from when there was
 * little: under a backlog of 90,000 records that took 24 ms of each statement that should take 1.
 */
export const beginByKeys = 'BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off';

/** The same for dispatch, claim and outcome, whose statements are few and all of one shape: planned once per connection. */
export const beginByKeysPlanned = `${beginByKeys}; SET LOCAL plan_cache_mode = force_generic_plan`;

/** A connection of its own for a transaction, which `work` begins and ends; what it throws rolls it back and is thrown on. */
export async function onConnection<T>(
  { pool }: Pick<Database, 'pool'>,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  try {
    return await work(client);
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}

/** One transaction on a connection of its own; what `work` throws rolls it back and is thrown on. */
export async function inTransaction<T>(
  database: Pick<Database, 'pool'>,
  work: (client: pg.PoolClient) => Promise<T>,
  begin: 'BEGIN' | typeof beginByKeys | typeof beginByKeysPlanned = 'BEGIN',
): Promise<T> {
  return onConnection(database, async (client) => {
    await client.query(begin);
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  });
}

/** Creates or updates BullMQ's own schema. BullMQ takes a lock itself, so several processes may do this at once. */
export async function migrateQueues(pool: pg.Pool): Promise<void> {
  await withUnlimitedConnection(pool, async (client) => {
    await runMigrations(client, 'bullmq');
  });
}

/** Statements that are sent without waiting for one another share a round trip; each is answered by itself all the same. */
function createPool(options: DatabaseOptions, extra: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.poolMax,
    application_name: options.applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    pipeline: true,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    lock_timeout: LOCK_TIMEOUT_MS,
    ...extra,
    options: `-c tcp_user_timeout=${UNREAD_ANSWER_TIMEOUT_MS} ${READ_COMMITTED} ${extra.options ?? ''}`,
  });
  // Without a listener, a server restart would end the process: pg emits 'error' for idle connections that break.
  // A connection that breaks while it is borrowed tells its client; its query fails and is dealt with where it was made.
  pool.on('connect', (client) => client.on('error', () => undefined));
  pool.on('error', (error) => options.onIdleError?.(error));
  return pool;
}

async function withUnlimitedConnection(pool: pg.Pool, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({
    connectionString: pool.options.connectionString,
    application_name: `${pool.options.application_name ?? 'onhand'} migrations`,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    options: READ_COMMITTED,
  });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
