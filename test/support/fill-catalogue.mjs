/**
 * A catalogue of any size, written where the projector would have written it: items with their words and tags, stock,
 * and a cart that lists them. Statistics are analysed. For tests of plans and for the search bench.
 *
 * @param {{ query(text: string, values?: unknown[]): Promise<unknown> }} pool
 * @param {number} count
 */
export async function fillCatalogue(pool, count) {
  const words = `ARRAY['anvil','apron','basin','blue','boiler','bowl','brass','candle','chair','copper','cup','desk','drill',
    'enamel','frame','garden','glass','green','hammer','iron','jug','kettle','lamp','large','linen','mug','oak','paper','pine',
    'plate','red','rope','saw','shelf','small','spoon','steel','stool','table','tent','tin','towel','tray','vase','white','wool']`;
  // In pieces: a transaction that has written holds the reading horizon of every database of the cluster.
  for (let from = 1; from <= count; from += itemsPerStatement) {
    await pool.query(
      `WITH made AS (
         INSERT INTO items (sku, title, barcode, tags, active, folded_sku, words, version)
         SELECT 'SKU-' || lpad(n::text, 7, '0'), initcap(array_to_string(w, ' ')), (4000000000000 + n::bigint * 7)::text,
                CASE WHEN n % 10 = 0 THEN ARRAY['sale'] ELSE '{}'::text[] END, n % 20 <> 0, 'sku-' || lpad(n::text, 7, '0'), w, 1
           FROM (SELECT n, ARRAY(SELECT DISTINCT x FROM unnest(ARRAY[(${words})[1 + n % 46], (${words})[1 + n / 46 % 46],
                        (${words})[1 + n / 2116 % 46], 'model', 'm' || n % 50000]) AS x) AS w
                   FROM generate_series($1::int, $2::int) AS n) made
         RETURNING sku, tags, words),
       words AS (INSERT INTO item_words (word, sku) SELECT w, sku FROM made, unnest(words) AS w),
       tags AS (INSERT INTO item_tags (tag, sku) SELECT t, sku FROM made, unnest(tags) AS t)
       INSERT INTO quantity_on_hand (sku, location, on_hand, open, movements, updated_at)
       SELECT sku, 'MAIN', 5, 0, 1, now() FROM made`,
      [from, Math.min(from + itemsPerStatement - 1, count)],
    );
  }
  await pool.query('ANALYZE items, item_words, item_tags, quantity_on_hand');
}

const itemsPerStatement = 5_000;
