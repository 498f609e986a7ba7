import type { Database } from '../../src/database.js';
import { waitStatesSql } from '../../src/projections/listings.table.js';
import { verifyAll } from '../../src/projections/verify.js';
import type { Shop } from '../support/shops.js';
import { until } from '../support/until.js';

const toldMax = 20;

/** For a projector that still follows: nobody asks for the last movement before somebody waits for it. */
const appliedWithinMs = 10_000;

/**
 * What must always hold, as a running hub verifies it, and that what was applied is all there is; lines may still be under way.
 * @throws Error that names each broken promise with the rows that break it
 */
export async function assertInvariants(database: Database): Promise<void> {
  const countMovements = async () => {
    const { rows } = await database.pool.query<{ in_the_log: string; applied: string }>(
      `SELECT (SELECT count(*) FROM events WHERE delta IS NOT NULL) AS in_the_log,
              (SELECT coalesce(sum(movements), 0) FROM quantity_on_hand) AS applied`,
    );
    return rows[0] ?? { in_the_log: '0', applied: '0' };
  };
  const isEachApplied = async () => {
    const { in_the_log: inTheLog, applied } = await countMovements();
    return inTheLog === applied;
  };
  await until('every movement is applied once', isEachApplied, appliedWithinMs).catch(() => undefined);
  const { told } = await verifyAll(database.pool, toldMax);
  const broken = told.map(({ promise, ...row }) => `${promise}, but: ${JSON.stringify(row)}`);
  const counted = await countMovements();
  if (counted.in_the_log !== counted.applied)
    broken.push(`I5: every movement was applied once, but: ${JSON.stringify(counted)}`);
  if (broken.length > 0) throw new Error(broken.join('\n'));
}

/**
 * I4: a quiet listing that nobody edited shows `expected − owed`. Listings with a line in doubt or quarantined are left
 * out: of those nobody knows.
 */
export async function assertShopsAgree(
  database: Database,
  shops: ReadonlyMap<string, Pick<Shop, 'stock'>>,
): Promise<void> {
  const { rows } = await database.pool.query<{ cart_id: string; key: string; should_show: string }>(
    `SELECT l.cart_id, l.key, l.expected - coalesce(w.owed, 0) AS should_show
       FROM listings l
       LEFT JOIN LATERAL (SELECT sum(delta) AS owed FROM web_stack s
                           WHERE s.cart_id = l.cart_id AND s.key = l.key AND s.state IN ${waitStatesSql}) w ON true
      WHERE l.expected IS NOT NULL AND l.unlisted IS NULL
        AND NOT EXISTS (SELECT FROM delivery_lines d WHERE d.cart_id = l.cart_id AND d.key = l.key AND d.state <> 'done')`,
  );
  const differing: string[] = [];
  for (const [cartId, shop] of shops) {
    const stock = await shop.stock();
    for (const row of rows.filter((listing) => listing.cart_id === cartId)) {
      const shown = stock.get(row.key);
      if (shown !== undefined && shown !== Number(row.should_show)) {
        differing.push(`${cartId}/${row.key} shows ${shown} and should show ${row.should_show}`);
      }
    }
  }
  if (differing.length > 0) {
    throw new Error(`I4: a quiet listing shows expected − owed, but: ${differing.join('; ')}`);
  }
}
