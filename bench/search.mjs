/**
 * Searches and pages over 1,000,000 items, through the same class that the API asks, against one look-up by primary key.
 * And what being searchable costs when items are created: the projector's own statements, with and without words.
 */
import { createDatabase, migrate } from '../dist/database.js';
import { ItemReads } from '../dist/modules/inventory/item-reads.js';
import { ItemSearch } from '../dist/modules/inventory/item-search.js';
import { describeItems } from '../dist/projections/items.js';
import { fillCatalogue } from '../test/support/fill-catalogue.mjs';
import { inTurn, quantile } from './numbers.mjs';

const items = 1_000_000;
const samplesPerRound = 40;
const createdPerBatch = 500;

export async function run({ databaseUrl, rounds, log }) {
  const database = createDatabase({ url: databaseUrl, poolMax: 4, applicationName: 'onhand bench' });
  try {
    await migrate(database);
    const began = performance.now();
    await fill(database);
    const [sizes] = (
      await database.pool.query(
        `SELECT pg_size_pretty(pg_total_relation_size('items')) AS items, pg_size_pretty(pg_total_relation_size('item_words')) AS words`,
      )
    ).rows;
    log(
      `search: ${items} items filled in ${((performance.now() - began) / 1000).toFixed(0)} s; items ${sizes.items}, words ${sizes.words}, with indexes`,
    );
    const search = new ItemSearch(database);
    const reads = new ItemReads(database);
    const find = (q, cursor) => search.find({ q, active: 'yes', limit: 50, cursor });
    const any = (max) => Math.floor(Math.random() * max);
    const sku = () => `SKU-${String(1 + any(items)).padStart(7, '0')}`;
    const cursor = (...position) => Buffer.from(JSON.stringify(position)).toString('base64url');
    /** @type {[string, () => Promise<unknown>][]} */
    const loads = [
      [
        'one item by its key',
        () => database.pool.query({ name: 'bench-key', text: 'SELECT * FROM items WHERE sku = $1', values: [sku()] }),
      ],
      ['SKU, whole', () => find(sku())],
      ['SKU, one letter', () => find('s')],
      ['barcode, eight digits', () => find(String(4_000_000_000_000 + any(items) * 7).slice(0, 8))],
      ['title, one letter', () => find('bcgklmoprstvw'[any(13)])],
      ['title, in every item', () => find('model')],
      ['title, three words', () => find('red table mod')],
      ['nothing found', () => find(`zz${any(items)}`)],
      ['search, page deep inside', () => find('model', cursor(2, 'model', sku(), 0))],
      ['list, first page', () => reads.list({ active: 'yes', limit: 50 })],
      ['list, page deep inside', () => reads.list({ active: 'yes', limit: 50, cursor: cursor(sku()) })],
      ['list by tag, deep inside', () => reads.list({ tag: 'sale', active: 'yes', limit: 50, cursor: cursor(sku()) })],
    ];
    const times = await inTurn(loads, { rounds, samples: samplesPerRound });
    for (const [name, { p50Ms, p99Ms }] of Object.entries(times))
      log(`search ${name}: p50 ${p50Ms} ms, p99 ${p99Ms} ms`);
    const created = { withWords: [], without: [] };
    for (let at = 0; at < rounds; at += 1) {
      created.withWords.push(await createBatch(database, `W${at}`, 'Enamel mug, dark blue, 0.5 l'));
      created.without.push(await createBatch(database, `N${at}`, '-'));
    }
    const perItem = (list) => Math.round((quantile(list, 0.5) * 1000) / createdPerBatch);
    log(
      `search cost of creation, projector only, batches of ${createdPerBatch}: ${perItem(created.withWords)} µs an item with 7 words, ${perItem(created.without)} µs without any`,
    );
    const base = times['one item by its key'].p99Ms;
    const worst = Math.max(...Object.values(times).map(({ p99Ms }) => p99Ms));
    return {
      ratios: { lookUp: Number((base / worst).toFixed(2)) },
      times,
      createdUs: { withWords: perItem(created.withWords), without: perItem(created.without) },
    };
  } finally {
    await database.close();
  }
}

/** Statements this long are none of the hub's own, which are ended much earlier. */
async function fill(database) {
  const client = await database.pool.connect();
  try {
    await client.query('SET statement_timeout = 0');
    await fillCatalogue(client, items);
    await client.query('VACUUM items, item_words');
  } finally {
    client.release(true);
  }
}

async function createBatch(database, prefix, title) {
  const facts = Array.from({ length: createdPerBatch }, (_, at) => {
    const sku = `${prefix}-${Math.random().toString(36).slice(2)}-${at}`;
    return { version: '1', fact: { type: 'ItemCreated', data: { sku, title, barcode: null, tags: [], active: true } } };
  });
  const client = await database.pool.connect();
  try {
    await client.query('BEGIN');
    const start = performance.now();
    await describeItems(client, facts);
    await client.query('COMMIT');
    return performance.now() - start;
  } finally {
    client.release();
  }
}
