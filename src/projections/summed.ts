/**
 * The projections that are sums over the log: what of each row follows from which events, said once. Verifying compares
 * it with what is stored, rebuilding stores it.
 */

export type SummedName = 'quantity-on-hand' | 'velocity';

export interface SummedProjection {
  readonly name: SummedName;
  readonly promise: string;
  readonly table: string;
  /** The first two are always `sku` and `location`. */
  readonly keys: readonly Column[];
  /** Sums; the last one counts the events, and a row without any is none. */
  readonly sums: readonly Column[];
  /** The latest of something, beside the sums. */
  readonly latest: readonly Column[];
  /** Which events count. */
  readonly counts: string;
}

interface Column {
  readonly name: string;
  readonly type: 'text' | 'date' | 'bigint' | 'timestamptz';
  /** Over `events e`. */
  readonly from: string;
}

const sku: Column = { name: 'sku', type: 'text', from: 'e.sku' };
const location: Column = { name: 'location', type: 'text', from: 'e.location' };
const bigint = (name: string, from: string): Column => ({ name, type: 'bigint', from: `(${from})::bigint` });

const quantityOnHand: SummedProjection = {
  name: 'quantity-on-hand',
  promise: 'I1: on hand is the sum of the deltas of its movements',
  table: 'quantity_on_hand',
  keys: [sku, location],
  sums: [
    bigint('on_hand', 'sum(e.delta)'),
    bigint('open', 'sum(e.open_delta)'),
    { name: 'movements', type: 'bigint', from: 'count(*)' },
  ],
  latest: [
    { name: 'updated_at', type: 'timestamptz', from: 'max(e.recorded_at)' },
    {
      name: 'seen_at',
      type: 'timestamptz',
      from: `max(e.occurred_at) FILTER (WHERE e.type IN ('StockSold', 'StockReceived', 'StockReturned', 'StockCounted', 'StockTransferred')
                                            OR e.type IN ('StockAdjusted', 'StockReset') AND e.delta > 0)`,
    },
  ],
  counts: 'e.delta IS NOT NULL',
};

/** What counts as what is said in velocity.ts. */
const velocity: SummedProjection = {
  name: 'velocity',
  promise: 'I1: velocity is the sum of its sales and returns',
  table: 'velocity',
  keys: [sku, location, { name: 'day', type: 'date', from: `(e.occurred_at AT TIME ZONE 'UTC')::date` }],
  sums: [
    bigint('sold', `coalesce(sum(-e.delta) FILTER (WHERE e.type = 'StockSold'), 0)`),
    bigint('cancelled', `coalesce(sum(e.delta) FILTER (WHERE e.type = 'StockReturned' AND e.open_delta < 0), 0)`),
    bigint(
      'returned',
      `coalesce(sum((e.data->>'quantity')::bigint) FILTER (WHERE e.type = 'StockReturned' AND e.open_delta >= 0), 0)`,
    ),
    { name: 'movements', type: 'bigint', from: 'count(*)' },
  ],
  latest: [],
  counts: `e.type IN ('StockSold', 'StockReturned') AND e.delta IS NOT NULL`,
};

export const summedProjections: Readonly<Record<SummedName, SummedProjection>> = {
  'quantity-on-hand': quantityOnHand,
  velocity,
};

const names = (columns: readonly Column[], prefix = '') => columns.map(({ name }) => prefix + name).join(', ');

/** The checkpoint commits with what was applied: read in the same statement, it says exactly what that must be. */
const checkpoint = `c AS MATERIALIZED (SELECT generation, transaction_id, position FROM projection_checkpoints WHERE name = 'main')`;
const upToCheckpoint = `(e.generation, e.transaction_id, e.position)
            <= ((SELECT generation FROM c), (SELECT transaction_id FROM c), (SELECT position FROM c))`;

function follows({ keys, sums, latest, counts }: SummedProjection, condition: string): string {
  const columns = [...keys, ...sums, ...latest].map(({ name, from }) => `${from} AS ${name}`).join(', ');
  return `SELECT ${columns} FROM events e WHERE ${counts} AND ${condition} GROUP BY ${keys.map((_, at) => at + 1).join(', ')}`;
}

/** A row that differs. Keys and values as JSON; null where there is no row, or none follows. */
export interface SumDifference {
  readonly sku: string;
  readonly stored: Readonly<Record<string, unknown>> | null;
  readonly follows: Readonly<Record<string, unknown>> | null;
  /** How many there are in all, of which the first are told. */
  readonly total: string;
  readonly generation: number;
  readonly transaction_id: string;
  readonly position: string;
}

