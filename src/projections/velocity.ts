import type { PoolClient } from 'pg';
import type { RecordedFact } from '../events/event-reader.js';

/**
 * Units sold per SKU, location and UTC day of `occurredAt`.
 *
 * `sold`: pieces of sales, by the API and of imported orders, those that a count already had included: they were sold.
 * `cancelled`: pieces of order lines that were decreased, removed or cancelled before they were shipped, on the day of
 * the cancel; so a day may have cancelled more than it sold, which is shown and not hidden.
 * `returned`: pieces that customers brought back, fit for sale again or not. They were sold all the same.
 */
interface VelocityChange {
  readonly sku: string;
  readonly location: string;
  readonly day: string;
  sold: number;
  cancelled: number;
  returned: number;
  movements: number;
}

/** Adds the sales and returns of a batch: one row per SKU, location and day, in key order. */
export async function addToVelocity(client: PoolClient, facts: readonly RecordedFact[]): Promise<void> {
  const changes = new Map<string, VelocityChange>();
  for (const { fact, sku, location, delta, openDelta, occurredAt } of facts) {
    if (sku === null || location === null || delta === null) continue;
    if (fact.type !== 'StockSold' && fact.type !== 'StockReturned') continue;
    const day = occurredAt.toISOString().slice(0, 10);
    const key = `${day}/${location}/${sku}`;
    const change = changes.get(key) ?? { sku, location, day, sold: 0, cancelled: 0, returned: 0, movements: 0 };
    if (fact.type === 'StockSold') change.sold -= delta;
    else if ((openDelta ?? 0) < 0) change.cancelled += delta;
    else change.returned += fact.data.quantity;
    change.movements += 1;
    changes.set(key, change);
  }
  if (changes.size === 0) return;
  await client.query({
    name: 'add-to-velocity',
    text: `INSERT INTO velocity AS v (sku, location, day, sold, cancelled, returned, movements)
           SELECT r.sku, r.location, r.day, r.sold, r.cancelled, r.returned, r.movements
             FROM jsonb_to_recordset($1::jsonb)
                  AS r (sku text, location text, day date, sold bigint, cancelled bigint, returned bigint, movements bigint)
            ORDER BY r.sku COLLATE "C", r.location COLLATE "C", r.day
           ON CONFLICT (sku, location, day) DO UPDATE
              SET sold = v.sold + excluded.sold,
                  cancelled = v.cancelled + excluded.cancelled,
                  returned = v.returned + excluded.returned,
                  movements = v.movements + excluded.movements`,
    values: [JSON.stringify([...changes.values()])],
  });
}
