import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { decodeCursor, encodeCursor, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';

interface SharedBarcode {
  readonly barcode: string;
  readonly sku: string;
  readonly title: string;
  readonly active: boolean;
}

/** Barcodes that several items have. Looked through in windows, so that a shop without any does not cost a long read. */
@Injectable()
export class SharedBarcodes {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  async shared(query: { readonly cursor?: string | undefined; readonly limit: number }) {
    const after = decodeCursor(query.cursor, z.tuple([z.string(), z.string()])) ?? ['', ''];
    const found = await this.database.pool.query<SharedBarcode & { folded: string }>({
      name: 'shared-barcodes',
      text: `SELECT w.folded, i.barcode, i.sku, i.title, i.active
               FROM (${windowSql} LIMIT ${windowRows}) w CROSS JOIN LATERAL (SELECT * FROM items WHERE sku = w.sku LIMIT 1) i
              WHERE EXISTS (SELECT FROM items o
                             WHERE o.barcode IS NOT NULL AND lower(o.barcode) = w.folded AND o.sku <> w.sku)
              ORDER BY w.folded, w.sku LIMIT $3`,
      values: [...after, query.limit + 1],
    });
    const show = ({ folded: _folded, ...row }: SharedBarcode & { folded: string }) => row;
    const page = pageOf(found.rows, query.limit, (row) => [row.folded, row.sku], show);
    if (page.nextCursor !== null) return page;
    const end = await this.database.pool.query<{ folded: string; sku: string }>({
      name: 'shared-barcodes-end',
      text: `${windowSql} OFFSET ${windowRows - 1} LIMIT 1`,
      values: after,
    });
    const last = end.rows[0];
    return { ...page, nextCursor: last === undefined ? null : encodeCursor([last.folded, last.sku]) };
  }
}

const windowRows = 10_000;
const windowSql = `
  SELECT lower(barcode) AS folded, sku FROM items
   WHERE barcode IS NOT NULL AND (lower(barcode), sku) > ($1, $2) ORDER BY lower(barcode), sku`;
