import { randomUUID } from 'node:crypto';
import { Queue, QueueEvents, Worker, createPostgresBackend } from 'bullmq';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { onServer, withDatabase } from '../test/support/database-server.js';
import { createTestDatabase, type TestDatabase } from '../test/support/database.js';
import { createDatabase, createQueuePool, migrate, migrateQueues } from './database.js';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database?.close();
});

describe('createDatabase', () => {
  it('bounds every statement, lock wait and forgotten transaction, and says who it is', async () => {
    const { rows } = await database.pool.query(
      `SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock,
              current_setting('idle_in_transaction_session_timeout') AS idle, current_setting('application_name') AS name`,
    );
    expect(rows).toEqual([{ statement: '30s', lock: '10s', idle: '5s', name: 'onhand-test' }]);
  });

  it('sees what was committed while it waited, whatever level somebody set for the database', async () => {
    // A hub whose server had this set could not start: its processes did not serialize.
    const name = new URL(database.url).pathname.slice(1);
    await database.pool.query(`ALTER DATABASE ${name} SET default_transaction_isolation TO 'serializable'`);
    const options = { url: database.url, poolMax: 1, applicationName: 'onhand-test' };
    const ours = createDatabase(options);
    const queues = createQueuePool(options);
    for (const pool of [ours.pool, queues]) {
      const { rows } = await pool.query(`SELECT current_setting('transaction_isolation') AS level`);
      expect(rows).toEqual([{ level: 'read committed' }]);
    }
    await ours.close();
    await queues.end();
    await database.pool.query(`ALTER DATABASE ${name} RESET default_transaction_isolation`);
  });

  it('reads int8 as text, so that no position is rounded, and timestamptz as Date', async () => {
    const { rows } = await database.pool.query(
      `SELECT 9007199254740993::int8 AS big, '2026-03-01T00:00:00Z'::timestamptz AS at`,
    );
    expect(rows).toEqual([{ big: '9007199254740993', at: new Date('2026-03-01T00:00:00Z') }]);
  });

  it('survives that the server ends its idle connections', async () => {
    const errors: Error[] = [];
    const other = createDatabase({
      url: database.url,
      poolMax: 2,
      applicationName: 'onhand-test-victim',
      onIdleError: (error) => errors.push(error),
    });
    await other.orm.execute(sql`SELECT 1`);
    const gone = new Promise((resolve) => other.pool.once('remove', resolve));
    await database.pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'onhand-test-victim'`,
    );
    await gone;
    await other.orm.execute(sql`SELECT 1`);
    expect(errors).toHaveLength(1);
    await Promise.all([other.close(), other.close()]);
  });
});

describe('migrate', () => {
  it('may be run by several processes at once, and again', async () => {
    const name = `${inject('databasePrefix')}_migrate`;
    await onServer(inject('postgresUrl'), `CREATE DATABASE ${name}`);
    const url = withDatabase(inject('postgresUrl'), name);
    const databases = [1, 2, 3].map(() => createDatabase({ url, poolMax: 1, applicationName: 'onhand-test' }));
    const queuePools = [1, 2].map(() => createQueuePool({ url, poolMax: 1, applicationName: 'onhand-test' }));
    await Promise.all([...databases.map(migrate), ...queuePools.map(migrateQueues)]);
    await Promise.all([...databases.map(migrate), ...queuePools.map(migrateQueues)]);
    const applied = await databases[0]?.pool.query(
      'SELECT count(*) = count(DISTINCT hash) AND count(*) > 0 AS once_each FROM drizzle.__drizzle_migrations',
    );
    expect(applied?.rows).toEqual([{ once_each: true }]);
    await Promise.all([...databases.map((each) => each.close()), ...queuePools.map((pool) => pool.end())]);
  });
});

describe('createQueuePool', () => {
  it('carries BullMQ queues whose workers each keep one connection', async () => {
    const pool = createQueuePool({ url: database.url, poolMax: 8, applicationName: 'onhand-test-queues' });
    const options = { connection: pool };
    const name = `lane-${randomUUID()}`;
    const queue = new Queue(name, options, createPostgresBackend);
    const events = new QueueEvents(name, options, createPostgresBackend);
    const worker = new Worker(name, async (job) => job.data.pieces * 2, options, createPostgresBackend);
    const job = await queue.add('deliver', { pieces: 21 });
    expect(await job.waitUntilFinished(events, 20_000)).toBe(42);
    await Promise.all([worker.close(), events.close()]);
    await queue.close();
    await pool.end();
  });
});
