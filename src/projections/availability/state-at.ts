/**
 * What a SKU's listings followed from at a moment, out of the log: every stream as it was recorded by then, and the memory
 * of each listing (listing-memory.ts). `evaluate` says of it what was published then. Nothing of it is ever removed.
 *
 * A moment is found in a stream by halving: versions have no gaps, and `recordedAt` never goes back within a stream. So a
 * stream of a million facts costs twenty look-ups, and the log needs no index by time.
 */
import type { Pool, PoolClient } from 'pg';
import type { Checkpoint } from '../../events/event-reader.js';
import type { CartSettings } from '../../events/facts.js';
import type { Rule } from '../../events/rule.js';
import { evolveRuleSet, initialRuleSet } from '../../events/rule-set.js';
import {
  calendarStream,
  cartStream,
  inTransit,
  itemStream,
  ruleSetStream,
  stockStream,
  systemStream,
} from '../../events/streams.js';
import { upcast } from '../../events/upcasters.js';
import type { Calendar, ListingFacts, LocationStock, Sales, Shown } from './evaluate.js';
import { kitPartsAt } from './kit-at.js';
import { RuleBook, type StandingRule } from './rule-book.js';

/** One listing, with all that its number follows from. */
export interface ListingState {
  readonly cartId: string;
  readonly cartName: string;
  readonly key: string;
  readonly facts: ListingFacts;
  readonly cartOn: boolean;
  readonly systemOn: boolean;
  /** Compared since its cart was switched on last; what comes before that is sent to nobody. */
  readonly inStep: boolean;
}

export interface StateOfSku<Listing extends ListingState = ListingState> {
  readonly book: RuleBook;
  readonly rulesVersion: string;
  readonly calendar: Calendar;
  readonly listings: readonly Listing[];
  /** The last movement of the SKU by then; null: there was none. Of today: undefined. */
  readonly lastMovement: Checkpoint | null | undefined;
  /** What was not worked out exactly, in a sentence each. */
  readonly leftOut: readonly string[];
}

/** Carts that one answer speaks of. */
export const listingsMax = 200;
/** Sales of a window that are added up from the log; beyond, those known today stand in. */
const salesMax = 20_000;

export class PastStates {
  /** Rules by the version of their set; they never change. */
  private readonly books = new Map<string, RuleBook>();

  /** @param client of a transaction that reads one snapshot */
  async of(client: PoolClient, sku: string, at: Date, cartId: string | null): Promise<StateOfSku> {
    const listings = await listingsOf(client, sku, at, cartId);
    const carts = [...new Set(listings.map((listing) => listing.cart_id))];
    const settings = [ruleSetStream, calendarStream, systemStream, ...carts.map(cartStream)];
    const versions = await versionsAt(client, settings, at);
    const rulesVersion = versions.get(ruleSetStream) ?? '0';
    const book = await this.bookOf(client, rulesVersion);
    const calendar = await calendarAt(client, versions.get(calendarStream) ?? '0');
    const byCart = await cartsAt(client, carts, versions);
    const systemOn = await systemAt(client, versions.get(systemStream) ?? '0');
    const self = await piecesAt(client, sku, { at, book, calendar });
    const kit = await kitPartsAt(client, sku, (streams) => versionsAt(client, streams, at));
    const parts: (PiecesAt & { readonly quantity: number })[] = [];
    for (const part of kit ?? [])
      parts.push({ ...part, ...(await piecesAt(client, part.sku, { at, book, calendar })) });
    return {
      book,
      rulesVersion,
      calendar,
      lastMovement: [self, ...parts].map(({ lastMovement }) => lastMovement).reduce(later),
      leftOut: [...new Set([self, ...parts].flatMap(({ leftOut }) => leftOut))],
      listings: listings.flatMap((listing) => {
        const cart = byCart.get(listing.cart_id);
        if (cart === undefined) return [];
        const shown = (pieces: PiecesAt) => piecesFor(pieces, cart.settings.locations);
        return [
          {
            cartId: listing.cart_id,
            cartName: cart.settings.name,
            key: listing.key,
            cartOn: cart.on,
            systemOn,
            inStep: listing.generation > 0 && listing.generation === cart.generation,
            facts: {
              cartId: listing.cart_id,
              ...shown(self),
              ...(kit !== null && { parts: parts.map((part) => ({ quantity: part.quantity, ...shown(part) })) }),
              expected: Number(listing.leant_on ?? 0),
              shown: listing.shown,
              withheld: listing.withheld,
            },
          },
        ];
      }),
    };
  }

