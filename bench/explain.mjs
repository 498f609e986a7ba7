/**
 * Why a number is what it is, over a log of 1,000,000 events: through the same class that the API asks, now and at random
 * moments of the past, of any item and of one with a twentieth of all movements. Against one look-up of a stream's last event.
 */
import pg from 'pg';
import { createDatabase, migrate } from '../dist/database.js';
import { EventStore } from '../dist/events/event-store.js';
import { ensureLogGeneration } from '../dist/events/log-generation.js';
import { Explanations } from '../dist/modules/explanations/explanations.js';
import { LedgerReads } from '../dist/modules/inventory/ledger-reads.js';
import { prepareProjections, Projector } from '../dist/projections/projector.js';
import { Wakeups } from '../dist/wakeups.js';
import { inTurn } from './numbers.mjs';

const skus = 19_000;
const places = ['MAIN', 'SHOP'];
const carts = 5;
const samplesPerRound = 80;
const goalMs = 30;
const days = 300;

export async function run({ databaseUrl, rounds, events, log }) {
  const database = createDatabase({ url: databaseUrl, poolMax: 6, applicationName: 'onhand bench' });
  try {
    await migrate(database);
    await ensureLogGeneration(database.pool);
    await prepareProjections(database);
    await settings(database);
    const began = performance.now();
    const perPlace = Math.max(1, Math.floor((events * 0.95) / skus / places.length));
    const hot = Math.floor(events / 20 / places.length);
    await fill(databaseUrl, perPlace, hot);
    log(
      `explain: ${perPlace * skus * 2 + hot * 2} movements of ${skus} items filled in ${((performance.now() - began) / 1000).toFixed(0)} s`,
    );
    const explanations = new Explanations(database, new LedgerReads(database));
    const any = (max) => Math.floor(Math.random() * max);
    const sku = () => `SKU-${1 + any(skus)}`;
    const at = () => new Date(Date.now() - any(days * 86_400_000));
    const ask = (of, when, cart = null) => explanations.of(of, { cart, at: when, movements: 10 });
    const lastOfStream = {
      name: 'bench-last',
      text: 'SELECT * FROM events WHERE stream = $1 ORDER BY version DESC LIMIT 1',
    };
    /** @type {[string, () => Promise<unknown>][]} */
    const loads = [
      [
        'baseline: last event of a stream',
        () => database.pool.query({ ...lastOfStream, values: [`stock:MAIN/${sku()}`] }),
      ],
      ['now, all carts', () => ask(sku(), null)],
      ['now, one cart', () => ask(sku(), null, `shop-${1 + any(carts)}`)],
      ['any moment, all carts', () => ask(sku(), at())],
      ['any moment, one cart', () => ask(sku(), at(), `shop-${1 + any(carts)}`)],
      ['hot item, now', () => ask('HOT', null)],
      ['hot item, any moment', () => ask('HOT', at())],
    ];
    const times = await inTurn(loads, { rounds, samples: samplesPerRound });
    for (const [name, { p50Ms, p99Ms }] of Object.entries(times))
      log(`explain ${name}: p50 ${p50Ms} ms, p99 ${p99Ms} ms`);
    const told = await ask('SKU-1', null, 'shop-1');
    log(`explain: ${told.carts[0]?.sentence}`);
    const base = times['baseline: last event of a stream'].p50Ms;
    const moment = times['any moment, all carts'];
    const ratios = {
      withinGoal: Number((goalMs / moment.p99Ms).toFixed(2)),
      momentToLookup: Number((moment.p50Ms / base).toFixed(1)),
    };
    return { times, goalMs, ratios, bars: { withinGoal: 1 } };
  } finally {
    await database.close();
  }
}

/** Places, carts and a hundred rules through the hub's own write side and projector. */
async function settings(database) {
  const wakeups = new Wakeups(database);
  const silent = { info: () => undefined, error: () => undefined };
  const projector = new Projector({ database, wakeups, presence: { name: 'onhand bench' }, log: silent });
  const store = new EventStore(database.pool);
  const tell = (commands) =>
    store.append(commands.map((command) => ({ client: 'bench', idempotencyKey: null, bodyHash: null, command })));
  await tell(places.map((location) => ({ type: 'AddLocation', location, name: location })));
  for (let n = 1; n <= carts; n += 1) {
    const cartId = `shop-${n}`;
    await tell([
      {
        type: 'AddCart',
        cartId,
        name: `Shop ${n}`,
        connector: 'webhook',
        url: 'http://127.0.0.1:1/',
        username: '',
        storeCode: '',
        locations: places,
        orderLocation: 'MAIN',
        requestTimeoutMs: 1000,
        quietTimeMs: 1000,
        pollIntervalMs: 1000,
        clampsAtZero: false,
      },
    ]);
    await tell([{ type: 'SwitchCart', cartId, on: true }]);
  }
  const rule = (ruleId, effect, scope = {}) => ({
    type: 'SaveRule',
    by: 'bench',
    rule: {
      ruleId,
      name: ruleId,
      scope: { sku: null, tag: null, locations: null, cart: null, ...scope },
      order: 0,
      effect,
    },
  });
  await tell([rule('keep back', { kind: 'buffer', units: 2, percent: null })]);
  await tell([rule('pace', { kind: 'velocity-buffer', coverDays: 0.5, salesWindowDays: 28, margin: 1 })]);
  await tell([rule('doubt', { kind: 'unconfirmed', atMost: 2, days: 60 })]);
  for (let n = 1; n <= 97; n += 1) await tell([rule(`cap ${n}`, { kind: 'cap', units: n }, { tag: `tag-${n}` })]);
  const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
  await tell([{ type: 'CloseDay', day: yesterday, slowestCart: null }]);
  await database.pool.query(`UPDATE events SET recorded_at = recorded_at - interval '${days + 1} days'`);
  for (let idle = 0; idle < 20;) idle = (await projector.step()) === null ? idle + 1 : 0;
}

