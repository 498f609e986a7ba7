/**
 * What a reset file means beside what is there: which items its names are, rows of several shelves added up, items that it
 * does not hold, and how much it would change. Set-based, a range of rows at a time; doing it again finds the same.
 */
import { beginByKeys, inTransaction, type Database } from '../../database.js';
import { orderSourcePattern } from '../../events/facts.js';
import { isZeroed } from '../../projections/guard.js';
import { CartImpacts, type MovedStock } from './cart-impacts.js';
import type { ResetCheck, ResetPlan } from './reset-plan.js';
import { countOutcomes, runChecks, type ValidatedCounts } from './validate-import.js';

/** Rows of one statement. */
const rangeRows = 2_000;
const SAMPLE_MAX = 100;

export interface ResetFile {
  readonly id: string;
  readonly kind: 'reset';
  readonly lastRow: number;
  readonly reset: ResetPlan;
}

/** @returns null where it was stopped or cancelled in between */
export async function validateReset(
  database: Database,
  file: ResetFile,
  stopped: () => boolean,
): Promise<
  (ValidatedCounts & { readonly check: ResetCheck; readonly absent: number; readonly lastRow: number }) | null
> {
  // Where it was stopped in the middle of the items that are absent, their rows are there already.
  const lastRow = await lastRowOfFile(database, file);
  for (const name of names)
    if (!(await inRanges(lastRow, stopped, (from, to) => database.pool.query(name, [file.id, from, to])))) return null;
  const doubled = await hasDoubled(database, file.id);
  if (!(await runChecks(database, { ...file, lastRow }, stopped, (check) => doubled || check.about !== 'doubled')))
    return null;
  const addUpIn = (from: number, to: number) => database.pool.query(addUp, [file.id, from, to]);
  if (doubled && !(await inRanges(lastRow, stopped, addUpIn))) return null;
  const absentLeft = await whyAbsentIsLeft(database, file);
  const absent = absentLeft === null ? await stageAbsent(database, file, lastRow, stopped) : 0;
  if (absent === null) return null;
  const check = await countChanges(database, file, stopped);
  if (check === null) return null;
  const counts = await countOutcomes(database, file.id);
  return { ...counts, absent, lastRow: lastRow + absent, check: { ...check, absent, absentLeft } };
}

async function inRanges(
  lastRow: number,
  stopped: () => boolean,
  work: (from: number, to: number) => Promise<unknown>,
): Promise<boolean> {
  for (let from = 1; from <= lastRow; from += rangeRows) {
    if (stopped()) return false;
    await work(from, from + rangeRows);
  }
  return true;
}

async function lastRowOfFile(database: Database, { id, lastRow }: ResetFile): Promise<number> {
  const { rows } = await database.pool.query<{ first: number | null }>(
    `SELECT min(row) AS first FROM import_rows WHERE import_id = $1 AND row > $2 AND fields->>'idType' = 'absent'`,
    [id, 0],
  );
  const first = rows[0]?.first ?? null;
  return first === null ? lastRow : first - 1;
}

const unnamed = `s.import_id = $1 AND s.row >= $2 AND s.row < $3 AND s.outcome IS NULL AND s.sku IS NULL`;
const named = (join: string) => `
  UPDATE import_rows r SET sku = m.sku, identity = r.location || '/' || m.sku, fields = r.fields || jsonb_build_object('sku', m.sku)
    FROM (SELECT s.row, min(i.sku) AS sku FROM import_rows s JOIN items i ON ${join}
           WHERE ${unnamed} GROUP BY s.row HAVING count(*) = 1) m
   WHERE r.import_id = $1 AND r.row = m.row`;
const ofBarcode = (codes: string) =>
  `s.fields->>'idType' = 'barcode' AND i.barcode IS NOT NULL AND lower(i.barcode) = ANY (${codes})`;
const spelled = ofBarcode(`ARRAY(SELECT jsonb_array_elements_text(s.fields->'spellings'))`);
const ofShopify = `s.fields->>'idType' = 'shopify' AND i.shopify_product_id = s.fields->>'idValue'`;

