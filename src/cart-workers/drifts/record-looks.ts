import { inTransaction, type Database } from '../../database.js';
import { classify, type Classified, type DriftClass } from './drift-class.js';
import { correctedByPolicy } from './drift-repair.js';
import { readHistories, type History } from './drift-evidence.js';
import type { DriftState } from './drifts.table.js';
import { isEqual, type LookedAt } from './quiet-listings.js';

/** One reading of some listings of a cart, between two imports of its orders. */
export interface Look {
  readonly cartId: string;
  readonly from: Date;
  readonly to: Date;
  /** The cart's order mark after the reading. */
  readonly mark: string | null;
  readonly ordersComplete: boolean;
  /** The cart's quiet time: a suspicion is looked at again after it. */
  readonly quietTimeMs: number;
  readonly listings: readonly LookedAt[];
}

/** The policy's correction of it has become the listing's baseline, though nobody has noted that yet. */
const isCorrectedSql = (drift: string) =>
  `coalesce((SELECT l.baseline_at >= ${drift}.correcting_from FROM listings l WHERE l.cart_id = ${drift}.cart_id AND l.key = ${drift}.key), false)`;
const correctedByPolicySql = correctedByPolicy.replaceAll("'", "''");

/** A listing that differs, as it stands after a look. */
export interface OpenDrift {
  readonly id: number;
  readonly key: string;
  readonly sku: string;
  readonly state: DriftState;
  readonly class: DriftClass;
  readonly shown: number | null;
  readonly difference: number | null;
}

/** No sooner than this; otherwise after the cart's quiet time, within which what it was told may still take effect. */
const lookAgainMsMin = 250;
/** A listing that is always busy, or shows something else each time, is left to the next comparison after that many looks. */
const looksMax = 10;

/**
 * Records what a look found: listings that are equal end what was open about them; a difference that was told before is
 * confirmed, a new one suspected, and another one than before begins anew.
 * @returns what differs, for the policy to act on
 */
export async function recordLook(database: Database, look: Look): Promise<OpenDrift[]> {
  const quiet = look.listings.filter((listing) => !listing.busy);
  await endEqual(database, look, quiet.filter(isEqual));
  await postpone(
    database,
    look,
    look.listings.filter((listing) => listing.busy),
  );
  const differing = quiet.filter((listing) => !isEqual(listing));
  if (differing.length === 0) return [];
  const open = await openOf(
    database,
    look.cartId,
    differing.map(({ key }) => key),
  );
  const histories = await readHistories(
    database,
    look.cartId,
    differing.map((listing) => {
      const known = knownOf(open.get(listing.key), listing);
      return { key: listing.key, difference: differenceOf(listing), until: known?.suspected_at ?? look.from };
    }),
  );
  const judged = differing.map((listing): Judged => {
    const known = knownOf(open.get(listing.key), listing);
    const history = histories.get(listing.key) ?? noHistory;
    // What raised a reply's suspicion came before the orders were asked for: it is from the first look that they move on.
    const looked = known !== undefined && (known.raised_by === 'comparison' || known.looks > 1);
    const feedMovedOn = looked && known.mark !== null && known.mark !== look.mark;
    const lines = history.lines.map((line) => ({
      ...line,
      lackedAtOnce: known?.raised_by === 'reply' && known.delivery_id === line.deliveryId,
    }));
    const classified = classify({
      ...history,
      ...listing,
      lines,
      shown: listing.quantity,
      ordersComplete: look.ordersComplete,
      feedMovedOn,
    });
    return { listing, known, other: known === undefined ? open.get(listing.key) : undefined, classified, history };
  });
  return writeJudged(database, look, judged);
}

const lookAgainMs = ({ quietTimeMs }: Look) => Math.max(lookAgainMsMin, quietTimeMs);

const noHistory: History = { since: null, lines: [], changes: [], repairedBeforeItsOrder: false };

interface OpenRow {
  readonly id: number;
  readonly key: string;
  readonly state: DriftState;
  readonly class: DriftClass | null;
  readonly difference: number | null;
  readonly mark: string | null;
  readonly raised_by: 'reply' | 'comparison';
  readonly looks: number;
  readonly delivery_id: string | null;
  readonly suspected_at: Date;
}

