/**
 * A valid import → commands, chunk by chunk, to its end. How far it has come is noted in the transaction that appends the
 * chunk: whatever dies in between finds the import where the log is, and of two workers on one import one does each chunk.
 *
 * While the database appends one chunk, the next one is read and made.
 */
import { beginByKeysPlanned, inTransaction, type Database } from '../../database.js';
import type { CommandOutcome } from '../../events/commands.js';
import type { EventStore } from '../../events/event-store.js';
import { reached } from '../../moments.js';
import { appliedThrough, claimChunk, noteChunk, type NotedRow } from './note-chunk.js';
import { ApplyPace } from './apply-pace.js';
import { rowCommands, type ImportedFile, type RowCommand, type StagedRow } from './row-commands.js';
import { rowKinds } from './row-kinds.js';

interface Chunk {
  /** Where the chunk before it ended. */
  readonly after: number;
  readonly through: number;
  readonly commands: readonly RowCommand[];
}

/** @returns whether it came to the end; false: it was stopped between two chunks, and goes on another time */
export async function applyImport(
  { database, store }: { readonly database: Database; readonly store: Pick<EventStore, 'appendOnAccount'> },
  file: ImportedFile & { readonly appliedThrough: number },
  stopped: () => boolean,
): Promise<boolean> {
  const pace = new ApplyPace(database);
  const readFrom = (after: number) => {
    const reading = nextChunk(database, file, after, pace.chunkCommands);
    // It is awaited in the next round; should this one fail, nobody will.
    reading.catch(() => undefined);
    return reading;
  };
  let next = readFrom(file.appliedThrough);
  for (;;) {
    const chunk = await next;
    if (chunk === null) return true;
    if (stopped()) return false;
    const appending = pace.timed(chunk.commands.length, append(store, file.id, chunk));
    next = readFrom(chunk.through);
    const outcomes = await appending.catch((fault: unknown) => pace.smaller(chunk.commands.length, fault));
    // Another worker was faster, or it is not known what became of it: the import itself knows.
    if (outcomes === null) next = readFrom(await appliedThrough(database, file.id));
    else {
      reached('import:chunk-applied');
      await pace.wait(outcomes, stopped);
    }
  }
}

function append(store: Pick<EventStore, 'appendOnAccount'>, id: string, { after, through, commands }: Chunk) {
  return store.appendOnAccount(
    commands.map(({ envelope }) => envelope),
    {
      claim: claimChunk(id, after),
      note: (outcomes) => noteChunk(id, through, outcomesOf(commands, outcomes)),
    },
  );
}

/** In: where the last chunk ended. Out: the next rows that still have no outcome; of orders and kits, whole ones. Null: there are none. */
async function nextChunk(
  database: Database,
  file: ImportedFile,
  after: number,
  chunkCommands: number,
): Promise<Chunk | null> {
  const group = file.kind === 'reset' ? undefined : rowKinds[file.kind].group;
  // Enough to hold the longest order or kit whole and see where it ends.
  const limit = group === undefined ? chunkCommands : Math.max(chunkCommands, group.rowsMax + 1);
  // The table has just been filled, and by statistics from before that the planner would sort all that is left, each time.
  const found = await inTransaction(
    database,
    (client) =>
      client.query<StagedRow>({
        name: 'next-import-rows',
        text: `SELECT row, command_row AS "commandRow", fields FROM import_rows
                WHERE import_id = $1 AND row > $2 AND outcome IS NULL ORDER BY row LIMIT $3`,
        values: [file.id, after, limit],
      }),
    beginByKeysPlanned,
  );
  const whole = group !== undefined && found.rows.length === limit ? withoutLastGroup(found.rows) : found.rows;
  const last = whole.at(-1);
  return last === undefined ? null : { after, through: last.row, commands: rowCommands(file, whole) };
}

function withoutLastGroup(rows: readonly StagedRow[]): readonly StagedRow[] {
  const last = rows.at(-1)?.commandRow;
  return rows.filter((row) => row.commandRow !== last);
}

const outcomesOf = (commands: readonly RowCommand[], outcomes: readonly CommandOutcome[]): NotedRow[] =>
  commands.flatMap(({ rows }, at) => {
    const told = noted(outcomes[at]!);
    return rows.map(({ row }) => ({ row, ...told }));
  });

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
