import type { Database } from '../database.js';
import type { Cadence } from '../events/facts.js';
import { KnownMoments } from './cadence.js';

/**
 * SQL: whether a waiting record may begin a line by its cart's cadence. A line that begins takes along all that waits for its
 * listing, so that a cart never sees half of what came.
 * @param record, cart, lane aliases of rows of `web_stack`, `carts`, `lanes`
 */
export const mayBeginSql = (record: string, cart: string, lane: string) =>
  `(NOT ${cart}.is_paced OR ${record}.paced_at IS NULL OR ${record}.paced_at <= greatest(${lane}.opened_at, to_timestamp(0)))`;

/**
 * Opens the lanes of carts with a cron pattern at its moments. What was opened last stands in the database and the moments
 * are worked out anew each time, so nothing is lost by a hub that was down at a moment, or by a queue that forgot all.
 */
export class LaneOpenings {
  private readonly moments = new KnownMoments();

  constructor(private readonly database: Database) {}

  /** One look for all lanes. */
  async open(): Promise<void> {
    const found = await this.database.pool.query<{
      cart_id: string;
      cadence: Cadence;
      opened_at: Date | null;
      now: Date;
    }>({
      name: 'lanes-by-cron',
      text: `SELECT c.cart_id, c.settings->'cadence' AS cadence, l.opened_at, clock_timestamp() AS now
               FROM carts c JOIN lanes l USING (cart_id)
              WHERE c.is_paced AND c.settings->'cadence'->>'kind' = 'cron'`,
    });
    const due = found.rows.flatMap(({ cart_id: cartId, cadence, opened_at: openedAt, now }) => {
      const last = cadence.kind === 'cron' ? this.moments.around(cadence, now).last : null;
      return last === null || (openedAt !== null && openedAt >= last) ? [] : [{ cartId, last }];
    });
    if (due.length === 0) return;
    await this.database.pool.query({
      name: 'open-lanes',
      text: `UPDATE lanes l SET opened_at = t.at FROM unnest($1::text[], $2::timestamptz[]) AS t (cart_id, at)
              WHERE l.cart_id = t.cart_id AND (l.opened_at IS NULL OR l.opened_at < t.at)`,
      values: [due.map(({ cartId }) => cartId), due.map(({ last }) => last)],
    });
  }
}
