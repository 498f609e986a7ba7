/**
 * What must always hold of everything that is stored, as questions that find whatever breaks it (the promises are those
 * of the design: I1 to I3, I7, I8). Each is one statement, so it looks at one snapshot and may be asked of a running
 * system: whatever belongs together was committed together. I3 is no SQL: the rules are (availability/verify-targets.ts).
 */
import { waitStatesSql } from './listings.table.js';

/** In: $1 only SKUs after this one, $2 the last SKU or null, $3 how many rows are told. Out: see {@link BrokenRow}. */
export interface Question {
  readonly promise: string;
  readonly about: 'ledger' | 'heads' | 'open-lines' | 'listings' | 'web-stack' | 'deliveries';
  readonly sql: string;
}

export interface BrokenRow {
  /** What it is about: a stream, a listing, a record, a delivery. */
  readonly subject: Readonly<Record<string, unknown>>;
  readonly stored: Readonly<Record<string, unknown>>;
  readonly follows: Readonly<Record<string, unknown>>;
  /** How many there are in all. */
  readonly total: string;
}

const range = (column: string) => `${column} > $1 AND ($2::text IS NULL OR ${column} <= $2)`;

const ledgerChain: Question = {
  promise: 'I1: each balance in the ledger is the sum of the deltas so far, and no version is missing',
  about: 'ledger',
  sql: `
    SELECT jsonb_build_object('stream', stream, 'version', version::text, 'type', type) AS subject,
           jsonb_build_object('version', version::text, 'balance', balance, 'openBalance', open_balance) AS stored,
           jsonb_build_object('version', place::text, 'balance', sum, 'openBalance', open_sum) AS follows,
           count(*) OVER () AS total
      FROM (SELECT e.stream, e.version, e.type, e.balance, e.open_balance, row_number() OVER w AS place,
                   sum(e.delta) OVER w AS sum, sum(e.open_delta) OVER w AS open_sum
              FROM events e WHERE e.delta IS NOT NULL AND ${range('e.sku')}
            WINDOW w AS (PARTITION BY e.stream ORDER BY e.version ROWS UNBOUNDED PRECEDING)) x
     WHERE (version, balance, open_balance) IS DISTINCT FROM (place, sum, open_sum)
     ORDER BY stream, version LIMIT $3`,
};

const headsAgree: Question = {
  promise: 'I1: the head of a stock is where its last movement left it',
  about: 'heads',
  sql: `
    SELECT jsonb_build_object('stream', x.stream) AS subject,
           jsonb_build_object('version', h.version::text, 'onHand', h.state->'onHand', 'open', h.state->'open') AS stored,
           jsonb_build_object('version', x.version::text, 'onHand', x.balance, 'open', x.open_balance) AS follows,
           count(*) OVER () AS total
      FROM (SELECT DISTINCT ON (e.stream) e.stream, e.version, e.balance, e.open_balance
              FROM events e WHERE e.delta IS NOT NULL AND ${range('e.sku')}
             ORDER BY e.stream, e.version DESC) x
      LEFT JOIN stream_heads h ON h.stream = x.stream
     WHERE (x.version, x.balance, x.open_balance) IS DISTINCT FROM
           (h.version, (h.state->>'onHand')::bigint, (h.state->>'open')::bigint)
     ORDER BY x.stream LIMIT $3`,
};

const openLinesAgree: Question = {
  promise: 'I1: open pieces are those of the open lines of orders',
  about: 'open-lines',
  sql: `
    SELECT jsonb_build_object('sku', coalesce(q.sku, l.sku), 'location', coalesce(q.location, l.location)) AS subject,
           jsonb_build_object('open', q.open) AS stored, jsonb_build_object('open', l.open) AS follows, count(*) OVER () AS total
      FROM (SELECT s.sku, s.location, s.open FROM quantity_on_hand s WHERE s.open <> 0 AND ${range('s.sku')}) q
      FULL JOIN (SELECT o.sku, o.location, sum(o.open) AS open FROM open_order_lines o WHERE ${range('o.sku')}
                  GROUP BY o.sku, o.location) l ON l.sku = q.sku AND l.location = q.location
     WHERE q.open IS DISTINCT FROM l.open
     ORDER BY 1 LIMIT $3`,
};

/** What `expected` must be: see the columns `baseline…` of the table. Listings `l` of the range, one row each. */
export const provenExpected = `
      SELECT l.cart_id, l.key, l.sku, l.expected,
             l.baseline_expected + coalesce(w.told, 0) + coalesce(h.heard, 0) AS proven
        FROM listings l
        LEFT JOIN (SELECT r.cart_id, r.key, sum(r.delta) AS told
                     FROM web_stack r JOIN listings b ON b.cart_id = r.cart_id AND b.key = r.key AND r.id > b.baseline_record
                    WHERE ${range('r.sku')} AND r.state NOT IN ('superseded', 'discarded')
                    GROUP BY r.cart_id, r.key) w ON w.cart_id = l.cart_id AND w.key = l.key
        LEFT JOIN (SELECT o.cart_id, o.key, sum(o.expected_delta) AS heard
                     FROM listings b JOIN echoes o ON o.cart_id = b.cart_id AND o.key = b.key AND o.id > b.baseline_echo
                    WHERE ${range('b.sku')}
                    GROUP BY o.cart_id, o.key) h ON h.cart_id = l.cart_id AND h.key = l.key
       WHERE ${range('l.sku')} AND l.expected IS NOT NULL`;

