import type { PoolClient } from 'pg';
import type { LockedHead } from './lock-heads.js';

type KitHead = Pick<LockedHead, 'stream' | 'version' | 'state'>;
interface KitRow {
  readonly stream: string;
  readonly version: string;
  readonly state: unknown;
}

const asHead = ({ stream, version, state }: KitRow): KitHead => ({ stream, version: BigInt(version), state });

/**
 * What kits are made of, down to plain items. No lock: whoever needs the answer to stay true reads it again when the
 * stock is locked.
 *
 * In: kit streams of any SKUs. Out: those that are or were kits, and the kits in them. Effects: none.
 */
export async function readKits(client: PoolClient, streams: readonly string[]): Promise<KitHead[]> {
  const { rows } = await client.query<KitRow>({
    name: 'read-kits',
    text: `
      WITH RECURSIVE k AS (
        SELECT h.stream, h.version, h.state, 1 AS level FROM stream_heads h
         -- Where there is no kit at all, one look says so for all of them.
         WHERE (SELECT EXISTS (SELECT FROM stream_heads x WHERE x.stream > 'kit:' AND x.stream < 'kit;'))
           AND h.stream = ANY ($1::text[])
        UNION ALL
        SELECT h.stream, h.version, h.state, k.level + 1
          FROM k CROSS JOIN LATERAL jsonb_array_elements(k.state->'components') AS c
          JOIN stream_heads h ON h.stream = 'kit:' || (c->>'sku')
         WHERE k.level < 3)
      SELECT DISTINCT stream, version, state FROM k WHERE version > 0 ORDER BY stream`,
    values: [streams],
  });
  return rows.map(asHead);
}

/**
 * The kits that contain any of these SKUs, and the kits that contain those. Exact for whoever holds the stream on which
 * changes of kits queue up. It looks through all kits, which is some milliseconds for 10,000; changes are rare.
 *
 * In: SKUs. Out: kits. Effects: none.
 */
export async function readKitsUsing(client: PoolClient, skus: readonly string[]): Promise<KitHead[]> {
  const { rows } = await client.query<KitRow>({
    name: 'read-kits-using',
    text: `
      WITH k AS MATERIALIZED (
        SELECT h.stream, h.version, h.state, c->>'sku' AS component
          FROM stream_heads h CROSS JOIN LATERAL jsonb_array_elements(h.state->'components') AS c
         WHERE h.stream > 'kit:' AND h.stream < 'kit;' AND h.version > 0),
           u AS (SELECT * FROM k WHERE k.component = ANY ($1::text[]))
      SELECT stream, version, state FROM u
      UNION
      SELECT k.stream, k.version, k.state FROM k WHERE 'kit:' || k.component IN (SELECT u.stream FROM u)`,
    values: [skus],
  });
  return rows.map(asHead);
}

/**
 * The stock of these SKUs wherever they have any, locked, so that nothing is moved there until the transaction ends.
 *
 * In: SKUs. Out: heads that exist. Effects: row locks in the order of the names.
 */
export async function lockStockAnywhere(client: PoolClient, skus: readonly string[]): Promise<LockedHead[]> {
  const { rows } = await client.query<KitRow & { readonly recorded_at: Date | null }>({
    name: 'lock-stock-anywhere',
    text: `
      SELECT stream, version, state, recorded_at FROM stream_heads
       WHERE stream = ANY (ARRAY(
         SELECT 'stock:' || p.place || '/' || s.sku
           FROM unnest($1::text[]) AS s (sku)
          CROSS JOIN (SELECT 'in-transit' UNION ALL
                      SELECT substr(l.stream, 10) FROM stream_heads l WHERE l.stream > 'location:' AND l.stream < 'location;') AS p (place)))
         AND version > 0
       ORDER BY stream FOR UPDATE`,
    values: [skus],
  });
  return rows.map((row) => ({ ...asHead(row), recordedAt: row.recorded_at }));
}
