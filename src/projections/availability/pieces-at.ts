/** What was there of an item at a moment, when it was seen last, and what was sold of it until then: out of the log. */
import type { PoolClient } from 'pg';
import type { Checkpoint } from '../../events/event-reader.js';
import { inTransit, itemStream, stockStream } from '../../events/streams.js';
import { upcast } from '../../events/upcasters.js';
import type { Calendar, LocationStock, Sales } from './evaluate.js';
import type { RuleBook } from './rule-book.js';
import { versionsAt } from './versions-at.js';

/** Sales of a window that are added up from the log; beyond, those known today stand in. */
const salesMax = 20_000;

/** What was there of one item, wherever it was. */
export interface PiecesAt {
  readonly sku: string;
  readonly tags: readonly string[];
  readonly stock: readonly PlaceAt[];
  readonly lastMovement: Checkpoint | null;
  readonly salesOf: (stock: readonly LocationStock[]) => Sales;
  readonly leftOut: readonly string[];
}

export async function piecesAt(
  client: PoolClient,
  sku: string,
  { at, book, calendar }: { readonly at: Date; readonly book: RuleBook; readonly calendar: Calendar },
): Promise<PiecesAt> {
  const stocks = (await locationsOf(client, sku)).map((location) => stockStream(location, sku));
  const versions = await versionsAt(client, [...stocks, itemStream(sku)], at);
  const tags = await tagsAt(client, sku, versions.get(itemStream(sku)) ?? '0');
  const { stock, lastMovement } = await stockAt(client, stocks, versions, at);
  const sales = await salesAt(client, { sku, stocks, versions, book, calendar });
  return { sku, tags, stock, lastMovement, salesOf: sales.of, leftOut: sales.leftOut };
}

/** As a cart that sells these locations sees it. */
export function piecesFor({ sku, tags, stock, salesOf }: PiecesAt, locations: readonly string[]) {
  const seen = stock.map((place) => ({ ...place, own: locations.includes(place.location) }));
  return { sku, tags, stock: seen, sales: salesOf(seen) };
}

export const later = (a: Checkpoint | null, b: Checkpoint | null) =>
  a === null || (b !== null && byLogOrder(a, b) < 0) ? b : a;

async function locationsOf(client: PoolClient, sku: string): Promise<string[]> {
  const { rows } = await client.query<{ location: string }>({
    name: 'locations-of-sku',
    text: 'SELECT location FROM quantity_on_hand WHERE sku = $1 AND location <> $2 ORDER BY location',
    values: [sku, inTransit],
  });
  return rows.map(({ location }) => location);
}

async function tagsAt(client: PoolClient, sku: string, version: string): Promise<readonly string[]> {
  const { rows } = await client.query<{ readonly type: string; readonly shape: number; readonly data: unknown }>({
    name: 'item-at',
    text: `SELECT type, shape, data FROM events
            WHERE stream = $1 AND version <= $2 AND type IN ('ItemCreated', 'ItemChanged') ORDER BY version DESC LIMIT 1`,
    values: [itemStream(sku), version],
  });
  const fact = rows[0] === undefined ? null : upcast(rows[0].type, rows[0].shape, rows[0].data);
  return fact?.type === 'ItemCreated' || fact?.type === 'ItemChanged' ? fact.data.tags : [];
}

type PlaceAt = Omit<LocationStock, 'own'>;

/**
 * On hand as the ledger has it, and when it was seen last: said as in quantity-on-hand.ts. Nothing is told more than five
 * minutes ahead of our clock, so what happened later than that was not known yet.
 */
async function stockAt(
  client: PoolClient,
  stocks: readonly string[],
  versions: ReadonlyMap<string, string>,
  at: Date,
): Promise<{ stock: PlaceAt[]; lastMovement: Checkpoint | null }> {
  const known = stocks.filter((stream) => versions.has(stream));
  const { rows } = await client.query<PlaceRow>({
    name: 'stock-at',
    text: `SELECT e.location, e.balance AS on_hand, seen.at AS seen_at, e.generation, e.transaction_id::text AS transaction_id, e.position
             FROM unnest($1::text[], $2::bigint[]) AS t (stream, version)
             JOIN events e ON e.stream = t.stream AND e.version = t.version
             LEFT JOIN LATERAL (
               SELECT s.occurred_at AS at FROM events s
                WHERE s.stream = t.stream AND s.delta IS NOT NULL AND s.version <= t.version
                  AND s.occurred_at <= $3::timestamptz + interval '6 minutes'
                  AND (s.type IN ('StockSold', 'StockReceived', 'StockReturned', 'StockCounted', 'StockTransferred')
                       OR s.type IN ('StockAdjusted', 'StockReset') AND s.delta > 0)
                ORDER BY s.occurred_at DESC LIMIT 1) seen ON true
            ORDER BY e.location`,
    values: [known, known.map((stream) => versions.get(stream)), at],
  });
  const stock = rows.map(({ location, on_hand, seen_at }) => ({
    location,
    onHand: Number(on_hand),
    seenAt: seen_at?.toISOString() ?? null,
  }));
  const points = rows.map(({ generation, transaction_id: transactionId, position }): Checkpoint => ({
    generation,
    transactionId,
    position,
  }));
  return { stock, lastMovement: points.toSorted(byLogOrder).at(-1) ?? null };
}

