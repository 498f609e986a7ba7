/**
 * Bytes → staging table. Each row is checked by itself on the way; a batch of rows is read only when the one before is
 * stored, so a sender is slowed down to what the database takes, and the memory stays flat.
 */
import { createHash } from 'node:crypto';
import type { Database } from '../../database.js';
import { reached } from '../../moments.js';
import { requestHash } from '../http/hashing.js';
import { readCsv, storable, type CsvRecord } from './csv-reader.js';
import { GroupedRows } from './grouped-rows.js';
import { readHeader } from './header.js';
import { ImportProblem } from './import-problem.js';
import type { ImportKind, RowsKind } from './imports.table.js';
import type { ResetPlan } from './reset-plan.js';
import { resetReader } from './reset-rows.js';
import { keyedHash } from './row-commands.js';
import { readRow, rowKinds, type FieldProblem, type MovementRow, type ReadRow, type RowFields } from './row-kinds.js';

export const rowsMax = 1_000_000;
export const bytesMax = 512 * 1024 * 1024;
/** Rows of one statement: a transaction of a few milliseconds. */
const batchRows = 1_000;

/** Somebody cancelled the import while it was being received. */
export class ReceivingStoppedError extends Error {
  override readonly name = 'ReceivingStoppedError';
}

/**
 * @returns the SHA-256 of the whole file
 * @throws ImportProblem when the file as a whole is wrong, ReceivingStoppedError, and what reading the bytes throws
 */
export async function receiveImport(
  database: Database,
  { id, kind, reset }: { readonly id: string; readonly kind: ImportKind; readonly reset: ResetPlan | null },
  bytes: AsyncIterable<Uint8Array>,
  charset: string | undefined,
): Promise<Buffer> {
  const hash = createHash('sha256');
  const end = { byte: 0x0a };
  const records = readCsv(withEnd(hashed(bytes, hash), end), charset);
  try {
    const header = await records.next();
    if (header.done === true) throw new ImportProblem('The file is empty. Its first row names the columns.');
    await storeRecords(database, id, rowReader(kind, reset, header.value.cells), header.value, records);
    if (reset?.lastLine === 'must-end' && end.byte !== 0x0a && end.byte !== 0x0d) await refuseLastRow(database, id);
  } finally {
    await records.return(undefined);
  }
  return hash.digest();
}

/** Passes the bytes on, adds them to the hash, and ends a file that is too large. */
export async function* hashed(
  bytes: AsyncIterable<Uint8Array>,
  hash: ReturnType<typeof createHash>,
): AsyncGenerator<Uint8Array> {
  let read = 0;
  for await (const chunk of bytes) {
    read += chunk.byteLength;
    if (read > bytesMax)
      throw new ImportProblem(`The file is larger than ${bytesMax / 1024 / 1024} MB; split it into several.`);
    hash.update(chunk);
    yield chunk;
  }
}

/** Notes the last byte: whether the last row was ended. */
async function* withEnd(bytes: AsyncIterable<Uint8Array>, end: { byte: number }): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    end.byte = chunk.at(-1) ?? end.byte;
    yield chunk;
  }
}

/** "2" may be what is left of "20": a row that nothing ends is not believed, and what it speaks of stays as it is. */
async function refuseLastRow(database: Database, id: string): Promise<void> {
  await database.pool.query(
    `WITH last AS (
       UPDATE import_rows r SET outcome = 'refused', problem_column = '', detail = $2
         FROM imports f WHERE f.id = $1 AND r.import_id = f.id AND r.row = f.last_row AND r.outcome IS NULL
       RETURNING r.row)
     UPDATE imports SET refused = refused + (SELECT count(*) FROM last)::integer WHERE id = $1`,
    [
      id,
      'The file ends in the middle of its last row, which may be cut off. If its program never ends the last line, say so at the source: lastLine "may-be-open"',
    ],
  );
}

type RowReader = (record: CsvRecord, now: string) => NewRow;

