import type { Database } from '../../database.js';
import { steadyNow } from '../../steady-clock.js';
import type { ReachableCart } from '../cart-directory.js';
import { databaseNow } from '../database-clock.js';
import { addDoubled, type DoubledKeys } from '../read-cart.js';
import type { QohRunScope, StoredQohRun } from './qoh-runs.table.js';

/** Rows that are handled at once: few enough that none of them waits long for the others, and the memory is that of one group. */
export const groupRows = 500;
/** Keys that are asked for by name at once; some carts read everything to find one, so these are many. */
const keysAtOnce = 5_000;
/** A scope of no more listings is asked for by name; for a larger one the whole cart is read. */
const namedMax = 2_000;

/** Some rows of a cart, read at about the same time. */
export interface ListingGroup {
  /** By the database's clock, before the first byte of their reading was asked for. */
  readonly from: Date;
  readonly read: ReadonlyMap<string, number | null>;
}

/**
 * Everything that a cart shows, or what it shows of these keys, group by group as its pages come. A key may come twice where
 * pages overlap. Keys of several products may come to light at the very end: of a whole cart that is what the look before
 * is for; what is asked for by name is kept until all of it is there.
 * @param doubled is given every key of several products
 */
export async function* readGroups(
  database: Database,
  cart: ReachableCart,
  keys: readonly string[] | null,
  signal: AbortSignal,
  doubled: DoubledKeys,
): AsyncGenerator<ListingGroup> {
  const timeoutMs = cart.connection.requestTimeoutMs;
  let from = await databaseNow(database);
  const call = () => ({ deadlineMs: steadyNow() + timeoutMs, signal });
  let read = new Map<string, number | null>();
  for await (const page of cart.connector.readQuantities(cart.connection, keys, call, true)) {
    addDoubled(page, doubled);
    for (const { key, quantity } of page) read.set(key, quantity);
    signal.throwIfAborted();
    if (keys !== null || read.size < groupRows) continue;
    yield* groupsOf(from, read);
    read = new Map();
    from = await databaseNow(database);
  }
  yield* groupsOf(from, read);
}

function* groupsOf(from: Date, read: ReadonlyMap<string, number | null>): Generator<ListingGroup> {
  const rows = [...read];
  for (let at = 0; at < rows.length; at += groupRows) yield { from, read: new Map(rows.slice(at, at + groupRows)) };
}

/**
 * Its listings, of the run's scope, that no reading of this phase has made equal yet.
 * @param after the key to begin behind
 */
export async function leftOf(database: Database, run: StoredQohRun, after: string): Promise<string[]> {
  const found = await database.pool.query<{ key: string }>({
    name: 'left-of-qoh-run',
    text: `SELECT l.key FROM listings l JOIN carts c USING (cart_id)
            WHERE l.cart_id = $1 AND l.key > $5 AND ${inScopeSql('$2', '$3')} AND NOT ${isEqualSinceSql('$4')} AND ${isOneProductSql}
            ORDER BY l.key LIMIT ${keysAtOnce}`,
    values: [run.cartId, run.scope.tag ?? null, run.scope.skus ?? null, run.phaseAt, after],
  });
  return found.rows.map(({ key }) => key);
}

/** Those of these keys that the run is about and that are not equal yet. */
export async function wantedOf(
  database: Database,
  run: StoredQohRun,
  keys: readonly string[],
): Promise<readonly string[]> {
  const found = await database.pool.query<{ key: string }>({
    name: 'wanted-of-qoh-run',
    text: `SELECT l.key FROM listings l JOIN carts c USING (cart_id)
            WHERE l.cart_id = $1 AND l.key = ANY ($5::text[]) AND ${inScopeSql('$2', '$3')} AND NOT ${isEqualSinceSql('$4')} AND ${isOneProductSql}`,
    values: [run.cartId, run.scope.tag ?? null, run.scope.skus ?? null, run.phaseAt, keys],
  });
  return found.rows.map(({ key }) => key);
}

/** Its listings, of one product each, that are not among these. */
export async function unseenOf(database: Database, run: StoredQohRun, seen: ReadonlySet<string>): Promise<string[]> {
  const unseen: string[] = [];
  for (let after = ''; ;) {
    const found = await database.pool.query<{ key: string }>({
      name: 'unseen-of-qoh-run',
      text: `SELECT l.key FROM listings l
              WHERE l.cart_id = $1 AND l.key > $4 AND ${inScopeSql('$2', '$3')} AND ${isOneProductSql} ORDER BY l.key LIMIT ${keysAtOnce}`,
      values: [run.cartId, run.scope.tag ?? null, run.scope.skus ?? null, after],
    });
    unseen.push(...found.rows.map(({ key }) => key).filter((key) => !seen.has(key)));
    if (found.rows.length < keysAtOnce) return unseen;
    after = found.rows.at(-1)?.key ?? after;
  }
}

/** How many listings a run is about, and how many of them are equal since its phase began. */
export async function countOf(
  database: Database,
  run: Pick<StoredQohRun, 'cartId' | 'scope' | 'phaseAt'>,
): Promise<{ total: number; equal: number }> {
  const found = await database.pool.query<{ total: string; equal: string }>({
    name: 'count-of-qoh-run',
    text: `SELECT count(*) AS total, count(*) FILTER (WHERE ${isEqualSinceSql('$4')}) AS equal
             FROM listings l JOIN carts c USING (cart_id) WHERE l.cart_id = $1 AND ${inScopeSql('$2', '$3')}`,
    values: [run.cartId, run.scope.tag ?? null, run.scope.skus ?? null, run.phaseAt],
  });
  return { total: Number(found.rows[0]?.total ?? 0), equal: Number(found.rows[0]?.equal ?? 0) };
}

/** Asked for by name where they are few; null: the whole cart is read. */
export async function namedKeys(database: Database, run: StoredQohRun): Promise<readonly string[] | null> {
  if (isWhole(run.scope) || (run.total ?? 0) > namedMax) return null;
  const found = await database.pool.query<{ key: string }>({
    name: 'named-of-qoh-run',
    text: `SELECT l.key FROM listings l WHERE l.cart_id = $1 AND ${inScopeSql('$2', '$3')} ORDER BY l.key`,
    values: [run.cartId, run.scope.tag ?? null, run.scope.skus ?? null],
  });
  return found.rows.map(({ key }) => key);
}

export const isWhole = ({ tag, skus }: QohRunScope) => tag === undefined && skus === undefined;

const inScopeSql = (tag: string, skus: string) =>
  `(${tag}::text IS NULL OR EXISTS (SELECT FROM item_tags g WHERE g.tag = ${tag} AND g.sku = l.sku)) AND (${skus}::text[] IS NULL OR l.sku = ANY (${skus}::text[]))`;

/** Which product a key of several of them means is never guessed. */
const isOneProductSql = 'NOT EXISTS (SELECT FROM doubled_keys k WHERE k.cart_id = l.cart_id AND k.key = l.key)';

/** Made equal in the generation that counts: off, that is the one which switching on will begin. */
const isEqualSinceSql = (since: string) =>
  `coalesce(l.baseline_at >= ${since} AND l.generation = CASE WHEN c.is_on THEN c.generation ELSE c.generation + 1 END, false)`;
