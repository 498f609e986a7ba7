/** Rows of a file of orders that belong together: one order is a run of rows with the same number. */
import { rowsOfOrderMax } from './row-kinds.js';
import type { FieldProblem, RowFields } from './row-kinds.js';

export interface PlacedRow {
  /** The first row of the order. */
  readonly commandRow: number;
  readonly problem: FieldProblem | null;
}

/** What of an order stands in each of its rows, and must be the same in all of them. */
const common = ['origin', 'placedAt', 'state', 'revision'] as const;

export class OrderRows {
  private number: unknown;
  private first = 0;
  private head: RowFields = {};
  private readonly lines = new Set<string>();

  /** @param fields of the row, as far as it could be read; its `line` becomes its place in the order where it is left out */
  place(row: number, fields: RowFields): PlacedRow {
    const { number } = fields;
    if (typeof number !== 'string') return { commandRow: row, problem: null };
    if (number !== this.number) {
      this.number = number;
      this.first = row;
      this.head = fields;
      this.lines.clear();
    }
    return { commandRow: this.first, problem: this.check(fields) };
  }

  private check(fields: RowFields): FieldProblem | null {
    const line = typeof fields['line'] === 'string' ? fields['line'] : String(this.lines.size + 1);
    fields['line'] = line;
    if (this.lines.has(line)) return { column: 'line', detail: `is in this order already: ${line}` };
    this.lines.add(line);
    if (this.lines.size > rowsOfOrderMax)
      return { column: 'number', detail: `An order has at most ${rowsOfOrderMax} lines` };
    const other = common.find((column) => fields[column] !== this.head[column]);
    if (other === undefined) return null;
    return { column: other, detail: `is another one than in row ${this.first} of the same order` };
  }
}
