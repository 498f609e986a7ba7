import { ImportProblem } from './import-problem.js';
import type { RowKind } from './row-kinds.js';

/** What rows.csv adds. A file that was corrected there may be sent again as it is. */
export const answerColumns = ['row', 'outcome', 'column', 'problem'] as const;

/**
 * Which field each column of a file holds; null: it is not read. Names are compared without case, spaces, `_` and `-`.
 * @throws ImportProblem that names every column that is unknown, doubled or missing
 */
export function readHeader(name: string, kind: RowKind, cells: readonly string[]): (string | null)[] {
  const known = new Map(Object.keys(kind.columns).map((field) => [plain(field), field]));
  const ignored = new Set<string>(answerColumns);
  const fields = cells.map((cell) => known.get(plain(cell)) ?? null);
  const unknown = cells.filter((cell, at) => fields[at] === null && !ignored.has(plain(cell)));
  const doubled = fields.filter((field, at) => field !== null && fields.indexOf(field) !== at);
  const missing = kind.required
    .map((one) => (typeof one === 'string' ? [one] : one))
    .filter((choices) => !choices.some((field) => fields.includes(field)));

  const problems = [
    ...unknown.map((cell) =>
      cell === '' ? 'a column has no name' : `"${cell.slice(0, 60)}" is not a column of ${name}`,
    ),
    ...doubled.map((field) => `"${field}" is there twice`),
    ...missing.map((choices) => `${choices.map((field) => `"${field}"`).join(' or ')} is missing`),
  ];
  if (problems.length === 0) return fields;
  throw new ImportProblem(
    `The first row must name the columns: ${problems.slice(0, 10).join('; ')}. A file of ${name} may have ${Object.keys(kind.columns).join(', ')}.`,
  );
}

const plain = (name: string) => name.toLowerCase().replace(/[\s_-]/g, '');
