import { Inject, Injectable } from '@nestjs/common';
import { beginByKeys, inTransaction, type Database } from '../../database.js';
import { alike } from '../../projections/alike.js';
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
    const {
      doubled,
      several,
      alike: alikeKeys,
      items,
    } = await inTransaction(
      this.database,
      async (client) => {
        const rows = async <T extends object>(sql: string) => (await client.query<T>(sql, [cartId, shownMax])).rows;
        return {
          doubled: await rows<{ key: string; quantities: (number | null)[] }>(mappingProblemSql.doubled),
          several: await rows<{ sku: string; keys: string[] }>(mappingProblemSql.several),
          alike: await rows<{ keys: string[]; skus: string[] }>(mappingProblemSql.alike),
          items: await rows<{ key: string; skus: string[] }>(mappingProblemSql.alikeItem),
        };
      },
      beginByKeys,
    );
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
      ...alikeKeys.map(({ keys, skus }): MappingProblem => ({
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
}

/**
 * First which SKUs or words, in the order of an index; then what stands behind the few. Of a million listings the index is
 * read and nothing sorted.
 */
export const mappingProblemSql = {
  doubled: 'SELECT key, quantities FROM doubled_keys WHERE cart_id = $1 ORDER BY key LIMIT $2',
  several: `
    WITH several AS MATERIALIZED (
      SELECT sku FROM listings WHERE cart_id = $1 GROUP BY sku HAVING count(*) > 1 ORDER BY sku LIMIT $2)
    SELECT l.sku, l.keys FROM several s CROSS JOIN LATERAL (
      SELECT o.sku, array_agg(o.key ORDER BY o.key) AS keys FROM listings o WHERE o.sku = s.sku AND o.cart_id = $1 GROUP BY o.sku) AS l
     ORDER BY l.sku`,
  alike: `
    WITH words AS MATERIALIZED (
      SELECT ${alike('key')} AS word FROM listings WHERE cart_id = $1
       GROUP BY ${alike('key')} HAVING count(*) > 1 ORDER BY ${alike('key')} LIMIT $2)
    SELECT l.keys, l.skus FROM words w CROSS JOIN LATERAL (
      SELECT array_agg(o.key ORDER BY o.key) AS keys, array_agg(DISTINCT o.sku) AS skus
        FROM listings o WHERE o.cart_id = $1 AND ${alike('o.key')} = w.word) AS l
     ORDER BY w.word`,
  alikeItem: `
    SELECT u.key, array_agg(i.sku ORDER BY i.sku) AS skus
      FROM unknown_skus u JOIN items i ON ${alike('i.sku')} = ${alike('u.key')}
     WHERE u.cart_id = $1 AND u.ignored_at IS NULL GROUP BY u.key ORDER BY u.key LIMIT $2`,
} as const;
