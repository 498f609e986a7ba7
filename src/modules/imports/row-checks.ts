/** What is asked of rows beside what is known already, one statement each; see validate-import.ts. */
import type { ImportKind } from './imports.table.js';

export interface Check {
  readonly kinds: readonly ImportKind[];
  readonly outcome?: 'unchanged';
  /** Looks at rows of the same identity only. */
  readonly about?: 'doubled';
  readonly column: string;
  /** SQL of the sentence and of the condition, about `r`, a row of the import `f`. */
  readonly detail: string;
  readonly where: string;
}

/** An earlier row of the file that is still valid and has the same identity. */
const earlier = (and: string) => `
  (SELECT min(e.row) FROM import_rows e
    WHERE e.import_id = r.import_id AND e.identity = r.identity AND e.row < r.row AND e.outcome IS DISTINCT FROM 'refused' AND ${and})`;
const sameBefore = earlier('e.hash = r.hash');
const otherBefore = earlier('e.hash <> r.hash');
/** A row of the same order or kit that stands apart from it, before or after. */
const apart = `
  (SELECT min(e.row) FROM import_rows e
    WHERE e.import_id = r.import_id AND e.identity = r.identity AND e.command_row <> r.command_row)`;

/** Another row of the same item on the same shelf with another number; a wrong one contradicts, too. */
const contradicting = `
  (SELECT min(e.row) FROM import_rows e
    WHERE e.import_id = r.import_id AND e.identity = r.identity AND e.row <> r.row AND e.outcome IS DISTINCT FROM 'unchanged'
      AND e.fields->>'seat' = r.fields->>'seat' AND e.hash <> r.hash)`;
const wrongBeside = `
  (SELECT min(e.row) FROM import_rows e
    WHERE e.import_id = r.import_id AND e.identity = r.identity AND e.row <> r.row AND e.outcome = 'refused')`;

/** Of rows that are one command together none is taken without the others. */
export const takenWhole = (kind: ImportKind, column: string, one: string): readonly Check[] => [
  {
    kinds: [kind],
    column,
    detail: `format('The rows of one ${one} must follow one another; ${one} "%s" is in row %s, too', r.identity, ${apart})`,
    where: `${apart} IS NOT NULL`,
  },
  {
    kinds: [kind],
    column: '',
    detail: `'Another row of this ${one} is refused, and ${one === 'order' ? 'an' : 'a'} ${one} is taken whole'`,
    where: `EXISTS (SELECT FROM import_rows e WHERE e.import_id = r.import_id AND e.identity = r.identity
              AND e.command_row = r.command_row AND e.outcome = 'refused')`,
  },
];

export const rowChecks: readonly Check[] = [
  {
    kinds: ['reset'],
    column: 'idValue',
    detail: `format('There is no item with the SKU "%s"; nothing is set', r.sku)`,
    where: `NOT EXISTS (SELECT FROM stream_heads h WHERE h.stream = 'item:' || r.sku AND h.version > 0)`,
  },
  {
    kinds: ['reset'],
    about: 'doubled',
    outcome: 'unchanged',
    column: '',
    detail: `format('Repeats row %s', ${sameBefore})`,
    where: `${sameBefore} IS NOT NULL`,
  },
  {
    kinds: ['reset'],
    about: 'doubled',
    column: 'availableQty',
    detail: `format('Row %s says something else of the same item and place; neither is believed', ${contradicting})`,
    where: `${contradicting} IS NOT NULL`,
  },
  {
    kinds: ['reset'],
    about: 'doubled',
    column: 'availableQty',
    detail: `format('Row %s of the same item and place is wrong, and they are added up', ${wrongBeside})`,
    where: `${wrongBeside} IS NOT NULL`,
  },
  {
    kinds: ['movements', 'counts', 'orders', 'mappings'],
    column: 'sku',
    detail: `format('There is no item with the SKU "%s"; create it first, or correct the SKU', r.sku)`,
    where: `NOT EXISTS (SELECT FROM stream_heads h WHERE h.stream = 'item:' || r.sku AND h.version > 0)`,
  },
  {
    kinds: ['movements', 'counts', 'orders'],
    column: 'location',
    detail: `format('There is no location "%s"; add it first, or correct the code', r.location)`,
    where: `r.location <> 'in-transit' AND NOT EXISTS (SELECT FROM stream_heads h WHERE h.stream = 'location:' || r.location AND h.version > 0)`,
  },
  {
    kinds: ['items', 'mappings', 'movements'],
    column: '',
    detail: `format('The same is said of "%s" in row %s; give each its own, or remove one', r.identity, ${otherBefore})`,
    where: `r.identity IS NOT NULL AND ${otherBefore} IS NOT NULL`,
  },
  {
    kinds: ['items', 'mappings', 'movements'],
    outcome: 'unchanged',
    column: '',
    detail: `format('Repeats row %s', ${sameBefore})`,
    where: `r.identity IS NOT NULL AND ${sameBefore} IS NOT NULL`,
  },
  {
    kinds: ['movements'],
    column: 'key',
    detail: `format('The key "%s" was used for something else before; give the row a new one', r.identity)`,
    where: `EXISTS (SELECT FROM commands c WHERE c.client = f.client AND c.idempotency_key = r.identity AND c.body_hash <> r.hash)`,
  },
  {
    kinds: ['items'],
    outcome: 'unchanged',
    column: '',
    detail: `'The item is like this already'`,
    where: `EXISTS (SELECT FROM stream_heads h WHERE h.stream = 'item:' || r.sku AND h.version > 0
              AND h.state @> (r.fields - 'sku' - 'tags')
              AND (r.fields->'tags' IS NULL OR h.state->'tags' = r.fields->'tags'))`,
  },
  {
    kinds: ['items'],
    column: 'title',
    detail: `format('There is no item "%s", and a new one needs a title', r.sku)`,
    where: `r.fields->>'title' IS NULL AND NOT EXISTS (SELECT FROM stream_heads h WHERE h.stream = 'item:' || r.sku AND h.version > 0)`,
  },
  ...takenWhole('orders', 'number', 'order'),
];
