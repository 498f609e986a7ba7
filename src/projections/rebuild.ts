import type { PoolClient } from 'pg';
import { inTransaction, type Database } from '../database.js';
import { awaitProjection } from './checkpoint.js';
import { fanOut, type Touched } from './fan-out.js';
import { provenExpected, wantedTargets } from './invariants.js';
import { compareSums, mendSums, summedProjections, type SumDifference, type SummedName } from './summed.js';
import { sumFindings, type Findings } from './verify.js';

/**
 * Rebuilding while running: compare, then mend what differs, then compare again.
 *
 * What a projection should be is computed beside it in one statement over the whole log, which writes nothing. Only rows
 * that differ are then replaced, some hundred at a time, each time with the projector locked out for some milliseconds
 * and with what it applied since added; what comes out differently goes through fan-out. So the swap is exact at every
 * moment, a crash anywhere leaves rows that are either as they were or right, and starting again is going on.
 */
export const rebuildNames = ['quantity-on-hand', 'velocity', 'availability'] as const;
export type RebuildName = (typeof rebuildNames)[number];

/** One comparison: what differs, and how each of these rows is mended. */
export interface Comparison {
  readonly findings: Findings;
  /** Rows that may be mended; where there are more, another comparison finds them. */
  readonly rows: readonly unknown[];
  /**
   * Mends some of the rows in one short transaction.
   * @param note runs in it
   */
  mend(
    rows: readonly unknown[],
    runId: string,
    note: (client: PoolClient, mended: Mended) => Promise<void>,
  ): Promise<void>;
}

export interface Mended {
  readonly rows: number;
  /** Put onto the Web Stack. */
  readonly records: number;
}

/** Rows that one comparison hands over; what bounds the memory of a rebuild. */
const rowsMax = 50_000;
/** A comparison reads the whole log. */
const comparisonMsMax = 30 * 60_000;

/** @param signal ends the comparison in the database */
export async function compare(database: Database, name: RebuildName, signal: AbortSignal): Promise<Comparison> {
  return name === 'availability' ? compareTargets(database, signal) : compareSummed(database, name, signal);
}

async function compareSummed(database: Database, name: SummedName, signal: AbortSignal): Promise<Comparison> {
  const projection = summedProjections[name];
  const rows = await readOnly<SumDifference>(database, compareSums(projection, false), ['', rowsMax], signal);
  const [first] = rows;
  const at = first === undefined ? [] : [first.generation, first.transaction_id, first.position];
  return {
    findings: sumFindings(projection.promise, rows),
    rows,
    mend: (some, runId, note) =>
      alone(database, async (client) => {
        const batch = some as readonly SumDifference[];
        const changed = await client.query<{ sku: string }>({
          name: `mend-${name}`,
          text: mendSums(projection),
          values: [
            JSON.stringify(batch.map(({ stored, follows }) => follows ?? none(stored))),
            [...new Set(batch.map(({ sku }) => sku))],
            ...at,
          ],
        });
        const skus = new Set(changed.rows.map(({ sku }) => sku));
        const records =
          name === 'quantity-on-hand' ? await fanOut(client, await touched(client, name, runId, { skus })) : 0;
        await note(client, { rows: changed.rows.length, records });
      }),
  };
}

/** The keys of a row that nothing in the log accounts for. */
function none(stored: SumDifference['stored']): Readonly<Record<string, unknown>> {
  const { sku, location, day } = stored ?? {};
  return { sku, location, day };
}

interface TargetDifference {
  readonly cart_id: string;
  readonly key: string;
  readonly sku: string;
  readonly expected: string;
  readonly target: string | null;
  readonly wanted: string;
  readonly proven: boolean;
  readonly total: string;
}

/**
 * A listing whose `expected` itself does not add up is left alone: what it would be sent is the difference to a number
 * that nobody can vouch for. Comparing its cart gives it a new baseline.
 */
async function compareTargets(database: Database, signal: AbortSignal): Promise<Comparison> {
  const sql = `
    SELECT x.cart_id, x.key, x.sku, x.expected, x.target, x.wanted, x.expected = p.proven AS proven, count(*) OVER () AS total
      FROM (${wantedTargets}) x JOIN (${provenExpected}) p ON p.cart_id = x.cart_id AND p.key = x.key
     WHERE x.expected IS DISTINCT FROM x.wanted OR x.target IS DISTINCT FROM x.wanted
     ORDER BY (x.expected = p.proven) DESC, x.cart_id, x.key LIMIT $3`;
  const rows = await readOnly<TargetDifference>(database, sql, ['', null, rowsMax], signal);
  return {
    findings: {
      total: Number(rows[0]?.total ?? 0),
      told: rows.map((row) => ({
        promise: row.proven
          ? 'I3: a synchronised listing expects its target, and that is what its rules say'
          : 'I2: expected does not add up, so the listing is left alone; compare its cart (Send QOH)',
        subject: { cartId: row.cart_id, key: row.key, sku: row.sku },
        stored: { expected: Number(row.expected), target: row.target === null ? null : Number(row.target) },
        follows: { target: Number(row.wanted) },
      })),
    },
    rows: rows.filter(({ proven }) => proven),
    mend: (some, runId, note) =>
      alone(database, async (client) => {
        const listings = (some as readonly TargetDifference[]).map(({ cart_id, key }) => ({ cartId: cart_id, key }));
        const records = await fanOut(client, await touched(client, 'availability', runId, { listings }));
        await note(client, { rows: listings.length, records });
      }),
  };
}

/** What records say that a rebuild made: a cause of their own. */
async function touched(
  client: PoolClient,
  name: RebuildName,
  runId: string,
  { skus, listings }: { skus?: ReadonlySet<string>; listings?: Touched['listings'] },
): Promise<Touched> {
  const { rows } = await client.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  const recordedAt = (rows[0]?.now ?? new Date()).toISOString();
  const cause = {
    type: 'Rebuild',
    stream: `rebuild:${name}/${runId}`,
    version: '1',
    recordedAt,
    facts: 0,
    reference: { kind: 'rebuild', number: runId },
    acceptedAt: recordedAt,
  };
  return {
    skus: new Map([...(skus ?? [])].map((sku) => [sku, cause])),
    listings: listings ?? [],
    echoes: [],
    otherwise: cause,
  };
}

/** While no projector applies anything. It waits for the batch that is under way, and the next one waits for this. */
async function alone(database: Database, work: (client: PoolClient) => Promise<void>): Promise<void> {
  await inTransaction(database, async (client) => {
    await awaitProjection(client, 'main');
    await work(client);
  });
}

/** One long statement that writes nothing: it takes no transaction id, so it holds no reader of the log back. */
async function readOnly<Row extends object>(
  database: Database,
  sql: string,
  values: readonly unknown[],
  signal: AbortSignal,
): Promise<Row[]> {
  signal.throwIfAborted();
  const client = await database.pool.connect();
  let stop: (() => void) | undefined;
  try {
    const found = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    stop = () => void database.pool.query('SELECT pg_cancel_backend($1)', [found.rows[0]?.pid]).catch(() => undefined);
    await client.query('BEGIN READ ONLY');
    await client.query(`SET LOCAL statement_timeout = ${comparisonMsMax}`);
    await client.query(`SET LOCAL work_mem = '64MB'`);
    signal.addEventListener('abort', stop, { once: true });
    signal.throwIfAborted();
    return (await client.query<Row>(sql, [...values])).rows;
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop);
    await client.query('ROLLBACK').catch(() => undefined);
    // A cancel may still be on its way, and must not meet whoever borrows the connection next.
    client.release(signal.aborted);
  }
}
