import type { PoolClient } from 'pg';
import { inTransaction, type Database } from '../database.js';
import { compareTargetsIn, targetFinding, targetPromise, type WrongTarget } from './availability/verify-targets.js';
import { awaitProjection } from './checkpoint.js';
import { fanOut, type Touched } from './fan-out.js';
import { endPush, type Push } from './guard.js';
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
  const { rows } = await readOnly(database, signal, (client) =>
    client.query<SumDifference>(compareSums(projection, false), ['', rowsMax]),
  );
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
        // Rules may speak of sales, too.
        const records = await fanOut(client, await touched(client, name, runId, { skus }));
        await note(client, { rows: changed.rows.length, records });
      }),
  };
}

/** The keys of a row that nothing in the log accounts for. */
function none(stored: SumDifference['stored']): Readonly<Record<string, unknown>> {
  const { sku, location, day } = stored ?? {};
  return { sku, location, day };
}

/**
 * A listing whose `expected` itself does not add up is left alone: what it would be sent is the difference to a number
 * that nobody can vouch for. Comparing its cart gives it a new baseline.
 */
async function compareTargets(database: Database, signal: AbortSignal): Promise<Comparison> {
  const wrong: WrongTarget[] = [];
  let total = 0;
  await readOnly(database, signal, (client) =>
    compareTargetsIn(client, { after: '', through: null }, (more) => {
      signal.throwIfAborted();
      total += more.length;
      wrong.push(...more.slice(0, rowsMax - wrong.length));
    }),
  );
  return {
    findings: {
      total,
      told: wrong.map((one) =>
        targetFinding(
          one.proven
            ? targetPromise
            : 'I2: expected does not add up, so the listing is left alone; compare its cart (Send QOH)',
          one,
        ),
      ),
    },
    rows: wrong.filter(({ proven }) => proven),
    mend: (some, runId, note) =>
      alone(database, async (client) => {
        const listings = (some as readonly WrongTarget[]).map(({ cartId, key }) => ({ cartId, key }));
        const records = await fanOut(client, await touched(client, 'availability', runId, { listings }));
        await note(client, { rows: listings.length, records });
      }),
  };
}

/** What a rebuild changes at carts is one push, so that a wrong swap does not empty a shop. */
const pushOf = (name: RebuildName, runId: string): Push => ({
  id: `rebuild:${name}/${runId}`,
  kind: 'rebuild',
  title: `${name} was rebuilt`,
});

/** After the last of it was mended, or when it was given up: what it changes at carts goes, or is held by their guard. */
export async function endRebuild(database: Database, name: RebuildName, runId: string): Promise<void> {
  await alone(database, (client) => endPush(client, pushOf(name, runId).id));
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
    push: pushOf(name, runId),
  };
}

/** While no projector applies anything. It waits for the batch that is under way, and the next one waits for this. */
async function alone(database: Database, work: (client: PoolClient) => Promise<void>): Promise<void> {
  await inTransaction(database, async (client) => {
    await awaitProjection(client, 'main');
    await work(client);
  });
}

/** One snapshot, and nothing written: it takes no transaction id, so it holds no reader of the log back. */
async function readOnly<T>(
  database: Database,
  signal: AbortSignal,
  read: (client: PoolClient) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const client = await database.pool.connect();
  let stop: (() => void) | undefined;
  try {
    const found = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    stop = () => void database.pool.query('SELECT pg_cancel_backend($1)', [found.rows[0]?.pid]).catch(() => undefined);
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await client.query(`SET LOCAL statement_timeout = ${comparisonMsMax}`);
    await client.query(`SET LOCAL work_mem = '64MB'`);
    signal.addEventListener('abort', stop, { once: true });
    signal.throwIfAborted();
    return await read(client);
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop);
    await client.query('ROLLBACK').catch(() => undefined);
    // A cancel may still be on its way, and must not meet whoever borrows the connection next.
    client.release(signal.aborted);
  }
}
