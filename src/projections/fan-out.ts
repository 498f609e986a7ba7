import type { PoolClient } from 'pg';
import {
  noSettings,
  preparedSettings,
  readSettings,
  type AvailabilitySettings,
} from './availability/availability-settings.js';
import { inOnePacket } from '../packets.js';
import { evaluate, type Decision } from './availability/evaluate.js';
import { factsOf, listingFactsSql, type ListingFactsRow } from './availability/listing-facts.js';
import { beginKitRecompute } from './availability/recompute-runs.js';
import { expectedAfterEcho } from './availability/target.js';
import { countPushed, type Push } from './guard.js';
import { rememberListings } from './listing-memory.js';
import { waitStatesSql, type RecordCause } from './listings.table.js';

/** One thing a cart did to its own stock, found in an imported order. */
export interface Echo {
  readonly cartId: string;
  readonly key: string;
  readonly delta: number;
  readonly orderNumber: string;
  readonly line: string;
  /** False: a change of an order that was known already (a cancel, say), which happened when it was told. */
  readonly firstSight: boolean;
  readonly placedAt: string;
  readonly seenAfter: string | null;
  readonly seenBy: string;
}

/** What fan-out has to look at: SKUs whose on hand changed, and listings that something else touched. */
export interface Touched {
  /** The cause of a change per SKU; a listing's record names it. */
  readonly skus: ReadonlyMap<string, Cause>;
  readonly listings: readonly { readonly cartId: string; readonly key: string }[];
  readonly echoes: readonly Echo[];
  /** Named by records that no movement caused: a baseline, a switch, a discard. */
  readonly otherwise: Cause;
  /** Set where all of this is (part of) one push: its records are held until it was judged as a whole, see guard.ts. */
  readonly push?: Push | undefined;
  /** Its records let everything else go first: many at once, which nobody waits for. */
  readonly behind?: boolean | undefined;
  /** Listings of these SKUs are looked at later (late-items.ts), and only the others now; the causes are known here all the same. */
  readonly skusLater?: boolean | undefined;
}

export type Cause = RecordCause & { readonly acceptedAt: string };

/**
 * Listings of kits that go with the movements of what they are made of; where there are more, they are looked at in
 * chunks between the batches, so that no batch lasts long.
 */
export const kitListingsMax = 500;

interface LockedListing extends ListingFactsRow {
  /** Of a kit: what of it moved. */
  readonly part: string | null;
  readonly many_kits: boolean;
  readonly target: string | null;
  readonly leans: boolean;
  readonly unlisted: string | null;
  readonly baseline_at: Date | null;
  readonly baseline_mark: string | null;
  readonly generation: number;
  readonly in_effect: boolean;
  readonly clamps: boolean;
  readonly paced: boolean;
}

export interface FannedOut {
  /** How many changes went onto the Web Stack. */
  readonly records: number;
  /** Everything is on its way to the database; resolves when it is written there. */
  readonly written: Promise<unknown>;
}

/** As {@link beginFanOut}, written. @returns how many changes went onto the Web Stack */
export async function fanOut(client: PoolClient, touched: Touched): Promise<number> {
  const { records, written } = await beginFanOut(client, touched);
  await written;
  return records;
}

/**
 * Fan-out of one batch, per touched listing, on its locked row: (1) its echoes, (2) `target` from what is available through the rules,
 * (3) one record over `target − expected` if that is not zero, and `expected = target`.
 * Listings are locked in (cart, key) order; four statements whatever the size of the batch, and a fifth after a change of
 * the rules.
 *
 * Whatever it writes is sent before it resolves, so that a COMMIT can travel with it; a write that does not do what it should fails in
 * the database, which makes a roll-back of that COMMIT.
 */
