import { Inject, Injectable } from '@nestjs/common';
import { and, eq, gt, gte, inArray, like, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { listings, waitStates, webStack } from '../../projections/listings.table.js';
import { carts, items, quantityOnHand } from '../../projections/projections.table.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';

/** Items as the projector has reached them. */
@Injectable()
export class ItemReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  async list(query: { prefix?: string | undefined; cursor?: string | undefined; limit: number }) {
    const after = decodeCursor(query.cursor, z.tuple([z.string()]));
    const rows = await this.database.orm
      .select({ ...itemColumns, onHand: total(quantityOnHand.onHand), open: total(quantityOnHand.open) })
      .from(items)
      .leftJoin(quantityOnHand, eq(quantityOnHand.sku, items.sku))
      .where(
        and(
          after === null ? undefined : gt(items.sku, after[0]),
          query.prefix === undefined
            ? undefined
            : and(gte(items.sku, query.prefix), like(items.sku, likePrefix(query.prefix))),
        ),
      )
      .groupBy(items.sku)
      .orderBy(items.sku)
      .limit(query.limit + 1);
    return pageOf(
      rows,
      query.limit,
      (row) => [row.sku],
      (row) => row,
    );
  }

  async exists(sku: string): Promise<boolean> {
    const rows = await this.database.orm.select({ sku: items.sku }).from(items).where(eq(items.sku, sku));
    return rows.length > 0;
  }

  async get(sku: string) {
    const [found, locations, shownAt] = await Promise.all([
      this.database.orm
        .select({ ...itemColumns, version: items.version })
        .from(items)
        .where(eq(items.sku, sku)),
      this.database.orm
        .select()
        .from(quantityOnHand)
        .where(eq(quantityOnHand.sku, sku))
        .orderBy(quantityOnHand.location),
      this.listingsOf(sku),
    ]);
    const item = found[0];
    if (item === undefined) return null;
    return {
      ...item,
      version: String(item.version),
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

  /** What each cart shows of the item, or would show once all that is owed has arrived. */
  private async listingsOf(sku: string) {
    const owed = this.database.orm
      .select({ cartId: webStack.cartId, key: webStack.key, owed: total(webStack.delta).as('owed') })
      .from(webStack)
      .where(and(eq(webStack.sku, sku), inArray(webStack.state, [...waitStates])))
      .groupBy(webStack.cartId, webStack.key)
      .as('owed');
    const rows = await this.database.orm
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
      .orderBy(listings.cartId, listings.key);
    return rows.map((row) => ({ ...row, shown: row.expected === null ? null : row.expected - row.owed }));
  }
}

const itemColumns = { sku: items.sku, title: items.title, barcode: items.barcode, active: items.active };

const total = (column: typeof quantityOnHand.onHand | typeof quantityOnHand.open | typeof webStack.delta) =>
  sql<number>`coalesce(sum(${column}), 0)`.mapWith(Number);

export const likePrefix = (prefix: string) => `${prefix.replace(/[\\%_]/g, '\\$&')}%`;
