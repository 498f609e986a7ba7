import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, like, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { cartOf, originOf, type OrderOrigin, type OrderSource, type OrderState } from '../../events/facts.js';
import { openOrderLines, orders } from '../../projections/projections.table.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';

/** Orders as the projector has reached them. */
@Injectable()
export class OrderReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  async list(query: {
    cart?: string | undefined;
    origin?: OrderOrigin | undefined;
    state?: OrderState | undefined;
    cursor?: string | undefined;
    limit: number;
  }) {
    const before = decodeCursor(
      query.cursor,
      z.tuple([z.iso.datetime().refine((at) => Date.parse(at) >= 0), z.string(), z.string()]),
    );
    const rows = await this.database.orm
      .select()
      .from(orders)
      .where(
        and(
          query.cart === undefined ? undefined : eq(orders.source, `cart:${query.cart}`),
          query.origin === undefined ? undefined : ofOrigin(query.origin),
          query.state === undefined ? undefined : eq(orders.state, query.state),
          before === null
            ? undefined
            : sql`(${orders.placedAt}, ${orders.source}, ${orders.number}) < (${before[0]}::timestamptz, ${before[1]}, ${before[2]})`,
        ),
      )
      .orderBy(desc(orders.placedAt), desc(orders.source), desc(orders.number))
      .limit(query.limit + 1);
    return pageOf(rows, query.limit, (row) => [row.placedAt.toISOString(), row.source, row.number], shown);
  }

  /** One order; each line with the pieces that are neither shipped, filled nor closed. */
  async get(source: OrderSource, number: string) {
    const [found, open] = await Promise.all([
      this.database.orm
        .select()
        .from(orders)
        .where(and(eq(orders.source, source), eq(orders.number, number))),
      this.database.orm
        .select({ line: openOrderLines.line, sku: openOrderLines.sku, open: openOrderLines.open })
        .from(openOrderLines)
        .where(and(eq(openOrderLines.source, source), eq(openOrderLines.number, number))),
    ]);
    if (found[0] === undefined) return null;
    const order = shown(found[0]);
    const openOf = (line: string, sku: string) =>
      open.reduce((sum, row) => (row.line === line && row.sku === sku ? sum + row.open : sum), 0);
    return { ...order, lines: order.lines.map((line) => ({ ...line, open: openOf(line.line, line.sku) })) };
  }
}

const ofOrigin = (origin: OrderOrigin) =>
  origin === 'cart' ? like(orders.source, 'cart:%') : eq(orders.source, origin);

/** Where an order comes from, as every answer says it. */
export const shownSource = (source: OrderSource) => ({ origin: originOf(source), cartId: cartOf(source) });

function shown({ source, placedAt, importedAt, version, ...order }: typeof orders.$inferSelect) {
  return {
    ...shownSource(source),
    ...order,
    version: String(version),
    placedAt: placedAt.toISOString(),
    importedAt: importedAt.toISOString(),
  };
}
