import { Inject, Injectable } from '@nestjs/common';
import { and, eq, gt, gte, inArray, lt, ne, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { listings, waitStates, webStack } from '../../projections/listings.table.js';
import { items, itemTags } from '../../projections/items.table.js';
import { carts, quantityOnHand } from '../../projections/projections.table.js';
import { afterPrefix } from '../../projections/search-words.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';
import type { Activity } from './item-search.js';

/** Items as the projector has reached them. */
@Injectable()
export class ItemReads {
  private readonly one;

  constructor(@Inject(DATABASE) private readonly database: Database) {
    this.one = readsOfOne(database);
  }

  async list(query: {
    readonly prefix?: string | undefined;
    readonly barcode?: string | undefined;
    readonly tag?: string | undefined;
    readonly active: Activity;
    readonly cursor?: string | undefined;
    readonly limit: number;
  }) {
    const after = decodeCursor(query.cursor, z.tuple([z.string()]));
    const { prefix, barcode, tag } = query;
    // By tag the page is a range of the tags' own index; otherwise a range of the items'.
    const sku = tag === undefined ? items.sku : itemTags.sku;
    const all = this.database.orm.select(itemColumns).from(items).$dynamic();
    const rows = await (tag === undefined ? all : all.innerJoin(itemTags, eq(itemTags.sku, items.sku)))
      .where(
        and(
          tag === undefined ? undefined : eq(itemTags.tag, tag),
          // Said of both sides of the join: a merge would read the other one from its beginning.
          after === null
            ? undefined
            : and(gt(items.sku, after[0]), tag === undefined ? undefined : gt(itemTags.sku, after[0])),
          prefix === undefined ? undefined : and(gte(items.sku, prefix), lt(items.sku, afterPrefix(prefix))),
          barcode === undefined
            ? undefined
            : sql`${items.barcode} is not null and lower(${items.barcode}) = lower(${barcode})`,
          query.active === 'all' ? undefined : sql`${query.active === 'no' ? sql`not ` : sql``}${items.active}`,
        ),
      )
      .orderBy(sku)
      .limit(query.limit + 1);
    const page = pageOf(
      rows,
      query.limit,
      (row) => [row.sku],
      (row) => row,
    );
    return { ...page, data: await this.withOnHand(page.data) };
  }

  /** Of one page: totals are looked up once it is known which items are on it. */
  async withOnHand<T extends { readonly sku: string }>(page: readonly T[]) {
    if (page.length === 0) return [];
    const totals = await this.database.orm
      .select({ sku: quantityOnHand.sku, onHand: total(quantityOnHand.onHand), open: total(quantityOnHand.open) })
      .from(quantityOnHand)
      .where(
        inArray(
          quantityOnHand.sku,
          page.map(({ sku }) => sku),
        ),
      )
      .groupBy(quantityOnHand.sku);
    const bySku = new Map(totals.map((row) => [row.sku, row]));
    return page.map((row) => ({
      ...row,
      onHand: bySku.get(row.sku)?.onHand ?? 0,
      open: bySku.get(row.sku)?.open ?? 0,
    }));
  }

  async exists(sku: string): Promise<boolean> {
    const rows = await this.database.orm.select({ sku: items.sku }).from(items).where(eq(items.sku, sku));
    return rows.length > 0;
  }

  async get(sku: string) {
    const [found, locations, shownAt] = await Promise.all([
      this.one.item.execute({ sku }),
      this.one.locations.execute({ sku }),
      this.listingsOf(sku),
    ]);
    const item = found[0];
    if (item === undefined) return null;
    return {
      ...item,
      version: String(item.version),
      sharesBarcodeWith: await this.sharingBarcode(sku, item.barcode),
      onHand: locations.reduce((sum, row) => sum + row.onHand, 0),
      open: locations.reduce((sum, row) => sum + row.open, 0),
      locations: locations.map(({ location, onHand, open, updatedAt }) => ({
        location,
        onHand,
        open,
        updatedAt: updatedAt.toISOString(),
      })),
      listings: shownAt,
    };
  }

  /** The first other items with the same barcode: whoever scans it must be told that it does not say which one it is. */
  private async sharingBarcode(sku: string, barcode: string | null): Promise<string[]> {
    if (barcode === null) return [];
    const rows = await this.database.orm
      .select({ sku: items.sku })
      .from(items)
      .where(and(sql`${items.barcode} is not null and lower(${items.barcode}) = lower(${barcode})`, ne(items.sku, sku)))
      .orderBy(items.sku)
      .limit(SHARING_SHOWN_MAX);
    return rows.map((row) => row.sku);
  }

  /** What each cart shows of the item, or would show once all that is owed has arrived. */
  private async listingsOf(sku: string) {
    const rows = await this.one.listings.execute({ sku });
    return rows.map((row) => ({ ...row, shown: row.expected === null ? null : row.expected - row.owed }));
  }
}

/** What an item's own page asks for: prepared, because making these statements and their plans takes longer than they do. */
function readsOfOne({ orm }: Database) {
  const sku = sql.placeholder('sku');
  const owed = orm
    .select({ cartId: webStack.cartId, key: webStack.key, owed: total(webStack.delta).as('owed') })
    .from(webStack)
    .where(and(eq(webStack.sku, sku), inArray(webStack.state, [...waitStates])))
    .groupBy(webStack.cartId, webStack.key)
    .as('owed');
  return {
    item: orm
      .select({ ...itemColumns, version: items.version })
      .from(items)
      .where(eq(items.sku, sku))
      .prepare('item'),
    locations: orm
      .select()
      .from(quantityOnHand)
      .where(eq(quantityOnHand.sku, sku))
      .orderBy(quantityOnHand.location)
      .prepare('on-hand-of-item'),
    listings: orm
      .select({
        cartId: listings.cartId,
        cartName: sql<string | null>`${carts.settings} ->> 'name'`,
        key: listings.key,
        target: listings.target,
        expected: listings.expected,
        owed: sql<number>`coalesce(${owed.owed}, 0)`.mapWith(Number),
        unlisted: listings.unlisted,
        synchronised: sql<boolean>`coalesce(${listings.generation} > 0 and ${listings.generation} = ${carts.generation}, false)`,
      })
      .from(listings)
      .leftJoin(carts, eq(carts.cartId, listings.cartId))
      .leftJoin(owed, and(eq(owed.cartId, listings.cartId), eq(owed.key, listings.key)))
      .where(eq(listings.sku, sku))
      .orderBy(listings.cartId, listings.key)
      .prepare('listings-of-item'),
  };
}

const SHARING_SHOWN_MAX = 20;

const itemColumns = {
  sku: items.sku,
  title: items.title,
  barcode: items.barcode,
  shopifyProductId: items.shopifyProductId,
  tags: items.tags,
  active: items.active,
};

const total = (column: typeof quantityOnHand.onHand | typeof quantityOnHand.open | typeof webStack.delta) =>
  sql<number>`coalesce(sum(${column}), 0)`.mapWith(Number);
