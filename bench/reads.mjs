/**
 * What people and dashboards ask for, over HTTP, with 5,000,000 events and 1,000,000 listings in the database: on hand of an
 * item, a page of its ledger, on hand as of a moment, pages of the Web Stack. Four clients at a time. The baseline is a
 * promise: no answer takes longer than 20 ms, 99 times in 100.
 *
 * BENCH_EVENTS and BENCH_SKUS choose other sizes; there are ten listings per SKU.
 */
import path from 'node:path';
import { createDatabase } from '../dist/database.js';
import { fillLog } from './fill-log.mjs';
import { startHub } from './hub.mjs';
import { quantile } from './numbers.mjs';

const promisedMs = 20;
const events = Number(process.env.BENCH_EVENTS ?? 5_000_000);
const skuCount = Number(process.env.BENCH_SKUS ?? 100_000);
const carts = Array.from({ length: 10 }, (_, n) => `shop-${n}`);
const clients = 4;
const asksPerClient = 50;

export async function run({ databaseUrl, dataDir, rounds, log }) {
  const hubOptions = { databaseUrl, dataDir: path.join(dataDir, 'reads-hub') };
  await fill(hubOptions, log);
  const hub = await startHub(hubOptions);
  try {
    /** @type {Record<string, { p50Ms: number, p99Ms: number }>} */
    const times = {};
    for (const [name, route] of Object.entries(loads(await pagesInside(hub)))) {
      // A round that does not count: the engine compiles what it sees for the first time.
      await ask(hub, route, asksPerClient);
      const took = [];
      for (let round = 0; round < rounds; round += 1) took.push(...(await ask(hub, route, asksPerClient)));
      times[name] = { p50Ms: round2(quantile(took, 0.5)), p99Ms: round2(quantile(took, 0.99)) };
      log(`reads ${name}: p50 ${times[name].p50Ms} ms, p99 ${times[name].p99Ms} ms (${took.length} answers)`);
    }
    const worst = Math.max(...Object.values(times).map(({ p99Ms }) => p99Ms));
    return { ratios: { p99: round2(promisedMs / worst) }, bars: { p99: 1 }, worstP99Ms: worst, times };
  } finally {
    await hub.stop();
  }
}

const round2 = (n) => Number(n.toFixed(2));
const anySku = () => `FILL-${Math.floor(Math.random() * skuCount)}`;
const anyCart = () => carts[Math.floor(Math.random() * carts.length)];
const anyMoment = () => new Date(Date.now() - Math.random() * events * 1_000).toISOString();

/** Cursors of pages far down, where a list that counts its way would be slow. */
async function pagesInside(hub) {
  let cursor = null;
  for (let page = 0; page < 20; page += 1) {
    const asked = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    cursor = (await hub.ask('GET', `/v1/web-stack?limit=100${asked}`)).nextCursor;
  }
  return encodeURIComponent(cursor);
}

const loads = (cursor) => ({
  'on hand of an item, and what each cart shows': () => `/v1/items/${anySku()}`,
  'a page of its ledger': () => `/v1/items/${anySku()}/ledger?limit=50`,
  'on hand as of a moment of recording': () => `/v1/items/${anySku()}/on-hand?at=${anyMoment()}`,
  'on hand as of a moment of business': () => `/v1/items/${anySku()}/on-hand?by=business&at=${anyMoment()}`,
  'Web Stack, first page': () => '/v1/web-stack?limit=50',
  'Web Stack, page far down': () => `/v1/web-stack?limit=50&cursor=${cursor}`,
  'Web Stack of a cart': () => `/v1/web-stack?limit=50&cart=${anyCart()}`,
  'Web Stack of an item': () => `/v1/web-stack?limit=50&sku=${anySku()}`,
  'Web Stack, what is owed to a cart': () => `/v1/web-stack?limit=50&state=waits&cart=${anyCart()}`,
  'listings of a cart': () => `/v1/carts/${anyCart()}/listings?limit=50`,
});

async function ask(hub, route, times) {
  const took = [];
  await Promise.all(
    Array.from({ length: clients }, async () => {
      for (let at = 0; at < times; at += 1) {
        const start = performance.now();
        await hub.ask('GET', route());
        took.push(performance.now() - start);
      }
    }),
  );
  return took;
}

/** Carts and locations as the API makes them, the rest as the database makes it. Nothing is sent: the carts stay off. */
async function fill(hubOptions, log) {
  const began = performance.now();
  const hub = await startHub(hubOptions);
  for (const location of ['MAIN', 'STORE']) await hub.ask('POST', '/v1/locations', { location, name: location });
  for (const id of carts)
    await hub.ask('POST', '/v1/carts', {
      id,
      name: id,
      type: 'webhook',
      url: 'http://127.0.0.1:9/onhand',
      secret: `whsec_${Buffer.alloc(24, 1).toString('base64')}`,
      locations: ['MAIN', 'STORE'],
    });
  await hub.stop();
  const database = createDatabase({ url: hubOptions.databaseUrl, poolMax: 2, applicationName: 'onhand bench' });
  try {
    await fillLog(database.pool, { events, skus: skuCount });
    const client = await database.pool.connect();
    try {
      await client.query('SET statement_timeout = 0; SET synchronous_commit = off');
      await client.query(
        `INSERT INTO items (sku, title, tags, active, folded_sku, words, version)
         SELECT 'FILL-' || n, 'Item ' || n, '{}', true, 'fill-' || n, '{item}', 1 FROM generate_series(0, $1::int - 1) AS n`,
        [skuCount],
      );
      for (const cart of carts) {
        await client.query(
          `INSERT INTO listings (cart_id, key, sku, generation, expected, target)
           SELECT $1, 'FILL-' || n, 'FILL-' || n, 1, 5, 5 FROM generate_series(0, $2::int - 1) AS n`,
          [cart, skuCount],
        );
        // One in fifty still waits.
        await client.query(
          `INSERT INTO web_stack (cart_id, key, sku, generation, delta, target, cause, state, accepted_at, created_at, ended_at)
           SELECT $1, 'FILL-' || n, 'FILL-' || n, 1, 1, 5,
                  '{"type":"StockAdjusted","stream":"stock:MAIN/x","version":"1","recordedAt":"2026-01-01T00:00:00.000Z","facts":1}',
                  CASE WHEN n % 50 = 0 THEN 'waiting' ELSE 'delivered' END, now(), now(), CASE WHEN n % 50 = 0 THEN NULL ELSE now() END
             FROM generate_series(0, $2::int - 1) AS n`,
          [cart, skuCount],
        );
      }
      for (const table of ['items', 'listings', 'web_stack']) await client.query(`VACUUM ANALYZE ${table}`);
      // What was filled is written out now, not beside the reads.
      await client.query('CHECKPOINT');
    } finally {
      client.release(true);
    }
  } finally {
    await database.close();
  }
  const seconds = ((performance.now() - began) / 1_000).toFixed(0);
  log(`reads: ${events} events, ${skuCount * carts.length} listings and as many records filled in ${seconds} s`);
}
