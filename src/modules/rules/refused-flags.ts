import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import type { Database } from '../../database.js';
import type { ListingFlag } from '../../projections/listings.table.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';

export interface RefusedFlag {
  readonly cartId: string;
  readonly cartName: string;
  readonly key: string;
  readonly sku: string;
  /** What the cart was asked for. */
  readonly flag: ListingFlag;
  readonly attempts: number;
  readonly lastResponse: string | null;
  /** It is asked again then, without anybody doing anything. */
  readonly nextTryAt: string;
}

type Row = Omit<RefusedFlag, 'nextTryAt'> & { readonly nextTryAt: Date };
const shown = (row: Row): RefusedFlag => ({ ...row, nextTryAt: row.nextTryAt.toISOString() });

/** Refused as often as a change may be, and still what a rule asks for. */
const refused = `flag_calls f JOIN listings l ON l.cart_id = f.cart_id AND l.key = f.key
                  WHERE f.refused AND f.said = l.shown AND l.shown IS DISTINCT FROM l.shown_told`;

/** What rules ask of items at carts (hidden, back-orders) and the carts say no to. */
@Injectable()
export class RefusedFlags {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  async list(query: { cart?: string | undefined; cursor?: string | undefined; limit: number }) {
    const after = decodeCursor(query.cursor, z.tuple([z.string(), z.string()]));
    const { rows } = await this.database.pool.query<Row>({
      name: 'list-refused-flags',
      text: `SELECT f.cart_id AS "cartId", c.settings->>'name' AS "cartName", f.key, l.sku, f.said AS flag, f.attempts,
                    f.last_response AS "lastResponse", f.retry_at AS "nextTryAt"
               FROM carts c, ${refused} AND c.cart_id = f.cart_id
                AND ($1::text IS NULL OR f.cart_id = $1) AND ($2::text IS NULL OR (f.cart_id, f.key) > ($2, $3))
              ORDER BY f.cart_id, f.key LIMIT $4`,
      values: [query.cart ?? null, after?.[0] ?? null, after?.[1] ?? null, query.limit + 1],
    });
    return pageOf(rows, query.limit, (row) => [row.cartId, row.key], shown);
  }

  async perCart(): Promise<readonly { readonly cartId: string; readonly refused: number }[]> {
    const { rows } = await this.database.pool.query<{ cartId: string; refused: number }>({
      name: 'count-refused-flags',
      text: `SELECT f.cart_id AS "cartId", count(*)::int AS refused FROM ${refused} GROUP BY 1 ORDER BY 1`,
    });
    return rows;
  }
}
