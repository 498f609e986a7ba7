/**
 * A valid import → commands, chunk by chunk, to its end. A chunk is appended first and its outcomes are noted afterwards;
 * whatever dies in between finds the same rows without outcome, makes the same commands under the same keys, and is told
 * the same answers. Two workers on one import therefore do the same work twice and count it once.
 */
import type { Database } from '../../database.js';
import type { CommandOutcome } from '../../events/commands.js';
import type { EventStore } from '../../events/event-store.js';
import type { RowOutcome } from './imports.table.js';
import { rowCommands, type ImportedFile, type RowCommand, type StagedRow } from './row-commands.js';
import { rowsOfOrderMax } from './row-kinds.js';

/** Commands of one transaction; a few hundred milliseconds at most, since readers of the log wait behind it. */
const chunkCommands = 250;
/** Enough to hold the longest order whole and see where it ends. */
const chunkOrderRows = rowsOfOrderMax + 1;

/** @returns whether it came to the end; false: it was stopped between two chunks, and goes on another time */
export async function applyImport(
  { database, store }: { readonly database: Database; readonly store: Pick<EventStore, 'appendSettled'> },
  file: ImportedFile & { readonly appliedThrough: number },
  stopped: () => boolean,
): Promise<boolean> {
  let after = file.appliedThrough;
  for (;;) {
    if (stopped()) return false;
    const rows = await nextRows(database, file, after);
    if (rows.length === 0) return true;
    const commands = rowCommands(file, rows);
    const settled = await store.appendSettled(commands.map(({ envelope }) => envelope));
    const failed = settled.findIndex((result) => result.status === 'rejected');
    after = failed === -1 ? rows.at(-1)!.row : commands[failed]!.rows[0]!.row - 1;
    await noteOutcomes(database, file.id, after, outcomesOf(commands, settled));
    const fault = settled[failed];
    if (fault?.status === 'rejected') throw fault.reason;
  }
}

/** In: where the last chunk ended. Out: the next rows that still have no outcome; of orders, whole ones. */
async function nextRows(database: Database, { id, kind }: ImportedFile, after: number): Promise<StagedRow[]> {
  const limit = kind === 'orders' ? chunkOrderRows : chunkCommands;
  const { rows } = await database.pool.query<StagedRow>({
    name: 'next-import-rows',
    text: `SELECT row, command_row AS "commandRow", fields FROM import_rows
            WHERE import_id = $1 AND row > $2 AND outcome IS NULL ORDER BY row LIMIT $3`,
    values: [id, after, limit],
  });
  if (kind !== 'orders' || rows.length < limit) return rows;
  const last = rows.at(-1)!.commandRow;
  return rows.filter((row) => row.commandRow !== last);
}

interface NotedOutcome {
  readonly row: number;
  readonly outcome: RowOutcome;
  readonly column: string | null;
  readonly detail: string | null;
  readonly balance: number | null;
}

function outcomesOf(
  commands: readonly RowCommand[],
  settled: readonly PromiseSettledResult<CommandOutcome>[],
): NotedOutcome[] {
  return commands.flatMap(({ rows }, at) => {
    const result = settled[at];
    if (result?.status !== 'fulfilled') return [];
    return rows.map(({ row, fields }) => ({ row, ...noted(result.value, fields) }));
  });
}

function noted(outcome: CommandOutcome, fields: unknown): Omit<NotedOutcome, 'row'> {
  if (outcome.kind === 'refused') {
    const { detail, field } = outcome.refusal;
    return { outcome: 'refused', column: field ?? null, detail, balance: null };
  }
  const { sku, location } = fields as { sku?: string; location?: string };
  const moved = outcome.facts.findLast((fact) => fact.sku === sku && fact.location === location);
  return {
    outcome: outcome.facts.length === 0 ? 'unchanged' : 'applied',
    column: null,
    detail: outcome.note ?? null,
    balance: moved?.balance ?? null,
  };
}

/**
 * Effects: each row gets its outcome once, and is counted with it; the import stands after `through`.
 * The bounds on `row` keep the plan to the chunk where the table is too new to have statistics.
 */
async function noteOutcomes(
  database: Database,
  id: string,
  through: number,
  outcomes: readonly NotedOutcome[],
): Promise<void> {
  await database.pool.query({
    name: 'note-import-outcomes',
    text: `
      WITH noted AS (
        UPDATE import_rows r SET outcome = o.outcome, problem_column = o.column, detail = o.detail, balance = o.balance
          FROM jsonb_to_recordset($3::jsonb) AS o (row integer, outcome text, "column" text, detail text, balance bigint)
         WHERE r.import_id = $1 AND r.row = o.row AND r.row >= $4 AND r.row <= $5 AND r.outcome IS NULL
        RETURNING r.outcome)
      UPDATE imports SET
             applied = applied + (SELECT count(*) FROM noted WHERE outcome = 'applied'),
             unchanged = unchanged + (SELECT count(*) FROM noted WHERE outcome = 'unchanged'),
             refused = refused + (SELECT count(*) FROM noted WHERE outcome = 'refused'),
             applied_through = greatest(applied_through, $2), fault = NULL, updated_at = now()
       WHERE id = $1`,
    values: [id, through, JSON.stringify(outcomes), outcomes[0]?.row ?? 0, outcomes.at(-1)?.row ?? 0],
  });
}