/** Names that are no SKU: as written first, then barcodes with other zeros; what is left is unknown, or means several. */
const names: readonly string[] = [
  named(ofBarcode(`ARRAY[lower(s.fields->>'idValue')]`)),
  named(spelled),
  named(ofShopify),
  `UPDATE import_rows r
      SET outcome = 'refused', problem_column = CASE WHEN m.several THEN 'idType' ELSE 'idValue' END,
          detail = CASE WHEN m.several THEN format('Several items have "%s"; nobody may guess which one is meant', r.fields->>'idValue')
                        ELSE format('There is no item with "%s"; nothing is set', r.fields->>'idValue') END
     FROM (SELECT s.row, EXISTS (SELECT FROM items i WHERE (${spelled}) OR (${ofShopify})) AS several
             FROM import_rows s WHERE ${unnamed}) m
    WHERE r.import_id = $1 AND r.row = m.row`,
];

/** Whether any item and place has several rows, read along the index once: most files have none, and need no look at each row. */
async function hasDoubled(database: Database, id: string): Promise<boolean> {
  const found = await database.pool.query(
    `SELECT FROM import_rows WHERE import_id = $1 AND identity IS NOT NULL GROUP BY identity HAVING count(*) > 1 LIMIT 1`,
    [id],
  );
  return found.rowCount === 1;
}

/** The first row of an item and place carries the sum of all its shelves, the others say so; in one statement, for the range of first rows. */
const addUp = `
  UPDATE import_rows r
     SET fields = CASE WHEN r.row = g.first THEN r.fields || jsonb_build_object('quantity', g.quantity, 'asOf', g.as_of) ELSE r.fields END,
         outcome = CASE WHEN r.row = g.first THEN NULL ELSE 'unchanged' END,
         problem_column = CASE WHEN r.row = g.first THEN NULL ELSE '' END,
         detail = CASE WHEN r.row = g.first THEN NULL ELSE format('Added to row %s', g.first) END
    FROM (SELECT e.identity, min(e.row) AS first, sum((e.fields->>'quantity')::bigint) AS quantity, min(e.fields->>'asOf') AS as_of
            FROM import_rows e
           WHERE e.import_id = $1 AND e.outcome IS NULL AND e.identity IN (
                 SELECT s.identity FROM import_rows s WHERE s.import_id = $1 AND s.row >= $2 AND s.row < $3 AND s.outcome IS NULL)
           GROUP BY e.identity HAVING count(*) > 1 AND min(e.row) >= $2 AND min(e.row) < $3) g
   WHERE r.import_id = $1 AND r.identity = g.identity AND r.outcome IS NULL`;

/** An item is absent only where every row says which item it is. */
async function whyAbsentIsLeft(database: Database, { id, reset }: ResetFile): Promise<string | null> {
  if (!reset.complete || reset.absent === 'leave') return 'The source leaves absent items as they are.';
  const { rows } = await database.pool.query<{ unreadable: number }>(
    `SELECT count(*)::integer AS unreadable FROM import_rows
      WHERE import_id = $1 AND outcome = 'refused'
        AND ((identity IS NULL AND problem_column IS DISTINCT FROM 'facilityId') OR problem_column = 'idType')`,
    [id],
  );
  const unreadable = rows[0]!.unreadable;
  if (unreadable === 0) return null;
  return `Of ${unreadable} rows nobody can tell which item they are, so none is taken to be absent.`;
}

/**
 * Rows for what the file does not hold: items with stock at the places of the file.
 * @returns how many; null where it was stopped
 */
