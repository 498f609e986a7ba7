import type { AvailabilitySettings } from './availability-settings.js';
import type { ListingFacts, LocationStock, PartFacts, Shown } from './evaluate.js';

type StockRows = readonly (readonly [location: string, onHand: number, seenAt: string | null, own: boolean])[];

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
  readonly stock?: StockRows | null;
  readonly tags?: readonly string[] | null;
  readonly sales_own?: readonly number[];
  readonly sales_chain?: readonly number[];
  /** null: no kit. */
  readonly parts?:
    | readonly {
        readonly sku: string;
        readonly quantity: number;
        readonly stock: StockRows | null;
        readonly tags?: readonly string[] | null;
        readonly sales_own?: readonly number[] | null;
        readonly sales_chain?: readonly number[] | null;
      }[]
    | null;
}

/** On hand at all locations of the cart. */
const sumSql = (sku: string) => `
       (SELECT coalesce(sum(q.on_hand), 0)
          FROM cart_locations cl JOIN quantity_on_hand q ON q.sku = ${sku} AND q.location = cl.location
         WHERE cl.cart_id = l.cart_id)`;

/**
 * Without rules, over `listings l`: what is on hand at the cart's locations. Of a kit as many as can be put together there,
 * less what is missing of its own (see evaluate.ts).
 */
export const plainAvailable = `
       coalesce((SELECT least(${sumSql('l.sku')}, 0) + min(floor(${sumSql('p.sku')} / p.quantity))
                   FROM kit_parts p WHERE p.kit = l.sku HAVING count(*) > 0), ${sumSql('l.sku')})`;

/** Pieces on the road belong to no place that sells. */
const onTheRoad = `'in-transit'`;

/** @param sku whose: the listing's, or that of a part of the kit it is */
const stockSql = (sku: string) => `
       (SELECT jsonb_agg(jsonb_build_array(q.location, q.on_hand, q.seen_at,
                 EXISTS (SELECT FROM cart_locations cl WHERE cl.cart_id = l.cart_id AND cl.location = q.location)) ORDER BY q.location)
          FROM quantity_on_hand q WHERE q.sku = ${sku} AND q.location <> ${onTheRoad})`;

const tagsSql = (sku: string) => `
       (SELECT i.tags FROM items i WHERE i.sku = ${sku})`;

/** Sold in each window of days that ends with the last closed day. */
const salesSql = (sku: string, windows: string, condition: string) => `
       (SELECT array_agg((SELECT coalesce(sum(v.sold - v.cancelled), 0)::float8 FROM velocity v
                           WHERE v.sku = ${sku} AND v.location <> ${onTheRoad} AND v.day > a.day - w.days AND v.day <= a.day${condition})
                         ORDER BY w.days)
          FROM unnest('{${windows}}'::int[]) AS w (days), availability_settings a WHERE a.id = 1)`;

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
    return {
      name: 'plain',
      columns: `${always},
       ${plainAvailable} AS available`,
    };
  }
  const windows = book.salesWindows.join(',');
  const of = (sku: string): [name: string, sql: string][] => [
    ['stock', stockSql(sku)],
    ...(book.usesTags ? [['tags', tagsSql(sku)] satisfies [string, string]] : []),
    ...(windows === ''
      ? []
      : ([
          ['sales_own', salesSql(sku, windows, ownLocation)],
          ['sales_chain', salesSql(sku, windows, '')],
        ] satisfies [string, string][])),
  ];
  const pairs = of('p.sku').map(([name, sql]) => `'${name}', ${sql}`);
  const parts = `
       (SELECT jsonb_agg(jsonb_build_object('sku', p.sku, 'quantity', p.quantity, ${pairs.join(', ')}) ORDER BY p.sku)
          FROM kit_parts p WHERE p.kit = l.sku) AS parts`;
  const columns = [always, ...of('l.sku').map(([name, sql]) => `${sql} AS ${name}`), parts];
  const name = `rules${book.usesTags ? '-tags' : ''}${windows === '' ? '' : `-${windows}`}`;
  return { name, columns: columns.join(',') };
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
    ...(row.parts && { parts: row.parts.map(partOf) }),
    sales: own === undefined || chain === undefined ? noSales : { own: own ?? [], chain: chain ?? [] },
    expected,
    shown: row.shown,
    withheld: row.withheld,
  };
}

const partOf = ({
  tags,
  stock,
  sales_own,
  sales_chain,
  ...part
}: NonNullable<ListingFactsRow['parts']>[number]): PartFacts => ({
  ...part,
  tags: tags ?? [],
  stock: locationsOf(stock),
  sales: { own: sales_own ?? [], chain: sales_chain ?? [] },
});

function stockOf({ available, stock }: ListingFactsRow): LocationStock[] {
  if (available !== undefined) return [{ location: '', onHand: Number(available), seenAt: null, own: true }];
  return locationsOf(stock ?? null);
}

function locationsOf(stock: StockRows | null): LocationStock[] {
  return (stock ?? []).map(([location, onHand, seenAt, own]) => ({ location, onHand, seenAt, own }));
}
