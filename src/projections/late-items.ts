import type { PoolClient } from 'pg';
import type { Checkpoint } from '../events/event-reader.js';
import { fanOut, type Cause, type Touched } from './fan-out.js';
import type { RecordCause } from './listings.table.js';

/**
 * Far behind, the projector goes by item and not by fact: it takes larger batches, brings on hand up to date and only notes
 * which items moved; between the batches it looks at the listings of the oldest of them. An item that moved ten times
 * meanwhile is looked at once, so how late a cart can be told is bounded by how many items there are, not by how much came.
 *
 * What a cart did to a listing itself (echoes) and everything that a setting touches is looked at at once all the same.
 */

/** Notes items to be looked at, inside the batch that moved them. One that is noted already keeps its place. */
export async function noteLate(client: PoolClient, causes: ReadonlyMap<string, Cause>): Promise<void> {
  if (causes.size === 0) return;
  await client.query({
    name: 'note-late-items',
    text: `INSERT INTO late_items AS i (sku, cause, accepted_at)
           SELECT * FROM unnest($1::text[], $2::jsonb[], $3::timestamptz[])
           ON CONFLICT (sku) DO UPDATE
             SET cause = excluded.cause || jsonb_build_object('facts', (i.cause->>'facts')::int + (excluded.cause->>'facts')::int)`,
    values: [
      [...causes.keys()],
      [...causes.values()].map(({ acceptedAt: _acceptedAt, ...cause }) => JSON.stringify(cause)),
      [...causes.values()].map(({ acceptedAt }) => acceptedAt),
    ],
  });
}

interface LateRow {
  readonly sku: string;
  readonly cause: RecordCause;
  readonly accepted_at: Date;
}

/**
 * Looks at the listings of the oldest late items, inside the caller's transaction, which must hold the projection.
 * @returns null when none is late
 */
export async function fanOutLate(
  client: PoolClient,
  itemsMax: number,
): Promise<{ readonly items: number; readonly records: number } | null> {
  const taken = await client.query<LateRow>({
    name: 'take-late-items',
    text: `DELETE FROM late_items WHERE sku = ANY (ARRAY(SELECT o.sku FROM late_items o ORDER BY o.id LIMIT $1))
           RETURNING sku, cause, accepted_at`,
    values: [itemsMax],
  });
  if (taken.rows.length === 0) return null;
  return { items: taken.rows.length, records: await fanOutItems(client, taken.rows) };
}

/**
 * Looks at the late ones among the items of these listings first, so that what is about to be done to the listings for another
 * reason does not take movements along.
 * @returns how many changes went onto the Web Stack
 */
export async function fanOutLateOf(client: PoolClient, listings: Touched['listings']): Promise<number> {
  const taken = await client.query<LateRow>({
    name: 'take-late-items-of-listings',
    text: `WITH of AS MATERIALIZED (
             SELECT l.sku FROM unnest($1::text[], $2::text[]) AS t (cart_id, key)
              CROSS JOIN LATERAL (SELECT x.sku FROM listings x WHERE x.cart_id = t.cart_id AND x.key = t.key OFFSET 0) AS l)
           DELETE FROM late_items
            WHERE sku = ANY (ARRAY(SELECT sku FROM of
                                   UNION SELECT p.sku FROM of JOIN kit_parts p ON p.kit = of.sku))
           RETURNING sku, cause, accepted_at`,
    values: [listings.map(({ cartId }) => cartId), listings.map(({ key }) => key)],
  });
  return fanOutItems(client, taken.rows);
}

async function fanOutItems(client: PoolClient, rows: readonly LateRow[]): Promise<number> {
  const causes = new Map(
    rows.map(({ sku, cause, accepted_at: at }): [string, Cause] => [sku, { ...cause, acceptedAt: at.toISOString() }]),
  );
  const otherwise = causes.get(rows.at(-1)?.sku ?? '');
  if (otherwise === undefined) return 0;
  return fanOut(client, { skus: causes, listings: [], echoes: [], otherwise });
}

/** Facts that wait in the log, from which on the projector is far behind. */
export const farBehindFacts = 2_000;
/** Items that are late, from which on it still is. */
const farBehindItems = 500;

/** @param count SQL, as is `place` */
const factsAfter = (place: string, count: string) => `
  EXISTS (SELECT FROM events e WHERE (e.generation, e.transaction_id, e.position) > ${place}
           ORDER BY e.generation, e.transaction_id, e.position OFFSET ${count} - 1 LIMIT 1)`;

/** Whether at least so many facts follow this one. */
export async function hasFactsAfter(client: PoolClient, fact: Checkpoint, count: number): Promise<boolean> {
  const found = await client.query<{ far: boolean }>({
    name: 'has-facts-after',
    text: `SELECT ${factsAfter('($1::int, $2::text::xid8, $3::bigint)', '$4::int')} AS far`,
    values: [fact.generation, fact.transactionId, fact.position, Math.max(1, count)],
  });
  return found.rows[0]?.far === true;
}

/** Whether the projector is far behind, in facts or in items: what a cart is told now is likely to change again soon. */
export async function isFarBehind(client: PoolClient): Promise<boolean> {
  const found = await client.query<{ behind: boolean }>({
    name: 'is-far-behind',
    text: `SELECT (SELECT count(*) >= ${farBehindItems} FROM (SELECT FROM late_items LIMIT ${farBehindItems}) i)
               OR (SELECT ${factsAfter('(c.generation, c.transaction_id, c.position)', String(farBehindFacts))} FROM projection_checkpoints c WHERE c.name = 'main') AS behind`,
  });
  return found.rows[0]?.behind === true;
}
