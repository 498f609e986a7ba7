import type { Pool } from 'pg';

/** How much there is of everything. */
export const filled = { skus: 100_000, events: 200_000, backlog: 50_000, delivered: 100_000, deliveries: 2_000 };

export const skuOf = (n: number) => `P-${n}`;

/**
 * What a hub has after years of one busy cart `shop`: its log, on hand, listings, the keys of its commands, what was
 * delivered, and a backlog that waits. Written by the database itself, where the hub would have written it.
 */
export async function fillYears(pool: Pool): Promise<void> {
  const { skus, events, backlog, delivered, deliveries } = filled;
  const perDelivery = delivered / deliveries;
  const fill = async (text: string, ...values: unknown[]) => {
    const client = await pool.connect();
    try {
      await client.query('SET statement_timeout = 0; SET synchronous_commit = off');
      await client.query(text, values);
    } finally {
      client.release(true);
    }
  };
  // The checkpoint moves with them, or the projector would take them for new.
  await fill(
    `WITH made AS (
     INSERT INTO events (generation, stream, version, type, data, sku, location, delta, open_delta, balance, open_balance,
       occurred_at, recorded_at, causation_id)
     SELECT 1, 'stock:MAIN/P-' || n % $2::int, 1 + n / $2::int, 'StockReceived',
            jsonb_build_object('sku', 'P-' || n % $2::int, 'location', 'MAIN', 'delta', 5, 'openDelta', 0, 'reason', null, 'source', 'direct'),
            'P-' || n % $2::int, 'MAIN', 5, 0, 5 * (1 + n / $2::int), 0, t.at, t.at, 'filled/' || n
       FROM generate_series(0, $1::int - 1) AS n
      CROSS JOIN LATERAL (SELECT date_trunc('milliseconds', now() - interval '1 year' + n * interval '1 second') AS at) t
     RETURNING generation, transaction_id, position)
     UPDATE projection_checkpoints c SET generation = m.generation, transaction_id = m.transaction_id, position = m.position
       FROM (SELECT * FROM made ORDER BY generation DESC, transaction_id DESC, position DESC LIMIT 1) m WHERE c.name = 'main'`,
    events,
    skus,
  );
  await fill(
    `INSERT INTO stream_heads (stream, version, state, recorded_at)
     SELECT stream, max(version), jsonb_build_object('onHand', sum(delta), 'open', 0, 'lastCount', null), max(recorded_at)
       FROM events WHERE causation_id LIKE 'filled/%' GROUP BY stream
      UNION ALL
     SELECT 'item:P-' || n, 1, '{}', now() FROM generate_series(0, $1::int - 1) AS n`,
    skus,
  );
  await fill(
    `INSERT INTO quantity_on_hand (sku, location, on_hand, open, movements, updated_at, seen_at)
     SELECT sku, location, sum(delta), 0, count(*), max(recorded_at), max(occurred_at)
       FROM events WHERE causation_id LIKE 'filled/%' GROUP BY sku, location`,
  );
  await fill(
    `INSERT INTO velocity (sku, location, day, sold, cancelled, returned, movements)
     SELECT 'P-' || n, 'MAIN', current_date - d, 1, 0, 0, 1 FROM generate_series(0, $1::int - 1) AS n, generate_series(1, 2) AS d`,
    skus,
  );
  await fill(
    `INSERT INTO items (sku, title, tags, active, folded_sku, words, version)
     SELECT 'P-' || n, 'Item ' || n, '{}', true, 'p-' || n, '{item}', 1 FROM generate_series(0, $1::int - 1) AS n`,
    skus,
  );
  await fill(
    `INSERT INTO commands (client, idempotency_key, body_hash) SELECT 'filled', n::text, '\\x00' FROM generate_series(1, 100000) AS n`,
  );
  await fill(
    `INSERT INTO listings (cart_id, key, sku, generation, expected, target, baseline_kind, baseline_at, baseline_expected, baseline_record, baseline_echo,
       last_quantity, last_quantity_from, last_quantity_to)
     SELECT 'shop', q.sku, q.sku, c.generation, q.on_hand, q.on_hand, 'write', now(), q.on_hand, 0, 0, q.on_hand, now(), now()
       FROM quantity_on_hand q JOIN carts c ON c.cart_id = 'shop'`,
  );
  await fill(
    `INSERT INTO listing_memory (cart_id, key, since, sku, generation, withheld)
     SELECT 'shop', sku, now() - interval '1 year', sku, 1, false FROM listings`,
  );
  const cause = `'{"type":"StockReceived","stream":"stock:MAIN/x","version":"1","recordedAt":"2026-01-01T00:00:00.000Z","facts":1}'`;
  await fill(
    `WITH made AS (
       INSERT INTO deliveries (id, cart_id, generation, state, created_at, closed_at)
       SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'shop', 1, 'closed', now(), now() FROM generate_series(1, $1::int) AS n
       RETURNING id),
     tried AS (
       INSERT INTO attempts (id, delivery_id, cart_id, take, kind, serial, worker, started_at, deadline, ended_at, outcome)
       SELECT gen_random_uuid(), id, 'shop', 1, 'send', false, 'gone', now(), now(), now(), 'applied' FROM made),
     lines AS (
       INSERT INTO delivery_lines (delivery_id, line_no, cart_id, key, delta, state, outcome, ended_at)
       SELECT id, l, 'shop', 'P-' || (right(id::text, 12)::int - 1) * $2::int + l - 1, 1, 'done', 'applied', now() FROM made, generate_series(1, $2::int) AS l
       RETURNING delivery_id, key)
     INSERT INTO web_stack (cart_id, key, sku, generation, delta, target, cause, state, delivery_id, accepted_at, created_at, ended_at)
     SELECT 'shop', key, key, 1, 1, 5, ${cause}, 'delivered', delivery_id, now(), now(), now() FROM lines`,
    deliveries,
    perDelivery,
  );
  await fill(
    `INSERT INTO web_stack (cart_id, key, sku, generation, delta, target, cause, accepted_at, created_at)
     SELECT 'shop', 'P-' || n, 'P-' || n, c.generation, -1, 10, ${cause}, now(), now()
       FROM generate_series($1::int - $2::int, $1::int - 1) AS n JOIN carts c ON c.cart_id = 'shop'`,
    skus,
    backlog,
  );
  await fill(
    `INSERT INTO echoes (cart_id, key, delta, order_number, line, seen_by, applied, expected_delta)
     SELECT 'shop', 'P-' || n, -1, n::text, '1', now(), true, -1 FROM generate_series(0, 49999) AS n`,
  );
}
