/**
 * What a row of each kind of file looks like. The rules of its fields are the API's own (http/fields.ts); a cell that is
 * empty is a field that was left out.
 */
import { z } from 'zod';
import { refuseTime } from '../../events/decision.js';
import { componentQuantityMax, componentsMax } from '../../events/kit-composition.js';
import { tagList, tagsMax } from '../../events/item.js';
import {
  barcode,
  shopifyProductId,
  orderLine as lineName,
  rowKey,
  countedQuantity,
  delta,
  itemKey,
  location,
  otherOrigin,
  paperNumber,
  quantity,
  reason,
  reference,
  sku,
  source,
  tag,
  time,
  title,
} from '../http/fields.js';
import type { RowsKind } from './imports.table.js';

export interface FieldProblem {
  readonly column: string;
  readonly detail: string;
}

export type RowFields = Record<string, unknown>;

/** How a cell is read before its field's rules are asked. */
type Cell = 'text' | 'whole' | 'yes-no' | 'reference' | 'words';

export interface RowKind {
  /** Columns a file may have, by the name of their field. */
  readonly columns: Readonly<Record<string, Cell>>;
  /** Columns it must have; of an inner list, one. */
  readonly required: readonly (string | readonly string[])[];
  readonly schema: z.ZodType<RowFields>;
  /** The field that must not be in the file twice with another meaning. */
  readonly identity: string | null;
  /** Set where consecutive rows of one identity are one command. */
  readonly group?: RowGroup;
}

/** Rows that belong together: the lines of an order, the components of a kit. */
export interface RowGroup {
  /** What they are together. */
  readonly one: string;
  readonly rowsMax: number;
  readonly tooMany: string;
  /** The field in which the rows of a group differ; left out, it is the row's place among them. */
  readonly each: string;
  /** What stands in each of its rows, and must be the same in all of them. */
  readonly common: readonly string[];
}

/** Lines of one order, as the API has it. */
const rowsOfOrderMax = 500;

const moved = {
  sku,
  location,
  occurredAt: time.optional(),
  reason: reason.optional(),
  reference: reference.optional(),
  source: source.optional(),
  key: rowKey.optional(),
};
const movement = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('received'), quantity, ...moved }),
  z.strictObject({ kind: z.literal('sold'), quantity, ...moved }),
  z.strictObject({ kind: z.literal('returned'), quantity, resellable: z.boolean().default(true), ...moved }),
  z.strictObject({ kind: z.literal('adjusted'), delta, ...moved }),
]);
const count = z.strictObject({
  sku,
  location,
  quantity: countedQuantity,
  asOf: time.optional(),
  includesOpenOrders: z.boolean().optional(),
  reason: reason.optional(),
});
const item = z.strictObject({
  sku,
  title: title.optional(),
  barcode: barcode.optional(),
  shopifyProductId: shopifyProductId.optional(),
  tags: z.array(tag).max(tagsMax).transform(tagList).optional(),
  active: z.boolean().optional(),
});
const orderLine = z.strictObject({
  origin: otherOrigin.default('phone'),
  number: paperNumber,
  line: lineName.optional(),
  sku,
  location,
  quantity,
  placedAt: time.optional(),
  state: z
    .enum(['open', 'shipped', 'closed', 'cancelled'], 'must be open, shipped, closed or cancelled')
    .default('open'),
  revision: z.int().min(0).default(0),
});
const component = z.strictObject({
  kit: sku,
  component: sku,
  quantity: z
    .int()
    .min(1, 'must be 1 or more')
    .max(componentQuantityMax, `must be ${componentQuantityMax} or less, the pieces in one kit`),
});
const mapping = z.strictObject({ key: itemKey, sku });

export type MovementRow = z.infer<typeof movement>;
export type CountRow = z.infer<typeof count>;
export type ItemRow = z.infer<typeof item>;
export type OrderRow = z.infer<typeof orderLine> & { line: string };
export type ComponentRow = z.infer<typeof component>;
export type MappingRow = z.infer<typeof mapping>;

