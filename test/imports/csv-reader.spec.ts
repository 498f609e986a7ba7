import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readCsv } from '../../src/modules/imports/csv-reader.js';
import { GroupedRows } from '../../src/modules/imports/grouped-rows.js';
import { readHeader } from '../../src/modules/imports/header.js';
import { ImportProblem } from '../../src/modules/imports/import-problem.js';
import { rowsKinds } from '../../src/modules/imports/imports.table.js';
import { readRow, rowKinds } from '../../src/modules/imports/row-kinds.js';

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(file: string | Uint8Array, charset?: string, chunk = 7): Promise<string[][]> {
  const bytes = typeof file === 'string' ? Buffer.from(file) : file;
  const found: string[][] = [];
  for await (const { row, cells } of readCsv(inChunks(bytes, chunk), charset)) found.push([String(row), ...cells]);
  return found;
}

const wanted = [
  ['1', 'sku', 'title'],
  ['2', 'A', 'Tea, green'],
];

describe('a file is read, whoever wrote it', () => {
  const files: [string, string | Uint8Array, string?][] = [
    ['commas and LF', 'sku,title\nA,"Tea, green"\n'],
    ['no line end after the last row', 'sku,title\nA,"Tea, green"'],
    ['CR LF', 'sku,title\r\nA,"Tea, green"\r\n'],
    ['CR alone', 'sku,title\rA,"Tea, green"\r'],
    ['a BOM', '\ufeffsku,title\nA,"Tea, green"\n'],
    ['a BOM before quotes', '\ufeff"sku","title"\r\n"A","Tea, green"\r\n'],
    ['semicolons', 'sku;title\nA;Tea, green\n'],
    ['tabs', 'sku\ttitle\nA\tTea, green\n'],
    ['spaces around cells', ' sku , title \n A , "Tea, green" \n'],
    ['a separator in the header’s quotes', '"sku";"title"\n"A";"Tea, green"\n'],
  ];
  it.each(files)('%s', async (_what, file) => {
    for (const chunk of [1, 3, 1000]) expect(await read(file, undefined, chunk)).toEqual(wanted);
  });

  it('quotes hold separators, line ends and quotes', async () => {
    expect(await read('sku,title\nA,"one\r\n""two"", three"\n')).toEqual([
      ['1', 'sku', 'title'],
      ['2', 'A', 'one\r\n"two", three'],
    ]);
  });

  it('empty lines are left out and keep their number', async () => {
    expect((await read('sku\n\nA\n \nB\n\n')).map(([row]) => row)).toEqual(['1', '3', '5']);
  });

  it('characters are whole wherever a chunk ends', async () => {
    expect(await read('sku\nTasse ☕ groß\n', undefined, 1)).toEqual([
      ['1', 'sku'],
      ['2', 'Tasse ☕ groß'],
    ]);
  });

  it('Latin-1 where it is named so, and refused with a way out where it is not', async () => {
    const latin = Buffer.from('sku,title\nA,Stra\xdfe\n', 'latin1');
    expect((await read(latin, 'iso-8859-1'))[1]).toEqual(['2', 'A', 'Straße']);
    await expect(read(latin)).rejects.toThrow('charset=iso-8859-1');
    await expect(read(latin, 'utf-7')).rejects.toThrow('is not read here');
    await expect(read(Buffer.from('\ufeffsku\nA\n', 'utf16le'))).rejects.toBeInstanceOf(ImportProblem);
  });
});

describe('what cannot be read is said in a sentence', () => {
  const files: [string, string, string][] = [
    ['nothing', '', 'is empty'],
    ['only spaces', ' \n\n ', 'is empty'],
    ['a quote that is never closed', 'sku\n"A\n', 'quotes of row 2'],
    ['a quote in the middle', 'sku\nA"B\n', 'quotes of row 2'],
    ['text after a quote', 'sku\n"A"B\n', 'quotes of row 2'],
  ];
  it.each(files)('%s', async (_what, file, sentence) => {
    await expect(read(file)).rejects.toThrow(sentence);
    await expect(read(file)).rejects.toBeInstanceOf(ImportProblem);
  });

  it('a field of 10 MB, quoted or not, without holding it', async () => {
    const large = 'x'.repeat(10 * 1024 * 1024);
    await expect(read(`sku\nA\n"${large}"\n`, undefined, 65_536)).rejects.toThrow('Row 3 is longer');
    await expect(read(`sku\n${large}\n`, undefined, 65_536)).rejects.toThrow('Row 2 is longer');
    await expect(read(large, undefined, 65_536)).rejects.toThrow('first row is longer');
  });

  it('columns that are unknown, doubled or missing are all named at once', () => {
    const header = (...cells: string[]) => readHeader('counts', rowKinds.counts, cells);
    expect(header('SKU', ' Location', 'quantity', 'as_of', 'Includes Open-Orders', 'row')).toEqual([
      'sku',
      'location',
      'quantity',
      'asOf',
      'includesOpenOrders',
      null,
    ]);
    expect(() => header('sku', 'SKU', 'colour', '')).toThrow(
      '"colour" is not a column of counts; a column has no name; "sku" is there twice; "location" is missing; "quantity" is missing',
    );
    expect(() => readHeader('movements', rowKinds.movements, ['kind', 'sku', 'location'])).toThrow(
      '"quantity" or "delta" is missing',
    );
  });
});

const piece = fc.constantFrom(
  '"',
  '""',
  ',',
  ';',
  '\t',
  '\r',
  '\n',
  '\r\n',
  '\u0000',
  ' ',
  'sku',
  'title',
  'é',
  '☕',
  '-0',
  '1e9',
  'true',
);
const anyFile = fc.oneof(
  fc
    .array(fc.oneof(piece, fc.string({ unit: 'binary', maxLength: 5 })), { maxLength: 60 })
    .map((parts) => Buffer.from(parts.join(''))),
  fc.uint8Array({ maxLength: 200 }),
);

describe('whatever is sent', () => {
  it('reading throws nothing but an import problem, and the size of chunks changes nothing', async () => {
    const outcome = async (file: Uint8Array, chunk: number) => {
      try {
        return await read(file, undefined, chunk);
      } catch (error) {
        expect(error).toBeInstanceOf(ImportProblem);
        return (error as Error).message.replace(/near byte \d+/, '');
      }
    };
    await fc.assert(
      fc.asyncProperty(anyFile, fc.integer({ min: 1, max: 9 }), async (file, chunk) => {
        expect(await outcome(file, chunk)).toEqual(await outcome(file, 10_000));
      }),
      { numRuns: 500 },
    );
  });

  it('a row is understood or refused, never thrown at', () => {
    const cell = fc.oneof(
      piece,
      fc.string(),
      fc.constantFrom('received', 'main', '5', 'order:1', '2026-03-01T12:00:00Z'),
    );
    fc.assert(
      fc.property(fc.constantFrom(...rowsKinds), fc.array(cell, { maxLength: 12 }), (kind, cells) => {
        const columns = Object.keys(rowKinds[kind].columns).slice(0, Math.max(1, cells.length));
        const { fields, problem } = readRow(rowKinds[kind], columns, cells, '2026-06-01T00:00:00.000Z');
        if (problem === null) expect(JSON.stringify(fields)).not.toContain('\\u0000');
        else expect(problem.detail.length).toBeGreaterThan(5);
        new GroupedRows(rowKinds[kind]).place(2, fields);
      }),
      { numRuns: 2_000 },
    );
  });
});
