import type { Database } from '../database.js';
import type { CommandBatcher } from '../events/command-batcher.js';
import type { Command } from '../events/commands.js';
import type { BaselineRow } from '../events/facts.js';
import { readSettings } from '../projections/availability/availability-settings.js';
import { plainAvailable } from '../projections/availability/listing-facts.js';
import { waitStatesSql } from '../projections/listings.table.js';
import { resolveOrders } from './resolve-orders.js';

/** Send: the cart follows us. Get: we follow the cart. */
export type Direction = 'send' | 'get';

/** A listing as it stands before it is made equal. */
export interface ListingRow {
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

export interface BaselinePlan {
  readonly cartId: string;
  readonly direction: Direction;
  /** When the reading began, by the database's clock. */
  readonly at: string;
  readonly mark: string | null;
  readonly listings: readonly ListingRow[];
  readonly read: ReadonlyMap<string, number | null>;
  /** What the cart does not have: nothing is sent for it, so that it need not be refused one by one. */
  readonly absent: ReadonlySet<string>;
  readonly reason?: string | undefined;
  /** Of which run it is a part. */
  readonly run?: string | undefined;
}

const rowsPerFact = 500;
const caughtUpMs = 30_000;
/** Two hundred orders each. */
const resolveRoundsMax = 1_000;

/** What Send and Get have in common, whether they look at a few listings or at a whole cart: readings become baselines. */
export class Baselining {
  constructor(
    readonly dependencies: {
      readonly database: Database;
      readonly batcher: CommandBatcher;
      readonly caughtUp: (timeoutMs: number) => Promise<boolean>;
    },
  ) {}

  /** @throws Error where the projector does not follow */
  async caughtUp(): Promise<void> {
    if (await this.dependencies.caughtUp(caughtUpMs)) return;
    throw new Error('The projector does not follow; see its state before comparing');
  }

  /** What the cart sold under keys that are mapped by now is in what it shows: it has to be in our stock before that is read. */
  async resolveUnknown(cartId: string): Promise<void> {
    for (let round = 0; round < resolveRoundsMax; round += 1) {
      await this.caughtUp();
      if ((await resolveOrders(this.dependencies, cartId)) === 0) return;
    }
    throw new Error('Orders of keys that were mapped a moment ago are still being taken; compare again');
  }

  /** Which of these keys have that reading as their baseline; the others were under way, or sold meanwhile. */
  async baselinedAt(cartId: string, at: string, keys: readonly string[]): Promise<Set<string>> {
    const found = await this.dependencies.database.pool.query<{ key: string }>(
      'SELECT key FROM listings WHERE cart_id = $1 AND key = ANY ($3::text[]) AND baseline_at = $2',
      [cartId, at, keys],
    );
    return new Set(found.rows.map((row) => row.key));
  }

  /** @param keys null: all of the cart */
  async listingsOf(cartId: string, keys: readonly string[] | null): Promise<ListingRow[]> {
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

  /** @returns how many of them showed something other than they should */
  async baseline(plan: BaselinePlan): Promise<number> {
    const { cartId, direction, at, mark, read, absent, reason, run } = plan;
    let differences = 0;
    for (const chunk of chunksOf(plan.listings)) {
      const rows = chunk.map(({ key, sku }): BaselineRow => ({
        key,
        sku,
        quantity: read.get(key) ?? null,
        ...(absent.has(key) && { listed: false }),
      }));
      const differing = chunk.filter((listing) => (read.get(listing.key) ?? 0) !== wanted(listing, direction));
      differences += differing.length;
      await this.submit({
        type: 'BaselineListings',
        cartId,
        kind: direction === 'send' ? 'write' : 'get',
        at,
        mark,
        rows,
        ...(reason === undefined ? {} : { reason }),
        ...(run === undefined ? {} : { run }),
        ...(direction === 'get' ? { resets: resetsFor(differing, read) } : {}),
      });
    }
    return differences;
  }

  /** @throws Error when it is refused */
  async submit(command: Command): Promise<void> {
    const outcome = await this.dependencies.batcher.submit({
      client: 'qoh-transfer',
      idempotencyKey: null,
      bodyHash: null,
      command,
    });
    if (outcome.kind === 'refused') throw new Error(outcome.refusal.detail);
  }
}

/**
 * Our stock follows the cart by what the cart shows *beyond* what it should show by now: never by its absolute number,
 * except where it was never compared and no rule changes what it shows, and then by what it differs from all its locations
 * together.
 */
export function resetsFor(listings: readonly ListingRow[], read: ReadonlyMap<string, number | null>) {
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
export function wanted({ expected, owed, available }: ListingRow, direction: Direction): number {
  if (expected === null) return available;
  return direction === 'get' ? expected - owed : expected;
}

function* chunksOf<T>(rows: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < rows.length; at += rowsPerFact) yield rows.slice(at, at + rowsPerFact);
}