export async function beginFanOut(client: PoolClient, touched: Touched): Promise<FannedOut> {
  const { settings, locked } = await lockUnderSettings(client, touched);
  const echoesOf = groupEchoes(touched.echoes);
  const changes: ListingChange[] = [];
  const records: NewRecord[] = [];
  const heard: HeardEcho[] = [];
  const remembered: Remembered[] = [];
  for (const listing of locked) {
    if (listing.expected === null) {
      // Nobody knows yet what the cart shows; its first comparison will find the cart's own sales in what it reads.
      for (const echo of echoesOf.get(keyOf(listing)) ?? []) heard.push({ ...echo, applied: false, expectedDelta: 0 });
      continue;
    }
    const before = Number(listing.expected);
    let expected = before;
    for (const echo of echoesOf.get(keyOf(listing)) ?? []) {
      const applied = !isOlderThanBaseline(echo, listing);
      const after = applied ? expectedAfterEcho(expected, echo.delta, listing.clamps) : expected;
      heard.push({ ...echo, applied, expectedDelta: after - expected });
      expected = after;
    }
    const last = { ...lastDecision(listing), expected: before };
    let now = { ...last, expected };
    if (listing.in_effect) {
      const { target, leans, shown, withheld } = evaluate(factsOf(listing, expected), settings.book, settings.calendar);
      const moved = touched.skus.get(listing.sku) ?? touched.skus.get(listing.part ?? '');
      const cause = moved ?? touched.otherwise;
      if (target !== expected) records.push({ listing, delta: target - expected, target, cause });
      now = { target, leans, shown, withheld, expected: target };
      if (leans || last.leans || shown !== last.shown || withheld !== last.withheld)
        remembered.push({ cartId: listing.cart_id, key: listing.key, since: cause.recordedAt });
    }
    if (!isSame(now, last)) changes.push({ cartId: listing.cart_id, key: listing.key, ...now });
  }
  if (locked[0]?.many_kits === true) await beginKitRecompute(client, [...touched.skus.keys()], touched.otherwise);
  const written = inOnePacket(client, () => [
    writeListings(client, changes),
    rememberListings(client, remembered),
    insertEchoes(client, heard),
    insertRecords(client, records, touched),
    ...(touched.push === undefined || records.length === 0 ? [] : [countRecords(client, records, touched.push)]),
  ]);
  // Heard by whoever waits for it.
  written.catch(() => undefined);
  return { records: records.length, written };
}

/**
 * Orders up to the baseline's mark were in the quantity that was read: the cart's own sale must not be taken from
 * `expected` a second time. Without a mark the cart had no order at all when it was read, so every order is newer; time
 * decides only where order numbers cannot be compared, because carts tell it in whole seconds or days.
 *
 * That is said of orders seen for the first time. A later change of an order that we knew (its cancel, say) is the cart's
 * doing of now, however old the order: read as part of the baseline, its restocking would be sent to it a second time.
 */
export function isOlderThanBaseline(
  order: Pick<Echo, 'orderNumber' | 'firstSight' | 'placedAt' | 'seenAfter'>,
  baseline: { readonly baseline_at: Date | null; readonly baseline_mark: string | null },
): boolean {
  const { baseline_at: at, baseline_mark: mark } = baseline;
  if (!order.firstSight || at === null || mark === null) return false;
  // A poll that began after the reading did not show it yet, so it cannot be in what was read, whatever its number or its
  // day says: an order that was slow in the checkout comes up behind the mark.
  if (order.seenAfter !== null && new Date(order.seenAfter) >= at) return false;
  if (isWholeNumber(mark) && isWholeNumber(order.orderNumber)) return BigInt(order.orderNumber) <= BigInt(mark);
  return new Date(order.placedAt) <= at;
}

const isWholeNumber = (text: string) => /^\d{1,18}$/.test(text);

type Remembered = Parameters<typeof rememberListings>[1][number];
type Standing = Pick<Decision, 'leans' | 'shown' | 'withheld'> & {
  readonly expected: number;
  readonly target: number | null;
};
type ListingChange = Standing & { readonly cartId: string; readonly key: string };

function lastDecision({ target, leans, shown, withheld }: LockedListing): Omit<Standing, 'expected'> {
  return { target: target === null ? null : Number(target), leans, shown, withheld };
}

const isSame = (a: Standing, b: Standing) =>
  a.expected === b.expected &&
  a.target === b.target &&
  a.leans === b.leans &&
  a.shown === b.shown &&
  a.withheld === b.withheld;

interface NewRecord {
  readonly listing: LockedListing;
  readonly delta: number;
  readonly target: number;
  readonly cause: Cause;
}

type HeardEcho = Echo & { readonly applied: boolean; readonly expectedDelta: number };

const keyOf = (l: { cart_id: string; key: string }) => `${l.cart_id}/${l.key}`;

function groupEchoes(echoes: readonly Echo[]): Map<string, Echo[]> {
  const groups = new Map<string, Echo[]>();
  for (const echo of echoes) {
    const key = keyOf({ cart_id: echo.cartId, key: echo.key });
    groups.set(key, [...(groups.get(key) ?? []), echo]);
  }
  return groups;
}

/**
 * The settings are read only where they are not those that were prepared last: each locked row says under which version it
 * was read.
 */
async function lockUnderSettings(
  client: PoolClient,
  touched: Touched,
): Promise<{ settings: AvailabilitySettings; locked: LockedListing[] }> {
  const guessed = lastUsed;
  const locked = await lockListings(client, touched, guessed);
  const version = locked[0]?.settings_version ?? null;
  if (locked.length === 0 || version === guessed.version) return { settings: guessed, locked };
  lastUsed = preparedSettings(version) ?? (await readSettings(client));
  return { settings: lastUsed, locked: await lockListings(client, touched, lastUsed) };
}

