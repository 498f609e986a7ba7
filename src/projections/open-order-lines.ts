import type { PoolClient } from 'pg';
import type { RecordedFact } from '../events/event-reader.js';

interface OpenLine {
  readonly source: string;
  readonly number: string;
  readonly line: string;
  readonly sku: string;
  readonly location: string;
  open: number;
  backOrdered: number;
}

/**
 * Adds the movements of a batch to the open lines of orders: what they take opens pieces, what is given back, shipped,
 * filled or closed ends them. A line without open pieces is gone from here; its history is in the log.
 *
 * Pieces are back-ordered as far as their sale left less than nothing on hand, which the sale's own balance tells.
 * Sums only, so that it does not matter in which order two facts of one line are read.
 */
export async function addToOpenOrderLines(client: PoolClient, facts: readonly RecordedFact[]): Promise<void> {
  const lines = openLines(facts);
  if (lines.length === 0) return;
  await client.query({
    name: 'add-to-open-order-lines',
    text: `INSERT INTO open_order_lines AS l (source, number, line, sku, location, open, back_ordered)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[])
                  AS t (source, number, line, sku, location, open, back_ordered)
            ORDER BY t.source COLLATE "C", t.number COLLATE "C", t.line COLLATE "C", t.sku COLLATE "C", t.location COLLATE "C"
           ON CONFLICT (source, number, line, sku, location) DO UPDATE
              SET open = l.open + excluded.open, back_ordered = l.back_ordered + excluded.back_ordered`,
    values: columnsOf(lines),
  });
  await client.query({
    name: 'remove-ended-order-lines',
    // Looked up line by line (OFFSET 0): joined, a batch of 1,000 lines was compared with each line of the batch.
    text: `DELETE FROM open_order_lines l WHERE l.ctid = ANY (ARRAY(
             SELECT o.ctid FROM unnest($1::text[], $2::text[], $3::text[]) AS t (source, number, line)
              CROSS JOIN LATERAL (
                SELECT x.ctid FROM open_order_lines x
                 WHERE x.source = t.source AND x.number = t.number AND x.line = t.line AND x.open = 0 OFFSET 0) AS o))`,
    values: columnsOf(lines).slice(0, 3),
  });
}

function openLines(facts: readonly RecordedFact[]): OpenLine[] {
  const lines = new Map<string, OpenLine>();
  for (const { fact, sku, location, openDelta, balance } of facts) {
    if (sku === null || location === null || openDelta === null || openDelta === 0) continue;
    if (!('reference' in fact.data) || fact.data.reference?.kind !== 'order') continue;
    const { source, reference } = fact.data;
    const { number, line = '' } = reference;
    const key = JSON.stringify([source, number, line, sku, location]);
    const known = lines.get(key) ?? { source, number, line, sku, location, open: 0, backOrdered: 0 };
    known.open += openDelta;
    if (fact.type === 'StockSold') known.backOrdered += Math.min(openDelta, Math.max(-(balance ?? 0), 0));
    lines.set(key, known);
  }
  return [...lines.values()];
}

const columnsOf = (lines: readonly OpenLine[]) => [
  lines.map((l) => l.source),
  lines.map((l) => l.number),
  lines.map((l) => l.line),
  lines.map((l) => l.sku),
  lines.map((l) => l.location),
  lines.map((l) => l.open),
  lines.map((l) => l.backOrdered),
];