export const rowKinds: Readonly<Record<RowsKind, RowKind>> = {
  movements: {
    columns: {
      kind: 'text',
      sku: 'text',
      location: 'text',
      quantity: 'whole',
      delta: 'whole',
      reason: 'text',
      reference: 'reference',
      occurredAt: 'text',
      key: 'text',
      resellable: 'yes-no',
      source: 'text',
    },
    required: ['kind', 'sku', 'location', ['quantity', 'delta']],
    schema: movement,
    identity: 'key',
  },
  counts: {
    columns: {
      sku: 'text',
      location: 'text',
      quantity: 'whole',
      asOf: 'text',
      includesOpenOrders: 'yes-no',
      reason: 'text',
    },
    required: ['sku', 'location', 'quantity'],
    schema: count,
    identity: null,
  },
  items: {
    columns: { sku: 'text', title: 'text', barcode: 'text', shopifyProductId: 'text', tags: 'words', active: 'yes-no' },
    required: ['sku', ['title', 'barcode', 'shopifyProductId', 'tags', 'active']],
    schema: item,
    identity: 'sku',
  },
  orders: {
    columns: {
      origin: 'text',
      number: 'text',
      line: 'text',
      sku: 'text',
      location: 'text',
      quantity: 'whole',
      placedAt: 'text',
      state: 'text',
      revision: 'whole',
    },
    required: ['number', 'sku', 'location', 'quantity'],
    schema: orderLine,
    identity: 'number',
    group: {
      one: 'order',
      rowsMax: rowsOfOrderMax,
      tooMany: `An order has at most ${rowsOfOrderMax} lines`,
      each: 'line',
      common: ['origin', 'placedAt', 'state', 'revision'],
    },
  },
  kits: {
    columns: { kit: 'text', component: 'text', quantity: 'whole' },
    required: ['kit', 'component', 'quantity'],
    schema: component,
    identity: 'kit',
    group: {
      one: 'kit',
      rowsMax: componentsMax,
      tooMany: `A kit has at most ${componentsMax} components; make a kit of some of them`,
      each: 'component',
      common: [],
    },
  },
  mappings: { columns: { key: 'text', sku: 'text' }, required: ['key', 'sku'], schema: mapping, identity: 'key' },
};

export interface ReadRow {
  /** As far as the row could be read. */
  readonly fields: RowFields;
  /** Null: the row is valid by itself. */
  readonly problem: FieldProblem | null;
}

/**
 * One row by itself.
 * @param columns the field of each cell, null where the column is not read
 * @param now a row that speaks of a later moment is wrong; ISO 8601
 */
export function readRow(
  kind: RowKind,
  columns: readonly (string | null)[],
  cells: readonly string[],
  now: string,
): ReadRow {
  const given: RowFields = {};
  if (cells.length !== columns.length) return { fields: given, problem: wrongLength(cells.length, columns.length) };
  const problems: FieldProblem[] = [];
  for (const [at, column] of columns.entries()) {
    const cell = cells[at]!;
    if (column === null || cell === '') continue;
    if (cell.includes('\u0000')) problems.push({ column, detail: 'must be printable text' });
    else {
      const read = readCell(kind.columns[column]!, cell);
      if ('wrong' in read) problems.push({ column, detail: read.wrong });
      else given[column] = read.value;
    }
  }
  if (problems.length > 0) return { fields: given, problem: together(problems) };
  const parsed = kind.schema.safeParse(given);
  if (!parsed.success)
    return { fields: given, problem: together(parsed.error.issues.map((issue) => said(issue, given))) };
  return { fields: parsed.data, problem: wrongTime(parsed.data, now) };
}

function readCell(type: Cell, cell: string): { value: unknown } | { wrong: string } {
  switch (type) {
    case 'text':
      return { value: cell };
    case 'whole':
      // Adding 0 makes of -0 what everybody means by it.
      if (/^[+-]?\d{1,12}$/.test(cell)) return { value: Number(cell) + 0 };
      return { wrong: `must be a whole number such as 5, not "${short(cell)}"` };
    case 'yes-no':
      if (/^(yes|true|1)$/i.test(cell)) return { value: true };
      return /^(no|false|0)$/i.test(cell) ? { value: false } : { wrong: `must be yes or no, not "${short(cell)}"` };
    case 'words':
      return { value: cell.split(/[\s,;]+/).filter((word) => word !== '') };
    case 'reference': {
      const [kind = '', number = '', ...line] = cell.split(':');
      if (reference.shape.kind.safeParse(kind).success && number !== '')
        return { value: { kind, number, ...(line.length > 0 && { line: line.join(':') }) } };
      return {
        wrong: `must look like purchase-order:PO-7 or purchase-order:PO-7:1, with one of ${reference.shape.kind.options.join(', ')}`,
      };
    }
  }
}

function wrongLength(cells: number, columns: number): FieldProblem {
  const what = `the row has ${cells} ${cells === 1 ? 'cell' : 'cells'} and the header ${columns}`;
  return { column: '', detail: `${what}; a cell that contains the separator stands in quotes` };
}

function together(problems: readonly FieldProblem[]): FieldProblem {
  const [first, ...others] = problems;
  const more = others.map(({ column, detail }) => `; ${column}: ${detail}`).join('');
  return { column: first!.column, detail: `${first!.detail}${more}` };
}

function said(issue: z.core.$ZodIssue, given: RowFields): FieldProblem {
  const column = String(issue.path[0] ?? '');
  if (issue.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys;
    return { column: key, detail: `must be empty where the kind is ${String(given['kind'])}` };
  }
  if (column === 'kind') return { column, detail: 'must be received, sold, returned or adjusted' };
  return { column, detail: given[column] === undefined ? 'must not be empty' : issue.message };
}

/** Deciders refuse such a moment; here it is found before anything is applied. */
function wrongTime(fields: RowFields, now: string): FieldProblem | null {
  for (const column of ['occurredAt', 'asOf', 'placedAt']) {
    const refused = refuseTime(fields[column] as string | undefined, now, column);
    if (refused) return { column, detail: refused.refusal.detail };
  }
  return null;
}

const short = (cell: string) => (cell.length > 40 ? `${cell.slice(0, 40)}…` : cell);
