import type { QueryConfig } from 'pg';
import type { CommandAnswer } from './commands.js';
import { isMovement } from './facts.js';
import type { Fact } from './facts.js';

export interface NewHead {
  readonly stream: string;
  readonly version: bigint;
  readonly state: unknown;
  readonly recordedAt: string;
}

export interface NewEvent {
  readonly stream: string;
  readonly version: bigint;
  readonly fact: Fact;
  readonly balance: number | null;
  readonly openBalance: number | null;
  readonly occurredAt: string;
  readonly recordedAt: string;
  readonly causationId: string;
}

export interface NewAnswer {
  readonly client: string;
  readonly idempotencyKey: string;
  readonly answer: CommandAnswer;
}

/**
 * The statement that writes what a batch decided: one, because the heads' locks are held until it is done.
 *
 * In: heads as they stand after the batch, its events in the order of their decision, answers that the events do not give.
 * Effects: one update per head, one insert of all events, one update per such answer. Positions follow the order of
 * the input; the transaction id is the column's default, the generation the newest one.
 */
export function writeBatch(
  heads: readonly NewHead[],
  events: readonly NewEvent[],
  answers: readonly NewAnswer[],
): QueryConfig {
  const movements = events.map(({ fact }) => (isMovement(fact) ? fact.data : null));
  return {
    name: 'write-batch',
    text: `
      WITH head AS (
        UPDATE stream_heads h
        SET version = n.version, state = n.state::jsonb, recorded_at = n.recorded_at
        FROM unnest($1::text[], $2::bigint[], $3::text[], $4::timestamptz[]) AS n (stream, version, state, recorded_at)
        WHERE h.stream = n.stream
      ), answer AS (
        UPDATE commands c
        SET answer = n.answer::jsonb
        FROM unnest($5::text[], $6::text[], $7::text[]) AS n (client, idempotency_key, answer)
        WHERE c.client = n.client AND c.idempotency_key = n.idempotency_key
      )
      INSERT INTO events (generation, stream, version, type, data, sku, location, delta, open_delta, balance, open_balance,
        occurred_at, recorded_at, causation_id)
      SELECT (SELECT coalesce(max(generation), 1) FROM log_generation), n.stream, n.version, n.type, n.data::jsonb, n.sku, n.location,
        n.delta, n.open_delta, n.balance, n.open_balance, n.occurred_at, n.recorded_at, n.causation_id
      FROM unnest($8::text[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bigint[], $15::bigint[],
        $16::bigint[], $17::bigint[], $18::timestamptz[], $19::timestamptz[], $20::text[]) WITH ORDINALITY
        AS n (stream, version, type, data, sku, location, delta, open_delta, balance, open_balance,
          occurred_at, recorded_at, causation_id, place)
      ORDER BY n.place`,
    values: [
      heads.map((h) => h.stream),
      heads.map((h) => h.version),
      heads.map((h) => JSON.stringify(h.state)),
      heads.map((h) => h.recordedAt),
      answers.map((a) => a.client),
      answers.map((a) => a.idempotencyKey),
      answers.map((a) => JSON.stringify(a.answer)),
      events.map((e) => e.stream),
      events.map((e) => e.version),
      events.map((e) => e.fact.type),
      events.map((e) => JSON.stringify(e.fact.data)),
      movements.map((m) => m?.sku ?? null),
      movements.map((m) => m?.location ?? null),
      movements.map((m) => m?.delta ?? null),
      movements.map((m) => m?.openDelta ?? null),
      events.map((e) => e.balance),
      events.map((e) => e.openBalance),
      events.map((e) => e.occurredAt),
      events.map((e) => e.recordedAt),
      events.map((e) => e.causationId),
    ],
  };
}
