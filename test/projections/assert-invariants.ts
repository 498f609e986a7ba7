import type { Database } from '../../src/database.js';
import type { Shop } from '../support/shops.js';

/**
 * What must always hold (DESIGN, "What must always hold"), as questions that find whatever breaks it. Asked when the
 * projector has caught up; lines may still be under way.
 */
const waits = `('waiting', 'in-flight', 'in-doubt', 'quarantined', 'dead-lettered', 'held')`;

const questions: readonly { readonly promise: string; readonly sql: string }[] = [
  {
    promise: 'I1: on hand is the sum of the deltas of its movements',
    sql: `SELECT coalesce(q.sku, e.sku) AS sku, coalesce(q.location, e.location) AS location, q.on_hand, e.delta AS sum_of_deltas,
                 q.open, e.open AS sum_of_open
            FROM quantity_on_hand q
            FULL JOIN (SELECT sku, location, sum(delta) AS delta, sum(open_delta) AS open FROM events
                        WHERE delta IS NOT NULL GROUP BY sku, location) e
              ON e.sku = q.sku AND e.location = q.location
           WHERE q.on_hand IS DISTINCT FROM e.delta OR q.open IS DISTINCT FROM e.open`,
  },
  {
    promise: 'I1: open pieces are those of the open lines of orders',
    sql: `SELECT coalesce(q.sku, l.sku) AS sku, coalesce(q.location, l.location) AS location, q.open, l.open AS of_lines
            FROM (SELECT sku, location, open FROM quantity_on_hand WHERE open <> 0) q
            FULL JOIN (SELECT sku, location, sum(open) AS open FROM open_order_lines GROUP BY sku, location) l
              ON l.sku = q.sku AND l.location = q.location
           WHERE q.open IS DISTINCT FROM l.open`,
  },
  {
    promise: 'I1: the last balance of the ledger is what is on hand',
    sql: `SELECT q.sku, q.location, q.on_hand, last.balance
            FROM quantity_on_hand q
            CROSS JOIN LATERAL (SELECT e.balance FROM events e
                                 WHERE e.sku = q.sku AND e.location = q.location AND e.delta IS NOT NULL
                                 ORDER BY e.version DESC LIMIT 1) last
           WHERE last.balance <> q.on_hand`,
  },
  {
    promise: 'I2: expected is the baseline, what was delivered, what is owed and what the cart did itself',
    sql: `SELECT l.cart_id, l.key, l.expected, b.quantity AS baseline, coalesce(w.delivered, 0) AS delivered,
                 coalesce(w.owed, 0) AS owed, coalesce(e.echoed, 0) AS echoed
            FROM listings l
            JOIN carts c ON c.cart_id = l.cart_id AND NOT c.clamps_at_zero
            JOIN LATERAL (SELECT coalesce((r->>'quantity')::bigint, 0) AS quantity
                            FROM events v CROSS JOIN jsonb_array_elements(v.data->'rows') AS r
                           WHERE v.type = 'ListingsBaselined' AND v.data->>'cartId' = l.cart_id AND r->>'key' = l.key
                             AND (v.data->>'at')::timestamptz = l.baseline_at LIMIT 1) b ON true
            LEFT JOIN LATERAL (SELECT sum(delta) FILTER (WHERE state = 'delivered' AND ended_at > l.baseline_at) AS delivered,
                                      sum(delta) FILTER (WHERE state IN ${waits}) AS owed
                                 FROM web_stack s WHERE s.cart_id = l.cart_id AND s.key = l.key) w ON true
            LEFT JOIN LATERAL (SELECT sum(delta) AS echoed FROM echoes s
                                WHERE s.cart_id = l.cart_id AND s.key = l.key AND s.applied AND s.seen_by > l.baseline_at) e ON true
           WHERE l.expected IS NOT NULL
             AND l.expected <> b.quantity + coalesce(w.delivered, 0) + coalesce(w.owed, 0) + coalesce(e.echoed, 0)`,
  },
  {
    promise: 'I3: a synchronised listing expects its target, and that is what is available',
    sql: `SELECT * FROM (
            SELECT l.cart_id, l.key, l.expected, l.target,
                   (SELECT coalesce(sum(q.on_hand), 0) FROM cart_locations cl JOIN quantity_on_hand q USING (location)
                     WHERE cl.cart_id = l.cart_id AND q.sku = l.sku) AS available
              FROM listings l JOIN carts c USING (cart_id) JOIN system_switch s ON s.id = 1
             WHERE l.expected IS NOT NULL AND c.is_on AND s.is_on AND l.generation = c.generation) x
           WHERE x.expected <> x.target OR x.target <> CASE WHEN x.available > 0 THEN x.available ELSE least(x.target, 0) END`,
  },
  {
    promise: 'I5: every movement was applied once',
    sql: `SELECT * FROM (SELECT (SELECT count(*) FROM events WHERE delta IS NOT NULL) AS in_the_log,
                                (SELECT coalesce(sum(movements), 0) FROM quantity_on_hand) AS applied) x
           WHERE x.in_the_log <> x.applied`,
  },
  {
    promise: 'I7: what is under way stands in exactly one open line, whose delta is its sum',
    sql: `SELECT coalesce(d.cart_id, w.cart_id) AS cart_id, coalesce(d.key, w.key) AS key, d.state AS line, d.delta, w.state AS records, w.sum
            FROM (SELECT * FROM delivery_lines WHERE state <> 'done') d
            FULL JOIN (SELECT cart_id, key, delivery_id, min(state) AS state, count(DISTINCT state) AS states, sum(delta) AS sum
                         FROM web_stack WHERE state IN ('in-flight', 'in-doubt', 'quarantined')
                        GROUP BY cart_id, key, delivery_id) w
              ON w.delivery_id = d.delivery_id AND w.key = d.key
           WHERE d.state IS DISTINCT FROM w.state OR d.delta IS DISTINCT FROM w.sum OR w.states <> 1`,
  },
  {
    promise: 'I7: a delivery is open exactly as long as a line of it is',
    sql: `SELECT d.id, d.state, count(x.key) AS open_lines
            FROM deliveries d LEFT JOIN delivery_lines x ON x.delivery_id = d.id AND x.state IN ('in-flight', 'in-doubt')
           GROUP BY d.id, d.state HAVING (d.state = 'closed') <> (count(x.key) = 0)`,
  },
  {
    promise: 'I7: a record that waits belongs to no delivery, one that was delivered to a line that says so',
    sql: `SELECT w.id, w.cart_id, w.key, w.state, w.delivery_id, d.state AS line, d.outcome
            FROM web_stack w LEFT JOIN delivery_lines d ON d.delivery_id = w.delivery_id AND d.key = w.key
           WHERE w.state = 'waiting' AND w.delivery_id IS NOT NULL
              OR w.state = 'delivered' AND (d.state IS DISTINCT FROM 'done' OR d.outcome NOT IN ('applied', 'settled as applied', 'declared applied'))`,
  },
  {
    promise: 'I7: a quarantined line has evidence',
    sql: `SELECT cart_id, key, response FROM delivery_lines WHERE state = 'quarantined' AND evidence IS NULL`,
  },
  {
    promise: 'I8: at most one line in flight, in doubt or quarantined per listing',
    sql: `SELECT cart_id, key, count(*) FROM delivery_lines WHERE state IN ('in-flight', 'in-doubt', 'quarantined')
           GROUP BY cart_id, key HAVING count(*) > 1`,
  },
];

/** @throws Error that names each broken promise with the rows that break it */
export async function assertInvariants(database: Database): Promise<void> {
  const broken: string[] = [];
  for (const { promise, sql } of questions) {
    const { rows } = await database.pool.query<Record<string, unknown>>(sql);
    if (rows.length > 0) broken.push(`${promise}, but: ${rows.map((row) => JSON.stringify(row)).join(' ')}`);
  }
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
                           WHERE s.cart_id = l.cart_id AND s.key = l.key AND s.state IN ${waits}) w ON true
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
