import type { Database } from '../../database.js';
import { steadyNow } from '../../steady-clock.js';
import { CartError } from '../connectors/cart-error.js';
import { databaseNow } from '../database-clock.js';
import { keepDoubledKeys } from '../doubled-keys.js';
import { addDoubled, type DoubledKeys } from '../read-cart.js';
import { endDoubled, judge, lookAt, type LookDependencies } from './drift-looks.js';
import { isEqual, type Shown } from './quiet-listings.js';

export interface ComparisonReport {
  readonly id: string;
  readonly looked: number;
  readonly equal: number;
  /** Listings that differed; suspected ones are looked at once more by themselves. */
  readonly differing: number;
  /** Something was under way or sold while they were read. */
  readonly busy: number;
}

/** Rows laid beside each other at once; each time the orders are asked for, too. */
const rowsMax = 500;
/** Between two groups the cart is left to others. */
const restMs = 25;

/**
 * Looks at a whole cart without holding its lane: page by page, only at listings that nothing happens to meanwhile. Nothing
 * is made equal here but by the cart's policy.
 *
 * What is kept while it runs: one group of rows, and the keys that were seen.
 */
export async function compareCart(
  dependencies: LookDependencies & { readonly workerName: string },
  cartId: string,
  options: {
    readonly onProgress?: (done: number, total: number) => void;
    readonly signal?: AbortSignal;
  } = {},
): Promise<ComparisonReport | null> {
  const { database } = dependencies;
  const signal = options.signal ?? new AbortController().signal;
  const id = await begin(database, cartId, dependencies.workerName);
  if (id === null) return null;
  const counts = { looked: 0, equal: 0, differing: 0, busy: 0 };
  try {
    const cart = await dependencies.directory.cart(cartId);
    await dependencies.ordersUpToDate(cartId, []);
    const total = await countListings(database, cartId);
    const seen = new Set<string>();
    const doubled: DoubledKeys = new Map();
    const count = (listings: readonly Parameters<typeof isEqual>[0][]) => {
      counts.looked += listings.length;
      counts.busy += listings.filter((listing) => listing.busy).length;
      counts.equal += listings.filter((listing) => !listing.busy && isEqual(listing)).length;
      counts.differing = counts.looked - counts.busy - counts.equal;
      options.onProgress?.(counts.looked, total);
    };
    const timeoutMs = cart.connection.requestTimeoutMs;
    const pages = cart.connector.readQuantities(cart.connection, null, () => ({
      deadlineMs: steadyNow() + timeoutMs,
      signal,
    }));
    let from = await databaseNow(database);
    let group: Shown[] = [];
    const lookAtGroup = async () => {
      signal.throwIfAborted();
      await judge(dependencies, cart, { from, shown: group }, count);
      group = [];
      await new Promise((resolve) => setTimeout(resolve, restMs));
      from = await databaseNow(database);
    };
    for await (const page of pages) {
      addDoubled(page, doubled);
      // Pages of a cart may overlap: what was laid beside once is not counted twice.
      for (const row of page)
        if (!seen.has(row.key) && !doubled.has(row.key))
          group.push({ key: row.key, listed: true, quantity: row.quantity });
      for (const row of page) seen.add(row.key);
      if (group.length >= rowsMax) await lookAtGroup();
    }
    if (group.length > 0) await lookAtGroup();
    await keepDoubledKeys(database, cartId, doubled);
    // A second product may have come long after the first was laid beside.
    await endDoubled(database, cartId, doubled);
    for await (const keys of notSeen(database, cartId, seen)) {
      signal.throwIfAborted();
      await lookAt(dependencies, cart, keys, signal, count);
    }
    await end(database, id, counts, null);
    return { id, ...counts };
  } catch (error) {
    await end(database, id, counts, error instanceof CartError ? error.response : String(error));
    throw error;
  }
}

/** Listings that the cart did not show, page by page: asked for by their keys, since pages may have shifted under the reading. */
async function* notSeen(database: Database, cartId: string, seen: ReadonlySet<string>): AsyncGenerator<string[]> {
  for (let after = ''; ;) {
    const found = await database.pool.query<{ key: string }>(
      `SELECT l.key FROM listings l JOIN carts c ON c.cart_id = l.cart_id AND c.generation = l.generation
        WHERE l.cart_id = $1 AND l.key > $2 AND l.expected IS NOT NULL AND l.unlisted IS NULL ORDER BY l.key LIMIT ${rowsMax}`,
      [cartId, after],
    );
    const missing = found.rows.map((row) => row.key).filter((key) => !seen.has(key));
    if (missing.length > 0) yield missing;
    if (found.rows.length < rowsMax) return;
    after = found.rows.at(-1)?.key ?? after;
  }
}

async function countListings(database: Database, cartId: string): Promise<number> {
  const found = await database.pool.query<{ listings: string }>(
    `SELECT count(*) AS listings FROM listings l JOIN carts c ON c.cart_id = l.cart_id AND c.generation = l.generation
      WHERE l.cart_id = $1 AND l.expected IS NOT NULL AND l.unlisted IS NULL`,
    [cartId],
  );
  return Number(found.rows[0]?.listings ?? 0);
}

/** One at a time per cart; that of a process which is gone is ended here. @returns null: one is under way */
async function begin(database: Database, cartId: string, worker: string): Promise<string | null> {
  await database.pool.query(
    `UPDATE cart_comparisons SET ended_at = clock_timestamp(), error = 'Its process ended'
      WHERE cart_id = $1 AND ended_at IS NULL
        AND NOT EXISTS (SELECT FROM pg_stat_activity p WHERE p.application_name = cart_comparisons.worker)`,
    [cartId],
  );
  const begun = await database.pool.query<{ id: string }>(
    `INSERT INTO cart_comparisons (cart_id, generation, worker) SELECT cart_id, generation, $2 FROM carts WHERE cart_id = $1
     ON CONFLICT (cart_id) WHERE ended_at IS NULL DO NOTHING RETURNING id`,
    [cartId, worker],
  );
  return begun.rows[0]?.id ?? null;
}

async function end(
  database: Database,
  id: string,
  counts: Omit<ComparisonReport, 'id'>,
  error: string | null,
): Promise<void> {
  await database.pool.query(
    `UPDATE cart_comparisons SET ended_at = clock_timestamp(), error = left($2, 500), looked = $3, equal = $4, differing = $5, busy = $6 WHERE id = $1`,
    [id, error, counts.looked, counts.equal, counts.differing, counts.busy],
  );
}