interface Judged {
  readonly listing: LookedAt;
  /** What is open about it, where that is the same difference. */
  readonly known: OpenRow | undefined;
  /** Something else is open about it. */
  readonly other: OpenRow | undefined;
  readonly classified: Classified;
  readonly history: History;
}

const differenceOf = ({ quantity, should }: LookedAt) => (quantity === null ? null : quantity - should);
const knownOf = (open: OpenRow | undefined, listing: LookedAt) =>
  open !== undefined && open.difference === differenceOf(listing) ? open : undefined;

async function openOf(database: Database, cartId: string, keys: readonly string[]): Promise<Map<string, OpenRow>> {
  const found = await database.pool.query<OpenRow>(
    `SELECT id::int AS id, key, state, class, difference::float8 AS difference, mark, raised_by, looks, delivery_id, suspected_at FROM drifts
      WHERE cart_id = $1 AND key = ANY ($2::text[]) AND ended_at IS NULL`,
    [cartId, keys],
  );
  return new Map(found.rows.map((row) => [row.key, row]));
}

/**
 * What was open about listings that are equal now is over. Where orders that came in since explain a confirmed difference to
 * the piece, they are what it was.
 */
async function endEqual(database: Database, look: Look, equal: readonly LookedAt[]): Promise<void> {
  if (equal.length === 0) return;
  const keys = equal.map(({ key }) => key);
  await database.pool.query({
    name: 'end-equal',
    text: `UPDATE drifts d
              SET state = CASE WHEN o.corrected THEN 'repaired' ELSE 'cleared' END, ended_at = clock_timestamp(), look_at = NULL,
                  ended_by = CASE WHEN o.corrected THEN 'policy' END, confirmed_at = CASE WHEN o.corrected THEN coalesce(d.confirmed_at, clock_timestamp()) ELSE d.confirmed_at END,
                  class = CASE WHEN o.corrected THEN d.class WHEN d.state = 'suspected' THEN NULL WHEN o.explained THEN 'order-not-imported' ELSE d.class END,
                  candidates = CASE WHEN NOT o.corrected AND d.state <> 'suspected' AND o.explained THEN '["order-not-imported"]' ELSE d.candidates END,
                  resolution = CASE WHEN o.corrected THEN '${correctedByPolicySql}' WHEN o.explained THEN 'An order that came in since explains it' ELSE 'The cart shows what it should' END
             FROM (SELECT x.id, x.difference = (SELECT sum(e.expected_delta) FROM echoes e
                                                 WHERE e.cart_id = x.cart_id AND e.key = x.key AND e.seen_by >= x.suspected_at) AS explained, ${isCorrectedSql('x')} AS corrected
                     FROM drifts x WHERE x.cart_id = $1 AND x.key = ANY ($2::text[]) AND x.ended_at IS NULL) o
            WHERE d.id = o.id`,
    values: [look.cartId, keys],
  });
  // Only where something happened since: a catalogue that stands still is not written to.
  await database.pool.query({
    name: 'mark-equal',
    text: `UPDATE listings l SET equal_at = $3
             FROM (SELECT s.cart_id, s.key FROM listings s
                    WHERE s.cart_id = $1 AND s.key = ANY ($2::text[])
                      AND (s.equal_at IS NULL
                        OR EXISTS (SELECT FROM delivery_lines d WHERE d.cart_id = s.cart_id AND d.key = s.key AND d.ended_at > s.equal_at)
                        OR EXISTS (SELECT FROM echoes e WHERE e.cart_id = s.cart_id AND e.key = s.key AND e.seen_by > s.equal_at))
                    ORDER BY s.key FOR UPDATE) AS t
            WHERE l.cart_id = t.cart_id AND l.key = t.key`,
    values: [look.cartId, keys, look.from],
  });
}

async function postpone(database: Database, look: Look, busy: readonly LookedAt[]): Promise<void> {
  if (busy.length === 0) return;
  await database.pool.query(
    `UPDATE drifts SET looks = looks + 1,
            look_at = CASE WHEN looks < $3 THEN clock_timestamp() + $4 * interval '1 millisecond' * looks END
      WHERE cart_id = $1 AND key = ANY ($2::text[]) AND ended_at IS NULL AND look_at IS NOT NULL`,
    [look.cartId, busy.map(({ key }) => key), looksMax, lookAgainMs(look)],
  );
}

