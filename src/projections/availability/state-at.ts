/**
 * What a SKU's listings followed from at a moment, out of the log: every stream as it was recorded by then (versions-at.ts),
 * and the memory of each listing (listing-memory.ts). `evaluate` says of it what was published then. Nothing of it is ever
 * removed.
 */
import type { PoolClient } from 'pg';
import type { Checkpoint } from '../../events/event-reader.js';
import type { CartSettings } from '../../events/facts.js';
import type { Rule } from '../../events/rule.js';
import { evolveRuleSet, initialRuleSet } from '../../events/rule-set.js';
import { calendarStream, cartStream, ruleSetStream, systemStream } from '../../events/streams.js';
import { upcast } from '../../events/upcasters.js';
import type { Calendar, ListingFacts, Shown } from './evaluate.js';
import { kitPartsAt } from './kit-at.js';
import { later, piecesAt, piecesFor, type PiecesAt } from './pieces-at.js';
import { RuleBook, type StandingRule } from './rule-book.js';
import { versionsAt } from './versions-at.js';

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