const expectedIsProven: Question = {
  promise: 'I2: expected is the baseline, and every record and echo since',
  about: 'listings',
  sql: `
    SELECT jsonb_build_object('cartId', x.cart_id, 'key', x.key, 'sku', x.sku) AS subject,
           jsonb_build_object('expected', x.expected) AS stored, jsonb_build_object('expected', x.proven) AS follows,
           count(*) OVER () AS total
      FROM (${provenExpected}) x
     WHERE x.expected IS DISTINCT FROM x.proven
     ORDER BY x.cart_id, x.key LIMIT $3`,
};

const recordsStandWell: Question = {
  promise: 'I7: a record that waits belongs to no delivery, one that was delivered to a line that says so',
  about: 'web-stack',
  sql: `
    SELECT jsonb_build_object('record', w.id::text, 'cartId', w.cart_id, 'key', w.key, 'sku', w.sku) AS subject,
           jsonb_build_object('state', w.state, 'deliveryId', w.delivery_id) AS stored,
           jsonb_build_object('line', d.state, 'outcome', d.outcome) AS follows, count(*) OVER () AS total
      FROM web_stack w LEFT JOIN delivery_lines d ON d.delivery_id = w.delivery_id AND d.key = w.key
     WHERE ${range('w.sku')}
       AND (w.state = 'waiting' AND w.delivery_id IS NOT NULL
         OR w.state = 'delivered' AND (d.state IS DISTINCT FROM 'done'
              OR d.outcome NOT IN ('applied', 'settled as applied', 'declared applied')))
     ORDER BY w.id LIMIT $3`,
};

/** Asked once for each range of SKUs; together the ranges are everything. */
export const questionsBySku: readonly Question[] = [
  ledgerChain,
  headsAgree,
  openLinesAgree,
  expectedIsProven,
  recordsStandWell,
];

/** In: $1 how many rows are told. Only what is under way is looked at, which is never much. */
export const questionsOnce: readonly Question[] = [
  {
    promise: 'I7: what is under way stands in exactly one open line, whose delta is its sum',
    about: 'deliveries',
    sql: `
      SELECT jsonb_build_object('cartId', coalesce(d.cart_id, w.cart_id), 'key', coalesce(d.key, w.key)) AS subject,
             jsonb_build_object('line', d.state, 'delta', d.delta) AS stored,
             jsonb_build_object('line', w.state, 'delta', w.sum) AS follows, count(*) OVER () AS total
        FROM (SELECT * FROM delivery_lines WHERE state IN ('in-flight', 'in-doubt', 'quarantined')) d
        FULL JOIN (SELECT cart_id, key, delivery_id, min(state) AS state, count(DISTINCT state) AS states, sum(delta) AS sum
                     FROM web_stack WHERE state IN ${waitStatesSql} AND state IN ('in-flight', 'in-doubt', 'quarantined')
                    GROUP BY cart_id, key, delivery_id) w
          ON w.delivery_id = d.delivery_id AND w.key = d.key
       WHERE d.state IS DISTINCT FROM w.state OR d.delta IS DISTINCT FROM w.sum OR w.states <> 1
       ORDER BY 1 LIMIT $1`,
  },
  {
    promise: 'I7: a delivery is open exactly as long as a line of it is',
    about: 'deliveries',
    sql: `
      SELECT jsonb_build_object('deliveryId', x.id) AS subject, jsonb_build_object('state', x.state) AS stored,
             jsonb_build_object('openLines', x.open_lines) AS follows, count(*) OVER () AS total
        FROM (SELECT d.id, d.state, 0 AS open_lines FROM deliveries d
               WHERE d.state <> 'closed'
                 AND NOT EXISTS (SELECT FROM delivery_lines l WHERE l.delivery_id = d.id AND l.state IN ('in-flight', 'in-doubt'))
              UNION ALL
              SELECT d.id, d.state, count(*) FROM delivery_lines l JOIN deliveries d ON d.id = l.delivery_id
               WHERE l.state IN ('in-flight', 'in-doubt') AND d.state = 'closed' GROUP BY d.id) x
       ORDER BY x.id LIMIT $1`,
  },
  {
    promise: 'I7: a quarantined line has evidence',
    about: 'deliveries',
    sql: `
      SELECT jsonb_build_object('cartId', cart_id, 'key', key, 'deliveryId', delivery_id) AS subject,
             jsonb_build_object('evidence', evidence, 'response', response) AS stored, '{}'::jsonb AS follows,
             count(*) OVER () AS total
        FROM delivery_lines WHERE state = 'quarantined' AND evidence IS NULL ORDER BY cart_id, key LIMIT $1`,
  },
  {
    promise: 'I8: at most one line in flight, in doubt or quarantined per listing',
    about: 'deliveries',
    sql: `
      SELECT jsonb_build_object('cartId', cart_id, 'key', key) AS subject, jsonb_build_object('lines', count(*)) AS stored,
             jsonb_build_object('lines', 1) AS follows, count(*) OVER () AS total
        FROM delivery_lines WHERE state IN ('in-flight', 'in-doubt', 'quarantined')
       GROUP BY cart_id, key HAVING count(*) > 1 ORDER BY cart_id, key LIMIT $1`,
  },
];
