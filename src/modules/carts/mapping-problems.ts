import { Inject, Injectable } from '@nestjs/common';
import type { Database } from '../../database.js';
import { DATABASE } from '../tokens.js';

/** Nobody reads a longer list; mending the first of them shortens it. */
const shownMax = 200;

export interface MappingProblem {
  readonly kind: 'doubled-at-cart' | 'several-keys' | 'alike-keys' | 'alike-item';
  readonly keys: readonly string[];
  readonly skus: readonly string[];
  /** What is wrong, and what mends it. */
  readonly detail: string;
}

/** Where it is unclear which item a key of a cart means. Nothing here is ever decided by whichever came first. */
@Injectable()
export class MappingProblems {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  async list(cartId: string): Promise<readonly MappingProblem[]> {
    const [doubled, several, alike, items] = await Promise.all([
      this.rows<{ key: string; quantities: (number | null)[] }>(doubledSql, cartId),
      this.rows<{ sku: string; keys: string[] }>(severalSql, cartId),
      this.rows<{ keys: string[]; skus: string[] }>(alikeSql, cartId),
      this.rows<{ key: string; skus: string[] }>(alikeItemSql, cartId),
    ]);
    return [
      ...doubled.map(({ key, quantities }): MappingProblem => ({
        kind: 'doubled-at-cart',
        keys: [key],
        skus: [],
        detail: `The cart gives ${key} to ${quantities.length} products (they showed ${quantities.map((one) => one ?? 'no quantity').join(', ')}). It is not compared and told nothing new; give each a SKU of its own in the shop.`,
      })),
      ...several.map(({ sku, keys }): MappingProblem => ({
        kind: 'several-keys',
        keys,
        skus: [sku],
        detail: `${keys.length} keys of the cart are ${sku}: each of them offers all of its stock. Map those that are another item.`,
      })),
      ...alike.map(({ keys, skus }): MappingProblem => ({
        kind: 'alike-keys',
        keys,
        skus,
        detail: `${keys.map((key) => `"${key}"`).join(' and ')} differ in capitals or blanks only; many carts take them for one.`,
      })),
      ...items.map(({ key, skus }): MappingProblem => ({
        kind: 'alike-item',
        keys: [key],
        skus,
        detail: `"${key}" is unknown here, and differs from ${skus.map((sku) => `"${sku}"`).join(', ')} in capitals or blanks only. If it is that item: onhand carts map ${cartId} "${key}=${skus[0]}"`,
      })),
    ];
  }

  private async rows<T extends object>(sql: string, cartId: string): Promise<T[]> {
    return (await this.database.pool.query<T>(sql, [cartId, shownMax])).rows;
  }
}

const plain = (column: string) => `lower(regexp_replace(btrim(${column}), '\\s+', ' ', 'g'))`;

const doubledSql = 'SELECT key, quantities FROM doubled_keys WHERE cart_id = $1 ORDER BY key LIMIT $2';
const severalSql = `
  SELECT sku, array_agg(key ORDER BY key) AS keys FROM listings
   WHERE cart_id = $1 GROUP BY sku HAVING count(*) > 1 ORDER BY sku LIMIT $2`;
const alikeSql = `
  SELECT array_agg(key ORDER BY key) AS keys, array_agg(DISTINCT sku) AS skus FROM listings
   WHERE cart_id = $1 GROUP BY ${plain('key')} HAVING count(*) > 1 ORDER BY min(key) LIMIT $2`;
const alikeItemSql = `
  SELECT u.key, array_agg(i.sku ORDER BY i.sku) AS skus
    FROM unknown_skus u JOIN items i ON ${plain('i.sku')} = ${plain('u.key')}
   WHERE u.cart_id = $1 AND u.ignored_at IS NULL GROUP BY u.key ORDER BY u.key LIMIT $2`;