/** Only a guess, which each batch checks. */
let lastUsed = noSettings;

async function lockListings(
  client: PoolClient,
  touched: Touched,
  settings: AvailabilitySettings,
): Promise<LockedListing[]> {
  const direct = [...touched.listings, ...touched.echoes];
  const facts = listingFactsSql(settings);
  const found = await client.query<LockedListing>({
    name: `lock-listings-${facts.name}`,
    text: `WITH many AS MATERIALIZED (
             SELECT count(*) > ${kitListingsMax} AS yes
               FROM (SELECT FROM kit_parts p JOIN listings t ON t.sku = p.kit WHERE p.sku = ANY ($1::text[]) LIMIT ${kitListingsMax + 1}) x),
           touched AS MATERIALIZED (
             SELECT t.cart_id, t.key FROM listings t WHERE t.sku = ANY ($1::text[])
             UNION
             (SELECT t.cart_id, t.key FROM kit_parts p JOIN listings t ON t.sku = p.kit WHERE p.sku = ANY ($1::text[])
               -- One is enough to hear that there are more.
               LIMIT (SELECT CASE WHEN yes THEN 1 ELSE ${kitListingsMax} END FROM many))
             UNION
             SELECT * FROM unnest($2::text[], $3::text[]))
           SELECT ${facts.columns},
                  l.target, l.leans, l.unlisted, l.baseline_at, l.baseline_mark, l.generation,
                  c.is_on AND s.is_on AND l.generation = c.generation AS in_effect,
                  c.clamps_at_zero AS clamps, c.is_paced AS paced,
                  -- By the kit alone: as a condition of the index, the list of what moved was gone through again for each row.
                  (SELECT p.sku FROM kit_parts p WHERE p.kit = l.sku AND p.sku || '' = ANY ($1::text[]) LIMIT 1) AS part,
                  (SELECT yes FROM many) AS many_kits
             FROM (SELECT * FROM touched ORDER BY cart_id, key) AS t
            -- Locked one by one, by key and in order: joined, all listings there are were read beside the few that are meant.
            CROSS JOIN LATERAL (SELECT * FROM listings x WHERE x.cart_id = t.cart_id AND x.key = t.key FOR UPDATE) AS l
             JOIN carts c ON c.cart_id = l.cart_id JOIN system_switch s ON s.id = 1`,
    values: [
      touched.skusLater === true ? [] : [...touched.skus.keys()],
      direct.map((d) => d.cartId),
      direct.map((d) => d.key),
    ],
  });
  return found.rows;
}

async function writeListings(client: PoolClient, changes: readonly ListingChange[]): Promise<void> {
  if (changes.length === 0) return;
  await client.query({
    name: 'write-listings',
    text: `UPDATE listings l SET expected = t.expected, target = t.target, shown = t.shown, withheld = t.withheld, leans = t.leans
             FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::boolean[], $7::boolean[])
                  AS t (cart_id, key, expected, target, shown, withheld, leans)
            WHERE l.cart_id = t.cart_id AND l.key = t.key`,
    values: [
      changes.map((c) => c.cartId),
      changes.map((c) => c.key),
      changes.map((c) => c.expected),
      changes.map((c) => c.target),
      changes.map((c) => c.shown),
      changes.map((c) => c.withheld),
      changes.map((c) => c.leans),
    ],
  });
}

async function insertEchoes(client: PoolClient, heard: readonly HeardEcho[]): Promise<void> {
  if (heard.length === 0) return;
  await client.query({
    name: 'insert-echoes',
    text: `INSERT INTO echoes (cart_id, key, delta, order_number, line, seen_after, seen_by, applied, expected_delta)
           SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[],
                                $7::timestamptz[], $8::boolean[], $9::bigint[])`,
    values: [
      heard.map((e) => e.cartId),
      heard.map((e) => e.key),
      heard.map((e) => e.delta),
      heard.map((e) => e.orderNumber),
      heard.map((e) => e.line),
      heard.map((e) => e.seenAfter),
      heard.map((e) => e.seenBy),
      heard.map((e) => e.applied),
      heard.map((e) => e.expectedDelta),
    ],
  });
}

const millisecondsSql = (time: string) => `floor(extract(epoch FROM ${time}) * 1000)::bigint`;

/** A record takes in what comes while it waits, up to this many changes: what it is made of stays short enough to read. */
const partsMax = 50;

