import path from 'node:path';
import type { TestDatabase } from './database.js';

/**
 * A dump and a restore as pg_dump does them: every table as of one moment, into another cluster. The servers read and write
 * the files themselves, so no program of a fitting version is needed.
 */
export interface Dump {
  readonly tables: readonly { readonly name: string; readonly file: string }[];
  readonly sequences: readonly { readonly name: string; readonly value: string }[];
}

/** @param folder of the server, which its user may write to and the other server's may read */
export async function dumpDatabase(database: TestDatabase, folder: string): Promise<Dump> {
  const client = await database.pool.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    const { rows } = await client.query<{ name: string }>(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname IN ('public', 'bullmq')`,
    );
    const tables = rows.map(({ name }, index) => ({ name, file: path.join(folder, `dump-${index}`) }));
    for (const { name, file } of tables) await client.query(`COPY ${name} TO '${file}' (FORMAT binary)`);
    const sequences = await client.query<{ name: string; value: string }>(
      `SELECT format('%I.%I', schemaname, sequencename) AS name, last_value::text AS value FROM pg_sequences
        WHERE schemaname IN ('public', 'bullmq') AND last_value IS NOT NULL`,
    );
    await client.query('COMMIT');
    return { tables, sequences: sequences.rows };
  } finally {
    client.release();
  }
}

/** Into a migrated database, whose own rows are replaced. */
export async function restoreDatabase(database: TestDatabase, { tables, sequences }: Dump): Promise<void> {
  const client = await database.pool.connect();
  try {
    await client.query('BEGIN');
    await client.query('SET LOCAL session_replication_role = replica');
    await client.query(`TRUNCATE ${tables.map(({ name }) => name).join(', ')} CASCADE`);
    for (const { name, file } of tables) await client.query(`COPY ${name} FROM '${file}' (FORMAT binary)`);
    for (const { name, value } of sequences) await client.query('SELECT setval($1::regclass, $2)', [name, value]);
    await client.query('COMMIT');
  } finally {
    client.release();
  }
}
