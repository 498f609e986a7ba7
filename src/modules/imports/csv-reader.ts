/**
 * Bytes of a CSV file → its records, one at a time, whatever program wrote it: with or without BOM; lines ended by LF,
 * CR LF or CR; commas, semicolons or tabs between cells; cells in quotes. Holds one record and one chunk in memory.
 */
import { Readable } from 'node:stream';
import { TextDecoder } from 'node:util';
import { CsvError, parse } from 'csv-parse';
import { ImportProblem } from './import-problem.js';

export interface CsvRecord {
  /** As a spreadsheet counts: the header is 1, empty lines count. */
  readonly row: number;
  /** Without spaces around them. */
  readonly cells: readonly string[];
}

/** Characters of one row. Ours have a few hundred; more is a quote that was never closed, or another kind of file. */
const RECORD_MAX = 64 * 1024;

/**
 * @param charset as the request named it; undefined: UTF-8
 * @throws ImportProblem, and what reading the bytes throws
 */
export async function* readCsv(bytes: AsyncIterable<Uint8Array>, charset?: string): AsyncGenerator<CsvRecord> {
  const texts = decode(bytes, decoderFor(charset));
  try {
    const { head, separator } = await readHead(texts);
    if (head.trim() === '') throw new ImportProblem('The file is empty. Its first row names the columns.');
    yield* parseRecords(head, texts, separator);
  } finally {
    await texts.return(undefined);
  }
}

async function* parseRecords(head: string, rest: AsyncGenerator<string>, separator: string): AsyncGenerator<CsvRecord> {
  const parser = parse({
    delimiter: separator,
    record_delimiter: ['\r\n', '\n', '\r'],
    // How many cells a row has is for the rows' own check, which can name the row; empty rows keep their number.
    relax_column_count: true,
    trim: true,
    max_record_size: RECORD_MAX,
  });
  const source = Readable.from(joined(head, rest), { objectMode: false });
  source.on('error', (error) => parser.destroy(error));
  source.pipe(parser);
  let row = 0;
  try {
    for await (const cells of parser as AsyncIterable<string[]>) {
      row += 1;
      if (cells.length > 1 || cells[0]?.trim() !== '') yield { row, cells: cells.map((cell) => cell.trim()) };
    }
  } catch (error) {
    throw error instanceof CsvError ? explained(error, rowOf(error) ?? row + 1) : error;
  } finally {
    source.destroy();
    parser.destroy();
  }
}

async function* joined(head: string, rest: AsyncGenerator<string>): AsyncGenerator<string> {
  yield head;
  for await (const text of rest) if (text !== '') yield text;
}

/** The parser is ahead of whoever reads its records, and knows how many it has made. */
const rowOf = (error: CsvError) =>
  'records' in error && typeof error['records'] === 'number' ? error['records'] + 1 : undefined;

function explained(error: CsvError, row: number): ImportProblem {
  if (error.code === 'CSV_MAX_RECORD_SIZE') {
    return new ImportProblem(
      `Row ${row} is longer than ${RECORD_MAX} characters. Most likely a quote (") was opened there and never closed.`,
    );
  }
  return new ImportProblem(
    `The quotes of row ${row} do not fit together. A cell that contains a quote is written "like ""this""".`,
  );
}

function decoderFor(charset: string | undefined): TextDecoder {
  const name = (charset ?? 'utf-8').toLowerCase().replace(/^"|"$/g, '');
  if (['utf-8', 'utf8', 'us-ascii'].includes(name)) return new TextDecoder('utf-8', { fatal: true });
  if (['iso-8859-1', 'latin1', 'windows-1252'].includes(name)) return new TextDecoder('windows-1252');
  throw new ImportProblem(
    `The charset "${name.slice(0, 40)}" is not read here. Save the file as UTF-8, or send charset=iso-8859-1.`,
  );
}

async function* decode(bytes: AsyncIterable<Uint8Array>, decoder: TextDecoder): AsyncGenerator<string> {
  let read = 0;
  const decoded = (chunk?: Uint8Array) => {
    try {
      return chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
    } catch {
      throw new ImportProblem(
        `The file is not UTF-8 (near byte ${read}). Save it as "CSV UTF-8", or, if it is Latin-1 as older programs write it, send Content-Type: text/csv; charset=iso-8859-1.`,
      );
    }
  };
  for await (const chunk of bytes) {
    const text = decoded(chunk);
    read += chunk.byteLength;
    yield text;
  }
  yield decoded();
}

/** The beginning of the file up to the end of its header, from which the separator is told. */
async function readHead(texts: AsyncGenerator<string>): Promise<{ head: string; separator: string }> {
  let head = '';
  for (;;) {
    const seen = headerSeparators(head);
    if (seen.complete) return { head, separator: seen.separator };
    if (head.length > RECORD_MAX) {
      throw new ImportProblem(
        `The first row is longer than ${RECORD_MAX} characters; it should name the columns. Is this a CSV file?`,
      );
    }
    const next = await texts.next();
    if (next.done === true) return { head, separator: seen.separator };
    head += next.value;
  }
}

/** Counts what could separate cells in the first row that is not empty; what stands in quotes does not count. */
function headerSeparators(head: string): { complete: boolean; separator: string } {
  const counts = new Map([
    [',', 0],
    [';', 0],
    ['\t', 0],
  ]);
  let quoted = false;
  let complete = false;
  const end = Math.min(head.length, RECORD_MAX);
  for (let at = head.length - head.trimStart().length; at < end && !complete; at += 1) {
    const char = head[at]!;
    if (char === '"') quoted = !quoted;
    else if (!quoted && (char === '\n' || char === '\r')) complete = true;
    else if (!quoted && counts.has(char)) counts.set(char, counts.get(char)! + 1);
  }
  const [separator] = [...counts].reduce((best, next) => (next[1] > best[1] ? next : best));
  return { complete, separator };
}

/** PostgreSQL keeps every character but this one. */
export const storable = (text: string) => (text.includes('\u0000') ? text.replaceAll('\u0000', '\ufffd') : text);