/**
 * Compares what is stored with what follows from the log up to the checkpoint: one statement, so one snapshot, so exact
 * while others write.
 *
 * In: $1 only SKUs after this one; $2 how many differences are told; with `ranged`, $3 the last SKU or null.
 * Without a range the planner reads the whole log at once, which is many times faster than SKU by SKU.
 */
export function compareSums(projection: SummedProjection, ranged: boolean): string {
  const { table, keys, sums, latest } = projection;
  const range = (of: string) =>
    ranged ? `${of}.sku > $1 AND ($3::text IS NULL OR ${of}.sku <= $3)` : `($1::text = '' OR ${of}.sku > $1)`;
  const sumsOf = (of: string) => `(${names([...sums, ...latest], `${of}.`)})`;
  const json = (of: string) =>
    `CASE WHEN ${of}.movements IS NOT NULL THEN jsonb_build_object(${[...keys, ...sums, ...latest].map(({ name }) => `'${name}', ${of}.${name}`).join(', ')}) END`;
  return `
    WITH ${checkpoint},
         f AS (${follows(projection, `${range('e')} AND ${upToCheckpoint}`)}),
         s AS (SELECT * FROM ${table} s WHERE ${range('s')})
    SELECT coalesce(f.sku, s.sku) AS sku, ${json('s')} AS stored, ${json('f')} AS follows,
           count(*) OVER () AS total, (SELECT generation FROM c) AS generation,
           (SELECT transaction_id::text FROM c) AS transaction_id, (SELECT position::text FROM c) AS position
      FROM f FULL JOIN s ON ${keys.map(({ name }) => `f.${name} = s.${name}`).join(' AND ')}
     WHERE ${sumsOf('f')} IS DISTINCT FROM ${sumsOf('s')}
     ORDER BY coalesce(f.sku, s.sku), ${keys
       .slice(1)
       .map(({ name }) => `coalesce(f.${name}, s.${name})`)
       .join(', ')}
     LIMIT $2`;
}

/**
 * Puts what follows in the place of what is stored, for the given rows, while no projector applies anything.
 *
 * In: $1 the rows as JSON, keys and what followed at the checkpoint that $3, $4, $5 name; $2 their SKUs. What was applied
 * since is added. Out: the SKU of each row that changed.
 */
export function mendSums(projection: SummedProjection): string {
  const { table, keys, sums, latest } = projection;
  const typed = [...keys, ...sums, ...latest].map(({ name, type }) => `${name} ${type}`).join(', ');
  const same = (a: string, b: string) => keys.map(({ name }) => `${a}.${name} = ${b}.${name}`).join(' AND ');
  const values = [
    ...sums.map(({ name }) => `coalesce(l.${name}, 0) + coalesce(n.${name}, 0) AS ${name}`),
    ...latest.map(({ name }) => `greatest(l.${name}, n.${name}) AS ${name}`),
  ].join(', ');
  const since = `e.sku = ANY ($2::text[]) AND (e.generation, e.transaction_id, e.position) > ($3::int, $4::text::xid8, $5::bigint) AND ${upToCheckpoint}`;
  return `
    WITH ${checkpoint},
         l AS (SELECT * FROM jsonb_to_recordset($1::jsonb) AS l (${typed})),
         n AS (${follows(projection, since)}),
         wanted AS (SELECT ${names(keys, 'l.')}, ${values} FROM l LEFT JOIN n ON ${same('n', 'l')}),
         gone AS (DELETE FROM ${table} q USING wanted w WHERE ${same('q', 'w')} AND w.movements = 0 RETURNING q.sku),
         put AS (
           INSERT INTO ${table} AS q (${names([...keys, ...sums, ...latest])})
           SELECT ${names([...keys, ...sums, ...latest], 'w.')} FROM wanted w WHERE w.movements > 0
            ORDER BY w.sku COLLATE "C", w.location COLLATE "C"
           ON CONFLICT (${names(keys)}) DO UPDATE
              SET ${[...sums, ...latest].map(({ name }) => `${name} = excluded.${name}`).join(', ')}
            WHERE (${names([...sums, ...latest], 'q.')}) IS DISTINCT FROM (${names([...sums, ...latest], 'excluded.')})
           RETURNING q.sku)
    SELECT sku FROM gone UNION ALL SELECT sku FROM put`;
}
