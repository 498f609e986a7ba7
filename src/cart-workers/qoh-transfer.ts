import { setTimeout as sleep } from 'node:timers/promises';

import type { Database } from '../database.js';
import { readSettings } from '../projections/availability/availability-settings.js';
import { plainAvailable } from '../projections/availability/listing-facts.js';
import { waitStatesSql } from '../projections/listings.table.js';
import type { CommandBatcher } from '../events/command-batcher.js';
import type { Command } from '../events/commands.js';
import type { BaselineRow } from '../events/facts.js';
import type { CartDirectory, ReachableCart } from './cart-directory.js';
import { databaseNow } from './database-clock.js';
import { keepDoubledKeys } from './doubled-keys.js';
import { holdLane } from './lane-hold.js';
import { NewKeys } from './new-keys.js';
import { checkoutPauseMs, type OrderImport } from './order-import.js';
import { readQuantities, type DoubledKeys } from './read-cart.js';
import { resolveOrders } from './resolve-orders.js';
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
  /** What a Get with createNewProducts would create (the first thousand); keys that are ignored are left out. */
  readonly newProducts: readonly {
    readonly sku: string;
    readonly title: string;
    /** null: the cart does not track its stock. */
    readonly quantity: number | null;
  }[];
}

const previewMax = 1_000;
const doubledShownMax = 100;
const rowsPerFact = 500;
/** Listings that sold while they were read are read again, this often. */
const passesMax = 8;
const caughtUpMs = 30_000;
/** Two hundred orders each. */
const resolveRoundsMax = 1_000;
const notFollowing = 'The projector does not follow; see its state before comparing';

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
    this.newKeys = new NewKeys(dependencies.database, (command) => this.submit(command));
  }

  private readonly newKeys: NewKeys;

  /**
   * @throws CartError when the cart cannot be read; nothing has changed for the listings not yet baselined
   */
  async run(request: {
    readonly cartId: string;
    readonly direction: 'send' | 'get';
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
      await this.resolveUnknown(request.cartId);
      return await this.compare(cart, request);
    } finally {
      await hold.release();
    }
  }

  /** Which keys of the cart are not mapped yet, as it shows them now: what a comparison would map, create or keep in sight. */
  async previewNewKeys(cartId: string, signal: AbortSignal): Promise<NewKeysPreview> {
    const cart = await this.dependencies.directory.cart(cartId);
    const read = await readQuantities(cart, null, Number.POSITIVE_INFINITY, signal);
    const { known, unknown } = await this.newKeys.lookAt(cartId, [...read.keys()]);
    return {
      cartId,
      wouldBeMapped: known.length,
      unknown: unknown.length,
      newProducts: unknown
        .filter(({ ignored }) => !ignored)
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
    await this.submit({
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
    return this.baselinedAt(cartId, at);
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
    const { orderImport, caughtUp } = this.dependencies;
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
      if (!(await caughtUp(caughtUpMs))) throw new Error(notFollowing);
      const mapped = await this.listingsOf(cartId, left);
      const listings = mapped.filter(({ key }) => !doubled.has(key));
      // Sold while it was read, or told already while the cart may still have been taking its pieces.
      const moves = (key: string) => after.keys.has(key) || before.unsettled.has(key) || after.unsettled.has(key);
      // Nobody knows what a quarantined listing should show, so nothing can be taken over from it.
      const isCertain = (listing: ListingRow) =>
        after.complete && !moves(listing.key) && !(direction === 'get' && listing.quarantined);
      const certain = listings.filter(isCertain);
      const listed = { listings: certain, read, absent };
      const counts = await this.baseline(cart, { direction, at, mark: after.mark, reason, ...listed });
      // While the lane is held: a delta that left before the baseline is applied would be owed a second time.
      if (!(await caughtUp(caughtUpMs))) throw new Error(notFollowing);
      const done = await this.baselinedAt(cartId, at);
      const made = certain.filter((listing) => done.has(listing.key));
      report = {
        ...report,
        listings: report.listings + made.length,
        differences: report.differences + counts.differences,
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

  /** What the cart sold under keys that are mapped by now is in what it shows: it has to be in our stock before that is read. */
  private async resolveUnknown(cartId: string): Promise<void> {
    for (let round = 0; round < resolveRoundsMax; round += 1) {
      if (!(await this.dependencies.caughtUp(caughtUpMs))) throw new Error(notFollowing);
      if ((await resolveOrders(this.dependencies, cartId)) === 0) return;
    }
    throw new Error('Orders of keys that were mapped a moment ago are still being taken; compare again');
  }

  private async baselinedAt(cartId: string, at: string): Promise<Set<string>> {
    const found = await this.dependencies.database.pool.query<{ key: string }>(
      'SELECT key FROM listings WHERE cart_id = $1 AND baseline_at = $2',
      [cartId, at],
    );
    return new Set(found.rows.map((row) => row.key));
  }

  private async listingsOf(cartId: string, keys: readonly string[] | null): Promise<ListingRow[]> {
    const { pool } = this.dependencies.database;
    const { book } = await readSettings(pool);
    const found = await pool.query<ListingRow & { tags: readonly string[] | null }>(
      `SELECT l.key, l.sku, (SELECT i.tags FROM items i WHERE i.sku = l.sku) AS tags, l.expected::float8 AS expected,
              (SELECT coalesce(sum(w.delta), 0)::float8 FROM web_stack w WHERE w.cart_id = l.cart_id AND w.key = l.key
                  AND w.state IN ${waitStatesSql}) AS owed,
              (${plainAvailable})::float8 AS available,
              coalesce((SELECT q.movements FROM carts c JOIN quantity_on_hand q ON q.location = c.settings->>'orderLocation'
                         WHERE c.cart_id = l.cart_id AND q.sku = l.sku), 0)::text AS version,
              EXISTS (SELECT FROM delivery_lines d WHERE d.cart_id = l.cart_id AND d.key = l.key AND d.state = 'quarantined') AS quarantined,
              EXISTS (SELECT FROM kit_parts p WHERE p.kit = l.sku) AS is_kit
         FROM listings l
        WHERE l.cart_id = $1 AND ($2::text[] IS NULL OR l.key = ANY ($2::text[]))
        ORDER BY l.key`,
      [cartId, keys],
    );
    const isRuled = ({ sku, tags }: { sku: string; tags: readonly string[] | null }) =>
      Object.keys(book.candidates({ sku, cartId, tags: tags ?? [] })).some((kind) => kind !== 'at-zero');
    return found.rows.map((row) => ({ ...row, ruled: !book.isEmpty && isRuled(row) }));
  }

  private async baseline(
    cart: ReachableCart,
    plan: {
      readonly direction: 'send' | 'get';
      readonly at: string;
      readonly mark: string | null;
      readonly listings: readonly ListingRow[];
      readonly read: ReadonlyMap<string, number | null>;
      /** What the cart does not have: nothing is sent for it, so that it need not be refused one by one. */
      readonly absent: ReadonlySet<string>;
      readonly reason: string | undefined;
    },
  ): Promise<{ differences: number }> {
    let differences = 0;
    for (const chunk of chunksOf(plan.listings)) {
      const rows = chunk.map(({ key, sku }): BaselineRow => ({
        key,
        sku,
        quantity: plan.read.get(key) ?? null,
        ...(plan.absent.has(key) && { listed: false }),
      }));
      const differing = chunk.filter(
        (listing) => (plan.read.get(listing.key) ?? 0) !== wanted(listing, plan.direction),
      );
      differences += differing.length;
      await this.submit({
        type: 'BaselineListings',
        cartId: cart.settings.cartId,
        kind: plan.direction === 'send' ? 'write' : 'get',
        at: plan.at,
        mark: plan.mark,
        rows,
        ...(plan.reason === undefined ? {} : { reason: plan.reason }),
        ...(plan.direction === 'get' ? { resets: resetsFor(differing, plan.read) } : {}),
      });
    }
    return { differences };
  }

  private async submit(command: Command): Promise<void> {
    const outcome = await this.dependencies.batcher.submit({
      client: 'qoh-transfer',
      idempotencyKey: null,
      bodyHash: null,
      command,
    });
    if (outcome.kind === 'refused') throw new Error(outcome.refusal.detail);
  }
}

interface ListingRow {
  readonly key: string;
  readonly sku: string;
  readonly expected: number | null;
  readonly owed: number;
  readonly available: number;
  /** Whether a rule changes the quantity that it is told. */
  readonly ruled: boolean;
  readonly is_kit: boolean;
  /** Of the stock at the cart's order location: each of its facts is one movement. */
  readonly version: string;
  readonly quarantined: boolean;
}

/**
 * Our stock follows the cart by what the cart shows *beyond* what it should show by now: never by its absolute number,
 * except where it was never compared and no rule changes what it shows, and then by what it differs from all its locations
 * together.
 */
function resetsFor(listings: readonly ListingRow[], read: ReadonlyMap<string, number | null>) {
  return listings.flatMap((listing) => {
    const quantity = read.get(listing.key) ?? null;
    // A kit has no stock that could follow: what it is made of is taken over from listings of its own.
    if (quantity === null || listing.is_kit) return [];
    // What a cart shows under a cap or a buffer says nothing about what is on hand.
    if (listing.expected === null && listing.ruled) return [];
    const difference = quantity - wanted(listing, 'get');
    return [{ key: listing.key, sku: listing.sku, difference, version: listing.version }];
  });
}

/** What the cart should show: by now, and where it is to follow us once all that is owed was applied. */
function wanted({ expected, owed, available }: ListingRow, direction: 'send' | 'get'): number {
  if (expected === null) return available;
  return direction === 'get' ? expected - owed : expected;
}

function* chunksOf<T>(rows: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < rows.length; at += rowsPerFact) yield rows.slice(at, at + rowsPerFact);
}