/** @throws ImportProblem where the header is wrong */
function rowReader(kind: ImportKind, reset: ResetPlan | null, header: readonly string[]): RowReader {
  if (kind === 'reset') {
    if (reset === null) throw new Error('A reset has a plan');
    return resetReader(header, reset);
  }
  const columns = readHeader(kind, rowKinds[kind], header);
  const groups = new GroupedRows(rowKinds[kind]);
  return ({ row, cells }, now) => newRow(kind, row, cells, readRow(rowKinds[kind], columns, cells, now), groups);
}

async function storeRecords(
  database: Database,
  id: string,
  read: RowReader,
  header: CsvRecord,
  records: AsyncIterable<CsvRecord>,
): Promise<void> {
  await database.pool.query('UPDATE imports SET columns = $2 WHERE id = $1', [id, JSON.stringify(header.cells)]);
  let now = new Date().toISOString();
  let batch: NewRow[] = [];
  let received = 0;
  for await (const record of records) {
    received += 1;
    if (received > rowsMax)
      throw new ImportProblem(`The file has more than ${rowsMax.toLocaleString('en-US')} rows; split it into several.`);
    batch.push(read(record, now));
    if (batch.length < batchRows) continue;
    await storeRows(database, id, batch);
    reached('import:rows-stored');
    now = new Date().toISOString();
    batch = [];
  }
  if (received === 0) throw new ImportProblem('There are no rows under the first one, which names the columns.');
  if (batch.length > 0) await storeRows(database, id, batch);
}

export interface NewRow {
  readonly row: number;
  readonly command_row: number;
  readonly cells: readonly string[];
  readonly fields?: RowFields;
  readonly sku?: unknown;
  readonly location?: unknown;
  readonly identity?: unknown;
  readonly hash?: string;
  readonly outcome?: 'refused';
  readonly problem_column?: string;
  readonly detail?: string;
}

function newRow(kind: RowsKind, row: number, cells: readonly string[], read: ReadRow, groups: GroupedRows): NewRow {
  const { fields } = read;
  // A wrong row of an order or a kit has its place in it, too: the others are not taken without it.
  const placed = groups.place(row, fields);
  const problem = read.problem ?? placed.problem;
  const staged = { row, command_row: placed.commandRow, cells: cells.map(storable) };
  const { identity, group } = rowKinds[kind];
  const name = identity === null ? undefined : fields[identity];
  if (problem !== null) return { ...staged, ...(group !== undefined && { identity: name }), ...refusal(problem) };
  const hash = kind === 'movements' ? keyedHash(fields as MovementRow) : requestHash('IMPORT', kind, fields);
  return {
    ...staged,
    fields,
    sku: fields['sku'] ?? fields['component'],
    location: fields['location'],
    ...(name !== undefined && { identity: name, hash: `\\x${hash.toString('hex')}` }),
  };
}

const refusal = ({ column, detail }: FieldProblem) => ({
  outcome: 'refused' as const,
  problem_column: column,
  detail: storable(detail),
});

/**
 * In: rows of one import in the order of the file. Effects: they are staged and counted, unless the import is no longer
 * being received.
 * @throws ReceivingStoppedError
 */
async function storeRows(database: Database, id: string, rows: readonly NewRow[]): Promise<void> {
  const refused = rows.filter((row) => row.outcome === 'refused').length;
  const stored = await database.pool.query({
    name: 'stage-import-rows',
    text: `
      WITH receiving AS (
        UPDATE imports SET received = received + $3, refused = refused + $4, last_row = $5, updated_at = now()
         WHERE id = $1 AND state = 'receiving'
        RETURNING id)
      INSERT INTO import_rows (import_id, row, command_row, cells, fields, sku, location, identity, hash, outcome, problem_column, detail)
      SELECT receiving.id, r.row, r.command_row, r.cells, r.fields, r.sku, r.location, r.identity, r.hash, r.outcome, r.problem_column, r.detail
        FROM receiving, jsonb_to_recordset($2::jsonb) AS r (
             row integer, command_row integer, cells jsonb, fields jsonb, sku text, location text, identity text,
             hash bytea, outcome text, problem_column text, detail text)`,
    values: [id, JSON.stringify(rows), rows.length, refused, rows.at(-1)!.row],
  });
  if (stored.rowCount === 0) throw new ReceivingStoppedError('The import is no longer being received');
}
