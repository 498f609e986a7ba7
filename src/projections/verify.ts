import type { Pool } from 'pg';
import { verifyTargets } from './availability/verify-targets.js';
import { questionsBySku, questionsOnce, type BrokenRow } from './invariants.js';
import { compareSums, summedProjections, type SumDifference } from './summed.js';

/** Something that is stored and does not follow from the log. */
export interface Finding {
  readonly promise: string;
  readonly subject: Readonly<Record<string, unknown>>;
  readonly stored: Readonly<Record<string, unknown>> | null;
  readonly follows: Readonly<Record<string, unknown>> | null;
}

export interface Findings {
  /** How many there are. */
  readonly total: number;
  /** The first of each promise. */
  readonly told: readonly Finding[];
}

/** SKUs after `after` up to and with `through`; null: to the end. */
export interface SkuRange {
  readonly after: string;
  readonly through: string | null;
  /** How many SKUs have movements or listings in it. */
  readonly skus: number;
}

export const startOfSkus = '';

/**
 * The next range of SKUs. They are stepped over one by one along the indexes, so this costs the same however many
 * movements they have.
 */
export async function nextSkuRange(pool: Pool, after: string, skusMax: number): Promise<SkuRange> {
  const { rows } = await pool.query<{ n: number; sku: string | null }>({
    name: 'next-sku-range',
    text: `
      WITH RECURSIVE step (n, sku) AS (
        SELECT 0, $1::text COLLATE "C"
        UNION ALL
        SELECT n + 1, least((SELECT e.sku FROM events e WHERE e.delta IS NOT NULL AND e.sku > step.sku ORDER BY e.sku LIMIT 1),
                            (SELECT l.sku FROM listings l WHERE l.sku > step.sku ORDER BY l.sku LIMIT 1))
          FROM step WHERE n < $2 AND sku IS NOT NULL)
      SELECT n, sku FROM step ORDER BY n DESC LIMIT 1`,
    values: [after, skusMax],
  });
  const { n = 0, sku = null } = rows[0] ?? {};
  return { after, through: sku, skus: sku === null ? Math.max(0, n - 1) : n };
}

/**
 * I1, I2, I3 and what of I7 belongs to an item, for a range of SKUs. Each question is one statement and so looks at one
 * snapshot; the projector commits its checkpoint with what it applied. So the answers are exact while everybody writes,
 * and nobody is disturbed: nothing is locked, and a transaction that only reads holds no reader of the log back.
 * @param toldMax findings that are told of each question
 */
export async function verifyRange(pool: Pool, { after, through }: SkuRange, toldMax: number): Promise<Findings> {
  const all: Findings[] = [];
  for (const projection of Object.values(summedProjections)) {
    const { rows } = await pool.query<SumDifference>({
      name: `verify-${projection.name}`,
      text: compareSums(projection, true),
      values: [after, toldMax, through],
    });
    all.push(sumFindings(projection.promise, rows));
  }
  for (const { promise, sql } of questionsBySku) {
    const { rows } = await pool.query<BrokenRow>(sql, [after, through, toldMax]);
    all.push(brokenFindings(promise, rows));
  }
  all.push(await verifyTargets(pool, { after, through }, toldMax));
  return together(all);
}

/** What of I7 and I8 is about everything under way. */
export async function verifyUnderWay(pool: Pool, toldMax: number): Promise<Findings> {
  const all: Findings[] = [];
  for (const { promise, sql } of questionsOnce) {
    const { rows } = await pool.query<BrokenRow>(sql, [toldMax]);
    all.push(brokenFindings(promise, rows));
  }
  return together(all);
}

/** Everything at once, for a hub that is small: a test's. */
export async function verifyAll(pool: Pool, toldMax: number): Promise<Findings> {
  const everything = { after: startOfSkus, through: null, skus: 0 };
  return together([await verifyRange(pool, everything, toldMax), await verifyUnderWay(pool, toldMax)]);
}

const keyNames = new Set(['sku', 'location', 'day']);

export function sumFindings(promise: string, rows: readonly SumDifference[]): Findings {
  const told = rows.map(({ stored, follows }) => {
    const [keys] = split(stored ?? follows ?? {});
    return { promise, subject: keys, stored: stored && split(stored)[1], follows: follows && split(follows)[1] };
  });
  return { total: Number(rows[0]?.total ?? 0), told };
}

/** A row as its key and the rest of it. */
function split(row: Readonly<Record<string, unknown>>): [Record<string, unknown>, Record<string, unknown>] {
  const isKey = ([name]: [string, unknown]) => keyNames.has(name);
  const entries = Object.entries(row);
  return [Object.fromEntries(entries.filter(isKey)), Object.fromEntries(entries.filter((entry) => !isKey(entry)))];
}

function brokenFindings(promise: string, rows: readonly BrokenRow[]): Findings {
  const told = rows.map(({ subject, stored, follows }) => ({ promise, subject, stored, follows }));
  return { total: Number(rows[0]?.total ?? 0), told };
}

function together(all: readonly Findings[]): Findings {
  return { total: all.reduce((sum, { total }) => sum + total, 0), told: all.flatMap(({ told }) => told) };
}
