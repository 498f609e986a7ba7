import type { Pool } from 'pg';

/** Longer than any lock of our queues. */
const lockMsMax = 30_000;
const lookEveryMs = 1_000;
/** Small corrections of a clock are not worth a statement; locks last longer than that anyway. */
const setBackMsMin = 1_000;

/**
 * BullMQ's PostgreSQL backend keeps locks, sleeps and its look for stalled jobs by the clock of whichever process wrote
 * them. Set back by an hour, that clock would leave a dead worker's job locked for an hour and a sleeping one asleep. So
 * these times are brought back with it: at the start, and whenever this process sees its clock go back.
 * @returns stops watching; resolves when nothing is under way any more
 */
export async function watchClock(pool: Pool, onError: (error: Error) => void): Promise<() => Promise<void>> {
  let running = Promise.resolve();
  const mend = () => (running = mendQueueTimes(pool, Date.now()).catch(onError));
  let offsetMs = Date.now() - performance.now();
  const timer = setInterval(() => {
    const now = Date.now() - performance.now();
    if (now < offsetMs - setBackMsMin) void mend();
    offsetMs = now;
  }, lookEveryMs);
  await mend();
  return async () => {
    clearInterval(timer);
    await running;
  };
}

/**
 * In: the clock, in ms since the epoch. Effects: what can only have been written by a clock that was ahead is set as if it
 * were written now: locks to at most {@link lockMsMax} (a living worker renews its own long before), sleeps to their own
 * length, the last look for stalled jobs to now. Schedules are left to whoever keeps them.
 */
export async function mendQueueTimes(pool: Pool, nowMs: number): Promise<void> {
  await pool.query(
    `WITH locks AS (
       UPDATE job SET locked_until_ms = $1::bigint + $2::bigint WHERE state = 'active' AND locked_until_ms > $1::bigint + $2::bigint),
     looks AS (
       UPDATE meta SET value = ($1::bigint)::text WHERE field = 'stalled-check' AND value::bigint > $1::bigint),
     sleeps AS (
       UPDATE job SET process_at_ms = $1::bigint + delay_ms
        WHERE state = 'delayed' AND scheduler_id IS NULL AND process_at_ms > $1::bigint + delay_ms RETURNING queue)
     SELECT pg_notify('bullmq_jobs', queue) FROM (SELECT DISTINCT queue FROM sleeps) AS woken`,
    [nowMs, lockMsMax],
  );
}
