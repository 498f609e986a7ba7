import type { PoolClient } from 'pg';
import type { RecordedFact } from '../events/event-reader.js';
import type { ItemFact } from '../events/facts.js';
import { fold, wordsOf } from './search-words.js';

interface DescribedItem {
  readonly sku: string;
  readonly title: string;
  readonly barcode: string | null;
  readonly shopify_product_id: string | null;
  readonly tags: readonly string[];
  readonly active: boolean;
  readonly folded_sku: string;
  readonly words: readonly string[];
  readonly version: string;
}

/**
 * Items of a batch, with what they are found by. Each fact tells the whole item, so the last one of each is enough.
 *
 * In: facts of any kind. Out: SKUs that were written. Effects: items, item_tags, item_words.
 */
export async function describeItems(client: PoolClient, facts: readonly RecordedFact[]): Promise<string[]> {
  const latest = latestItems(facts);
  if (latest.length === 0) return [];
  // What an item had and has no more goes first; of a new one that is nothing.
  await client.query({
    name: 'forget-item-words',
    text: `WITH before AS (
             SELECT i.sku, i.words, i.tags
               FROM items i JOIN unnest($1::text[], $2::bigint[]) AS t (sku, version) ON i.sku = t.sku AND i.version < t.version),
           tags AS (
             DELETE FROM item_tags t USING before b, unnest(b.tags) AS o (tag) WHERE t.tag = o.tag AND t.sku = b.sku)
           DELETE FROM item_words w USING before b, unnest(b.words) AS o (word) WHERE w.word = o.word AND w.sku = b.sku`,
    values: [latest.map(({ sku }) => sku), latest.map(({ version }) => version)],
  });
  const written = await client.query<{ sku: string }>({
    name: 'describe-items',
    text: `WITH described AS (
             INSERT INTO items AS i (sku, title, barcode, shopify_product_id, tags, active, folded_sku, words, version)
             SELECT r.sku, r.title, r.barcode, r.shopify_product_id, r.tags, r.active, r.folded_sku, r.words, r.version
               FROM jsonb_to_recordset($1::jsonb)
                    AS r (sku text, title text, barcode text, shopify_product_id text, tags text[], active boolean, folded_sku text, words text[], version bigint)
              ORDER BY r.sku COLLATE "C"
             ON CONFLICT (sku) DO UPDATE
                SET title = excluded.title, barcode = excluded.barcode, shopify_product_id = excluded.shopify_product_id, tags = excluded.tags, active = excluded.active,
                    words = excluded.words, version = excluded.version
              WHERE i.version < excluded.version
             RETURNING i.sku, i.tags, i.words),
           tags AS (
             INSERT INTO item_tags (tag, sku) SELECT t.tag, d.sku FROM described d, unnest(d.tags) AS t (tag)),
           words AS (
             INSERT INTO item_words (word, sku) SELECT w.word, d.sku FROM described d, unnest(d.words) AS w (word))
           SELECT sku FROM described`,
    values: [JSON.stringify(latest)],
  });
  return written.rows.map(({ sku }) => sku);
}

function latestItems(facts: readonly RecordedFact[]): DescribedItem[] {
  const latest = new Map<string, DescribedItem>();
  for (const { fact, version } of facts) {
    if (!isItem(fact)) continue;
    const { sku, title, barcode, shopifyProductId: shopify_product_id = null, tags, active } = fact.data;
    const known = latest.get(sku);
    if (known !== undefined && BigInt(known.version) > BigInt(version)) continue;
    const found = { folded_sku: fold(sku), words: wordsOf(title) };
    latest.set(sku, { sku, title, barcode, shopify_product_id, tags, active, ...found, version });
  }
  return [...latest.values()];
}

const isItem = (fact: RecordedFact['fact']): fact is ItemFact =>
  fact.type === 'ItemCreated' || fact.type === 'ItemChanged';