async function stageAbsent(
  database: Database,
  { id, reset }: ResetFile,
  lastRow: number,
  stopped: () => boolean,
): Promise<number | null> {
  const placed = await database.pool.query<{ location: string; as_of: string }>(
    `SELECT location, min(fields->>'asOf') AS as_of FROM import_rows
      WHERE import_id = $1 AND row <= $2 AND outcome IS NULL GROUP BY location ORDER BY location`,
    [id, lastRow],
  );
  await database.pool.query('DELETE FROM import_rows WHERE import_id = $1 AND row > $2', [id, lastRow]);
  let staged = 0;
  for (const { location, as_of } of placed.rows) {
    for (let after: string | null = ''; after !== null;) {
      if (stopped()) return null;
      const { rows }: { rows: { last: string | null; staged: number }[] } = await database.pool.query(
        `WITH page AS (
           SELECT q.sku, q.on_hand + q.open AS pieces FROM quantity_on_hand q
            WHERE q.location = $2 AND q.sku > $3 ORDER BY q.sku LIMIT ${rangeRows}),
         absent AS (
           INSERT INTO import_rows (import_id, row, command_row, cells, fields, sku, location, identity)
           SELECT $1, n.row, n.row, '[]', jsonb_build_object('sku', n.sku, 'location', $2::text, 'quantity', 0, 'asOf', $4::text,
                  'seat', '', 'idType', 'absent', 'idValue', n.sku), n.sku, $2, $2 || '/' || n.sku
             FROM (SELECT p.sku, $5 + row_number() OVER (ORDER BY p.sku) AS row FROM page p JOIN items i ON i.sku = p.sku
                    WHERE p.pieces > 0 AND (i.active OR $6)
                      AND NOT EXISTS (SELECT FROM import_rows e WHERE e.import_id = $1 AND e.identity = $2 || '/' || p.sku)) n
           RETURNING 1)
         SELECT (SELECT max(sku) FROM page) AS last, (SELECT count(*) FROM absent)::integer AS staged`,
        [id, location, after, as_of, lastRow + staged, reset.zeroInactive],
      );
      staged += rows[0]!.staged;
      after = rows[0]!.last;
    }
  }
  return staged;
}

/** What would change, as things are now: on hand before, and what the row makes of it, with all that moved since its moment. */
const changes = `
  SELECT r.row, r.sku, r.location, q.sku IS NOT NULL AS known, coalesce(q.on_hand, 0) AS before, r.fields->>'asOf' AS as_of,
         (r.fields->>'quantity')::bigint + later.delta
           - CASE WHEN $4 = 'shipped' THEN coalesce(q.open, 0) - later.open ELSE 0 END
           + CASE WHEN $4 = 'none' THEN ordered.delta ELSE 0 END AS after
    FROM import_rows r LEFT JOIN quantity_on_hand q ON q.sku = r.sku AND q.location = r.location
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(e.delta), 0) AS delta, coalesce(sum(e.open_delta), 0) AS open FROM events e
       WHERE e.stream = 'stock:' || r.location || '/' || r.sku AND e.occurred_at > (r.fields->>'asOf')::timestamptz AND e.delta IS NOT NULL) later
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(e.delta), 0) AS delta FROM events e
       WHERE $4 = 'none' AND e.stream = 'stock:' || r.location || '/' || r.sku AND e.delta IS NOT NULL
         AND e.occurred_at > $5::timestamptz AND e.occurred_at <= (r.fields->>'asOf')::timestamptz
         AND e.type IN ('StockSold', 'StockReturned') AND e.data->>'source' ~ '${orderSourcePattern.source}') ordered
   WHERE r.import_id = $1 AND r.sku > $2 AND r.sku <= $3 AND r.outcome IS NULL`;

