import stringWidth from 'string-width';
import { none } from './format.js';

export type Cell = string | number | null;

export interface Column<Row> {
  readonly title: string;
  readonly of: (row: Row) => Cell;
  /** Numbers end at the same place. */
  readonly right?: boolean;
}

/**
 * Rows under their titles, two spaces between columns and none at the end of a line; as wide as it must be, because what
 * is piped must not lose anything. Pure.
 */
export function tableLines<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string[] {
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => columns.map(({ of }) => cellText(of(row))))];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => stringWidth(line[at] ?? ''))));
  return cells.map((line) =>
    line
      .map((cell, at) => {
        const space = ' '.repeat((widths[at] ?? 0) - stringWidth(cell));
        return columns[at]?.right === true ? space + cell : cell + space;
      })
      .join('  ')
      .trimEnd(),
  );
}

/** Names and their values below each other. */
export function factLines(facts: readonly (readonly [string, Cell])[]): string[] {
  const width = Math.max(...facts.map(([name]) => stringWidth(name)));
  return facts.map(([name, value]) => `${name}${' '.repeat(width - stringWidth(name))}  ${cellText(value)}`.trimEnd());
}

function cellText(cell: Cell): string {
  if (cell === null || cell === '') return none;
  return plainText(String(cell));
}

/** What carts and callers wrote may contain anything; on a terminal it must stay text of one line. */
export function plainText(text: string): string {
  // Control characters are exactly what is meant.
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
}
