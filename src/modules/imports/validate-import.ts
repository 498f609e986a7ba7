/**
 * What a row cannot know by itself: whether its item, location and cart exist, and whether it contradicts another row or
 * something recorded before. Set-based, a range of rows at a time; doing it again finds the same.
 */
import type { Database } from '../../database.js';
import type { ImportKind } from './imports.table.js';

/** Rows of one statement; each of them costs a few look-ups in indexes. */
const rangeRows = 2_000;

export interface Check {
  readonly kinds: readonly ImportKind[];
  readonly outcome?: 'unchanged';
  /** Looks at rows of the same identity only. */
  readonly about?: 'doubled';
  readonly column: string;
  /** SQL of the sentence and of the condition, about `r`, a row of the import `f`. */
  readonly detail: string;
  readonly where: string;
}

/** An earlier row of the file that is still valid and has the same identity. */
const earlier = (and: string) => `
  (SELECT min(e.row) FROM import_rows e
    WHERE e.import_id = r.import_id AND e.identity = r.identity AND e.row < r.row AND e.outcome IS DISTINCT FROM 'refused' AND ${and})`;
const sameBefore = earlier('e.hash = r.hash');
const otherBefore = earlier('e.hash <> r.hash');
/** A row of the same order that stands apart from it, before or after. */
const apart = `
  (SELECT min(e.row) FROM import_rows e
    WHERE e.import_id = r.import_id AND e.identity = r.identity AND e.command_row <> r.command_row)`;

/** Another row of the same item on the same shelf with another number; a wrong one contradicts, too. */
const contradicting = `
  (SELECT min(e.row) FROM import_rows e
    WHERE e.import_id = r.import_id AND e.identity = r.identity AND e.row <> r.row AND e.outcome IS DISTINCT FROM 'unchanged'
      AND e.fields->>'seat' = r.fields->>'seat' AND e.hash <> r.hash)`;
const wrongBeside = `
  (SELECT min(e.row) FROM import_rows e
    WHERE e.import_id = r.import_id AND e.identity = r.identity AND e.row <> r.row AND e.outcome = 'refused')`;

const checks: readonly Check[] = [
  {
    kinds: ['reset'],
    column: 'idValue',
    detail: `format('There is no item with the SKU "%s"; nothing is set', r.sku)`,
    where: `NOT EXISTS (SELECT FROM stream_heads h WHERE h.stream = 'item:' || r.sku AND h.version > 0)`,
  },
  {
    kinds: ['reset'],
    about: 'doubled',
    outcome: 'unchanged',
    column: '',
    detail: `format('Repeats row %s', ${sameBefore})`,
    where: `${sameBefore} IS NOT NULL`,
  },
  {
    kinds: ['reset'],
    about: 'doubled',
    column: 'availableQty',
    detail: `format('Row %s says something else of the same item and place; neither is believed', ${contradicting})`,
    where: `${contradicting} IS NOT NULL`,
  },
  {
    kinds: ['reset'],
    about: 'doubled',
    column: 'availableQty',
    detail: `format('Row %s of the same item and place is wrong, and they are added up', ${wrongBeside})`,
    where: `${wrongBeside} IS NOT NULL`,
  },
  {
    kinds: ['movements', 'counts', 'orders', 'mappings'],
    column: 'sku',
    detail: `format('There is no item with the SKU "%s"; create it first, or correct the SKU', r.sku)`,
    where: `NOT EXISTS (SELECT FROM stream_heads h WHERE h.stream = 'item:' || r.sku AND h.version > 0)`,
  },
  {
    kinds: ['movements', 'counts', 'orders'],
    column: 'location',
    detail: `format('There is no location "%s"; add it first, or correct the code', r.location)`,
    where: `r.location <> 'in-transit' AND NOT EXISTS (SELECT FROM stream_heads h WHERE h.stream = 'location:' || r.location AND h.version > 0)`,
  },
  {
    kinds: ['items', 'mappings', 'movements'],
    column: '',
    detail: `format('The same is said of "%s" in row %s; give each its own, or remove one', r.identity, ${otherBefore})`,
    where: `r.identity IS NOT NULL AND ${otherBefore} IS NOT NULL`,
  },
  {
    kinds: ['items', 'mappings', 'movements'],
    outcome: 'unchanged',
    column: '',
    detail: `format('Repeats row %s', ${sameBefore})`,
    where: `r.identity IS NOT NULL AND ${sameBefore} IS NOT NULL`,
  },
  {
    kinds: ['movements'],
    column: 'key',
    detail: `format('The key "%s" was used for something else before; give the row a new one', r.identity)`,
    where: `EXISTS (SELECT FROM commands c WHERE c.client = f.client AND c.idempotency_key = r.identity AND c.body_hash <> r.hash)`,
  },
  {
    kinds: ['items'],
    outcome: 'unchanged',
    column: '',
    detail: `'The item is like this already'`,
    where: `EXISTS (SELECT FROM stream_heads h WHERE h.stream = 'item:' || r.sku AND h.version > 0
              AND h.state @> (r.fields - 'sku' - 'tags')
              AND (r.fields->'tags' IS NULL OR h.state->'tags' = r.fields->'tags'))`,
  },
  {
    kinds: ['items'],
    column: 'title',
    detail: `format('There is no item "%s", and a new one needs a title', r.sku)`,
    where: `r.fields->>'title' IS NULL AND NOT EXISTS (SELECT FROM stream_heads h WHERE h.stream = 'item:' || r.sku AND h.version > 0)`,
  },
  {
    kinds: ['orders'],
    column: 'number',
    detail: `format('The rows of one order must follow one another; order "%s" is in row %s, too', r.identity, ${apart})`,
    where: `${apart} IS NOT NULL`,
  },
  {
    kinds: ['orders'],
    column: '',
    detail: `'Another row of this order is refused, and an order is taken whole'`,
    where: `EXISTS (SELECT FROM import_rows e WHERE e.import_id = r.import_id AND e.identity = r.identity
              AND e.command_row = r.command_row AND e.outcome = 'refused')`,
  },
];

