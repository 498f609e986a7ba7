/**
 * What is asked of a file of kits. A kit may contain kits, and those only plain items; whether a row keeps to that depends on
 * the kits there are, and on the rows before and behind it: kits are set in the order of the file, and a file only ever adds
 * kits. So a row is wrong where at any moment from its own on two steps lead from its kit, or through it, to a third kit.
 * The decider (events/kit-composition.ts) asks once more, kit by kit.
 */
import { takenWhole, type Check } from './row-checks.js';

const afterAll = 2_147_483_647;
const stands = (row: string) => `${row}.import_id = r.import_id AND ${row}.outcome IS DISTINCT FROM 'refused'`;
const isItem = (sku: string) =>
  `EXISTS (SELECT FROM stream_heads h WHERE h.stream = 'item:' || ${sku} AND h.version > 0)`;
/** The row from which on a kit is what the file says; null where it says nothing. */
const toldIn = (sku: string) =>
  `(SELECT min(t.command_row) FROM import_rows t WHERE ${stands('t')} AND t.identity = ${sku})`;
/** Until which row it is what it was before the file. */
const oldUntil = (sku: string) => `coalesce(${toldIn(sku)}, ${afterAll})`;
/** The row from which on an item is a kit; 0: it is one already, null: it becomes none. */
const kitFrom = (sku: string) =>
  `CASE WHEN EXISTS (SELECT FROM kit_components c WHERE c.kit = ${sku}) THEN 0 ELSE ${toldIn(sku)} END`;

/** Three kits of which each contains the next one, in words; the row says one of the two steps. */
const tooDeep = `
  (SELECT format('%s would contain %s, and that %s', d.outer_kit, d.inner_kit, d.innermost)
     FROM (SELECT r.identity, r.sku, e.sku FROM import_rows e
            WHERE ${stands('e')} AND e.identity = r.sku AND ${kitFrom('e.sku')} IS NOT NULL
           UNION ALL
           SELECT r.identity, r.sku, o.component FROM kit_components o
            WHERE o.kit = r.sku AND ${kitFrom('o.component')} IS NOT NULL
              AND greatest(r.command_row, ${kitFrom('o.component')}) < ${oldUntil('r.sku')}
           UNION ALL
           SELECT o.kit, r.identity, r.sku FROM kit_components o
            WHERE o.component = r.identity AND ${kitFrom('r.sku')} IS NOT NULL
              AND greatest(r.command_row, ${kitFrom('r.sku')}) < ${oldUntil('o.kit')}
           UNION ALL
           SELECT w.kit, o.kit, r.identity FROM kit_components o JOIN kit_components w ON w.component = o.kit
            WHERE o.component = r.identity AND r.command_row < least(${oldUntil('o.kit')}, ${oldUntil('w.kit')}))
          AS d (outer_kit, inner_kit, innermost)
    LIMIT 1)`;

const ownStock = `
  (SELECT format('%s has %s at %s', r.identity,
                 CASE WHEN q.on_hand <> 0 THEN q.on_hand || ' on hand' ELSE q.open || ' open pieces in orders' END, q.location)
     FROM quantity_on_hand q WHERE q.sku = r.identity AND (q.on_hand <> 0 OR q.open <> 0) ORDER BY q.location LIMIT 1)`;

/** As the decider keeps it, in the order of the components. */
const toldComponents = `
  (SELECT jsonb_agg(jsonb_build_object('sku', e.sku, 'quantity', e.fields->'quantity') ORDER BY e.sku)
     FROM import_rows e WHERE e.import_id = r.import_id AND e.identity = r.identity AND e.command_row = r.command_row)`;

export const kitChecks: readonly Check[] = [
  {
    kinds: ['kits'],
    column: 'kit',
    detail: `format('There is no item with the SKU "%s"; create it first, or correct the SKU', r.identity)`,
    where: `NOT ${isItem('r.identity')}`,
  },
  {
    kinds: ['kits'],
    column: 'component',
    detail: `format('There is no item with the SKU "%s"; create it first, or correct the SKU', r.sku)`,
    where: `NOT ${isItem('r.sku')}`,
  },
  {
    kinds: ['kits'],
    column: 'component',
    detail: `'A kit cannot contain itself'`,
    where: `r.sku = r.identity`,
  },
  {
    kinds: ['kits'],
    column: 'component',
    detail: `format('A kit may contain kits, and those only plain items; %s. Name the items themselves', ${tooDeep})`,
    where: `${tooDeep} IS NOT NULL`,
  },
  {
    kinds: ['kits'],
    column: 'kit',
    detail: `format('A kit has no stock of its own, and %s; adjust that to 0 and end those orders first', ${ownStock})`,
    where: `${ownStock} IS NOT NULL`,
  },
  ...takenWhole('kits', 'kit', 'kit'),
  {
    kinds: ['kits'],
    outcome: 'unchanged',
    column: '',
    detail: `'The kit is made of this already'`,
    where: `EXISTS (SELECT FROM stream_heads h WHERE h.stream = 'kit:' || r.identity AND h.version > 0
              AND h.state->'components' = ${toldComponents})`,
  },
];
