import type { PoolClient } from 'pg';
import type { CommandAnswer } from './commands.js';

export interface StoredAnswer {
  readonly client: string;
  readonly idempotencyKey: string;
  readonly bodyHash: Buffer;
  readonly answer: CommandAnswer;
}

/**
 * What was answered to keys that another transaction had claimed first.
 *
 * In: (client, key) pairs that {@link claimCommands} did not return, in an earlier statement of this transaction.
 * Out: one row per pair, in no order. Effects: none.
 */
export async function readAnswers(
  client: PoolClient,
  keys: readonly { readonly client: string; readonly idempotencyKey: string }[],
): Promise<StoredAnswer[]> {
  const { rows } = await client.query<{
    client: string;
    idempotency_key: string;
    body_hash: Buffer;
    answer: CommandAnswer;
  }>({
    name: 'read-answers',
    text: `
      SELECT c.client, c.idempotency_key, c.body_hash, c.answer
      FROM unnest($1::text[], $2::text[]) AS wanted (client, idempotency_key)
      JOIN commands c USING (client, idempotency_key)`,
    values: [keys.map((k) => k.client), keys.map((k) => k.idempotencyKey)],
  });
  return rows.map((row) => ({
    client: row.client,
    idempotencyKey: row.idempotency_key,
    bodyHash: row.body_hash,
    answer: row.answer,
  }));
}
