/**
 * What a row cannot know by itself: whether its item, location and cart exist, and whether it contradicts another row or
 * something recorded before. Set-based, a range of rows at a time; doing it again finds the same.
 */
import type { Database } from '../../database.js';
import type { ImportKind } from './imports.table.js';
import { kitChecks } from './kit-checks.js';
import { rowChecks, type Check } from './row-checks.js';

/** Rows of one statement; each of them costs a few look-ups in indexes. */
const rangeRows = 2_000;

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
  const own = [...rowChecks, ...kitChecks].filter((check) => check.kinds.includes(kind) && wanted(check));
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
