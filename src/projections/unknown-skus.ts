import type { PoolClient } from 'pg';
import type { RecordedFact } from '../events/event-reader.js';
import { cartOf } from '../events/facts.js';
import { isProvisional } from '../events/unknown-lines.js';

/**
 * Keeps in sight what a batch's orders and comparisons name and nobody knows, and what people said about it. Items of the
 * batch are described before, so that what was created in it is known.
 */
export async function keepUnknownSkus(
  client: PoolClient,
  facts: readonly RecordedFact[],
  describedSkus: readonly string[],
): Promise<void> {
  await keepOrderLines(client, facts);
  await keepMet(client, facts);
  await judge(client, facts);
  if (describedSkus.length > 0) await forgetCreated(client, describedSkus);
}

interface UnknownLine {
  readonly cartId: string;
  readonly number: string;
  readonly line: string;
  readonly key: string;
  readonly quantity: number;
  readonly title: string | null;
  readonly at: string;
}

/** The lines of each order as the batch leaves it; a line that was kept before and is known now goes. */
async function keepOrderLines(client: PoolClient, facts: readonly RecordedFact[]): Promise<void> {
  const orders = new Map<string, { cartId: string; number: string; lines: readonly UnknownLine[] }>();
  for (const { fact, stream, recordedAt } of facts) {
    if (fact.type !== 'OrderImported') continue;
    const { source, number, lines } = fact.data;
    const cartId = cartOf(source);
    if (cartId === null) continue;
    const at = recordedAt.toISOString();
    const unknown = lines
      .filter((line) => isProvisional(line))
      .map(({ line, key, quantity, title }) => ({ cartId, number, line, key, quantity, title: title ?? null, at }));
    orders.set(stream, { cartId, number, lines: unknown });
  }
  if (orders.size === 0) return;
  const told = [...orders.values()];
  const lines = told.flatMap((order) => order.lines);
  await client.query({
    name: 'forget-known-lines',
    text: `DELETE FROM unknown_order_lines u USING unnest($1::text[], $2::text[]) AS o (cart_id, number)
            WHERE u.cart_id = o.cart_id AND u.number = o.number
              AND NOT EXISTS (SELECT FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS t (cart_id, number, line, key)
                               WHERE t.cart_id = u.cart_id AND t.number = u.number AND t.line = u.line AND t.key = u.key)`,
    values: [
      told.map((order) => order.cartId),
      told.map((order) => order.number),
      lines.map((line) => line.cartId),
      lines.map((line) => line.number),
      lines.map((line) => line.line),
      lines.map((line) => line.key),
    ],
  });
  if (lines.length === 0) return;
  await client.query({
    name: 'keep-unknown-lines',
    // A key that was mapped while its order was on the way is no unknown SKU any more; its order is resolved at once.
    text: `WITH lines AS (
             SELECT t.*, l.sku AS mapped_to
               FROM jsonb_to_recordset($1::jsonb)
                    AS t ("cartId" text, number text, line text, key text, quantity bigint, title text, at timestamptz)
               LEFT JOIN listings l ON l.cart_id = t."cartId" AND l.key = t.key
              WHERE NOT EXISTS (SELECT FROM items i WHERE i.sku = t.key)),
           known AS (
             UPDATE unknown_order_lines u SET quantity = t.quantity
               FROM lines t WHERE u.cart_id = t."cartId" AND u.number = t.number AND u.line = t.line),
           added AS (
             INSERT INTO unknown_order_lines (cart_id, number, line, key, quantity, mapped_to)
             SELECT t."cartId", t.number, t.line, t.key, t.quantity, t.mapped_to FROM lines t
             ON CONFLICT (cart_id, number, line) DO NOTHING
             RETURNING cart_id, number, line)
           INSERT INTO unknown_skus AS s (cart_id, key, title, first_met_in, first_met_at, last_met_in, last_met_at, times_met)
           SELECT t."cartId", t.key, max(t.title), 'order ' || min(t.number), min(t.at), 'order ' || max(t.number), max(t.at), count(*)
             FROM lines t JOIN added a ON a.cart_id = t."cartId" AND a.number = t.number AND a.line = t.line
            WHERE t.mapped_to IS NULL
            GROUP BY t."cartId", t.key
            ORDER BY t."cartId" COLLATE "C", t.key COLLATE "C"
           ON CONFLICT (cart_id, key) DO UPDATE
              SET title = coalesce(excluded.title, s.title), last_met_in = excluded.last_met_in,
                  last_met_at = excluded.last_met_at, times_met = s.times_met + excluded.times_met`,
    values: [JSON.stringify(lines)],
  });
}

