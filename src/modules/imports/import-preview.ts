import { Inject, Injectable } from '@nestjs/common';
import type { Database } from '../../database.js';
import { Problem } from '../http/problem.js';
import { DATABASE } from '../tokens.js';
import type { RowsKind } from './imports.table.js';
import type { StoredImport } from './imports.js';

/** Two questions of each kind of file; both read the staging table beside what is there now, and lock nothing. */
interface PreviewQueries {
  readonly totals: string;
  /** The first ones; $2 is how many. */
  readonly differences: string;
}

const valid = `import_rows r WHERE r.import_id = $1 AND r.outcome IS NULL`;
const delta = `CASE r.fields->>'kind'
  WHEN 'adjusted' THEN (r.fields->>'delta')::bigint
  WHEN 'sold' THEN -(r.fields->>'quantity')::bigint
  WHEN 'returned' THEN CASE WHEN (r.fields->>'resellable')::boolean THEN (r.fields->>'quantity')::bigint ELSE 0 END
  ELSE (r.fields->>'quantity')::bigint END`;

/** The last count of each item and place decides; open orders are subtracted where they stood on the shelf. */
const counted = `
  SELECT c.row, c.sku, c.location, coalesce(q.on_hand, 0) AS before,
         c.quantity - CASE WHEN c.open THEN coalesce(q.open, 0) ELSE 0 END AS after
    FROM (SELECT DISTINCT ON (r.sku, r.location) r.row, r.sku, r.location, (r.fields->>'quantity')::bigint AS quantity,
                 coalesce((r.fields->>'includesOpenOrders')::boolean, false) AS open
            FROM ${valid} ORDER BY r.sku, r.location, coalesce((r.fields->>'asOf')::timestamptz, 'infinity') DESC, r.row DESC) c
    LEFT JOIN quantity_on_hand q ON q.sku = c.sku AND q.location = c.location`;

const mapped = `
  SELECT r.row, r.fields->>'key' AS key, l.sku AS before, r.sku AS after
    FROM imports f, import_rows r LEFT JOIN listings l ON l.cart_id = (SELECT cart_id FROM imports WHERE id = $1) AND l.key = r.fields->>'key'
   WHERE f.id = $1 AND r.import_id = f.id AND r.outcome IS NULL`;

/** An item in one line: its title, and in brackets what else there is to say. */
const itemText = (title: string, code: string, shopify: string, tags: string, active: string) => `
  ${title} || coalesce(' (' || nullif(concat_ws('; ', 'barcode ' || ${code}, 'Shopify ' || ${shopify}, 'tags ' || nullif(array_to_string(${tags}, ' '), ''),
                                                CASE WHEN NOT ${active} THEN 'inactive' END), '') || ')', '')`;
const tagsAfter = `
  CASE WHEN r.fields->'tags' IS NULL THEN i.tags ELSE ARRAY(SELECT jsonb_array_elements_text(r.fields->'tags')) END`;