/**
 * What a listing is still to be told grows in place while its newest record waits and was never sent: behind a slow cart, a
 * pause or a burst there is one record per listing, not one per change. A sum of zero is two records, which dispatch nets.
 *
 * A listing that its cart does not know (or does not track) cannot be told anything until somebody looks again: its
 * records join the one dead letter it has.
 *
 * The listings are locked, so that no record of theirs leaves or ends meanwhile, and each is written where it was just
 * found; joined by id, the planner read everything that waits.
 */
async function insertRecords(
  client: PoolClient,
  records: readonly NewRecord[],
  { push, behind = false }: Touched,
): Promise<void> {
  if (records.length === 0) return;
  await client.query({
    name: 'insert-records',
    text: `WITH added AS MATERIALIZED (
             SELECT t.*, w.place
               FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::bigint[], $7::jsonb[], $8::text[],
                           $9::timestamptz[], $11::timestamptz[])
                    AS t (cart_id, key, sku, generation, delta, target, cause, unlisted, accepted_at, paced_at)
               LEFT JOIN LATERAL (
                 SELECT n.*, n.ctid AS place FROM web_stack n
                  WHERE n.cart_id = t.cart_id AND n.key = t.key AND n.state IN ${waitStatesSql}
                        -- Of a push nothing grows, so nothing is looked for.
                    AND $10::text IS NULL
                  ORDER BY n.id DESC LIMIT 1) w
                 ON w.state = 'waiting' AND w.generation = t.generation AND w.attempts = 0 AND w.not_before IS NULL
                    AND w.push IS NULL AND w.paced_at IS NULL AND t.paced_at IS NULL
                    AND t.unlisted IS NULL AND w.behind = $12::boolean AND w.delta + t.delta <> 0
                    AND coalesce(jsonb_array_length(w.parts), 1) < ${partsMax}),
           grown AS (
             UPDATE web_stack w
                SET delta = w.delta + a.delta, target = a.target,
                    cause = a.cause || jsonb_build_object('facts', (w.cause->>'facts')::int + (a.cause->>'facts')::int),
                    parts = coalesce(w.parts, jsonb_build_array(jsonb_build_array(${millisecondsSql('w.accepted_at')}, w.delta)))
                            || jsonb_build_array(jsonb_build_array(${millisecondsSql('a.accepted_at')}, a.delta))
               FROM added a WHERE w.ctid = a.place
             RETURNING w.id),
           made AS (
             INSERT INTO web_stack (cart_id, key, sku, generation, delta, target, cause, state, push, behind, last_response, paced_at, accepted_at, created_at)
             SELECT t.cart_id, t.key, t.sku, t.generation, t.delta, t.target, t.cause,
                    CASE WHEN t.unlisted IS NOT NULL THEN 'dead-lettered' WHEN $10::text IS NOT NULL THEN 'held' ELSE 'waiting' END, $10::text, $12::boolean,
                    CASE WHEN t.unlisted IS NOT NULL THEN 'The cart does not list this item (' || t.unlisted || ')' END,
                    t.paced_at,
                    t.accepted_at, date_trunc('milliseconds', clock_timestamp())
               FROM added t WHERE t.place IS NULL
             RETURNING id)
           -- A sentence is no number: it fails, and the transaction with it, before anybody can commit it.
           SELECT CASE WHEN count(*) = cardinality($1::text[]) THEN 0
                       ELSE (count(*) || ' of ' || cardinality($1::text[]) || ' changes were put on the Web Stack')::int END
             FROM (SELECT FROM grown UNION ALL SELECT FROM made) AS kept`,
    values: [
      records.map((r) => r.listing.cart_id),
      records.map((r) => r.listing.key),
      records.map((r) => r.listing.sku),
      records.map((r) => r.listing.generation),
      records.map((r) => r.delta),
      records.map((r) => r.target),
      records.map((r) => JSON.stringify(causeOf(r))),
      records.map((r) => r.listing.unlisted),
      records.map((r) => r.cause.acceptedAt),
      push?.id ?? null,
      records.map(pacedAtOf),
      behind,
    ],
  });
}

const countRecords = (client: PoolClient, records: readonly NewRecord[], push: Push): Promise<void> =>
  countPushed(
    client,
    push,
    records.map(({ listing, delta, target }) => ({ cartId: listing.cart_id, before: target - delta, after: target })),
  );

/** A comparison or correction makes the cart equal now: what it finds lacking does not wait for a cadence. */
function pacedAtOf({ listing, cause }: NewRecord): string | null {
  if (!listing.paced) return null;
  return cause.type === 'ListingsBaselined' ? new Date(0).toISOString() : cause.acceptedAt;
}

function causeOf({ cause }: NewRecord): RecordCause {
  const { acceptedAt: _acceptedAt, ...rest } = cause;
  return rest;
}
