import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import type { Database } from '../../database.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';

export interface ShownKit {
  readonly sku: string;
  readonly version: string;
  readonly savedBy: string;
  readonly savedAt: string;
  /** As it was entered. */
  readonly components: readonly { readonly sku: string; readonly quantity: number }[];
  /** Down to plain items. */
  readonly parts: readonly { readonly sku: string; readonly quantity: number }[];
}

const columns = `k.sku, k.version::text AS version, k.saved_by AS "savedBy", k.saved_at AS "savedAt",
       (SELECT jsonb_agg(jsonb_build_object('sku', c.component, 'quantity', c.quantity) ORDER BY c.component)
          FROM kit_components c WHERE c.kit = k.sku) AS components,
       (SELECT jsonb_agg(jsonb_build_object('sku', p.sku, 'quantity', p.quantity) ORDER BY p.sku)
          FROM kit_parts p WHERE p.kit = k.sku) AS parts`;
const isKit = 'EXISTS (SELECT FROM kit_components c WHERE c.kit = k.sku)';

type Row = Omit<ShownKit, 'savedAt'> & { readonly savedAt: Date };
const shown = (row: Row): ShownKit => ({ ...row, savedAt: row.savedAt.toISOString() });

/** Kits as the projector has reached them. */
@Injectable()
export class KitReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  async find(sku: string): Promise<ShownKit | null> {
    const { rows } = await this.database.pool.query<Row>(
      `SELECT ${columns} FROM kits k WHERE k.sku = $1 AND ${isKit}`,
      [sku],
    );
    return rows[0] === undefined ? null : shown(rows[0]);
  }

  /** @param query.component only kits that contain it, themselves or in a kit of theirs */
  async list(query: { component?: string | undefined; cursor?: string | undefined; limit: number }) {
    const after = decodeCursor(query.cursor, z.tuple([z.string()]));
    const { rows } = await this.database.pool.query<Row>(
      `SELECT ${columns} FROM kits k
        WHERE ${isKit} AND ($1::text IS NULL OR k.sku > $1)
          AND ($2::text IS NULL OR k.sku IN (SELECT p.kit FROM kit_parts p WHERE p.sku = $2
                                       UNION SELECT c.kit FROM kit_components c WHERE c.component = $2))
        ORDER BY k.sku LIMIT $3`,
      [after?.[0] ?? null, query.component ?? null, query.limit + 1],
    );
    return pageOf(rows, query.limit, (row) => [row.sku], shown);
  }
}