/** A log as the hub writes it, but filled by the database itself, with balances, and what follows from it. */
async function fill(databaseUrl, perPlace, hot) {
  // A connection of its own: the hub's own ones are given up after forty seconds.
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const movements = (from, count, of, versions) => `
    INSERT INTO events (generation, stream, version, type, data, sku, location, delta, open_delta, balance, open_balance,
      occurred_at, recorded_at, causation_id)
    SELECT 1, 'stock:' || p.location || '/' || s.sku, v, CASE WHEN v % 3 = 1 THEN 'StockReceived' ELSE 'StockSold' END,
           jsonb_build_object('sku', s.sku, 'location', p.location, 'reason', null, 'source', 'direct', 'reference', null),
           s.sku, p.location, CASE WHEN v % 3 = 1 THEN 8 ELSE -3 END, 0,
           (v + 2) / 3 * 8 - (v - (v + 2) / 3) * 3, 0, t.at, t.at, 'bench/' || v
      FROM generate_series(${from}::int, ${from + count - 1}::int) v
     CROSS JOIN (${of}) s
     CROSS JOIN unnest('{${places.join(',')}}'::text[]) AS p (location)
     CROSS JOIN LATERAL (SELECT date_trunc('milliseconds', now() - interval '${days} days' * (1 - (v - 0.5) / ${versions}.0)) AS at) t
     ORDER BY v`;
  try {
    await client.query('SET synchronous_commit = off; SET statement_timeout = 0');
    const ordinary = `SELECT 'SKU-' || n AS sku FROM generate_series(1, ${skus}) n`;
    for (let version = 1; version <= perPlace; version += 1) {
      await client.query(movements(version, 1, ordinary, perPlace));
      const from = Math.floor(((version - 1) * hot) / perPlace) + 1;
      const count = Math.floor((version * hot) / perPlace) + 1 - from;
      if (count > 0) await client.query(movements(from, count, `SELECT 'HOT' AS sku`, hot));
    }
    await client.query('ANALYZE events');
    await client.query(
      `INSERT INTO quantity_on_hand (sku, location, on_hand, open, movements, updated_at, seen_at)
         SELECT sku, location, sum(delta), 0, count(*), max(recorded_at), max(occurred_at) FROM events WHERE delta IS NOT NULL GROUP BY sku, location;
       INSERT INTO velocity SELECT sku, location, occurred_at::date, -sum(delta), 0, 0, count(*) FROM events WHERE type = 'StockSold' GROUP BY 1, 2, 3;
       INSERT INTO stream_heads SELECT stream, max(version), '{}', max(recorded_at) FROM events WHERE delta IS NOT NULL GROUP BY stream;
       INSERT INTO listings (cart_id, key, sku, generation, target, expected)
         SELECT c.cart_id, q.sku, q.sku, 1, sum(q.on_hand), sum(q.on_hand) FROM carts c CROSS JOIN quantity_on_hand q GROUP BY c.cart_id, q.sku;
       INSERT INTO listing_memory (cart_id, key, since, sku, generation, withheld)
         SELECT cart_id, key, now() - interval '${days + 1} days', sku, 1, n % 2 = 0 FROM listings CROSS JOIN generate_series(1, 3) n;
       INSERT INTO web_stack (cart_id, key, sku, generation, delta, target, cause, state, last_response, accepted_at, created_at, ended_at)
         SELECT l.cart_id, l.key, l.sku, 1, 1, 1, '{"type": "StockReceived"}', 'delivered', 'OK', t.at, t.at, t.at
           FROM listings l CROSS JOIN generate_series(1, 5) n CROSS JOIN LATERAL (SELECT now() - interval '18 days' * (6 - n) AS at) t;
       UPDATE projection_checkpoints c SET generation = e.generation, transaction_id = e.transaction_id, position = e.position
         FROM (SELECT * FROM events ORDER BY generation DESC, transaction_id DESC, position DESC LIMIT 1) e WHERE c.name = 'main'`,
    );
    await client.query('VACUUM ANALYZE');
  } finally {
    await client.end();
  }
}
