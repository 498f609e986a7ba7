import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../../database.js';
import type { OrderState } from '../../events/facts.js';
import { orders } from '../../projections/projections.table.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';

/** Orders as the projector has reached them. */
@Injectable()
export class OrderReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  async list(query: {
    cart?: string | undefined;
    state?: OrderState | undefined;
    cursor?: string | undefined;
    limit: number;
  }) {
    const before = decodeCursor(query.cursor, z.tuple([z.iso.datetime(), z.string(), z.string()]));
    const rows = await this.database.orm
      .select()
      .from(orders)
      .where(
        and(
          query.cart === undefined ? undefined : eq(orders.cartId, query.cart),
          query.state === undefined ? undefined : eq(orders.state, query.state),
          before === null
            ? undefined
            : sql`(${orders.placedAt}, ${orders.cartId}, ${orders.number}) < (${before[0]}::timestamptz, ${before[1]}, ${before[2]})`,
        ),
      )
      .orderBy(desc(orders.placedAt), desc(orders.cartId), desc(orders.number))
      .limit(query.limit + 1);
    return pageOf(rows, query.limit, (row) => [row.placedAt.toISOString(), row.cartId, row.number], shown);
  }

  async get(cartId: string | null, number: string) {
    const rows = await this.database.orm
      .select()
      .from(orders)
      .where(and(eq(orders.cartId, cartId ?? ''), eq(orders.number, number)));
    return rows[0] === undefined ? null : shown(rows[0]);
  }
}

function shown({ cartId, placedAt, importedAt, version, ...order }: typeof orders.$inferSelect) {
  return {
    cartId: cartId === '' ? null : cartId,
    ...order,
    version: String(version),
    placedAt: placedAt.toISOString(),
    importedAt: importedAt.toISOString(),
  };
}