export interface ValidatedCounts {
  readonly refused: number;
  readonly unchanged: number;
  readonly valid: number;
}

/**
 * @param stopped asked between two statements
 * @returns null where it was stopped or cancelled in between
 */
export async function validateImport(
  database: Database,
  { id, kind, lastRow }: { readonly id: string; readonly kind: ImportKind; readonly lastRow: number },
  stopped: () => boolean,
): Promise<ValidatedCounts | null> {
  if (!(await runChecks(database, { id, kind, lastRow }, stopped))) return null;
  return countOutcomes(database, id);
}

/**
 * @param wanted checks that can find something in this file
 * @returns false where it was stopped or cancelled in between
 */
export async function runChecks(
  database: Database,
  { id, kind, lastRow }: { readonly id: string; readonly kind: ImportKind; readonly lastRow: number },
  stopped: () => boolean,
  wanted: (check: Check) => boolean = () => true,
): Promise<boolean> {
  const own = checks.filter((check) => check.kinds.includes(kind) && wanted(check));
  // One check after the other over the whole file: what an order's other rows are told depends on all checks before.
  for (const [at, check] of own.entries()) {
    for (let from = 1; from <= lastRow; from += rangeRows) {
      if (stopped()) return false;
      await runCheck(database, id, check, from, from + rangeRows);
      const share = (at + Math.min(1, (from + rangeRows) / lastRow)) / own.length;
      if (!(await tellProgress(database, id, Math.floor(share * lastRow)))) return false;
    }
  }
  return true;
}

async function runCheck(database: Database, id: string, check: Check, from: number, to: number): Promise<void> {
  await database.pool.query(
    `UPDATE import_rows r
        SET outcome = '${check.outcome ?? 'refused'}', problem_column = '${check.column}', detail = ${check.detail}
       FROM imports f
      WHERE f.id = $1 AND r.import_id = $1 AND r.row >= $2 AND r.row < $3 AND r.outcome IS NULL AND ${check.where}`,
    [id, from, to],
  );
}

async function tellProgress(database: Database, id: string, through: number): Promise<boolean> {
  const told = await database.pool.query(
    `UPDATE imports SET validated_through = $2, updated_at = now() WHERE id = $1 AND state = 'validating'`,
    [id, through],
  );
  return told.rowCount === 1;
}

export async function countOutcomes(database: Database, id: string): Promise<ValidatedCounts> {
  const counted = await database.pool.query<{ refused: number; unchanged: number; valid: number }>(
    `SELECT count(*) FILTER (WHERE outcome = 'refused')::integer AS refused,
            count(*) FILTER (WHERE outcome = 'unchanged')::integer AS unchanged,
            count(*) FILTER (WHERE outcome IS NULL)::integer AS valid
       FROM import_rows WHERE import_id = $1`,
    [id],
  );
  return counted.rows[0]!;
}