  private async bookOf(client: PoolClient, version: string): Promise<RuleBook> {
    const known = this.books.get(version);
    if (known !== undefined) return known;
    const { rows } = await client.query<EventRow>({
      name: 'rules-at-version',
      text: `SELECT version, type, shape, data FROM events WHERE stream = $1 AND version <= $2 ORDER BY version`,
      values: [ruleSetStream, version],
    });
    let state = initialRuleSet;
    const savedIn = new Map<string, string>();
    for (const { type, shape, data, version: at } of rows) {
      const fact = upcast(type, shape, data);
      state = evolveRuleSet(state, fact);
      if (fact.type === 'RuleSaved' || fact.type === 'RuleRestored') savedIn.set(fact.data.rule.ruleId, at);
    }
    const standing = (rule: Rule): StandingRule => ({ ...rule, version: savedIn.get(rule.ruleId) ?? '0' });
    const book = new RuleBook(Object.values(state.rules).map(standing));
    this.books.set(version, book);
    for (const oldest of this.books.keys()) if (this.books.size > booksMax) this.books.delete(oldest);
    return book;
  }
}

const booksMax = 16;

/** What was there of one item, wherever it was. */
interface PiecesAt {
  readonly sku: string;
  readonly tags: readonly string[];
  readonly stock: readonly PlaceAt[];
  readonly lastMovement: Checkpoint | null;
  readonly salesOf: (stock: readonly LocationStock[]) => Sales;
  readonly leftOut: readonly string[];
}

