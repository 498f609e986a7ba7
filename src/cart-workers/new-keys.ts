import type { Database } from '../database.js';
import type { Command } from '../events/commands.js';

/** Keys of one command. */
const keysPerFact = 500;
const shownMax = 100;

export interface MetKeys {
  /** Nobody knows them; the first hundred. */
  readonly unknownAtHub: readonly string[];
  readonly created: number;
}

/** Keys that a cart shows and that are not mapped yet. */
export class NewKeys {
  constructor(
    private readonly database: Database,
    /** Appends; throws when it is refused. */
    private readonly submit: (command: Command) => Promise<void>,
  ) {}

  /**
   * Maps what is called like one of our items, so that nobody has to; what is left is kept in sight as unknown, or, with
   * `create`, becomes items of that SKU, unless several products of the cart share it. Their title is what an order called them, until somebody gives a better one.
   */
  async meet(cartId: string, keys: readonly string[], create: boolean): Promise<MetKeys> {
    const { known, unknown } = await this.lookAt(cartId, keys);
    for (const chunk of chunksOf(known)) await this.map(cartId, chunk);
    if (!create) {
      await this.keepInSight(cartId, unknown);
      return { unknownAtHub: unknown.slice(0, shownMax).map(({ key }) => key), created: 0 };
    }
    const wanted = unknown.filter(({ ignored, doubled }) => !ignored && !doubled);
    for (const chunk of chunksOf(wanted)) {
      // Saved, not created: cut off in between and asked again, the ones that are there already are no obstacle.
      await Promise.all(
        chunk.map(({ key, title }) => this.submit({ type: 'SaveItem', sku: key, title: title ?? key })),
      );
      await this.map(cartId, chunk);
    }
    const left = unknown.filter(({ ignored, doubled }) => ignored || doubled);
    await this.keepInSight(
      cartId,
      left.filter(({ ignored }) => !ignored),
    );
    return { unknownAtHub: left.slice(0, shownMax).map(({ key }) => key), created: wanted.length };
  }

  /** What {@link meet} would find, without changing anything. */
  async lookAt(cartId: string, keys: readonly string[]): Promise<{ known: UnmappedKey[]; unknown: UnmappedKey[] }> {
    const found = await this.database.pool.query<UnmappedKey & { is_item: boolean }>(
      `SELECT t.key, i.sku IS NOT NULL AS is_item, u.title, coalesce(u.ignored_at IS NOT NULL, false) AS ignored,
              EXISTS (SELECT FROM doubled_keys d WHERE d.cart_id = $1 AND d.key = t.key) AS doubled
         FROM unnest($2::text[]) AS t (key)
         LEFT JOIN items i ON i.sku = t.key
         LEFT JOIN unknown_skus u ON u.cart_id = $1 AND u.key = t.key
        WHERE NOT EXISTS (SELECT FROM listings l WHERE l.cart_id = $1 AND l.key = t.key)
        ORDER BY t.key COLLATE "C"`,
      [cartId, keys],
    );
    return { known: found.rows.filter((row) => row.is_item), unknown: found.rows.filter((row) => !row.is_item) };
  }

  private async keepInSight(cartId: string, keys: readonly UnmappedKey[]): Promise<void> {
    for (const rows of chunksOf(keys))
      await this.submit({ type: 'MeetUnknownSkus', cartId, rows: rows.map(({ key, title }) => ({ key, title })) });
  }

  private map(cartId: string, keys: readonly UnmappedKey[]): Promise<void> {
    return this.submit({ type: 'MapListings', cartId, rows: keys.map(({ key }) => ({ key, sku: key })) });
  }
}

interface UnmappedKey {
  readonly key: string;
  /** As an order called it; null: none did. */
  readonly title: string | null;
  /** A person wanted it out of sight, so no item is made of it. */
  readonly ignored: boolean;
  /** Several products of the cart share it: nobody can say which of them the item would be. */
  readonly doubled: boolean;
}

function* chunksOf<T>(rows: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < rows.length; at += keysPerFact) yield rows.slice(at, at + keysPerFact);
}
