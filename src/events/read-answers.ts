import type { PoolClient } from 'pg';
import type { AppendedFact, CommandAnswer } from './commands.js';

export interface StoredAnswer {
  readonly client: string;
  readonly idempotencyKey: string;
  readonly bodyHash: Buffer;
  readonly answer: CommandAnswer;
}

/**
 * What was answered to keys that another transaction had claimed first.
 *
 * In: (client, key) pairs, some of which {@link claimCommands} inserted in an earlier statement of this transaction.
 * Out: one row for each of the others, in no order. Effects: none.
 *
 * Most answers are not stored a second time: they say which events were appended, and those are in the log, under the
 * command's transaction and with its name as their cause. Events never change, so neither does the answer.
 */
export async function readAnswers(
  client: PoolClient,
  keys: readonly { readonly client: string; readonly idempotencyKey: string }[],
): Promise<StoredAnswer[]> {
  const { rows } = await client.query<{
    client: string;
    idempotency_key: string;
    body_hash: Buffer;
    answer: CommandAnswer | null;
    facts: AppendedFact[] | null;
  }>({
    name: 'read-answers',
    text: `
      WITH earlier AS MATERIALIZED (
        SELECT c.client, c.idempotency_key, c.body_hash, c.answer, c.transaction_id
        FROM unnest($1::text[], $2::text[]) AS wanted (client, idempotency_key)
        JOIN commands c USING (client, idempotency_key)
        -- The time as well: after a restore, transaction ids of an older generation come again.
        WHERE (c.transaction_id, c.recorded_at) <> (pg_current_xact_id(), now()::timestamptz(3))
      ), appended AS (
        SELECT e.causation_id, jsonb_agg(jsonb_build_object(
            'stream', e.stream, 'version', e.version::text, 'type', e.type, 'sku', e.sku, 'location', e.location,
            'delta', e.delta, 'balance', e.balance, 'occurredAt', e.occurred_at, 'recordedAt', e.recorded_at
          ) ORDER BY e.position) AS facts
        FROM (SELECT DISTINCT transaction_id FROM earlier WHERE answer IS NULL) AS t
        CROSS JOIN (SELECT generation FROM log_generation UNION SELECT 1) AS g
        JOIN events e ON e.generation = g.generation AND e.transaction_id = t.transaction_id
        GROUP BY e.causation_id
      )
      SELECT c.client, c.idempotency_key, c.body_hash, c.answer, a.facts
      FROM earlier c
      LEFT JOIN appended a ON c.answer IS NULL AND a.causation_id = c.client || '/' || c.idempotency_key`,
    values: [keys.map((k) => k.client), keys.map((k) => k.idempotencyKey)],
  });
  return rows.map(({ client: by, idempotency_key: idempotencyKey, body_hash: bodyHash, answer, facts }) => {
    if (answer === null && facts === null)
      throw new Error(`The answer to ${idempotencyKey} of ${by} is neither stored nor in the log`);
    return {
      client: by,
      idempotencyKey,
      bodyHash,
      answer: answer ?? {
        kind: 'accepted',
        facts: (facts ?? []).map((fact) => ({
          ...fact,
          occurredAt: new Date(fact.occurredAt).toISOString(),
          recordedAt: new Date(fact.recordedAt).toISOString(),
        })),
      },
    };
  });
}
