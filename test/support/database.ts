import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { createDatabase, type Database } from '../../src/database.js';
import { onServer, withDatabase } from './database-server.js';

export interface TestDatabase extends Database {
  /** For what opens its own connections: a second pool, a child process, `createQueuePool`. */
  readonly url: string;
}

/**
 * A fresh, migrated database (ours and BullMQ's tables) of the run's server: one per test file, made in `beforeAll` and
 * closed in `afterAll`, which drops it. It is a copy of a template, so it costs about a tenth of a second.
 * An open transaction that has written holds back the readers of *every* database of the server; so end yours quickly,
 * and start a private server (`startEmbeddedPostgres` in `temporaryDirectory()`) for a test that keeps one open.
 */
export async function createTestDatabase({ poolMax = 10 }: { poolMax?: number } = {}): Promise<TestDatabase> {
  const problem = inject('templateProblem');
  if (problem !== '') throw new Error(problem);
  const server = inject('postgresUrl');
  const prefix = inject('databasePrefix');
  const name = `${prefix}_${randomBytes(6).toString('hex')}`;
  await onServer(server, `CREATE DATABASE ${name} TEMPLATE ${prefix}_template`);
  const url = withDatabase(server, name);
  const database = createDatabase({ url, poolMax, applicationName: 'onhand-test' });
  return {
    ...database,
    url,
    close: async () => {
      await database.close();
      await onServer(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}
