import type { Pool, PoolClient } from 'pg';
import { provenExpected } from '../invariants.js';
import type { Finding, Findings, SkuRange } from '../verify.js';
import { readSettings } from './availability-settings.js';
import { evaluate } from './evaluate.js';
import { factsOf, listingFactsSql, type ListingFactsRow } from './listing-facts.js';

/** Listings read at a time. */
const pageSize = 2_000;

export const targetPromise = 'I3: a synchronised listing expects its target, and that is what its rules say';

/** A synchronised listing that shows, or is to show, something else than its rules say. */
export interface WrongTarget {
  readonly cartId: string;
  readonly key: string;
  readonly sku: string;
  readonly expected: number;
  readonly target: number | null;
  readonly wanted: number;
  /** Whether `expected` itself adds up. */
  readonly proven: boolean;
}

type Row = ListingFactsRow & { readonly expected: string; readonly target: string | null };

/**
 * Works out every synchronised listing of a range of SKUs once more, by the function that published it. Settings and
 * listings are read in one snapshot, page by page, so it is exact while everybody writes. Listings that a recompute run has
 * still to come to are left out, and those of late items.
 * @param found told of each page's differences
 */
export async function compareTargetsIn(
  client: PoolClient,
  { after, through }: Pick<SkuRange, 'after' | 'through'>,
  found: (wrong: readonly WrongTarget[]) => void,
): Promise<void> {
  const settings = await readSettings(client);
  const facts = listingFactsSql(settings);
  let at: readonly [string, string, string] = [after, '\u{10ffff}', ''];
  for (;;) {
    const { rows } = await client.query<Row>({
      name: `targets-of-range-${facts.name}`,
      text: `SELECT ${facts.columns}, l.target
               FROM listings l JOIN carts c ON c.cart_id = l.cart_id JOIN system_switch s ON s.id = 1
              WHERE l.sku >= $1 AND (l.sku, l.cart_id, l.key) > ($1, $2, $3) AND ($4::text IS NULL OR l.sku <= $4)
                AND l.expected IS NOT NULL AND c.is_on AND s.is_on AND l.generation = c.generation
                AND NOT EXISTS (SELECT FROM recompute_runs r
                                 WHERE r.state = 'running' AND (l.cart_id, l.key) > (r.cursor_cart, r.cursor_key))
                AND NOT EXISTS (SELECT FROM late_items i WHERE i.sku = l.sku)
                AND NOT EXISTS (SELECT FROM kit_parts p JOIN late_items i ON i.sku = p.sku WHERE p.kit = l.sku)
              ORDER BY l.sku, l.cart_id, l.key LIMIT ${pageSize}`,
      values: [...at, through],
    });
    const wrong = rows.flatMap((row) => {
      const [expected, target] = [Number(row.expected), row.target === null ? null : Number(row.target)];
      const { target: wanted } = evaluate(factsOf(row, expected), settings.book, settings.calendar);
      if (wanted === expected && wanted === target) return [];
      return [{ cartId: row.cart_id, key: row.key, sku: row.sku, expected, target, wanted }];
    });
    if (wrong.length > 0) found(await withProof(client, wrong));
    const last = rows.at(-1);
    if (last === undefined || rows.length < pageSize) return;
    at = [last.sku, last.cart_id, last.key];
  }
}

async function withProof(client: PoolClient, wrong: readonly Omit<WrongTarget, 'proven'>[]): Promise<WrongTarget[]> {
  const skus = wrong.map(({ sku }) => sku);
  const { rows } = await client.query<{ cart_id: string; key: string }>(
    `SELECT x.cart_id, x.key FROM (${provenExpected}) x WHERE x.sku = ANY ($3::text[]) AND x.expected = x.proven`,
    ['', null, skus],
  );
  const proven = new Set(rows.map(({ cart_id, key }) => `${cart_id}/${key}`));
  return wrong.map((one) => ({ ...one, proven: proven.has(`${one.cartId}/${one.key}`) }));
}

/** @param toldMax findings that are told */
export async function verifyTargets(
  pool: Pool,
  range: Pick<SkuRange, 'after' | 'through'>,
  toldMax: number,
): Promise<Findings> {
  const client = await pool.connect();
  let total = 0;
  const told: Finding[] = [];
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await compareTargetsIn(client, range, (wrong) => {
      total += wrong.length;
      told.push(...wrong.slice(0, toldMax - told.length).map((one) => targetFinding(targetPromise, one)));
    });
  } finally {
    await client.query('ROLLBACK').catch(() => undefined);
    client.release();
  }
  return { total, told };
}

export const targetFinding = (
  promise: string,
  { cartId, key, sku, expected, target, wanted }: WrongTarget,
): Finding => ({
  promise,
  subject: { cartId, key, sku },
  stored: { expected, target },
  follows: { expected: wanted, target: wanted },
});
