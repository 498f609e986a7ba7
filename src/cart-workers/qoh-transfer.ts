import type { Database } from '../database.js';
import type { CommandBatcher } from '../events/command-batcher.js';
import type { Command } from '../events/commands.js';
import type { BaselineRow } from '../events/facts.js';
import type { CartDirectory, ReachableCart } from './cart-directory.js';
import type { OrderImport } from './order-import.js';
import { readQuantities } from './read-cart.js';

export interface TransferReport {
  /** Listings that are equal now, or will be once their deltas have arrived. */
  readonly listings: number;
  /** Those among them that showed something other than what they should. */
  readonly differences: number;
  /** Mapped keys that the cart does not list. */
  readonly notListed: readonly string[];
  /** Keys of the cart that no item is mapped to (the first hundred). */
  readonly unknownAtHub: readonly string[];
  /** Listings that were too busy to be read reliably; ask again. */
  readonly unsettled: readonly string[];
}

const rowsPerFact = 500;
/** Listings that sold while they were read are read again, this often. */
const passesMax = 8;
const comparingSeconds = 60;
const quietWaitMs = 90_000;
const quietPollMs = 50;
const caughtUpMs = 30_000;

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
  ) {}

  /**
   * @throws CartError when the cart cannot be read; nothing has changed for the listings not yet baselined
   */
  async run(request: {
    readonly cartId: string;
    readonly direction: 'send' | 'get';
    /** Only these; null: all. */
    readonly keys?: readonly string[] | null;
    readonly onProgress?: (done: number, total: number | null) => void | Promise<void>;
    readonly signal?: AbortSignal;
  }): Promise<TransferReport> {
    const cart = await this.dependencies.directory.cart(request.cartId);
    const hold = await this.holdLane(request.cartId);
    try {
      await this.untilQuiet(request.cartId);
      return await this.compare(cart, request);
    } finally {
      await hold.release();
    }
  }

  private async compare(
    cart: ReachableCart,
    {
      cartId,
      direction,
      keys = null,
      onProgress,
      signal = new AbortController().signal,
    }: Parameters<QohTransfer['run']>[0],
  ): Promise<TransferReport> {
    const { orderImport, caughtUp } = this.dependencies;
    let report: TransferReport = { listings: 0, differences: 0, notListed: [], unknownAtHub: [], unsettled: [] };
    let left: readonly string[] | null = keys;
    for (let pass = 0; pass < passesMax; pass += 1) {
      await orderImport.poll(cartId);
      const at = new Date().toISOString();
      const read = await readQuantities(cart, left, Number.POSITIVE_INFINITY, signal);
      const after = await orderImport.poll(cartId);
      if (pass === 0) report = { ...report, unknownAtHub: await this.mapBySku(cartId, [...read.keys()]) };
      if (!(await caughtUp(caughtUpMs)))
        throw new Error('The projector does not follow; see its state before comparing');
      const listings = await this.listingsOf(cartId, left);
      const certain = listings.filter((listing) => !after.keys.has(listing.key));
      const counts = await this.baseline(cart, { direction, at, mark: after.mark, listings: certain, read });
      report = {
        ...report,
        listings: report.listings + certain.length,
        differences: report.differences + counts.differences,
        notListed: [...report.notListed, ...certain.filter(({ key }) => !read.has(key)).map(({ key }) => key)],
      };
      await onProgress?.(report.listings, keys === null && pass === 0 ? listings.length : null);
      left = listings.filter((listing) => after.keys.has(listing.key)).map((listing) => listing.key);
      if (left.length === 0) break;
    }
    await caughtUp(caughtUpMs);
    return { ...report, unsettled: left ?? [] };
  }

  /** Items that the cart lists under our own SKU need no person to map them. @returns keys that match no item */
  private async mapBySku(cartId: string, keys: readonly string[]): Promise<string[]> {
    const found = await this.dependencies.database.pool.query<{ key: string; sku: string | null }>(
      `SELECT t.key, i.sku FROM unnest($2::text[]) AS t (key) LEFT JOIN items i ON i.sku = t.key
        WHERE NOT EXISTS (SELECT FROM listings l WHERE l.cart_id = $1 AND l.key = t.key)`,
      [cartId, keys],
    );
    const rows = found.rows.flatMap(({ key, sku }) => (sku === null ? [] : [{ key, sku }]));
    for (const chunk of chunksOf(rows)) await this.submit({ type: 'MapListings', cartId, rows: chunk });
    return found.rows
      .filter((row) => row.sku === null)
      .map((row) => row.key)
      .slice(0, 100);
  }

  private async listingsOf(cartId: string, keys: readonly string[] | null): Promise<ListingRow[]> {
    const found = await this.dependencies.database.pool.query<ListingRow>(
      `SELECT l.key, l.sku, l.expected::float8 AS expected,
              (SELECT coalesce(sum(w.delta), 0)::float8 FROM web_stack w WHERE w.cart_id = l.cart_id AND w.key = l.key
                  AND w.state IN ('waiting', 'in-flight', 'in-doubt', 'quarantined', 'dead-lettered', 'held')) AS owed,
              (SELECT coalesce(sum(q.on_hand), 0)::float8 FROM cart_locations cl JOIN quantity_on_hand q USING (location)
                WHERE cl.cart_id = l.cart_id AND q.sku = l.sku) AS available,
              (SELECT coalesce(sum(q.on_hand), 0)::float8 FROM carts c JOIN quantity_on_hand q ON q.location = c.settings->>'orderLocation'
                WHERE c.cart_id = l.cart_id AND q.sku = l.sku) AS at_order_location
         FROM listings l
        WHERE l.cart_id = $1 AND ($2::text[] IS NULL OR l.key = ANY ($2::text[]))
        ORDER BY l.key`,
      [cartId, keys],
    );
    return found.rows;
  }

  private async baseline(
    cart: ReachableCart,
    plan: {
      readonly direction: 'send' | 'get';
      readonly at: string;
      readonly mark: string | null;
      readonly listings: readonly ListingRow[];
      readonly read: ReadonlyMap<string, number | null>;
    },
  ): Promise<{ differences: number }> {
    let differences = 0;
    for (const chunk of chunksOf(plan.listings)) {
      const rows = chunk.map(({ key, sku }): BaselineRow => ({ key, sku, quantity: plan.read.get(key) ?? null }));
      const differing = chunk.filter((listing) => (plan.read.get(listing.key) ?? 0) !== listing.available);
      differences += differing.length;
      await this.submit({
        type: 'BaselineListings',
        cartId: cart.settings.cartId,
        kind: plan.direction === 'send' ? 'write' : 'get',
        at: plan.at,
        mark: plan.mark,
        rows,
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

  /** While the cart is read nothing new is sent to it. Renewed while we live, so that it ends by itself if we do not. */
  private async holdLane(cartId: string): Promise<{ release: () => Promise<void> }> {
    const { pool } = this.dependencies.database;
    const renew = () =>
      pool.query(
        `INSERT INTO lanes (cart_id, comparing_until) VALUES ($1, clock_timestamp() + $2 * interval '1 second')
         ON CONFLICT (cart_id) DO UPDATE SET comparing_until = excluded.comparing_until`,
        [cartId, comparingSeconds],
      );
    await renew();
    const timer = setInterval(() => void renew().catch(() => undefined), (comparingSeconds / 3) * 1000);
    return {
      release: async () => {
        clearInterval(timer);
        await pool.query('UPDATE lanes SET comparing_until = NULL WHERE cart_id = $1', [cartId]);
      },
    };
  }

  /** What is under way has to end first: nobody could say whether a reading saw it. */
  private async untilQuiet(cartId: string): Promise<void> {
    const end = Date.now() + quietWaitMs;
    for (;;) {
      const found = await this.dependencies.database.pool.query<{ open: string }>(
        `SELECT count(*) AS open FROM delivery_lines WHERE cart_id = $1 AND state IN ('in-flight', 'in-doubt')`,
        [cartId],
      );
      if (Number(found.rows[0]?.open) === 0) return;
      if (Date.now() > end)
        throw new Error('Deliveries to this cart are still under way; try again when its lane is quiet');
      await new Promise((resolve) => setTimeout(resolve, quietPollMs));
    }
  }
}

interface ListingRow {
  readonly key: string;
  readonly sku: string;
  readonly expected: number | null;
  readonly owed: number;
  readonly available: number;
  readonly at_order_location: number;
}

/**
 * Our stock follows the cart by what the cart shows *beyond* what it should show by now: never by its absolute number,
 * except where it was never compared, and then by what it differs from all its locations together.
 */
function resetsFor(listings: readonly ListingRow[], read: ReadonlyMap<string, number | null>) {
  return listings.flatMap((listing) => {
    const quantity = read.get(listing.key) ?? null;
    if (quantity === null) return [];
    const shouldShow = listing.expected === null ? listing.available : listing.expected - listing.owed;
    return [{ sku: listing.sku, quantity: listing.at_order_location + (quantity - shouldShow) }];
  });
}

function* chunksOf<T>(rows: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < rows.length; at += rowsPerFact) yield rows.slice(at, at + rowsPerFact);
}
