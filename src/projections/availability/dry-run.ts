import { inTransaction, type Database } from '../../database.js';
import type { Rule, RuleScope } from '../../events/rule.js';
import { readSettings, type AvailabilitySettings } from './availability-settings.js';
import { evaluate, type Shown } from './evaluate.js';
import { factsOf, listingFactsSql, type ListingFactsRow } from './listing-facts.js';
import { RuleBook } from './rule-book.js';
import { RunListings } from './run-listings.js';

/** What a change of rules would make of one listing. */
export interface ListingChange {
  readonly cartId: string;
  readonly key: string;
  readonly sku: string;
  readonly from: number;
  readonly to: number;
  readonly flagFrom: Shown | null;
  readonly flagTo: Shown | null;
}

export interface CartTotals {
  readonly cartId: string;
  /** Looked at. */
  listings: number;
  changed: number;
  raised: number;
  lowered: number;
  /** Shown now, and nothing of it then. */
  toZero: number;
  fromZero: number;
  /** Whose flags would be asked to be something else. */
  flags: number;
  /** Sum of the differences, in pieces. */
  pieces: number;
}

export interface DryRun {
  /** Of the rule set that it was worked out on; as If-Match it refuses a change on another one. */
  readonly version: string;
  readonly carts: readonly CartTotals[];
  /** The first ones, in the order of carts and keys. */
  readonly changes: readonly ListingChange[];
}

export interface RuleChange {
  readonly save: readonly Rule[];
  readonly remove: readonly string[];
}

const pageSize = 2_000;

type Row = ListingFactsRow & { readonly expected: string };

/**
 * What listings would show with other rules, in one snapshot, page by page: it holds no more than a page and what it
 * answers, writes nothing and disturbs nobody.
 * @param changesMax changes that are told; all are counted
 */
export async function dryRun(database: Database, change: RuleChange, changesMax: number): Promise<DryRun> {
  return inTransaction(database, async (client) => {
    await client.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const now = await readSettings(client);
    const { settings, scopes } = changed(now, change);
    const totals = new Map<string, CartTotals>();
    const told: ListingChange[] = [];
    const facts = listingFactsSql(settings);
    const ahead = new RunListings();
    let place = { id: 'dry-run', scopes, cursor_cart: '', cursor_key: '' };
    for (let more = scopes.length > 0; more;) {
      const { listings, end } = await ahead.next(client, place, pageSize);
      const { rows } = await client.query<Row>({
        name: `dry-run-${facts.name}`,
        text: `SELECT ${facts.columns}
                 FROM unnest($1::text[], $2::text[]) AS t (cart_id, key)
                 JOIN listings l ON l.cart_id = t.cart_id AND l.key = t.key
                 JOIN carts c ON c.cart_id = l.cart_id JOIN system_switch s ON s.id = 1
                WHERE c.is_on AND s.is_on ORDER BY l.cart_id, l.key`,
        values: [listings.map(({ cartId }) => cartId), listings.map(({ key }) => key)],
      });
      for (const row of rows) {
        const one = changeOf(row, settings);
        count(totals, one);
        if (told.length < changesMax && isChange(one)) told.push(one);
      }
      const last = listings.at(-1);
      more = !end && last !== undefined;
      if (last !== undefined) place = { ...place, cursor_cart: last.cartId, cursor_key: last.key };
    }
    const set = await client.query<{ version: string }>(
      'SELECT rules_version::text AS version FROM availability_settings WHERE id = 1',
    );
    return { version: set.rows[0]?.version ?? '0', carts: [...totals.values()], changes: told };
  });
}

function changed(now: AvailabilitySettings, { save, remove }: RuleChange) {
  const gone = new Set([...remove, ...save.map(({ ruleId }) => ruleId)]);
  const kept = now.book.rules.filter(({ ruleId }) => !gone.has(ruleId));
  const before = now.book.rules.filter(({ ruleId }) => gone.has(ruleId));
  const book = new RuleBook([...kept, ...save.map((rule) => ({ ...rule, version: 'dry-run' }))]);
  const scopes: RuleScope[] = [...before, ...save].map(({ scope }) => scope);
  return { settings: { ...now, book }, scopes };
}

function changeOf(row: Row, { book, calendar }: AvailabilitySettings): ListingChange {
  const from = Number(row.expected);
  const { target, shown } = evaluate(factsOf(row, from), book, calendar);
  return { cartId: row.cart_id, key: row.key, sku: row.sku, from, to: target, flagFrom: row.shown, flagTo: shown };
}

const isChange = ({ from, to, flagFrom, flagTo }: ListingChange) => from !== to || flagFrom !== flagTo;

function count(totals: Map<string, CartTotals>, one: ListingChange): void {
  const { cartId, from, to } = one;
  const cart = totals.get(cartId) ?? {
    cartId,
    listings: 0,
    changed: 0,
    raised: 0,
    lowered: 0,
    toZero: 0,
    fromZero: 0,
    flags: 0,
    pieces: 0,
  };
  totals.set(cartId, cart);
  cart.listings += 1;
  if (isChange(one)) cart.changed += 1;
  if (to > from) cart.raised += 1;
  if (to < from) cart.lowered += 1;
  if (from > 0 && to <= 0) cart.toZero += 1;
  if (from <= 0 && to > 0) cart.fromZero += 1;
  if (one.flagFrom !== one.flagTo) cart.flags += 1;
  cart.pieces += to - from;
}
