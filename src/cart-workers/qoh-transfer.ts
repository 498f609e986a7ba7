import { setTimeout as sleep } from 'node:timers/promises';

import type { Database } from '../database.js';
import type { CommandBatcher } from '../events/command-batcher.js';
import type { BaselineRow } from '../events/facts.js';
import { Baselining, type Direction, type ListingRow } from './baselining.js';
import type { CartDirectory, ReachableCart } from './cart-directory.js';
import { databaseNow } from './database-clock.js';
import { keepDoubledKeys } from './doubled-keys.js';
import { holdLane } from './lane-hold.js';
import { NewKeys } from './new-keys.js';
import { checkoutPauseMs, type OrderImport } from './order-import.js';
import { readQuantities, type DoubledKeys } from './read-cart.js';
import { untilQuiet } from './until-quiet.js';

export interface TransferReport {
  /** Listings that are equal now, or will be once their deltas have arrived. */
  readonly listings: number;
  /** Those among them that showed something other than what they should. */
  readonly differences: number;
  /** Mapped keys that the cart does not list. */
  readonly notListed: readonly string[];
  /** Keys of the cart that no item is mapped to (the first hundred); all of them are on the list of unknown SKUs. */
  readonly unknownAtHub: readonly string[];
  /** Items that were created for keys nobody knew (Get with `createNewProducts`). */
  readonly created: number;
  /** Keys that the cart gives to several of its products: which of them is meant is never guessed, so they are left out. */
  readonly doubled: readonly string[];
  /** Listings that were too busy to be read reliably; ask again. */
  readonly unsettled: readonly string[];
}

export interface NewKeysPreview {
  readonly cartId: string;
  /** Keys that are called like an item of ours. */
  readonly wouldBeMapped: number;
  readonly unknown: number;
  /** What a Get with createNewProducts would create (the first thousand); keys that are ignored, or shared by several products, are left out. */
  readonly newProducts: readonly {
    readonly sku: string;
    readonly title: string;
    /** null: the cart does not track its stock. */
    readonly quantity: number | null;
  }[];
}

const previewMax = 1_000;
const doubledShownMax = 100;
const caughtUpMs = 30_000;
/** Listings that sold while they were read are read again, this often. */
const passesMax = 8;

/**
 * Makes both sides equal: Send QOH (the cart follows us) and Get QOH (we follow the cart).
 *
 * orders → read → orders: a listing that no order touched between the two looks is certain, and becomes a baseline with
 * the cart's order mark. What then differs goes out as ordinary deltas (Send), or comes in as a movement (Get); no
 * absolute number is ever written over sales that nobody has heard of.
 */
export class QohTransfer {
  constructor(
    private readonly dependencies: {
      readonly database: Database;
      readonly batcher: CommandBatcher;
      readonly directory: CartDirectory;
      readonly orderImport: OrderImport;
      readonly caughtUp: (timeoutMs: number) => Promise<boolean>;
    },
  ) {
    this.baselining = new Baselining(dependencies);
    this.newKeys = new NewKeys(dependencies.database, (command) => this.baselining.submit(command));
  }

  readonly baselining: Baselining;
  readonly newKeys: NewKeys;

  /**
   * @throws CartError when the cart cannot be read; nothing has changed for the listings not yet baselined
   */
  async run(request: {
    readonly cartId: string;
    readonly direction: Direction;
    /** With get: items are created for keys of the cart that nobody knows here; their stock is what the cart shows. */
    readonly createNewProducts?: boolean;
    /** Only these; null: all. */
    readonly keys?: readonly string[] | null;
    /** Why, where nobody asked for it: a drift is repaired. */
    readonly reason?: string;
    /** Done once the lane is held and quiet, before the cart is read. */
    readonly whileHeld?: () => Promise<void>;
    readonly onProgress?: (done: number, total: number | null) => void | Promise<void>;
    readonly signal?: AbortSignal;
  }): Promise<TransferReport> {
    const cart = await this.dependencies.directory.cart(request.cartId);
    const hold = await holdLane(this.dependencies.database, request.cartId);
    try {
      await untilQuiet(this.dependencies.database, request.cartId, request.keys ?? null);
      await request.whileHeld?.();
      await this.baselining.resolveUnknown(request.cartId);
      return await this.compare(cart, request);
    } finally {
      await hold.release();
    }
  }

  /** Which keys of the cart are not mapped yet, as it shows them now: what a comparison would map, create or keep in sight. */
  async previewNewKeys(cartId: string, signal: AbortSignal): Promise<NewKeysPreview> {
    const cart = await this.dependencies.directory.cart(cartId);
    const doubled: DoubledKeys = new Map();
    const read = await readQuantities(cart, null, Number.POSITIVE_INFINITY, signal, { doubled });
    const { known, unknown } = await this.newKeys.lookAt(cartId, [...read.keys()]);
    return {
      cartId,
      wouldBeMapped: known.length,
      unknown: unknown.length,
      newProducts: unknown
        .filter(({ key, ignored }) => !ignored && !doubled.has(key))
        .slice(0, previewMax)
        .map(({ key, title }) => ({ sku: key, title: title ?? key, quantity: read.get(key) ?? null })),
    };
  }

