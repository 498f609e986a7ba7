import type { Baselining, Direction, ListingRow } from '../baselining.js';
import type { OrderImport, PollResult } from '../order-import.js';
import { wantedOf, type ListingGroup } from './listing-groups.js';
import type { StoredQohRun } from './qoh-runs.table.js';

export interface MadeEqual {
  /** Equal now. */
  readonly keys: ReadonlySet<string>;
  readonly differences: number;
  readonly notListed: readonly string[];
  /** The poll that ended it; the next group begins with it. */
  readonly after: PollResult;
}

/**
 * One group of rows becomes baselines, without holding the lane: orders → read → orders, and a listing that an order touched
 * in between, or that something was under way to, is left for another reading. What is owed from then on is of this run, so
 * it leaves behind all that happens meanwhile.
 *
 * @param before the orders that were known when the reading began
 * @param absent what the cart was asked for and does not list
 */
export async function makeEqual(
  dependencies: { readonly baselining: Baselining; readonly orderImport: OrderImport },
  run: StoredQohRun,
  group: ListingGroup & { readonly absent: ReadonlySet<string> },
  before: PollResult,
): Promise<MadeEqual> {
  const { baselining, orderImport } = dependencies;
  const { cartId } = run;
  const at = group.from.toISOString();
  const after = await orderImport.poll(cartId, { wanted: true });
  await baselining.caughtUp();
  const keys = await wantedOf(baselining.dependencies.database, run, [...group.read.keys(), ...group.absent]);
  const listings = await baselining.listingsOf(cartId, keys);
  // Sold while it was read, or told already while the cart may still have been taking its pieces.
  const moves = (key: string) => after.keys.has(key) || before.unsettled.has(key) || after.unsettled.has(key);
  let differences = 0;
  const certain: ListingRow[] = [];
  for (const direction of ['get', 'send'] as const) {
    const ready = listings.filter(
      (listing) =>
        directionOf(run, listing.sku) === direction &&
        after.complete &&
        !moves(listing.key) &&
        // Nobody knows what a quarantined listing should show, so nothing can be taken over from it.
        !(direction === 'get' && listing.quarantined),
    );
    certain.push(...ready);
    const { read, absent } = group;
    differences += await baselining.baseline({
      cartId,
      direction,
      at,
      mark: after.mark,
      listings: ready,
      read,
      absent,
      run: run.id,
    });
  }
  await baselining.caughtUp();
  const done = await baselining.baselinedAt(
    cartId,
    at,
    certain.map(({ key }) => key),
  );
  return {
    keys: done,
    differences,
    notListed: certain.filter(({ key }) => done.has(key) && !group.read.has(key)).map(({ key }) => key),
    after,
  };
}

/** Which side follows, of this item. */
export function directionOf({ direction, scope }: Pick<StoredQohRun, 'direction' | 'scope'>, sku: string): Direction {
  if (scope.otherwise?.includes(sku) !== true) return direction;
  return direction === 'send' ? 'get' : 'send';
}
