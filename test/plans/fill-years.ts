import type { Pool } from 'pg';

/** How much there is of everything, by how many items there are: two events each, one delivered record each, every other one waits. */
export interface Filled {
  readonly skus: number;
  readonly backlog: number;
}

export const nothing: Filled = { skus: 0, backlog: 0 };
export const weeks: Filled = { skus: 2_000, backlog: 1_000 };
export const years: Filled = { skus: 100_000, backlog: 50_000 };

const linesPerDelivery = 50;

export const skuOf = (n: number) => `P-${n}`;

/**
 * What a hub has after a while of one busy cart `shop`: its log, on hand, listings, the keys of its commands, what was
 * delivered, and a backlog that waits, in place of the one before. Written by the database itself, where the hub would have
 * written it.
 * @param before what is there already; @param now what is there then
 */
export async function fillUp(pool: Pool, before: Filled, now: Filled): Promise<void> {
  const fill = async (text: string, ...values: unknown[]) => {
    const client = await pool.connect();
    try {
      await client.query('SET statement_timeout = 0; SET synchronous_commit = off');
      await client.query(text, values);
    } finally {
      client.release(true);
    }
  };
  const skus = [before.skus, now.skus - 1];
  // The checkpoint moves with them, or the projector would take them for new.
  await fill(
    `WITH made AS (
     INSERT INTO events (generation, stream, version, type, data, sku, location, delta, open_delta, balance, open_balance,
       occurred_at, recorded_at, causation_id)
     SELECT 1, 'stock:MAIN/P-' || n, v, 'StockReceived',
            jsonb_build_object('sku', 'P-' || n, 'location', 'MAIN', 'delta', 5, 'openDelta', 0, 'reason', null, 'source', 'direct'),
            'P-' || n, 'MAIN', 5, 0, 5 * v, 0, t.at, t.at, 'filled/' || n || '/' || v
       FROM generate_series(1, 2) AS v, generate_series($1::int, $2::int) AS n
      CROSS JOIN LATERAL (SELECT date_trunc('milliseconds', now() - interval '1 year' + v * interval '1 day' + n * interval '1 second') AS at) t
      ORDER BY v, n
     RETURNING generation, transaction_id, position)
     UPDATE projection_checkpoints c SET generation = m.generation, transaction_id = m.transaction_id, position = m.position
       FROM (SELECT * FROM made ORDER BY generation DESC, transaction_id DESC, position DESC LIMIT 1) m WHERE c.name = 'main'`,
    ...skus,
  );
  await fill(
    `INSERT INTO stream_heads (stream, version, state, recorded_at)
     SELECT 'stock:MAIN/P-' || n, 2, '{"onHand": 10, "open": 0, "lastCount": null}'::jsonb, now() FROM generate_series($1::int, $2::int) AS n
      UNION ALL
     SELECT 'item:P-' || n, 1, '{}', now() FROM generate_series($1::int, $2::int) AS n`,
    ...skus,
  );
  await fill(
    `INSERT INTO quantity_on_hand (sku, location, on_hand, open, movements, updated_at, seen_at)
     SELECT 'P-' || n, 'MAIN', 10, 0, 2, now(), now() FROM generate_series($1::int, $2::int) AS n`,
    ...skus,
  );
  await fill(
    `INSERT INTO velocity (sku, location, day, sold, cancelled, returned, movements)
     SELECT 'P-' || n, 'MAIN', current_date - d, 1, 0, 0, 1 FROM generate_series($1::int, $2::int) AS n, generate_series(1, 2) AS d`,
    ...skus,
  );
  await fill(
    `INSERT INTO items (sku, title, tags, active, folded_sku, words, version)
     SELECT 'P-' || n, 'Item ' || n, '{}', true, 'p-' || n, '{item}', 1 FROM generate_series($1::int, $2::int) AS n`,
    ...skus,
  );
  await fill(
    `INSERT INTO commands (client, idempotency_key, body_hash) SELECT 'filled', n::text, '\\x00' FROM generate_series($1::int, $2::int) AS n`,
    ...skus,
  );
  await fill(
    `INSERT INTO listings (cart_id, key, sku, generation, expected, target, baseline_kind, baseline_at, baseline_expected, baseline_record, baseline_echo,
       last_quantity, last_quantity_from, last_quantity_to)
     SELECT 'shop', 'P-' || n, 'P-' || n, c.generation, 10, 10, 'write', now(), 10, 0, 0, 10, now(), now()
       FROM generate_series($1::int, $2::int) AS n JOIN carts c ON c.cart_id = 'shop'`,
    ...skus,
  );
  await fill(
    `INSERT INTO listing_memory (cart_id, key, since, sku, generation, withheld)
     SELECT 'shop', 'P-' || n, now() - interval '1 year', 'P-' || n, 1, false FROM generate_series($1::int, $2::int) AS n`,
    ...skus,
  );
  const cause = `'{"type":"StockReceived","stream":"stock:MAIN/x","version":"1","recordedAt":"2026-01-01T00:00:00.000Z","facts":1}'`;
  await fill(
    `WITH made AS (
       INSERT INTO deliveries (id, cart_id, generation, state, created_at, closed_at)
       SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'shop', 1, 'closed', now(), now()
         FROM generate_series($1::int / $3::int, $2::int / $3::int) AS n
       RETURNING id),
     tried AS (
       INSERT INTO attempts (id, delivery_id, cart_id, take, kind, serial, worker, started_at, deadline, ended_at, outcome)
       SELECT gen_random_uuid(), id, 'shop', 1, 'send', false, 'gone', now(), now(), now(), 'applied' FROM made),
     lines AS (
       INSERT INTO delivery_lines (delivery_id, line_no, cart_id, key, delta, state, outcome, ended_at)
       SELECT id, l, 'shop', 'P-' || right(id::text, 12)::int * $3::int + l - 1, 1, 'done', 'applied', now() FROM made, generate_series(1, $3::int) AS l
       RETURNING delivery_id, key)
     INSERT INTO web_stack (cart_id, key, sku, generation, delta, target, cause, state, delivery_id, accepted_at, created_at, ended_at)
     SELECT 'shop', key, key, 1, 1, 5, ${cause}, 'delivered', delivery_id, now(), now(), now() FROM lines`,
    ...skus,
    linesPerDelivery,
  );
  await fill(`UPDATE web_stack SET state = 'superseded', ended_at = now() WHERE state = 'waiting'`);
  await fill(
    `INSERT INTO web_stack (cart_id, key, sku, generation, delta, target, cause, accepted_at, created_at)
     SELECT 'shop', 'P-' || n, 'P-' || n, c.generation, -1, 10, ${cause}, now(), now()
       FROM generate_series($1::int - $2::int, $1::int - 1) AS n JOIN carts c ON c.cart_id = 'shop'`,
    now.skus,
    now.backlog,
  );
  await fill(
    `INSERT INTO echoes (cart_id, key, delta, order_number, line, seen_by, applied, expected_delta)
     SELECT 'shop', 'P-' || n, -1, n::text, '1', now(), true, -1 FROM generate_series($1::int, $2::int) AS n`,
    before.backlog,
    now.backlog - 1,
  );
}
