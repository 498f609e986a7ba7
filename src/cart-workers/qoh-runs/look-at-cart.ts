import type { Database } from '../../database.js';
import { readSettings } from '../../projections/availability/availability-settings.js';
import { evaluate } from '../../projections/availability/evaluate.js';
import { factsOf, listingFactsSql, type ListingFactsRow } from '../../projections/availability/listing-facts.js';
import { isInflated, isZeroed } from '../../projections/guard.js';
import { resetsFor, type Baselining, type Direction } from '../baselining.js';
import { directionOf } from './make-equal.js';
import { wantedOf } from './listing-groups.js';
import type { StoredQohRun } from './qoh-runs.table.js';

/** One listing that a run would change, at the cart (Send) or here (Get). */
export interface Difference {
  readonly key: string;
  readonly sku: string;
  readonly shown: number;
  readonly should: number;
  readonly direction: Direction;
  /** Brought to zero, or raised to twice as much or more, on the side that follows. */
  readonly danger: 'zeroed' | 'inflated' | null;
}

/**
 * What a run would change of these rows, as far as they are its listings. Nothing is changed, and nothing held up: what
 * sells at this very moment may be told a piece wrong here, and is not when it is made equal.
 */
export async function differencesOf(
  dependencies: { readonly database: Database; readonly baselining: Baselining },
  run: StoredQohRun,
  read: ReadonlyMap<string, number | null>,
): Promise<{ looked: number; differences: Difference[] }> {
  const keys = await wantedOf(dependencies.database, run, [...read.keys()]);
  const listings = await dependencies.baselining.listingsOf(run.cartId, keys);
  const follows = listings.map((listing) => ({ listing, direction: directionOf(run, listing.sku) }));
  const sent = follows.filter(({ direction }) => direction === 'send').map(({ listing }) => listing.key);
  const targets = await targetsOf(dependencies.database, run.cartId, sent, read);
  const differences = follows.flatMap(({ listing, direction }): Difference[] => {
    const { key, sku } = listing;
    const shown = read.get(key) ?? null;
    // It does not track its stock: there is nothing to tell it, and nothing to learn from it.
    if (shown === null) return [];
    const compared = listing.expected !== null;
    if (direction === 'send') {
      const should = targets.get(key) ?? shown;
      if (should === shown) return [];
      return [{ key, sku, shown, should, direction, danger: dangerOf(shown, should, compared) }];
    }
    const [reset] = resetsFor([listing], read);
    if (reset === undefined || reset.difference === 0) return [];
    const should = shown - reset.difference;
    return [{ key, sku, shown, should, direction, danger: dangerOf(should, shown, compared) }];
  });
  return { looked: listings.length, differences };
}

/** Filling what was empty is what a first comparison is for. */
function dangerOf(before: number, after: number, compared: boolean): Difference['danger'] {
  if (isZeroed(before, after)) return 'zeroed';
  return (compared || before > 0) && isInflated(before, after) ? 'inflated' : null;
}

/** What each listing would be made to show, were what was read its baseline. */
async function targetsOf(
  database: Database,
  cartId: string,
  keys: readonly string[],
  read: ReadonlyMap<string, number | null>,
): Promise<Map<string, number>> {
  if (keys.length === 0) return new Map();
  const settings = await readSettings(database.pool);
  const facts = listingFactsSql(settings);
  const { rows } = await database.pool.query<ListingFactsRow>({
    name: `targets-${facts.name}`,
    text: `SELECT ${facts.columns} FROM listings l WHERE l.cart_id = $1 AND l.key = ANY ($2::text[])`,
    values: [cartId, keys],
  });
  const targetOf = (row: ListingFactsRow) =>
    evaluate(factsOf(row, read.get(row.key) ?? 0), settings.book, settings.calendar).target;
  return new Map(rows.map((row) => [row.key, targetOf(row)]));
}