async function writeJudged(database: Database, look: Look, judged: readonly Judged[]): Promise<OpenDrift[]> {
  const rows = judged.map(({ listing, known, other, classified, history }) => ({
    id: known?.id ?? null,
    key: listing.key,
    sku: listing.sku,
    class: classified.class,
    candidates: classified.candidates,
    shown: listing.quantity,
    should: listing.should,
    difference: differenceOf(listing),
    // What a reply said of a line stays an open question.
    delivery_id: other?.delivery_id ?? null,
    evidence: {
      ...history,
      readings: [{ quantity: listing.quantity, from: look.from, to: look.to }],
      ordersComplete: look.ordersComplete,
      mark: look.mark,
    },
  }));
  return inTransaction(database, async (client) => {
    await client.query(
      `UPDATE drifts d SET state = CASE WHEN ${isCorrectedSql('d')} THEN 'repaired' ELSE 'cleared' END, ended_at = clock_timestamp(), look_at = NULL,
              class = CASE WHEN state = 'suspected' AND NOT ${isCorrectedSql('d')} THEN NULL ELSE class END,
              ended_by = CASE WHEN ${isCorrectedSql('d')} THEN 'policy' END,
              resolution = CASE WHEN ${isCorrectedSql('d')} THEN '${correctedByPolicySql}' ELSE 'Another look found another difference' END
        WHERE cart_id = $1 AND key = ANY ($2::text[]) AND ended_at IS NULL`,
      [look.cartId, judged.filter(({ other }) => other !== undefined).map(({ listing }) => listing.key)],
    );
    const written = await client.query<OpenDrift>({
      name: 'write-judged',
      text: writeJudgedSql,
      values: [look.cartId, JSON.stringify(rows), look.from, look.mark, lookAgainMs(look)],
    });
    return written.rows;
  });
}

/** $1 cart, $2 the rows above, $3 when the reading began, $4 the order mark, $5 ms until the next look. */
const writeJudgedSql = `
  WITH rows AS (
    SELECT * FROM jsonb_to_recordset($2::jsonb) AS r (id bigint, key text, sku text, class text, candidates jsonb, shown bigint, should bigint,
                                                      difference bigint, delivery_id uuid, evidence jsonb)),
  again AS (
    UPDATE drifts d
       SET state = CASE WHEN d.state = 'suspected' THEN 'confirmed' ELSE d.state END,
           class = r.class, candidates = r.candidates, shown = r.shown, should = r.should, looks = d.looks + 1,
           mark = CASE WHEN d.raised_by = 'reply' AND d.looks = 1 THEN $4 ELSE d.mark END,
           evidence = r.evidence || jsonb_build_object('readings',
             coalesce(d.evidence->'readings', jsonb_build_array(jsonb_build_object('quantity', d.shown, 'by', 'reply', 'to', d.suspected_at)))
             || (r.evidence->'readings')),
           confirmed_at = coalesce(d.confirmed_at, clock_timestamp()), look_at = NULL
      FROM rows r WHERE d.id = r.id AND d.ended_at IS NULL
    RETURNING d.*),
  fresh AS (
    INSERT INTO drifts (cart_id, key, sku, class, candidates, raised_by, delivery_id, shown, should, difference, evidence, look_at, mark, suspected_at)
    SELECT $1, r.key, r.sku, NULL, r.candidates, 'comparison', r.delivery_id, r.shown, r.should, r.difference, r.evidence,
           clock_timestamp() + $5 * interval '1 millisecond', $4, $3
      FROM rows r WHERE r.id IS NULL
    ON CONFLICT (cart_id, key) WHERE ended_at IS NULL DO NOTHING
    RETURNING *)
  SELECT x.id::int AS id, x.key, x.sku, x.state, r.class, x.shown::float8 AS shown, x.difference::float8 AS difference
    FROM (SELECT * FROM again UNION ALL SELECT * FROM fresh) x JOIN rows r ON r.key = x.key ORDER BY x.key`;
