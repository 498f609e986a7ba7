/** Rows of a file that belong together: a run of rows with the same order number, or of the same kit, is one command. */
import type { FieldProblem, RowFields, RowGroup, RowKind } from './row-kinds.js';

export interface PlacedRow {
  /** The first row of the group. */
  readonly commandRow: number;
  readonly problem: FieldProblem | null;
}

export class GroupedRows {
  private name: unknown;
  private first = 0;
  private head: RowFields = {};
  private readonly seen = new Set<string>();

  constructor(private readonly kind: Pick<RowKind, 'identity' | 'group' | 'required'>) {}

  /**
   * @param fields of the row, as far as it could be read; what its group tells its rows apart by becomes its place among them
   * where it is left out
   */
  place(row: number, fields: RowFields): PlacedRow {
    const { identity, group } = this.kind;
    const name = identity === null ? undefined : fields[identity];
    if (group === undefined || typeof name !== 'string') return { commandRow: row, problem: null };
    if (name !== this.name) {
      this.name = name;
      this.first = row;
      this.head = fields;
      this.seen.clear();
    }
    return { commandRow: this.first, problem: this.check(fields, group) };
  }

  private check(fields: RowFields, { one, rowsMax, tooMany, each, common }: RowGroup): FieldProblem | null {
    const given = fields[each];
    if (given === undefined && this.kind.required.includes(each)) return null;
    const member = typeof given === 'string' ? given : String(this.seen.size + 1);
    fields[each] = member;
    if (this.seen.has(member)) return { column: each, detail: `is in this ${one} already: ${member}` };
    this.seen.add(member);
    if (this.seen.size > rowsMax) return { column: this.kind.identity ?? '', detail: tooMany };
    const other = common.find((column) => fields[column] !== this.head[column]);
    if (other === undefined) return null;
    return { column: other, detail: `is another one than in row ${this.first} of the same ${one}` };
  }
}
