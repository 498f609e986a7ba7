/**
 * A valid import → commands, chunk by chunk, to its end. A chunk is appended first and its outcomes are noted afterwards;
 * whatever dies in between finds the same rows again, makes the same commands under the same keys, and is told the same
 * answers. Two workers on one import therefore do the same work twice and count it once.
 *
 * While the database appends one chunk, the next one is read and made.
 */
import type { Database } from '../../database.js';
import type { CommandOutcome } from '../../events/commands.js';
import type { EventStore } from '../../events/event-store.js';
import { appliedThrough, noteChunk, type NotedRow } from './note-chunk.js';
import { ApplyPace } from './apply-pace.js';
import { rowCommands, type ImportedFile, type RowCommand, type StagedRow } from './row-commands.js';
import { rowsOfOrderMax } from './row-kinds.js';

interface Chunk {
  /** Where the chunk before it ended. */
  readonly after: number;
  readonly through: number;
  readonly commands: readonly RowCommand[];
}

/** @returns whether it came to the end; false: it was stopped between two chunks, and goes on another time */
export async function applyImport(
  { database, store }: { readonly database: Database; readonly store: Pick<EventStore, 'appendSettled'> },
  file: ImportedFile & { readonly appliedThrough: number },
  stopped: () => boolean,
): Promise<boolean> {
  const pace = new ApplyPace(database);
  let noted = file.appliedThrough;
  let next = nextChunk(database, file, noted, pace.chunkCommands);
  for (;;) {
    const chunk = await next;
    if (chunk === null) return true;
    if (stopped()) return false;
    const appending = pace.timed(store.appendSettled(chunk.commands.map(({ envelope }) => envelope)));
    next = nextChunk(database, file, chunk.through, pace.chunkCommands);
    // It is awaited in the next round; should this one fail, nobody will.
    next.catch(() => undefined);
    const settled = await appending;
    const failed = settled.findIndex((result) => result.status === 'rejected');
    const through = failed === -1 ? chunk.through : chunk.commands[failed]!.rows[0]!.row - 1;
    const ours = await noteChunk(database, file.id, noted, through, outcomesOf(chunk.commands, settled, through));
    const fault = settled[failed];
    if (fault?.status === 'rejected') throw fault.reason;
    noted = ours ? through : await appliedThrough(database, file.id);
    if (!ours) next = nextChunk(database, file, noted, pace.chunkCommands);
    await pace.wait(settled, stopped);
  }
}

/** In: where the last chunk ended. Out: the next rows that still have no outcome; of orders, whole ones. Null: there are none. */
async function nextChunk(
  database: Database,
  file: ImportedFile,
  after: number,
  chunkCommands: number,
): Promise<Chunk | null> {
  // Enough to hold the longest order whole and see where it ends.
  const limit = file.kind === 'orders' ? Math.max(chunkCommands, rowsOfOrderMax + 1) : chunkCommands;
  const found = await database.pool.query<StagedRow>({
    name: 'next-import-rows',
    text: `SELECT row, command_row AS "commandRow", fields FROM import_rows
            WHERE import_id = $1 AND row > $2 AND outcome IS NULL ORDER BY row LIMIT $3`,
    values: [file.id, after, limit],
  });
  const whole = file.kind === 'orders' && found.rows.length === limit ? withoutLastOrder(found.rows) : found.rows;
  const last = whole.at(-1);
  return last === undefined ? null : { after, through: last.row, commands: rowCommands(file, whole) };
}

function withoutLastOrder(rows: readonly StagedRow[]): readonly StagedRow[] {
  const last = rows.at(-1)?.commandRow;
  return rows.filter((row) => row.commandRow !== last);
}

function outcomesOf(
  commands: readonly RowCommand[],
  settled: readonly PromiseSettledResult<CommandOutcome>[],
  through: number,
): NotedRow[] {
  return commands.flatMap(({ rows }, at) => {
    const result = settled[at];
    if (result?.status !== 'fulfilled') return [];
    return rows.filter(({ row }) => row <= through).map(({ row }) => ({ row, ...noted(result.value) }));
  });
}

function noted(outcome: CommandOutcome): Omit<NotedRow, 'row'> {
  if (outcome.kind === 'refused') {
    const { detail, field } = outcome.refusal;
    return { outcome: 'refused', column: field ?? null, detail };
  }
  return {
    outcome: outcome.facts.length === 0 ? 'unchanged' : 'applied',
    column: null,
    detail: outcome.note ?? null,
  };
}