async function piecesAt(
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
function piecesFor({ sku, tags, stock, salesOf }: PiecesAt, locations: readonly string[]) {
  const seen = stock.map((place) => ({ ...place, own: locations.includes(place.location) }));
  return { sku, tags, stock: seen, sales: salesOf(seen) };
}

const later = (a: Checkpoint | null, b: Checkpoint | null) =>
  a === null || (b !== null && byLogOrder(a, b) < 0) ? b : a;

interface EventRow {
  readonly version: string;
  readonly type: string;
  readonly shape: number;
  readonly data: unknown;
}

interface RememberedListing {
  readonly cart_id: string;
  readonly key: string;
  readonly generation: number;
  readonly leant_on: string | null;
  readonly shown: Shown | null;
  readonly withheld: boolean;
}

/** Listings that are of this item today and were so then. */
async function listingsOf(client: PoolClient, sku: string, at: Date, cartId: string | null) {
  const { rows } = await client.query<RememberedListing>({
    name: 'remembered-listings',
    text: `SELECT l.cart_id, l.key, m.generation, m.leant_on, m.shown, m.withheld
             FROM listings l
             JOIN LATERAL (SELECT * FROM listing_memory m WHERE m.cart_id = l.cart_id AND m.key = l.key AND m.since <= $2
                            ORDER BY m.id DESC LIMIT 1) m ON m.sku = l.sku
            WHERE l.sku = $1 AND ($3::text IS NULL OR l.cart_id = $3)
            ORDER BY l.cart_id, l.key LIMIT ${listingsMax}`,
    values: [sku, at, cartId],
  });
  return rows;
}

async function locationsOf(client: PoolClient, sku: string): Promise<string[]> {
  const { rows } = await client.query<{ location: string }>({
    name: 'locations-of-sku',
    text: 'SELECT location FROM quantity_on_hand WHERE sku = $1 AND location <> $2 ORDER BY location',
    values: [sku, inTransit],
  });
  return rows.map(({ location }) => location);
}

/**
 * In: streams, and a moment. Out: the last version of each that was recorded by then; none for a stream that had no fact.
 */
export async function versionsAt(
  client: Pool | PoolClient,
  streams: readonly string[],
  at: Date,
): Promise<Map<string, string>> {
  const { rows } = await client.query<{ stream: string; version: string }>({
    name: 'versions-at',
    text: `WITH RECURSIVE search (stream, low, high) AS (
             SELECT h.stream, 0::bigint, h.version FROM stream_heads h WHERE h.stream = ANY ($1::text[])
             UNION ALL
             SELECT s.stream, CASE WHEN e.recorded_at <= $2 THEN m.middle ELSE s.low END,
                    CASE WHEN e.recorded_at <= $2 THEN s.high ELSE m.middle - 1 END
               FROM search s
              CROSS JOIN LATERAL (SELECT (s.low + s.high + 1) / 2 AS middle) m
              CROSS JOIN LATERAL (SELECT v.recorded_at FROM events v WHERE v.stream = s.stream AND v.version = m.middle) e
              WHERE s.low < s.high)
           SELECT stream, low AS version FROM search WHERE low = high AND low > 0`,
    values: [streams, at],
  });
  return new Map(rows.map(({ stream, version }) => [stream, version]));
}

async function calendarAt(client: PoolClient, version: string): Promise<Calendar> {
  const { rows } = await client.query<{ day: string; latency_ms: number | null }>({
    name: 'calendar-at',
    text: `SELECT data->>'day' AS day, (data->'slowestCart'->>'latencyMs')::float8 AS latency_ms
             FROM events WHERE stream = $1 AND version = $2`,
    values: [calendarStream, version],
  });
  return { day: rows[0]?.day ?? null, latencyMs: rows[0]?.latency_ms ?? null };
}

async function systemAt(client: PoolClient, version: string): Promise<boolean> {
  const { rows } = await client.query<{ on: boolean }>({
    name: 'system-at',
    text: `SELECT (data->>'on')::boolean AS on FROM events WHERE stream = $1 AND version = $2`,
    values: [systemStream, version],
  });
  return rows[0]?.on ?? true;
}

async function tagsAt(client: PoolClient, sku: string, version: string): Promise<readonly string[]> {
  const { rows } = await client.query<EventRow>({
    name: 'item-at',
    text: `SELECT version, type, shape, data FROM events
            WHERE stream = $1 AND version <= $2 AND type IN ('ItemCreated', 'ItemChanged') ORDER BY version DESC LIMIT 1`,
    values: [itemStream(sku), version],
  });
  const fact = rows[0] === undefined ? null : upcast(rows[0].type, rows[0].shape, rows[0].data);
  return fact?.type === 'ItemCreated' || fact?.type === 'ItemChanged' ? fact.data.tags : [];
}

interface CartAt {
  readonly settings: CartSettings;
  readonly on: boolean;
  readonly generation: number;
}

/** The types are spelt as in the partial index of the log, which serves this. */
async function cartsAt(client: PoolClient, carts: readonly string[], versions: ReadonlyMap<string, string>) {
  const { rows } = await client.query<EventRow & { switched: { on: boolean; generation: number } | null }>({
    name: 'carts-at',
    text: `SELECT s.version, s.type, s.shape, s.data, w.data AS switched
             FROM unnest($1::text[], $2::bigint[]) AS t (stream, version)
             JOIN LATERAL (SELECT * FROM events e
                            WHERE e.stream = t.stream AND e.version <= t.version
                              AND e.type IN ('CartAdded', 'CartChanged', 'CartSwitched') AND e.type <> 'CartSwitched'
                            ORDER BY e.version DESC LIMIT 1) s ON true
             LEFT JOIN LATERAL (SELECT e.data FROM events e
                                 WHERE e.stream = t.stream AND e.version <= t.version
                                   AND e.type IN ('CartAdded', 'CartChanged', 'CartSwitched') AND e.type = 'CartSwitched'
                                 ORDER BY e.version DESC LIMIT 1) w ON true`,
    values: [carts.map(cartStream), carts.map((cart) => versions.get(cartStream(cart)) ?? '0')],
  });
  const found = new Map<string, CartAt>();
  for (const { type, shape, data, switched } of rows) {
    const fact = upcast(type, shape, data);
    if (fact.type !== 'CartAdded' && fact.type !== 'CartChanged') continue;
    found.set(fact.data.cartId, {
      settings: fact.data,
      on: switched?.on ?? false,
      generation: switched?.generation ?? 0,
    });
  }
  return found;
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