const queries: Readonly<Record<RowsKind, PreviewQueries>> = {
  movements: {
    totals: `SELECT r.fields->>'kind' AS kind, count(*)::integer AS rows, sum(${delta})::float8 AS pieces
               FROM ${valid} GROUP BY 1 ORDER BY 1`,
    differences: `SELECT m.sku, m.location, m.rows, coalesce(q.on_hand, 0)::float8 AS before, (coalesce(q.on_hand, 0) + m.delta)::float8 AS after
                    FROM (SELECT r.sku, r.location, min(r.row) AS row, count(*)::integer AS rows, sum(${delta}) AS delta
                            FROM ${valid} GROUP BY r.sku, r.location ORDER BY min(r.row) LIMIT $2) m
                    LEFT JOIN quantity_on_hand q ON q.sku = m.sku AND q.location = m.location ORDER BY m.row`,
  },
  counts: {
    totals: `SELECT CASE WHEN after > before THEN 'more' WHEN after < before THEN 'less' ELSE 'same' END AS kind,
                    count(*)::integer AS rows, sum(after - before)::float8 AS pieces
               FROM (${counted}) c GROUP BY 1 ORDER BY 1`,
    differences: `SELECT sku, location, 1 AS rows, before::float8, after::float8 FROM (${counted}) c WHERE before <> after ORDER BY row LIMIT $2`,
  },
  items: {
    totals: `SELECT CASE WHEN i.sku IS NULL THEN 'new' ELSE 'changed' END AS kind, count(*)::integer AS rows, NULL AS pieces
               FROM import_rows r LEFT JOIN items i ON i.sku = r.sku WHERE r.import_id = $1 AND r.outcome IS NULL GROUP BY 1 ORDER BY 1`,
    differences: `SELECT r.sku, CASE WHEN i.sku IS NOT NULL THEN ${itemText('i.title', 'i.barcode', 'i.shopify_product_id', 'i.tags', 'i.active')} END AS before,
                         ${itemText(`coalesce(r.fields->>'title', i.title)`, `coalesce(r.fields->>'barcode', i.barcode)`, `coalesce(r.fields->>'shopifyProductId', i.shopify_product_id)`, tagsAfter, `coalesce((r.fields->>'active')::boolean, i.active, true)`)} AS after
                    FROM import_rows r LEFT JOIN items i ON i.sku = r.sku
                   WHERE r.import_id = $1 AND r.outcome IS NULL ORDER BY r.row LIMIT $2`,
  },
  orders: {
    totals: `SELECT coalesce(r.fields->>'state', 'open') AS kind, count(*)::integer AS rows,
                    count(DISTINCT r.command_row)::integer AS orders, -sum((r.fields->>'quantity')::bigint)::float8 AS pieces
               FROM ${valid} GROUP BY 1 ORDER BY 1`,
    differences: `SELECT n.number, n.rows, o.state AS before, n.state AS after
                    FROM (SELECT r.identity AS number, min(r.row) AS row, count(*)::integer AS rows, min(r.fields->>'state') AS state,
                                 coalesce(min(r.fields->>'origin'), 'phone') AS origin
                            FROM ${valid} GROUP BY r.identity ORDER BY min(r.row) LIMIT $2) n
                    LEFT JOIN orders o ON o.source = n.origin AND o.number = n.number ORDER BY n.row`,
  },
  kits: {
    totals: `SELECT CASE WHEN EXISTS (SELECT FROM kit_components c WHERE c.kit = r.identity) THEN 'changed' ELSE 'new' END AS kind,
                    count(*)::integer AS rows, count(DISTINCT r.command_row)::integer AS kits
               FROM ${valid} GROUP BY 1 ORDER BY 1`,
    differences: `SELECT n.kit, (SELECT string_agg(c.quantity || ' × ' || c.component, ', ' ORDER BY c.component)
                                   FROM kit_components c WHERE c.kit = n.kit) AS before, n.after
                    FROM (SELECT r.identity AS kit, min(r.row) AS row,
                                 string_agg((r.fields->>'quantity') || ' × ' || r.sku, ', ' ORDER BY r.sku) AS after
                            FROM ${valid} GROUP BY r.identity ORDER BY min(r.row) LIMIT $2) n ORDER BY n.row`,
  },
  mappings: {
    totals: `SELECT CASE WHEN before IS NULL THEN 'new' WHEN before <> after THEN 'changed' ELSE 'same' END AS kind,
                    count(*)::integer AS rows, NULL AS pieces FROM (${mapped}) m GROUP BY 1 ORDER BY 1`,
    differences: `SELECT key, before, after FROM (${mapped}) m WHERE before IS DISTINCT FROM after ORDER BY row LIMIT $2`,
  },
};

/** What an import would change if it were applied now. What others do meanwhile comes on top. */
@Injectable()
export class ImportPreview {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  /** @throws Problem unless it is ready */
  async of(found: StoredImport) {
    if (found.state !== 'ready') {
      throw new Problem(
        'not-allowed-now',
        `There is a preview only while an import is ready; this one is ${found.state}. Send the file with preview=true.`,
      );
    }
    const rows = {
      received: found.received,
      refused: found.refused,
      unchanged: found.unchanged,
      toApply: found.received - found.refused - found.unchanged,
    };
    // A reset was counted when it was checked: that is what decided whether it waits.
    if (found.kind === 'reset') {
      const { sample, ...totals } = found.resetCheck ?? { sample: [] };
      return { id: found.id, kind: found.kind, held: found.held, rows, totals: [totals], differences: sample };
    }
    const { totals, differences } = queries[found.kind];
    const [sums, first] = await Promise.all([
      this.database.pool.query<Record<string, unknown>>(totals, [found.id]),
      this.database.pool.query<Record<string, unknown>>(differences, [found.id, DIFFERENCES_MAX]),
    ]);
    return {
      id: found.id,
      kind: found.kind,
      held: null,
      rows,
      totals: sums.rows,
      differences: first.rows,
    };
  }
}

const DIFFERENCES_MAX = 100;