const counted = `
  WITH changed AS MATERIALIZED (${changes}),
  told AS (
    SELECT *, before > 0 AND after <= 0 AS zeroed, known AND after - before > greatest(before, 10) AS inflated FROM changed)
  SELECT count(*)::integer AS rows, (count(*) FILTER (WHERE after = before))::integer AS same,
         (count(*) FILTER (WHERE after > before))::integer AS raised, (count(*) FILTER (WHERE after < before))::integer AS lowered,
         (count(*) FILTER (WHERE zeroed))::integer AS zeroed, (count(*) FILTER (WHERE inflated))::integer AS inflated,
         coalesce(sum(after - before), 0)::float8 AS pieces, max(as_of) AS latest,
         (SELECT coalesce(jsonb_agg(jsonb_build_object('sku', s.sku, 'location', s.location, 'before', s.before, 'after', s.after)), '[]')
            FROM (SELECT * FROM told WHERE after <> before ORDER BY zeroed OR inflated DESC, row LIMIT ${SAMPLE_MAX}) s) AS sample,
         (SELECT coalesce(jsonb_agg(jsonb_build_array(m.sku, m.location, m.after - m.before, m.known)), '[]')
            FROM told m WHERE m.after <> m.before) AS moved
    FROM told`;

type Counted = Omit<ResetCheck, 'absent' | 'absentLeft' | 'bad' | 'carts'>;

/** All rows of an item at once, whatever its places: a listing shows the sum of several. */
async function countChanges(
  database: Database,
  { id, reset }: ResetFile,
  stopped: () => boolean,
): Promise<Omit<ResetCheck, 'absent' | 'absentLeft'> | null> {
  let sum: Counted = {
    rows: 0,
    same: 0,
    raised: 0,
    lowered: 0,
    zeroed: 0,
    inflated: 0,
    pieces: 0,
    latest: null,
    sample: [],
  };
  const atCarts = new CartImpacts(database);
  for (let after = '', last = await lastSkuOfPage(database, id, ''); last !== null;) {
    if (stopped()) return null;
    const page = [id, after, last, reset.includesOrders, reset.ordersSince];
    const { rows } = await inTransaction(
      database,
      (client) => client.query<Counted & { moved: readonly MovedStock[] }>(counted, page),
      beginByKeys,
    );
    const { moved, ...counts } = rows[0]!;
    sum = added(sum, counts);
    await atCarts.add(moved);
    after = last;
    last = await lastSkuOfPage(database, id, after);
  }
  const { rows } = await database.pool.query<{ bad: number }>(
    `SELECT count(*)::integer AS bad FROM import_rows
      WHERE import_id = $1 AND outcome = 'refused' AND (problem_column NOT IN ('idValue', 'facilityId') OR identity IS NULL AND problem_column = 'idValue')`,
    [id],
  );
  return { ...sum, bad: rows[0]!.bad, carts: atCarts.told() };
}

/** @returns null: there is none behind that one */
async function lastSkuOfPage(database: Database, id: string, after: string): Promise<string | null> {
  const own = `FROM import_rows r WHERE r.import_id = $1 AND r.sku > $2 AND r.outcome IS NULL ORDER BY r.sku`;
  const found = await inTransaction(
    database,
    (client) =>
      client.query<{ last: string | null }>({
        name: 'last-sku-of-page',
        text: `SELECT coalesce((SELECT r.sku ${own} OFFSET ${rangeRows - 1} LIMIT 1), (SELECT r.sku ${own} DESC LIMIT 1)) AS last`,
        values: [id, after],
      }),
    beginByKeys,
  );
  return found.rows[0]?.last ?? null;
}

const added = (a: Counted, b: Counted): Counted => ({
  rows: a.rows + b.rows,
  same: a.same + b.same,
  raised: a.raised + b.raised,
  lowered: a.lowered + b.lowered,
  zeroed: a.zeroed + b.zeroed,
  inflated: a.inflated + b.inflated,
  pieces: a.pieces + b.pieces,
  latest: a.latest === null || (b.latest !== null && b.latest > a.latest) ? b.latest : a.latest,
  sample: [...a.sample, ...b.sample].toSorted((one, other) => harm(other) - harm(one)).slice(0, SAMPLE_MAX),
});

/** As it is counted: brought to nothing, or far more than there was. */
const harm = ({ before, after }: ResetCheck['sample'][number]) =>
  isZeroed(before, after) || after - before > Math.max(before, 10) ? 1 : 0;
