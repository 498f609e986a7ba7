import type { PoolClient } from 'pg';
import type { RecordedFact } from '../events/event-reader.js';

/**
 * Adds the movements of a batch to on hand: one row per SKU and location however many movements it had.
 * Rows are written in key order, so that two projectors at once queue up instead of deadlocking.
 */
export async function addToQuantityOnHand(client: PoolClient, facts: readonly RecordedFact[]): Promise<void> {
  const sums = new Map<
    string,
    { sku: string; location: string; delta: number; open: number; movements: number; at: Date; seen: Date | null }
  >();
  for (const fact of facts) {
    if (fact.sku === null || fact.location === null || fact.delta === null) continue;
    const key = `${fact.location}/${fact.sku}`;
    const sum = sums.get(key);
    if (sum === undefined) {
      sums.set(key, {
        sku: fact.sku,
        location: fact.location,
        delta: fact.delta,
        open: fact.openDelta ?? 0,
        movements: 1,
        at: fact.recordedAt,
        seen: seenAt(fact),
      });
    } else {
      sum.delta += fact.delta;
      sum.open += fact.openDelta ?? 0;
      sum.movements += 1;
      if (fact.recordedAt > sum.at) sum.at = fact.recordedAt;
      const seen = seenAt(fact);
      if (seen !== null && (sum.seen === null || seen > sum.seen)) sum.seen = seen;
    }
  }
  if (sums.size === 0) return;
  const rows = [...sums.values()];
  await client.query({
    name: 'add-to-quantity-on-hand',
    text: `INSERT INTO quantity_on_hand AS q (sku, location, on_hand, open, movements, updated_at, seen_at)
           SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[], $7::timestamptz[])
                  AS t (sku, location, on_hand, open, movements, updated_at, seen_at)
            ORDER BY t.sku COLLATE "C", t.location COLLATE "C"
           ON CONFLICT (sku, location) DO UPDATE
              SET on_hand = q.on_hand + excluded.on_hand,
                  open = q.open + excluded.open,
                  movements = q.movements + excluded.movements,
                  updated_at = greatest(q.updated_at, excluded.updated_at),
                  seen_at = greatest(q.seen_at, excluded.seen_at)`,
    values: [
      rows.map((r) => r.sku),
      rows.map((r) => r.location),
      rows.map((r) => r.delta),
      rows.map((r) => r.open),
      rows.map((r) => r.movements),
      rows.map((r) => r.at),
      rows.map((r) => r.seen),
    ],
  });
}

/**
 * When somebody had the pieces in hand: not a file's word, a correction or a closed line. What an adjustment or a file added
 * was put there by somebody. Said once more in SQL in summed.ts, which a test compares.
 */
function seenAt({ fact, delta, occurredAt }: RecordedFact): Date | null {
  switch (fact.type) {
    case 'StockSold':
    case 'StockReceived':
    case 'StockReturned':
    case 'StockCounted':
    case 'StockTransferred':
      return occurredAt;
    case 'StockAdjusted':
    case 'StockReset':
      return (delta ?? 0) > 0 ? occurredAt : null;
    default:
      return null;
  }
}
