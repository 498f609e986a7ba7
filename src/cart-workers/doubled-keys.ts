import type { Database } from '../database.js';

/** Takes the place of what the comparison before had found. */
export async function keepDoubledKeys(
  database: Database,
  cartId: string,
  doubled: ReadonlyMap<string, readonly (number | null)[]>,
): Promise<void> {
  await database.pool.query(
    `WITH gone AS (DELETE FROM doubled_keys WHERE cart_id = $1 AND key <> ALL ($2::text[]))
     INSERT INTO doubled_keys (cart_id, key, quantities)
     SELECT $1, t.key, t.quantities FROM jsonb_to_recordset($3::jsonb) AS t (key text, quantities jsonb)
     ON CONFLICT (cart_id, key) DO UPDATE SET quantities = excluded.quantities, seen_at = excluded.seen_at`,
    [cartId, [...doubled.keys()], JSON.stringify([...doubled].map(([key, quantities]) => ({ key, quantities })))],
  );
}