async function keepMet(client: PoolClient, facts: readonly RecordedFact[]): Promise<void> {
  const met = new Map<string, { cartId: string; key: string; title: string | null; at: string }>();
  for (const { fact, recordedAt } of facts) {
    if (fact.type !== 'UnknownSkusMet') continue;
    const { cartId, rows } = fact.data;
    for (const row of rows)
      met.set(JSON.stringify([cartId, row.key]), { cartId, ...row, at: recordedAt.toISOString() });
  }
  if (met.size === 0) return;
  await client.query({
    name: 'keep-met-skus',
    text: `INSERT INTO unknown_skus AS s (cart_id, key, title, first_met_in, first_met_at, last_met_in, last_met_at, times_met)
           SELECT t."cartId", t.key, t.title, 'comparison', t.at, 'comparison', t.at, 1
             FROM jsonb_to_recordset($1::jsonb) AS t ("cartId" text, key text, title text, at timestamptz)
            WHERE NOT EXISTS (SELECT FROM items i WHERE i.sku = t.key)
              AND NOT EXISTS (SELECT FROM listings l WHERE l.cart_id = t."cartId" AND l.key = t.key)
            ORDER BY t."cartId" COLLATE "C", t.key COLLATE "C"
           ON CONFLICT (cart_id, key) DO UPDATE
              SET title = coalesce(excluded.title, s.title), last_met_in = excluded.last_met_in,
                  last_met_at = excluded.last_met_at, times_met = s.times_met + 1`,
    values: [JSON.stringify([...met.values()])],
  });
}

/** The last word on each key counts. */
async function judge(client: PoolClient, facts: readonly RecordedFact[]): Promise<void> {
  for (const { fact, recordedAt } of facts) {
    if (fact.type !== 'UnknownSkuIgnored' && fact.type !== 'UnknownSkuHeeded') continue;
    const ignored = fact.type === 'UnknownSkuIgnored';
    await client.query({
      name: 'judge-unknown-sku',
      text: `UPDATE unknown_skus SET ignored_reason = $3, ignored_by = $4, ignored_at = $5 WHERE cart_id = $1 AND key = $2`,
      values: [
        fact.data.cartId,
        fact.data.key,
        ignored ? fact.data.reason : null,
        ignored ? fact.data.by : null,
        ignored ? recordedAt : null,
      ],
    });
  }
}

/** An item under the key itself: its stock is what was taken under the key, so nothing has to be taken again. */
async function forgetCreated(client: PoolClient, skus: readonly string[]): Promise<void> {
  await client.query({
    name: 'forget-created-skus',
    text: `WITH lines AS (DELETE FROM unknown_order_lines WHERE key = ANY ($1::text[]))
           DELETE FROM unknown_skus WHERE key = ANY ($1::text[])`,
    values: [skus],
  });
}

/** Mapped keys leave the list; the orders that named them are resolved by whoever looks after that (resolve-orders.ts). */
export async function forgetMapped(
  client: PoolClient,
  cartId: string,
  rows: readonly { readonly key: string; readonly sku: string }[],
): Promise<void> {
  await client.query({
    name: 'forget-mapped-skus',
    text: `WITH lines AS (
             UPDATE unknown_order_lines u SET mapped_to = t.sku
               FROM unnest($2::text[], $3::text[]) AS t (key, sku)
              WHERE u.cart_id = $1 AND u.key = t.key AND t.sku <> t.key)
           DELETE FROM unknown_skus WHERE cart_id = $1 AND key = ANY ($2::text[])`,
    values: [cartId, rows.map((row) => row.key), rows.map((row) => row.sku)],
  });
}