interface PlaceRow {
  readonly location: string;
  readonly on_hand: string;
  readonly seen_at: Date | null;
  readonly generation: number;
  readonly transaction_id: string;
  readonly position: string;
}

const byLogOrder = (a: Checkpoint, b: Checkpoint) =>
  a.generation - b.generation ||
  Number(BigInt(a.transactionId) - BigInt(b.transactionId)) ||
  Number(BigInt(a.position) - BigInt(b.position));

interface SalesAsked {
  readonly sku: string;
  readonly stocks: readonly string[];
  readonly versions: ReadonlyMap<string, string>;
  readonly book: RuleBook;
  readonly calendar: Calendar;
}

interface DayOfSales {
  readonly location: string;
  /** Days before the last closed one. */
  readonly ago: number;
  readonly units: string;
}

/** Units sold per window of days, as known then; counted as in velocity.ts. */
async function salesAt(client: PoolClient, { sku, stocks, versions, book, calendar }: SalesAsked) {
  const longest = book.salesWindows.at(-1);
  if (longest === undefined || calendar.day === null)
    return { leftOut: [], of: (): Sales => noSales(book.salesWindows.length) };
  const known = stocks.filter((stream) => versions.has(stream));
  const counted = await client.query<DayOfSales & { rows: string }>({
    name: 'sales-at',
    text: `SELECT x.location, $3::date - x.day AS ago, -sum(x.delta) AS units, count(*) AS rows
             FROM unnest($1::text[], $2::bigint[]) AS t (stream, version)
            CROSS JOIN LATERAL (
              SELECT e.location, (e.occurred_at AT TIME ZONE 'UTC')::date AS day, e.delta FROM events e
               WHERE e.stream = t.stream AND e.delta IS NOT NULL AND e.version <= t.version
                 AND e.occurred_at >= (($3::date - $4::int + 1)::timestamp AT TIME ZONE 'UTC')
                 AND e.occurred_at < (($3::date + 1)::timestamp AT TIME ZONE 'UTC')
                 AND (e.type = 'StockSold' OR e.type = 'StockReturned' AND e.open_delta < 0)
               LIMIT ${salesMax}) x
            GROUP BY x.location, x.day`,
    values: [known, known.map((stream) => versions.get(stream)), calendar.day, longest],
  });
  const whole = counted.rows.reduce((sum, { rows }) => sum + Number(rows), 0) < salesMax;
  const days = whole ? counted.rows : await salesKnownToday(client, sku, calendar.day, longest);
  const of = (stock: readonly LocationStock[]): Sales => {
    const own = new Set(stock.flatMap((place) => (place.own ? [place.location] : [])));
    const sum = (take: (day: DayOfSales) => boolean) =>
      book.salesWindows.map((window) =>
        days.reduce((total, day) => (day.ago < window && take(day) ? total + Number(day.units) : total), 0),
      );
    return { own: sum(({ location }) => own.has(location)), chain: sum(() => true) };
  };
  const leftOut = whole
    ? []
    : [`More than ${salesMax} sales in the rules' window: they are counted as known today, those told late included.`];
  return { leftOut, of };
}

const noSales = (windows: number): Sales => ({
  own: Array.from({ length: windows }, () => 0),
  chain: Array.from({ length: windows }, () => 0),
});

async function salesKnownToday(
  client: PoolClient,
  sku: string,
  day: string,
  windowDays: number,
): Promise<DayOfSales[]> {
  const { rows } = await client.query<DayOfSales>({
    name: 'sales-known-today',
    text: `SELECT location, $2::date - day AS ago, sold - cancelled AS units FROM velocity
            WHERE sku = $1 AND location <> $4 AND day > $2::date - $3::int AND day <= $2::date`,
    values: [sku, day, windowDays, inTransit],
  });
  return rows;
}
