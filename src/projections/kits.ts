import type { PoolClient } from 'pg';
import type { RecordedFact } from '../events/event-reader.js';

/** What becomes of the kits of one batch. */
export interface ChangedKits {
  /** Kits whose composition was told. */
  readonly told: readonly string[];
  /** Those, and the kits that contain them: what they show may be something else now. */
  readonly affected: readonly string[];
}

interface ToldKit {
  readonly sku: string;
  readonly version: string;
  readonly by: string;
  readonly at: string;
  readonly components: readonly { readonly sku: string; readonly quantity: number }[];
}

const none: ChangedKits = { told: [], affected: [] };

/**
 * Kits of a batch, set by set. Each fact tells the whole composition, so the last one of each is enough.
 *
 * In: facts of any kind. Effects: kits, kit_components, and kit_parts of all kits that are affected.
 */
export async function keepKits(client: PoolClient, facts: readonly RecordedFact[]): Promise<ChangedKits> {
  const latest = latestKits(facts);
  if (latest.length === 0) return none;
  const kept = await client.query<{ sku: string }>({
    name: 'keep-kits',
    // Facts of one stream may be read in another order than their versions.
    text: `INSERT INTO kits AS k (sku, version, saved_by, saved_at)
           SELECT r.sku, r.version, r."by", r."at"
             FROM jsonb_to_recordset($1::jsonb) AS r (sku text, version bigint, "by" text, "at" timestamptz)
            ORDER BY r.sku COLLATE "C"
           ON CONFLICT (sku) DO UPDATE SET version = excluded.version, saved_by = excluded.saved_by, saved_at = excluded.saved_at
            WHERE k.version < excluded.version
           RETURNING k.sku`,
    values: [JSON.stringify(latest)],
  });
  const told = kept.rows.map(({ sku }) => sku);
  if (told.length === 0) return none;
  const components = latest
    .filter(({ sku }) => told.includes(sku))
    .flatMap((kit) => kit.components.map((component) => ({ kit: kit.sku, ...component })));
  await client.query({
    name: 'forget-kit-components',
    text: 'DELETE FROM kit_components WHERE kit = ANY ($1::text[])',
    values: [told],
  });
  await client.query({
    name: 'keep-kit-components',
    text: `INSERT INTO kit_components (kit, component, quantity)
           SELECT r.kit, r.sku, r.quantity FROM jsonb_to_recordset($1::jsonb) AS r (kit text, sku text, quantity bigint)
            ORDER BY r.kit COLLATE "C", r.sku COLLATE "C"`,
    values: [JSON.stringify(components)],
  });
  const affected = await kitsContaining(client, told);
  await takeApart(client, affected);
  return { told, affected };
}

function latestKits(facts: readonly RecordedFact[]): ToldKit[] {
  const latest = new Map<string, ToldKit>();
  for (const { fact, version, recordedAt } of facts) {
    if (fact.type !== 'KitSet') continue;
    const { sku, components, by } = fact.data;
    const known = latest.get(sku);
    if (known !== undefined && BigInt(known.version) > BigInt(version)) continue;
    latest.set(sku, { sku, version, by, at: recordedAt.toISOString(), components });
  }
  return [...latest.values()];
}

/** These kits and, as kits may stand in kits, those that contain them. */
async function kitsContaining(client: PoolClient, skus: readonly string[]): Promise<string[]> {
  const found = await client.query<{ kit: string }>({
    name: 'kits-containing',
    text: `WITH RECURSIVE k (kit, level) AS (
             SELECT unnest($1::text[]) COLLATE "C", 1
             UNION ALL
             SELECT c.kit, k.level + 1 FROM k JOIN kit_components c ON c.component = k.kit WHERE k.level < 3)
           SELECT DISTINCT kit FROM k ORDER BY kit`,
    values: [skus],
  });
  return found.rows.map(({ kit }) => kit);
}

/** What they are made of down to plain items, the same item of several inner kits added up. */
async function takeApart(client: PoolClient, kits: readonly string[]): Promise<void> {
  await client.query({
    name: 'forget-kit-parts',
    text: 'DELETE FROM kit_parts WHERE kit = ANY ($1::text[])',
    values: [kits],
  });
  await client.query({
    name: 'keep-kit-parts',
    text: `WITH RECURSIVE p (kit, sku, quantity, level) AS (
             SELECT c.kit, c.component, c.quantity, 1 FROM kit_components c WHERE c.kit = ANY ($1::text[])
             UNION ALL
             SELECT p.kit, c.component, p.quantity * c.quantity, p.level + 1
               FROM p JOIN kit_components c ON c.kit = p.sku WHERE p.level < 3)
           INSERT INTO kit_parts (kit, sku, quantity)
           SELECT p.kit, p.sku, sum(p.quantity)
             FROM p WHERE NOT EXISTS (SELECT FROM kit_components c WHERE c.kit = p.sku)
            GROUP BY p.kit, p.sku ORDER BY p.kit, p.sku`,
    values: [kits],
  });
}
