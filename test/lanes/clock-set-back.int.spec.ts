import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { mendQueueTimes, watchClock } from '../../src/cart-workers/clock-set-back.js';
import { createQueueBackend, type QueueBackend } from '../../src/cart-workers/queue-backend.js';
import { createQueuePool, type QueuePool } from '../../src/database.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { until } from '../support/until.js';

/**
 * BullMQ's PostgreSQL backend writes times by the clock of a process. After that clock was set back, a dead worker's job
 * stayed locked, and sleeping jobs asleep, until the clock had come again to where it was.
 */
const hourMs = 3_600_000;
const anHourAhead = () => {
  const real = Date.now.bind(Date);
  return vi.spyOn(Date, 'now').mockImplementation(() => real() + hourMs);
};

let database: TestDatabase;
let pool: QueuePool;
let backend: QueueBackend;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = createQueuePool({ url: database.url, poolMax: 2, applicationName: 'onhand-test-queue' });
  backend = await createQueueBackend({
    config: { redisUrl: undefined, lanesMax: 4 },
    databaseUrl: database.url,
    onError: () => undefined,
  });
});
afterEach(() => vi.restoreAllMocks());
afterAll(async () => {
  await backend?.close();
  await pool?.end();
  await database?.close();
});

/** A job that a worker took and died with, and one that sleeps for ten seconds, written by a clock that is an hour ahead. */
async function leftByAClockAhead(name: string): Promise<void> {
  const queue = backend.createQueue(name);
  const worker = backend.createWorker(name, () => Promise.resolve(), { lockDuration: 4_000, autorun: false });
  await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
  anHourAhead();
  await queue.add('taken', {});
  expect((await worker.getNextJob('token of the dead'))?.name).toBe('taken');
  await queue.add('asleep', {}, { delay: 10_000 });
  vi.restoreAllMocks();
  await worker.close();
  await queue.close();
}

async function aheadOf(name: string): Promise<{ locked: number; asleep: number }> {
  const { rows } = await pool.query<{ locked: string; asleep: string }>(
    `SELECT max(locked_until_ms) AS locked, max(process_at_ms) AS asleep FROM job WHERE queue = $1`,
    [name],
  );
  return { locked: Number(rows[0]?.locked) - Date.now(), asleep: Number(rows[0]?.asleep) - Date.now() };
}

describe('a clock that was set back, with queues on PostgreSQL', () => {
  it('leaves no lock and no sleep that is longer than any of ours', async () => {
    await leftByAClockAhead('left');
    expect((await aheadOf('left')).locked).toBeGreaterThan(hourMs / 2);
    await mendQueueTimes(pool, Date.now());
    const { locked, asleep } = await aheadOf('left');
    expect(locked).toBeLessThanOrEqual(30_000);
    expect(asleep).toBeLessThanOrEqual(10_000);
    await mendQueueTimes(pool, Date.now());
    expect((await aheadOf('left')).asleep).toBeGreaterThan(0);
  });

  it('is noticed while the process runs', async () => {
    const errors: Error[] = [];
    await leftByAClockAhead('running');
    const clock = anHourAhead();
    const unwatch = await watchClock(pool, (error) => errors.push(error));
    clock.mockRestore();
    await until('the lock is brought back', async () => (await aheadOf('running')).locked <= 30_000);
    await unwatch();
    expect(errors).toEqual([]);
  });
});
