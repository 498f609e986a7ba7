import type { Database } from '../database.js';
import { steadyNow } from '../steady-clock.js';

const quietWaitMs = 90_000;
const quietPollMs = 50;

/**
 * Waits while the lane is held: what is under way has to end first, since nobody could say whether a reading saw it.
 * @param keys null: the whole cart
 * @throws Error when lines are still under way after a minute and a half
 */
export async function untilQuiet(database: Database, cartId: string, keys: readonly string[] | null): Promise<void> {
  const end = steadyNow() + quietWaitMs;
  for (;;) {
    const found = await database.pool.query<{ open: string }>(
      `SELECT count(*) AS open FROM delivery_lines
        WHERE cart_id = $1 AND ($2::text[] IS NULL OR key = ANY ($2::text[])) AND state IN ('in-flight', 'in-doubt')`,
      [cartId, keys],
    );
    if (Number(found.rows[0]?.open) === 0) return;
    if (steadyNow() > end)
      throw new Error('Deliveries to this cart are still under way; try again when its lane is quiet');
    await new Promise((resolve) => setTimeout(resolve, quietPollMs));
  }
}
