import type { PoolClient } from 'pg';

export interface CommandKey {
  readonly client: string;
  readonly idempotencyKey: string;
  readonly bodyHash: Buffer;
}

/**
 * Inserts one row per command, so that of all who send a key one decides it.
 *
 * In: distinct (client, key) pairs with the hash of their body.
 * Out: how many this transaction owns now. The others were claimed before, and their transactions have committed: the
 * insert waits for whoever holds a pair. Which they are, and their answers, has to be read in a second statement, whose
 * snapshot sees them.
 * Effects: rows are locked in sorted order, so batches that share keys queue up and never deadlock.
 */
export async function claimCommands(client: PoolClient, keys: readonly CommandKey[]): Promise<number> {
  const { rowCount } = await client.query({
    name: 'claim-commands',
    text: `
      INSERT INTO commands (client, idempotency_key, body_hash)
      SELECT client, idempotency_key, body_hash
      FROM unnest($1::text[], $2::text[], $3::bytea[]) AS claim (client, idempotency_key, body_hash)
      ORDER BY client COLLATE "C", idempotency_key COLLATE "C"
      ON CONFLICT DO NOTHING`,
    values: [keys.map((k) => k.client), keys.map((k) => k.idempotencyKey), keys.map((k) => k.bodyHash)],
  });
  return rowCount ?? 0;
}
