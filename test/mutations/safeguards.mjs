// The safeguards, each with the change that takes it away and the tests that must then fail. A change is the exact text it
// replaces, so that this list fails loudly when the code it speaks of has moved on.

const lanes = 'test/lanes/lanes-postgres.int.spec.ts';
const store = 'test/events/event-store.int.spec.ts';

/** @type {readonly {name: string, file: string | RegExp, from: string | RegExp, to: string, tests: string, only: string}[]} */
export const safeguards = [
  {
    name: 'the attempt row, written before the first byte leaves',
    file: 'src/cart-workers/claim.ts',
    from: '  await openAttempt(client, {',
    to: '  if (delivery === null) await openAttempt(client, {',
    tests: lanes,
    only: 'writes the attempt before the request reaches the shop',
  },
  {
    name: 'the index that allows one open line per listing',
    file: /^drizzle\/.*\.sql$/,
    from: /CREATE UNIQUE INDEX "delivery_lines_one_per_listing"/,
    to: 'CREATE INDEX "delivery_lines_one_per_listing"',
    tests: lanes,
    only: 'the database itself refuses a second open line',
  },
  {
    name: 'the index that allows one open attempt per serial cart',
    file: /^drizzle\/.*\.sql$/,
    from: /CREATE UNIQUE INDEX "attempts_one_open_per_serial_cart"/,
    to: 'CREATE INDEX "attempts_one_open_per_serial_cart"',
    tests: lanes,
    only: 'the database itself refuses a second open line',
  },
  {
    name: 'the look at the clock immediately before the socket is written to',
    file: 'src/cart-workers/connectors/http-call.ts',
    from: '    if (nowMs >= this.call.deadlineMs) {',
    to: '    if (nowMs < 0) {',
    tests: 'src/cart-workers/connectors/http-call.int.spec.ts',
    only: 'looks at the clock once more when it is connected',
  },
  {
    name: 'the command rows, by which a repeated command is known',
    file: 'src/events/claims.ts',
    from: 'return keys.length === 0 || (await claimCommands(client, keys)) === keys.length;',
    to: 'await claimCommands(client, keys); return true;',
    tests: store,
    only: 'sent a hundred times at once is one movement',
  },
  {
    name: 'the horizon below which the log is read',
    file: 'src/events/event-reader.ts',
    from: 'pg_snapshot_xmin(pg_current_snapshot()))',
    to: "'18446744073709551615'::xid8)",
    tests: 'test/events/event-reader.int.spec.ts',
    only: 'does not skip a transaction that commits late',
  },
  {
    name: 'the echo: what a cart sold itself is not sent back to it',
    file: 'src/projections/availability.ts',
    from: '  const after = expected + delta;',
    to: '  const after = expected + delta * 0;',
    tests: lanes,
    only: 'tells the other shop of a sale, and not the one that sold',
  },
  {
    name: 'the baseline’s cut-off: an order that was in the reading does not echo',
    file: 'src/projections/fan-out.ts',
    from: 'if (!order.firstSight || at === null || mark === null) return false;',
    to: 'if (order.firstSight || at !== null || mark === null) return false;',
    tests: lanes,
    only: 'moves stock for an order that a comparison had in its reading',
  },
  {
    name: 'the claim: one take of a delivery, and only that one',
    file: 'src/cart-workers/claim.ts',
    from: " || delivery.take !== job.take) return { kind: 'gone' };",
    to: ") return { kind: 'gone' };",
    tests: lanes,
    only: 'lets a repeated or stale job do nothing',
  },
  {
    name: 'the checkpoint’s compare-and-set',
    file: 'src/projections/checkpoint.ts',
    from: 'WHERE name = $1 AND generation = $2 AND transaction_id = $3::xid8 AND position = $4 AND stopped IS NULL`',
    to: 'WHERE name = $1 AND ($2::int, $3::xid8, $4::bigint) IS NOT NULL`',
    tests: 'test/projections/projector.int.spec.ts',
    only: 'applies every fact once when two of it run at the same time',
  },
  {
    name: 'the quiet time before a doubt is settled',
    file: 'src/cart-workers/claim.ts',
    from: "AND (NOT $2 OR d.state = 'in-doubt' AND d.settle_at <= clock_timestamp())",
    to: "AND (NOT $2 OR d.state = 'in-doubt')",
    tests: lanes,
    only: 'looks no sooner than the deadline and the quiet time',
  },
  {
    name: 'the rule that nothing is raised at zero and below',
    file: 'src/projections/availability.ts',
    from: 'return available <= 0 ? Math.min(expected, 0) : available;',
    to: 'return available <= 0 ? 0 : available;',
    tests: lanes,
    only: 'never re-arms what was oversold',
  },
  {
    name: 'an ambiguous comparison is settled, not sent again',
    file: 'src/cart-workers/retry-policy.ts',
    from: "return delivery === 'idempotency-key' && (keyLifeMs",
    to: "return delivery !== 'settlement' && (keyLifeMs",
    tests: lanes,
    only: 'is never sent the same comparison twice',
  },
];