  /**
   * Takes what was read as the baselines of its listings, and ends the lines in doubt that the reading settles. The lane is
   * not held: the line in doubt keeps every other one of its listing back.
   * @returns the keys that are baselined now; not those that something was sold of since the reading began
   */
  async baselineReading(
    cartId: string,
    readFrom: Date,
    rows: readonly { readonly key: string; readonly quantity: number; readonly settles?: string }[],
    reason?: string,
  ): Promise<ReadonlySet<string>> {
    const at = readFrom.toISOString();
    const found = await this.dependencies.database.pool.query<{ key: string; sku: string; mark: string | null }>(
      `SELECT l.key, l.sku, p.mark FROM listings l LEFT JOIN order_polls p USING (cart_id)
        WHERE l.cart_id = $1 AND l.key = ANY ($2::text[]) ORDER BY l.key`,
      [cartId, rows.map((row) => row.key)],
    );
    const skuOf = new Map(found.rows.map((row) => [row.key, row.sku]));
    await this.baselining.submit({
      type: 'BaselineListings',
      cartId,
      kind: 'write',
      at,
      mark: found.rows[0]?.mark ?? null,
      ...(reason === undefined ? {} : { reason }),
      rows: rows.flatMap((row): BaselineRow[] => {
        const sku = skuOf.get(row.key);
        return sku === undefined ? [] : [{ ...row, sku }];
      }),
    });
    if (!(await this.dependencies.caughtUp(caughtUpMs))) return new Set();
    return this.baselining.baselinedAt(cartId, at, [...skuOf.keys()]);
  }

  private async compare(
    cart: ReachableCart,
    {
      cartId,
      direction,
      createNewProducts = false,
      keys = null,
      reason,
      onProgress,
      signal = new AbortController().signal,
    }: Parameters<QohTransfer['run']>[0],
  ): Promise<TransferReport> {
    const { baselining } = this;
    const { orderImport } = this.dependencies;
    let report: TransferReport = {
      listings: 0,
      differences: 0,
      notListed: [],
      unknownAtHub: [],
      created: 0,
      doubled: [],
      unsettled: [],
    };
    let left: readonly string[] | null = keys;
    const doubled: DoubledKeys = new Map();
    for (let pass = 0; pass < passesMax; pass += 1) {
      const before = await orderImport.poll(cartId, { wanted: true });
      const at = (await databaseNow(this.dependencies.database)).toISOString();
      const read = await readQuantities(cart, left, Number.POSITIVE_INFINITY, signal, { doubled, toTheEnd: true });
      if (left === null) await keepDoubledKeys(this.dependencies.database, cartId, doubled);
      const absent = await this.absentKeys(cart, { keys: left, read, signal });
      const after = await orderImport.poll(cartId, { wanted: true });
      if (pass === 0) {
        const create = createNewProducts && direction === 'get';
        report = { ...report, ...(await this.newKeys.meet(cartId, [...read.keys()], create)) };
      }
      await baselining.caughtUp();
      const mapped = await baselining.listingsOf(cartId, left);
      const listings = mapped.filter(({ key }) => !doubled.has(key));
      // Sold while it was read, or told already while the cart may still have been taking its pieces.
      const moves = (key: string) => after.keys.has(key) || before.unsettled.has(key) || after.unsettled.has(key);
      // Nobody knows what a quarantined listing should show, so nothing can be taken over from it.
      const isCertain = (listing: ListingRow) =>
        after.complete &&
        // Not shown, and not known not to be there: nobody can say what it shows.
        (read.has(listing.key) || absent.has(listing.key)) &&
        !moves(listing.key) &&
        !(direction === 'get' && listing.quarantined);
      const certain = listings.filter(isCertain);
      const { mark } = after;
      const differences = await baselining.baseline({
        cartId,
        direction,
        at,
        mark,
        listings: certain,
        read,
        absent,
        reason,
      });
      // While the lane is held: a delta that left before the baseline is applied would be owed a second time.
      await baselining.caughtUp();
      const done = await baselining.baselinedAt(
        cartId,
        at,
        listings.map(({ key }) => key),
      );
      const made = certain.filter((listing) => done.has(listing.key));
      report = {
        ...report,
        listings: report.listings + made.length,
        differences: report.differences + differences,
        notListed: [...report.notListed, ...made.filter(({ key }) => !read.has(key)).map(({ key }) => key)],
      };
      await onProgress?.(report.listings, keys === null && pass === 0 ? listings.length : null);
      left = listings.filter((listing) => !done.has(listing.key)).map((listing) => listing.key);
      if (left.length === 0) break;
      if (!after.complete || left.some((key) => after.unsettled.has(key))) await sleep(checkoutPauseMs);
    }
    return { ...report, doubled: [...doubled.keys()].slice(0, doubledShownMax), unsettled: left ?? [] };
  }

  /**
   * Mapped keys that the cart does not list. They are looked for a second time by name, since pages may shift while they
   * are read; a cart whose listing was seen to leave items out is not believed.
   */
  private async absentKeys(
    cart: ReachableCart,
    look: {
      readonly keys: readonly string[] | null;
      readonly read: Map<string, number | null>;
      readonly signal: AbortSignal;
    },
  ): Promise<ReadonlySet<string>> {
    if (cart.capabilities.listingComplete === false) return new Set();
    const { rows } = await this.dependencies.database.pool.query<{ key: string }>(
      'SELECT key FROM listings WHERE cart_id = $1 AND ($2::text[] IS NULL OR key = ANY ($2::text[])) ORDER BY key',
      [cart.settings.cartId, look.keys],
    );
    const missing = rows.map(({ key }) => key).filter((key) => !look.read.has(key));
    if (missing.length === 0) return new Set();
    const found = await readQuantities(cart, missing, Number.POSITIVE_INFINITY, look.signal);
    for (const [key, quantity] of found) look.read.set(key, quantity);
    return new Set(missing.filter((key) => !found.has(key)));
  }
}
