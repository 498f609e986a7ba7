import type { Pool } from 'pg';
import type { Database } from './database.js';

/** More than these at once are made beside the first ones. */
const itemsMax = 32;
/** What has more lines is made by itself: the others would wait for it, and hold their locks meanwhile. */
export const gatheredLinesMax = 32;
/** One group is being worked off by the server while the next one is made. */
const underWayMax = 2;

/** @returns one result for each item, in their order. Made again, one by one, where it fails: it changes nothing but the database */
type Make<Item, Result> = (database: Pick<Database, 'pool'>, items: readonly Item[]) => Promise<readonly Result[]>;

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

interface Place<Item, Result> {
  waiting: Waiting<Item, Result>[];
  underWay: number;
  starting: boolean;
}

/**
 * Gathers what several carts need from the database at the same moment, and makes it in one transaction: what one movement
 * sets off happens at ten carts at once, and a transaction costs more than what a single line does in it. Nobody waits for
 * company; what arrives while others are under way makes up the next group.
 *
 * Each is as safe as by itself. None hears that it was successful before the common COMMIT has ended; and where anything
 * fails, nothing of any of them has happened, and each is made again alone, so that one cart's trouble stays its own. No two
 * of a group are of one cart, and they come in the order of their carts, which is the order in which rows are locked.
 */
export class Gathering<Item extends { readonly cartId: string }, Result> {
  private readonly places = new WeakMap<Pool, Place<Item, Result>>();

  constructor(private readonly make: Make<Item, Result>) {}

  run(database: Pick<Database, 'pool'>, item: Item): Promise<Result> {
    const place = this.placeOf(database.pool);
    return new Promise((resolve, reject) => {
      place.waiting.push({ item, resolve, reject });
      this.startSoon(database, place);
    });
  }

  private placeOf(pool: Pool): Place<Item, Result> {
    const known = this.places.get(pool);
    if (known !== undefined) return known;
    const place = { waiting: [], underWay: 0, starting: false };
    this.places.set(pool, place);
    return place;
  }

  /** After what else has arrived by now has been heard. */
  private startSoon(database: Pick<Database, 'pool'>, place: Place<Item, Result>): void {
    if (place.waiting.length === 0 || place.starting || place.underWay >= underWayMax) return;
    place.starting = true;
    setImmediate(() => {
      place.starting = false;
      place.underWay += 1;
      void this.makeAll(database, takeFrom(place)).finally(() => {
        place.underWay -= 1;
        this.startSoon(database, place);
      });
      this.startSoon(database, place);
    });
  }

  private async makeAll(database: Pick<Database, 'pool'>, group: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await this.make(
        database,
        group.map(({ item }) => item),
      );
      for (const [index, { resolve }] of group.entries()) resolve(results[index] as Result);
    } catch (error) {
      if (group.length === 1) group[0]?.reject(error);
      else await Promise.all(group.map((one) => this.makeAll(database, [one])));
    }
  }
}

/** The longest waiting, one per cart, in the order of their carts. */
function takeFrom<Item extends { readonly cartId: string }, Result>(
  place: Place<Item, Result>,
): Waiting<Item, Result>[] {
  const taken = new Map<string, Waiting<Item, Result>>();
  for (const waiting of place.waiting) {
    const { cartId } = waiting.item;
    if (taken.size < itemsMax && !taken.has(cartId)) taken.set(cartId, waiting);
  }
  place.waiting = place.waiting.filter((waiting) => taken.get(waiting.item.cartId) !== waiting);
  return [...taken.values()].toSorted((a, b) => (a.item.cartId < b.item.cartId ? -1 : 1));
}
