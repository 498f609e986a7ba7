import { Inject, Injectable } from '@nestjs/common';
import { and, eq, isNotNull, isNull, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { unknownOrderLines, unknownSkus } from '../../projections/unknown-skus.table.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';

/** The name of the first of the two commands that create and map (see CommandRunner.run). */
export const firstPart = 'item';
/** Nobody reads a larger number; counting stops here. */
const countMax = 1_000;

/** What carts show or sell and nobody knows here, as the projector has reached it. */
@Injectable()
export class UnknownSkuReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  async list(query: {
    readonly cart?: string | undefined;
    readonly state: 'open' | 'ignored' | 'all';
    readonly cursor?: string | undefined;
    readonly limit: number;
  }) {
    const after = decodeCursor(query.cursor, z.tuple([z.string(), z.string()]));
    const rows = await this.database.orm
      .select()
      .from(unknownSkus)
      .where(
        and(
          query.cart === undefined ? undefined : eq(unknownSkus.cartId, query.cart),
          query.state === 'open' ? isNull(unknownSkus.ignoredAt) : undefined,
          query.state === 'ignored' ? isNotNull(unknownSkus.ignoredAt) : undefined,
          after === null ? undefined : sql`(${unknownSkus.cartId}, ${unknownSkus.key}) > (${after[0]}, ${after[1]})`,
        ),
      )
      .orderBy(unknownSkus.cartId, unknownSkus.key)
      .limit(query.limit + 1);
    const page = pageOf(
      rows,
      query.limit,
      (row) => [row.cartId, row.key],
      (row) => row,
    );
    const sold = await this.soldUnder(page.data);
    return { ...page, data: page.data.map((row) => shown(row, sold.get(nameOf(row)))) };
  }

  async get(cartId: string, key: string) {
    const rows = await this.database.orm
      .select()
      .from(unknownSkus)
      .where(and(eq(unknownSkus.cartId, cartId), eq(unknownSkus.key, key)));
    const row = rows[0];
    return row === undefined ? null : shown(row, (await this.soldUnder([row])).get(nameOf(row)));
  }

  /** Whether the first command of a request under this key has been decided. */
  async wasAnswered(client: string, idempotencyKey: string | null): Promise<boolean> {
    if (idempotencyKey === null) return false;
    const found = await this.database.pool.query('SELECT FROM commands WHERE client = $1 AND idempotency_key = $2', [
      client,
      `${idempotencyKey}#${firstPart}`,
    ]);
    return found.rowCount === 1;
  }

  /** How many there are that nobody ignores, up to a thousand. */
  async count(): Promise<{ unknown: number; countedTo: number }> {
    const found = await this.database.pool.query<{ unknown: number }>({
      name: 'count-unknown-skus',
      text: `SELECT count(*)::int AS unknown FROM (SELECT FROM unknown_skus WHERE ignored_at IS NULL LIMIT ${countMax}) u`,
    });
    return { unknown: found.rows[0]?.unknown ?? 0, countedTo: countMax };
  }

  /** Orders and pieces taken under each key of one page. */
  private async soldUnder(rows: readonly { cartId: string; key: string }[]): Promise<Map<string, Sold>> {
    if (rows.length === 0) return new Map();
    const sold = await this.database.orm
      .select({
        cartId: unknownOrderLines.cartId,
        key: unknownOrderLines.key,
        orders: sql<number>`count(distinct ${unknownOrderLines.number})`.mapWith(Number),
        pieces: sql<number>`sum(${unknownOrderLines.quantity})`.mapWith(Number),
      })
      .from(unknownOrderLines)
      .where(
        sql`(${unknownOrderLines.cartId}, ${unknownOrderLines.key}) in (${sql.join(
          rows.map((row) => sql`(${row.cartId}, ${row.key})`),
          sql`, `,
        )})`,
      )
      .groupBy(unknownOrderLines.cartId, unknownOrderLines.key);
    return new Map(sold.map((row) => [nameOf(row), row]));
  }
}

interface Sold {
  readonly orders: number;
  readonly pieces: number;
}

const nameOf = ({ cartId, key }: { cartId: string; key: string }) => JSON.stringify([cartId, key]);

function shown(row: typeof unknownSkus.$inferSelect, sold: Sold | undefined) {
  const { cartId, key, title, timesMet, ignoredAt, ignoredBy, ignoredReason } = row;
  return {
    cartId,
    key,
    title,
    firstMet: { in: row.firstMetIn, at: row.firstMetAt.toISOString() },
    lastMet: { in: row.lastMetIn, at: row.lastMetAt.toISOString() },
    timesMet,
    orders: sold?.orders ?? 0,
    /** Pieces of its orders; taken from the item once the key is one. */
    piecesOrdered: sold?.pieces ?? 0,
    ignored: ignoredAt === null ? null : { reason: ignoredReason, by: ignoredBy, at: ignoredAt.toISOString() },
  };
}
