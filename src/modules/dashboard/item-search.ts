import { Inject, Injectable } from '@nestjs/common';
import type { Database } from '../../database.js';
import { DATABASE } from '../tokens.js';

export interface FoundItem {
  readonly sku: string;
  readonly title: string;
}

/** Finds items for somebody who types: a few, the most likely first. Whole lists are GET /v1/items. */
@Injectable()
export class ItemSearch {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  /** SKUs that begin so come first, as typed or in capitals, then a barcode that is it, then titles that begin so. */
  async find(text: string): Promise<FoundItem[]> {
    const found = await this.database.pool.query<FoundItem>({ name: 'item-search', text: searchSql, values: [text] });
    return found.rows;
  }
}

/**
 * Ranges instead of LIKE for SKUs, because a prepared LIKE cannot use the index. Titles are read through where nothing
 * else was found enough of; the limit ends that early for everything but rare words.
 */
const searchSql = `
  WITH by_sku AS (
    (SELECT sku, title FROM items WHERE sku >= $1 AND sku < $1 || chr(1114111) ORDER BY sku LIMIT 10)
    UNION
    (SELECT sku, title FROM items WHERE sku >= upper($1) AND sku < upper($1) || chr(1114111) ORDER BY sku LIMIT 10)),
  by_words AS (
    SELECT sku, title FROM items
     WHERE (barcode = $1 OR starts_with(lower(title), lower($1))) AND (SELECT count(*) FROM by_sku) < 10
     LIMIT 10)
  SELECT sku, title
    FROM (SELECT 1 AS rank, sku, title FROM by_sku
          UNION ALL
          SELECT 2, sku, title FROM by_words WHERE sku NOT IN (SELECT sku FROM by_sku)) found
   ORDER BY rank, sku
   LIMIT 12`;
