import type { Database } from '../database.js';
import type { DoubledKeys } from './read-cart.js';

/** Takes the place of what the whole reading before had found. */
export async function keepDoubledKeys(database: Database, cartId: string, doubled: DoubledKeys): Promise<void> {
  await database.pool.query('DELETE FROM doubled_keys WHERE cart_id = $1 AND key <> ALL ($2::text[])', [
    cartId,
    [...doubled.keys()],
  ]);
  await addDoubledKeys(database, cartId, doubled);
}

/** Beside what is known: a reading of some items says nothing of the others. */
export async function addDoubledKeys(database: Database, cartId: string, doubled: DoubledKeys): Promise<void> {
  if (doubled.size === 0) return;
  await database.pool.query(
    `INSERT INTO doubled_keys (cart_id, key, quantities)
     SELECT $1, t.key, t.quantities FROM jsonb_to_recordset($2::jsonb) AS t (key text, quantities jsonb) ORDER BY t.key
     ON CONFLICT (cart_id, key) DO UPDATE SET quantities = excluded.quantities, seen_at = excluded.seen_at`,
    [cartId, JSON.stringify([...doubled].map(([key, quantities]) => ({ key, quantities })))],
  );
}
