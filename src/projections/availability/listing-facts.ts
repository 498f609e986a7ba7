import type { AvailabilitySettings } from './availability-settings.js';
import type { ListingFacts, LocationStock, Shown } from './evaluate.js';

/** The columns of {@link listingFactsSql}, as they come. */
export interface ListingFactsRow {
  readonly cart_id: string;
  readonly key: string;
  readonly sku: string;
  readonly expected: string | null;
  readonly shown: Shown | null;
  readonly withheld: boolean;
  readonly settings_version: string | null;
  /** The plain sum over the cart's locations; only where there are no rules. */
  readonly available?: string;
  readonly stock?: readonly (readonly [location: string, onHand: number, seenAt: string | null, own: boolean])[] | null;
  readonly tags?: readonly string[] | null;
  readonly sales_own?: readonly number[];
  readonly sales_chain?: readonly number[];
}

/** Pieces on the road belong to no place that sells. */
const onTheRoad = `'in-transit'`;

const stockSql = `
       (SELECT jsonb_agg(jsonb_build_array(q.location, q.on_hand, q.seen_at,
                 EXISTS (SELECT FROM cart_locations cl WHERE cl.cart_id = l.cart_id AND cl.location = q.location)) ORDER BY q.location)
          FROM quantity_on_hand q WHERE q.sku = l.sku AND q.location <> ${onTheRoad}) AS stock`;

const tagsSql = `
       (SELECT i.tags FROM items i WHERE i.sku = l.sku) AS tags`;

/** Sold in each window of days that ends with the last closed day. */
const salesSql = (name: string, condition: string) => `
       (SELECT array_agg((SELECT coalesce(sum(v.sold - v.cancelled), 0)::float8 FROM velocity v
                           WHERE v.sku = l.sku AND v.location <> ${onTheRoad} AND v.day > a.day - w.days AND v.day <= a.day${condition})
                         ORDER BY w.days)
          FROM unnest('{WINDOWS}'::int[]) AS w (days), availability_settings a WHERE a.id = 1) AS ${name}`;

const ownLocation = `
                             AND v.location IN (SELECT cl.location FROM cart_locations cl WHERE cl.cart_id = l.cart_id)`;

export interface FactsQuery {
  /** A name for the prepared statement: one for each shape. */
  readonly name: string;
  readonly columns: string;
}

/**
 * Columns over `listings l` that {@link factsOf} makes a listing's facts of. Nothing is read that no rule asks for: where
 * there are none it is the plain sum.
 * @param places the stock of each location, whether a rule asks for it or not
 */
export function listingFactsSql({ book }: AvailabilitySettings, places = !book.isEmpty): FactsQuery {
  const always = `l.cart_id, l.key, l.sku, l.expected, l.shown, l.withheld,
       (SELECT a.version FROM availability_settings a WHERE a.id = 1) AS settings_version`;
  if (!places) {
    const available = `
       (SELECT coalesce(sum(q.on_hand), 0)
          FROM cart_locations cl JOIN quantity_on_hand q ON q.sku = l.sku AND q.location = cl.location
         WHERE cl.cart_id = l.cart_id) AS available`;
    return { name: 'plain', columns: `${always},${available}` };
  }
  const windows = book.salesWindows.join(',');
  const parts = [always, stockSql];
  if (book.usesTags) parts.push(tagsSql);
  if (windows !== '') {
    parts.push(salesSql('sales_own', ownLocation).replace('WINDOWS', windows));
    parts.push(salesSql('sales_chain', '').replace('WINDOWS', windows));
  }
  const name = `rules${book.usesTags ? '-tags' : ''}${windows === '' ? '' : `-${windows}`}`;
  return { name, columns: parts.join(',') };
}

const noSales = { own: [], chain: [] };

/** @param expected what the listing shows once all that is owed, and what was just heard, has been applied */
export function factsOf(row: ListingFactsRow, expected: number): ListingFacts {
  const { sales_own: own, sales_chain: chain } = row;
  return {
    sku: row.sku,
    cartId: row.cart_id,
    tags: row.tags ?? [],
    stock: stockOf(row),
    sales: own === undefined || chain === undefined ? noSales : { own: own ?? [], chain: chain ?? [] },
    expected,
    shown: row.shown,
    withheld: row.withheld,
  };
}

function stockOf({ available, stock }: ListingFactsRow): LocationStock[] {
  if (available !== undefined) return [{ location: '', onHand: Number(available), seenAt: null, own: true }];
  return (stock ?? []).map(([location, onHand, seenAt, own]) => ({ location, onHand, seenAt, own }));
}
