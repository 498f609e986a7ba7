import type { Database } from '../database.js';

/**
 * The one clock that every process shares. Readings of carts and sightings of orders are compared with each other, and
 * the processes that took them may run on machines whose clocks disagree.
 */
export async function databaseNow(database: Database): Promise<Date> {
  const found = await database.pool.query<{ now: Date }>({
    name: 'database-now',
    text: 'SELECT clock_timestamp() AS now',
  });
  return (found.rows[0] as { now: Date }).now;
}
