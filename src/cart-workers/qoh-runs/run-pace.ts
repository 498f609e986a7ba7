import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../../database.js';
import { steadyNow } from '../../steady-clock.js';

/** More of what runs made owed need not wait for one cart: what is not made yet can still be cancelled. */
const waitingMax = 1_000;
const pollMs = 50;
/** What cannot leave for this long is not waited for; the Web Stack keeps any number. */
const waitMsMax = 60_000;

/** Waits while the cart's lane has enough of this kind to do. A lane that sends nothing now is not waited for. */
export async function untilRoom(database: Database, cartId: string, signal: AbortSignal): Promise<void> {
  const end = steadyNow() + waitMsMax;
  while (!signal.aborted && steadyNow() < end) {
    const found = await database.pool.query<{ full: boolean }>({
      name: 'room-behind',
      text: `SELECT coalesce(NOT n.paused AND n.down_since IS NULL AND n.job_window IS NOT NULL AND c.is_on AND s.is_on, false)
                AND (SELECT count(*) FROM (SELECT FROM web_stack w WHERE w.cart_id = c.cart_id AND w.state = 'waiting' AND w.behind LIMIT ${waitingMax}) x) >= ${waitingMax} AS full
               FROM carts c JOIN system_switch s ON s.id = 1 LEFT JOIN lanes n USING (cart_id) WHERE c.cart_id = $1`,
      values: [cartId],
    });
    if (found.rows[0]?.full !== true) return;
    await sleep(pollMs);
  }
}
