/**
 * Reads the log in its global order: (generation, transaction id, position).
 *
 * Positions are handed out before a transaction commits, so a reader that remembers the last position skips whatever
 * commits late. This one stops below the oldest transaction still running (`pg_snapshot_xmin`): every transaction id
 * under that is settled for ever, and no row can appear there any more. The price is that a transaction that writes and
 * stays open, in any database of the cluster, holds all readers back; it never makes them wrong.
 */
import type { PoolClient } from 'pg';
import type { Fact } from './facts.js';
import { upcast } from './upcasters.js';

/** The last event that was dealt with. bigints as text. */
export interface Checkpoint {
  readonly generation: number;
  readonly transactionId: string;
  readonly position: string;
}

export const startOfLog: Checkpoint = { generation: 0, transactionId: '0', position: '0' };

export interface RecordedFact extends Checkpoint {
  readonly stream: string;
  /** bigint as text */
  readonly version: string;
  readonly fact: Fact;
  /** The next five are null unless the fact is a movement. */
  readonly sku: string | null;
  readonly location: string | null;
  readonly delta: number | null;
  readonly openDelta: number | null;
  readonly balance: number | null;
  readonly occurredAt: Date;
  readonly recordedAt: Date;
  readonly causationId: string;
}

/**
 * The events strictly after the checkpoint that are settled, oldest first. A batch ends only where the transaction id
 * changes, so that a transaction's events are dealt with together; one larger than the limit is returned whole.
 * @param client of a transaction of the caller, who stores the new checkpoint in it
 * @param limit number of events, at least 1
 */
export async function readAfter(client: PoolClient, after: Checkpoint, limit: number): Promise<RecordedFact[]> {
  const rows = await readSettled(client, after, limit + 1);
  const beyond = rows[limit];
  if (beyond === undefined) return rows.map(recordedFact);
  const whole = rows.filter((row) => !isSameTransaction(row, beyond));
  if (whole.length > 0) return whole.map(recordedFact);
  return [...rows, ...(await readTransaction(client, beyond))].map(recordedFact);
}

/** Whether {@link readAfter} would find anything. */
export async function hasSettledAfter(client: PoolClient, after: Checkpoint): Promise<boolean> {
  const found = await client.query({
    name: 'has-settled-events',
    text: `SELECT FROM events WHERE ${settledAfter}
            ORDER BY events.generation, events.transaction_id, events.position LIMIT 1`,
    values: [after.generation, after.transactionId, after.position],
  });
  return found.rowCount === 1;
}

interface EventRow {
  readonly generation: number;
  readonly transaction_id: string;
  readonly position: string;
  readonly stream: string;
  readonly version: string;
  readonly type: string;
  readonly shape: number;
  readonly data: unknown;
  readonly sku: string | null;
  readonly location: string | null;
  readonly delta: string | null;
  readonly open_delta: string | null;
  readonly balance: string | null;
  readonly occurred_at: Date;
  readonly recorded_at: Date;
  readonly causation_id: string;
}

const columns = `generation, transaction_id::text AS transaction_id, position, stream, version, type, shape, data, sku, location, delta,
        open_delta, balance, occurred_at, recorded_at, causation_id`;

/**
 * After the checkpoint and below the horizon. Older generations are settled entirely, which the same row comparison says:
 * their generation is smaller.
 */
const settledAfter = `(events.generation, events.transaction_id, events.position) > ($1::int, $2::text::xid8, $3::bigint)
        AND (events.generation, events.transaction_id)
          < ((SELECT coalesce(max(generation), 1) FROM log_generation), pg_snapshot_xmin(pg_current_snapshot()))`;

async function readSettled(client: PoolClient, after: Checkpoint, limit: number): Promise<EventRow[]> {
  const { rows } = await client.query<EventRow>({
    name: 'read-settled-events',
    text: `
      SELECT ${columns}
      FROM events
      WHERE ${settledAfter}
      ORDER BY events.generation, events.transaction_id, events.position
      LIMIT $4`,
    values: [after.generation, after.transactionId, after.position, limit],
  });
  return rows;
}

/** What is left of the transaction of an event, behind that event. */
async function readTransaction(client: PoolClient, of: EventRow): Promise<EventRow[]> {
  const { rows } = await client.query<EventRow>({
    name: 'read-transaction-events',
    text: `
      SELECT ${columns}
      FROM events
      WHERE events.generation = $1::int AND events.transaction_id = $2::text::xid8
        AND events.position > $3::bigint
      ORDER BY events.position`,
    values: [of.generation, of.transaction_id, of.position],
  });
  return rows;
}

const isSameTransaction = (a: EventRow, b: EventRow) =>
  a.generation === b.generation && a.transaction_id === b.transaction_id;

function recordedFact(row: EventRow): RecordedFact {
  return {
    generation: row.generation,
    transactionId: row.transaction_id,
    position: row.position,
    stream: row.stream,
    version: row.version,
    fact: upcast(row.type, row.shape, row.data),
    sku: row.sku,
    location: row.location,
    delta: numberOrNull(row.delta),
    openDelta: numberOrNull(row.open_delta),
    balance: numberOrNull(row.balance),
    occurredAt: row.occurred_at,
    recordedAt: row.recorded_at,
    causationId: row.causation_id,
  };
}

/** Sums of quantities stay far below 2^53; positions and versions, which may not, stay text. */
const numberOrNull = (text: string | null) => (text === null ? null : Number(text));
