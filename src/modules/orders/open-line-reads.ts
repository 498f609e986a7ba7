import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import type { Database } from '../../database.js';
import type { OrderSource } from '../../events/facts.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';
import { shownSource } from './order-reads.js';

interface OpenLineRow {
  readonly source: OrderSource;
  readonly number: string;
  readonly line: string;
  readonly sku: string;
  readonly location: string;
  readonly placed_at: Date;
  readonly open: string;
  readonly back_ordered: string;
  readonly there: string;
}

/**
 * Open order lines, and for how many of their pieces there are any. On the shelf stands what is on hand plus the open
 * pieces, since those are sold and have not left; it is given out to the lines in the order in which they were placed.
 *
 * Filters of one SKU or location stand inside, where they leave no line of the same stock out; the others outside.
 */
const openLinesSql = `
  SELECT * FROM (
    SELECT l.source, l.number, l.line, l.sku, l.location, o.placed_at, l.open, least(l.back_ordered, l.open) AS back_ordered,
           greatest(0, least(l.open, q.on_hand + q.open - (sum(l.open) OVER earlier - l.open))) AS there
      FROM open_order_lines l
      JOIN quantity_on_hand q ON q.sku = l.sku AND q.location = l.location
      JOIN orders o ON o.source = l.source AND o.number = l.number
     WHERE l.open > 0
       AND ($1::text IS NULL OR l.sku = $1) AND ($2::text IS NULL OR l.location = $2)
       AND ($4::text IS DISTINCT FROM 'waiting' OR q.on_hand < 0)
    WINDOW earlier AS (PARTITION BY l.sku, l.location ORDER BY o.placed_at, l.source, l.number, l.line)) x
   WHERE ($3::text IS NULL OR x.source = $3)
     AND CASE $4::text WHEN 'waiting' THEN x.there < x.open WHEN 'fillable' THEN x.back_ordered > 0 AND x.there > 0 ELSE true END
     AND ($5::timestamptz IS NULL OR (x.placed_at, x.source, x.number, x.line, x.sku, x.location) > ($5, $6::text, $7::text, $8::text, $9::text, $10::text))
   ORDER BY x.placed_at, x.source, x.number, x.line, x.sku, x.location
   LIMIT $11`;

/** Lines of orders that are sold and not yet shipped, filled or closed, as the projector has reached them. */
@Injectable()
export class OpenLineReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  /** @param query.source null: of every source. The oldest order first, which is the order in which pieces are given out. */
  async list(query: {
    sku?: string | undefined;
    location?: string | undefined;
    source: OrderSource | null;
    state?: 'waiting' | 'fillable' | undefined;
    cursor?: string | undefined;
    limit: number;
  }) {
    const text = z.string();
    const after = decodeCursor(query.cursor, z.tuple([z.iso.datetime(), text, text, text, text, text]));
    const { rows } = await this.database.pool.query<OpenLineRow>({
      // Not a named statement: a plan for any filter would use the index for none.
      text: openLinesSql,
      values: [
        query.sku ?? null,
        query.location ?? null,
        query.source,
        query.state ?? null,
        ...(after ?? [null, null, null, null, null, null]),
        query.limit + 1,
      ],
    });
    return pageOf(
      rows,
      query.limit,
      (row) => [row.placed_at.toISOString(), row.source, row.number, row.line, row.sku, row.location],
      shownLine,
    );
  }
}

function shownLine({ source, number, line, sku, location, placed_at, ...pieces }: OpenLineRow) {
  const [open, there] = [Number(pieces.open), Number(pieces.there)];
  return {
    ...shownSource(source),
    number,
    line,
    sku,
    location,
    placedAt: placed_at.toISOString(),
    open,
    /** Pieces of it that were not there when they were sold. */
    backOrdered: Number(pieces.back_ordered),
    /** Pieces of it that are there now, older orders served first. */
    there,
    missing: open - there,
  };
}
