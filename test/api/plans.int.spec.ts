import type { PoolClient } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { clampedListings } from '../../src/cart-workers/clamped-listings.js';
import { beginByKeys, type Database } from '../../src/database.js';
import { mappingProblemSql } from '../../src/modules/carts/mapping-problems.js';
import { ledgerPage } from '../../src/events/ledger.js';
import { DATABASE } from '../../src/modules/tokens.js';
import { fillCatalogue } from '../support/fill-catalogue.mjs';
import { startHubUnderTest, type HubUnderTest } from './hub-under-test.js';

const ITEMS = 200_000;
/** More than any page needs. */
const rowsMax = 20_000;

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
  const cart = { id: 'shop', name: 'Shop', type: 'webhook', url: 'http://127.0.0.1:9/onhand', locations: ['MAIN'] };
  await hub.call('POST', '/v1/locations', { location: 'MAIN', name: 'Main' });
  await hub.call('POST', '/v1/carts', { ...cart, secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}` });
  const { pool } = hub.database;
  await fillCatalogue(pool, ITEMS);
  for (let digit = 0; digit < 20; digit += 1)
    await pool.query(
      `INSERT INTO listings (cart_id, key, sku) SELECT 'shop', sku, sku FROM items WHERE sku >= $1 AND sku < $2`,
      [`SKU-${String(digit).padStart(3, '0')}`, `SKU-${String(digit + 1).padStart(3, '0')}`],
    );
  await pool.query(
    `INSERT INTO unknown_skus (cart_id, key, first_met_in, first_met_at, last_met_in, last_met_at, times_met)
     SELECT 'shop', 'K' || n, 'comparison', now(), 'comparison', now(), 1 FROM generate_series(1, 50000) AS n`,
  );
  await pool.query('ANALYZE listings, unknown_skus');
}, 240_000);
afterAll(() => hub.close());

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Actual Loops': number;
  readonly Plans?: readonly PlanNode[];
}

const nodesOf = (plan: PlanNode): PlanNode[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];

/** Every SELECT that is made meanwhile, as it was really run; the workers' own looks may be among them. */
async function statementsWhile(
  work: () => Promise<unknown>,
  of = /items|item_words|item_tags|quantity_on_hand|listings|unknown_skus/,
): Promise<{ text: string; values: unknown[] }[]> {
  const { pool } = hub.hub.app.get<Database>(DATABASE);
  const seen: { text: string; values: unknown[] }[] = [];
  const query = pool.query.bind(pool);
  pool.query = ((config: { text: string; values?: unknown[] } | string, values?: unknown[]) => {
    const text = typeof config === 'string' ? config : config.text;
    const given = values ?? (typeof config === 'string' ? [] : (config.values ?? []));
    if (of.test(text)) seen.push({ text, values: given });
    return (query as (...args: unknown[]) => unknown)(config, values);
  }) as typeof pool.query;
  try {
    await work();
  } finally {
    pool.query = query;
  }
  return seen;
}

const statementsOf = (path: string) =>
  statementsWhile(async () => expect((await hub.call('GET', path)).status).toBe(200));

/** What a plan reads: tables from end to end, and the most rows that it took from one, or sorted. */
async function planOf(
  { text, values }: { text: string; values: unknown[] },
  on: Pick<PoolClient, 'query'> = hub.database.pool,
) {
  const explained = await on.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
    `EXPLAIN (ANALYZE, FORMAT JSON) ${text}`,
    values,
  );
  const nodes = nodesOf(explained.rows[0]!['QUERY PLAN'][0].Plan);
  const large = ['items', 'item_words', 'item_tags', 'quantity_on_hand', 'listings', 'unknown_skus'];
  return {
    readThrough: nodes
      .filter((node) => node['Node Type'] === 'Seq Scan' && large.includes(node['Relation Name'] ?? ''))
      .map((node) => node['Relation Name']),
    sorted: Math.max(
      0,
      ...nodes
        .filter((node) => ['Sort', 'Hash', 'HashAggregate', 'Incremental Sort'].includes(node['Node Type']))
        .map((node) => node['Actual Rows'] * node['Actual Loops']),
    ),
    filtered: Math.max(...nodes.map((node) => (node['Rows Removed by Filter'] ?? 0) * node['Actual Loops'])),
    rows: Math.max(
      ...nodes
        .filter((node) => node['Relation Name'] !== undefined || node['Node Type'] === 'Sort')
        .map((node) => node['Actual Rows'] * node['Actual Loops']),
    ),
  };
}

const deepCursor = (...position: (string | number)[]) => Buffer.from(JSON.stringify(position)).toString('base64url');
const lists = [
  '/v1/items',
  `/v1/items?cursor=${deepCursor('SKU-0190000')}`,
  '/v1/items?active=all&limit=200',
  '/v1/items?active=no',
  '/v1/items?prefix=SKU-01',
  '/v1/items?tag=sale',
  `/v1/items?tag=sale&cursor=${deepCursor('SKU-0190000')}`,
  '/v1/items?barcode=4000000000700',
  '/v1/items?q=s',
  '/v1/items?q=sku-01',
  '/v1/items?q=sku-0190000',
  '/v1/items?q=4000',
  '/v1/items?q=m',
  '/v1/items?q=model',
  '/v1/items?q=m&active=no',
  '/v1/items?q=no%20such%20thing',
  '/v1/items?q=red%20tent',
  '/v1/items?q=model%20m4711',
  `/v1/items?q=model&cursor=${deepCursor(2, 'model', 'SKU-0190000', 0)}`,
  '/v1/search?q=tab',
  '/v1/search?q=zz',
  '/v1/items/SKU-0000700',
  '/v1/items/shared-barcodes',
  '/v1/carts/shop/listings',
  `/v1/carts/shop/listings?cursor=${deepCursor('SKU-0190000')}`,
  '/v1/unknown-skus',
  '/v1/unknown-skus?cart=shop&state=all',
  `/v1/unknown-skus?cart=shop&cursor=${deepCursor('shop', 'K40000')}`,
];

for (const path of lists) {
  it(`${path.replace(/cursor=.*/, 'cursor=…')} reads a part of an index and nothing from end to end`, async () => {
    const statements = await statementsOf(path);
    expect(statements.length).toBeGreaterThan(0);
    for (const statement of statements) {
      const { readThrough, rows } = await planOf(statement);
      expect({ readThrough, few: rows <= rowsMax ? 'few' : rows, text: statement.text }).toMatchObject({
        readThrough: [],
        few: 'few',
      });
    }
  });
}

it.each(Object.entries(mappingProblemSql))(
  'keys that are unclear (%s) are found in the order of an index, and nothing of a million listings is sorted',
  async (_kind, text) => {
    const client = await hub.database.pool.connect();
    try {
      await client.query(beginByKeys);
      const { readThrough, sorted } = await planOf({ text, values: ['shop', 200] }, client);
      expect({ readThrough, few: sorted <= rowsMax ? 'few' : sorted }).toEqual({ readThrough: [], few: 'few' });
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
  },
);

it('a later page of a ledger is read by the index of what it is of, not backwards through the log', async () => {
  // All movements are of one generation, so the planner expected next to none before any place of the log.
  await hub.database.pool.query(
    `INSERT INTO events (generation, stream, version, type, data, sku, location, delta, open_delta, balance, open_balance,
       occurred_at, recorded_at, causation_id)
     SELECT 1, 'stock:MAIN/SKU-' || n % 2000, 1 + n / 2000, 'StockSold',
            jsonb_build_object('reference', jsonb_build_object('kind', 'order', 'number', (n / 4)::text, 'line', '1')),
            'SKU-' || n % 2000, 'MAIN', -1, 0, 0, 0, now(), now(), 'filled/' || n FROM generate_series(1, 40000) AS n`,
  );
  await hub.database.pool.query('ANALYZE events');
  const orm = hub.hub.app.get<Database>(DATABASE).orm;
  const { rows } = await hub.database.pool.query<{ transaction_id: string; position: string }>(
    'SELECT transaction_id::text AS transaction_id, position FROM events ORDER BY position DESC LIMIT 1',
  );
  const before = { generation: 1, transactionId: rows[0]!.transaction_id, position: rows[0]!.position };
  const pages = await statementsWhile(async () => {
    await ledgerPage(orm, { of: { sku: 'SKU-7' }, before, limit: 10 });
    await ledgerPage(orm, { of: { reference: { kind: 'order', number: '77' } }, before, limit: 10 });
  }, /from "events"/);
  expect(pages).toHaveLength(2);
  for (const page of pages) expect((await planOf(page)).filtered).toBeLessThan(100);
});

it('workers look for listings to be settled by value among what waits, not among all listings', async () => {
  // They read every listing of every cart with each look, and turned up among the statements of whoever asked just then.
  const looks = await statementsWhile(() => clampedListings(hub.hub.app.get<Database>(DATABASE), 100));
  expect(looks.length).toBeGreaterThan(0);
  for (const look of looks) expect(await planOf(look)).toMatchObject({ readThrough: [] });
});

it('begins a search where what it looks for begins, not at the beginning of the index', async () => {
  // With two lower bounds the scan began at the wrong one and walked through half of the index.
  for (const q of ['sku-0190000', '4000001330000', 'wool']) {
    for (const statement of await statementsOf(`/v1/items?q=${q}&limit=1`)) {
      const { rows } = await hub.database.pool.query<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(
        `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${statement.text}`,
        statement.values,
      );
      const plan = rows[0]!['QUERY PLAN'][0].Plan;
      expect((plan['Shared Hit Blocks'] ?? 0) + (plan['Shared Read Blocks'] ?? 0)).toBeLessThan(300);
    }
  }
});

it('finds the rare among the frequent: a page may be short, and the search comes to its end', async () => {
  const found: string[] = [];
  let pages = 0;
  for (let cursor: string | null = null; pages === 0 || cursor !== null; pages += 1) {
    const from: string = cursor === null ? '' : `&cursor=${cursor}`;
    const { body } = await hub.call('GET', `/v1/items?q=m4711%20model&active=all${from}`);
    found.push(...body.data.map(({ sku }: { sku: string }) => sku));
    cursor = body.nextCursor;
    expect(pages).toBeLessThan(50);
  }
  expect(new Set(found).size).toBe(found.length);
  expect(found).toContain('SKU-0004711');
});
