/**
 * Whether it stays fast: append and fan-out with 1,000 and with 1,000,000 SKUs, with an empty log and with 5,000,000 events,
 * with one lane and with 100, on Redis. The baseline of each is its smallest size, in the same run and in turn. What is
 * done is the same at both sizes, so only what lies around it differs:
 *
 *   skus, events   append: one movement per command by 64 clients, over all SKUs; fan-out: 20,000 movements of 1,000 SKUs,
 *                  drawn anew from all of them for each round, in two shops that sell everything. The ratio is the lower of both.
 *   lanes          20,000 movements over 10,000 SKUs of which each is sold in one shop: the same pairs of movement and cart,
 *                  listings and commands, through one lane or a hundred. And what a hub with all roles and a hundred lanes
 *                  ever had in memory: 300 MB at most.
 *
 * A hub runs only for its own round, after a short one that does not count, so that no idle one takes from the other.
 * "Empty" is a log with the first movement of each item and nothing else: appends meet heads that exist at every size.
 *
 * BENCH_SKUS, BENCH_EVENTS and BENCH_CARTS choose other sizes for the larger one, BENCH_MOVEMENTS other rounds of fan-out;
 * BENCH_PARTS=skus,events,lanes some of the three.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createDatabase } from '../dist/database.js';
import { CommandBatcher } from '../dist/events/command-batcher.js';
import { EventStore } from '../dist/events/event-store.js';
import { startRedis } from '../samples/redis.mjs';
import { connectCart } from './connect-cart.mjs';
import { fanOutOnce, shopStock } from './fan-out-once.mjs';
import { fillLog, withoutIndexes } from './fill-log.mjs';
import { startHub, startProcess } from './hub.mjs';
import { median } from './numbers.mjs';
import { ownDatabase } from './own-database.mjs';
import { measure, movement } from './write-side.mjs';

const movements = Number(process.env.BENCH_MOVEMENTS ?? 20_000);
const most = {
  skus: Number(process.env.BENCH_SKUS ?? 1_000_000),
  events: Number(process.env.BENCH_EVENTS ?? 5_000_000),
  lanes: Number(process.env.BENCH_CARTS ?? 100),
};
const parts = (process.env.BENCH_PARTS ?? 'skus,events,lanes').split(',');
const bars = { skus: 0.8, events: 0.8, lanes: 0.7 };
const memoryBarMb = 300;
const clients = 64;
const appendMs = 2_000;
const root = fileURLToPath(new URL('..', import.meta.url));

/** The sizes of each part; the smaller one is the baseline. `moved`: of how many items there are movements in one round. */
const sizes = {
  skus: [
    { name: '1000 SKUs', skus: 1_000, moved: 1_000, events: 0, carts: 2 },
    { name: `${most.skus} SKUs`, skus: most.skus, moved: 1_000, events: 0, carts: 2 },
  ],
  events: [
    { name: 'an empty log', skus: 10_000, moved: 1_000, events: 0, carts: 2 },
    { name: `${most.events} events`, skus: 10_000, moved: 1_000, events: most.events, carts: 2 },
  ],
  lanes: [
    { name: 'one lane', skus: 10_000, moved: 10_000, events: 0, carts: 1 },
    { name: `${most.lanes} lanes`, skus: 10_000, moved: 10_000, events: 0, carts: most.lanes, soldOnce: true },
  ],
};

export async function run({ databaseUrl, dataDir, rounds, log }) {
  const ratios = {};
  const figures = {};
  let memory;
  for (const part of parts) {
    const places = [];
    try {
      for (const [index, size] of sizes[part].entries())
        places.push(await open({ ...size, key: `${part}_${index}` }, { databaseUrl, dataDir, log }));
      const found = await inTurn(places, rounds, part !== 'lanes', log);
      ratios[part] = Math.min(...Object.values(found.ratios));
      figures[part] = found;
      if (part === 'lanes') memory = { idleMb: places[1].idleMb, mostMb: places[1].memoryMb, barMb: memoryBarMb };
    } finally {
      for (const place of places) await place.close();
    }
  }
  if (memory !== undefined)
    log(
      `growth: a hub with ${most.lanes} lanes has ${memory.idleMb} MB before work and ${memory.mostMb} MB at most (bar ${memoryBarMb})`,
    );
  return {
    ratios,
    bars: Object.fromEntries(parts.map((part) => [part, bars[part]])),
    figures,
    ...(memory !== undefined && { memory, ...(memory.mostMb > memoryBarMb && { pass: false }) }),
  };
}

/** Rounds of both sizes in turn: fan-out first, and then, where it is asked for, the append, for which no hub has to run. */
async function inTurn([small, large], rounds, withAppend, log) {
  const found = { fanOut: [[], []], append: [[], []] };
  for (let round = 0; round < rounds; round += 1)
    for (const [index, place] of [small, large].entries()) {
      const { perSecond, calls, lines } = await place.fanOut();
      found.fanOut[index].push(perSecond);
      log(
        `growth, ${place.name}, round ${round + 1}: ${perSecond.toFixed(0)} pairs/s reflected (${calls} calls with ${lines} lines)`,
      );
    }
  if (withAppend) {
    for (const place of [small, large]) await place.append(appendMs / 4);
    for (let round = 0; round < rounds; round += 1)
      for (const [index, place] of [small, large].entries()) found.append[index].push(await place.append(appendMs));
  }
  const summary = { ratios: {}, perSecond: {} };
  for (const [what, [before, after]] of Object.entries(found)) {
    if (before.length === 0) continue;
    summary.ratios[what] = Number((median(after) / median(before)).toFixed(2));
    summary.perSecond[what] = [before, after].map((rates) => Math.round(median(rates)));
    log(
      `growth, ${what}: ${small.name} ${spread(before)}, ${large.name} ${spread(after)}; ratio ${summary.ratios[what]}`,
    );
  }
  return summary;
}

const spread = (rates) =>
  `${median(rates).toFixed(0)}/s (${Math.min(...rates).toFixed(0)} to ${Math.max(...rates).toFixed(0)})`;

/** A database of that size, with a Redis and shops of its own; the hub that works on it comes and goes. */
async function open({ key, name, skus, moved, events, carts, soldOnce = false }, { databaseUrl, dataDir, log }) {
  const began = performance.now();
  const folder = path.join(dataDir, `growth-${key}`);
  const secret = `whsec_${randomBytes(24).toString('base64')}`;
  const shopOf = (sku) => Number(sku.slice('FILL-'.length)) % carts;
  // Deltas of +1 and −1 in turn, as many of each item.
  const perSku = Math.max(1, 2 * Math.floor(events / skus / 2));
  const start = perSku % 2;
  const stops = [];
  try {
    const redis = await startRedis({ dir: path.join(folder, 'redis') });
    stops.push(redis.stop);
    const shops = await startProcess([path.join(root, 'bench/batch-shops.mjs')], { SHOP_SECRET: secret });
    stops.push(shops.stop);
    await fetch(`${shops.url}/load`, { method: 'POST', body: JSON.stringify({ shops: carts, start }) });
    const hubOptions = {
      databaseUrl: await ownDatabase(databaseUrl, `growth_${key}`),
      redisUrl: redis.url,
      dataDir: path.join(folder, 'hub'),
      encryptionKey: randomBytes(32).toString('base64'),
    };
    await connect(hubOptions, shops, { carts, secret });
    const database = createDatabase({ url: hubOptions.databaseUrl, poolMax: clients, applicationName: 'onhand bench' });
    stops.push(database.close);
    await fill(database.pool, { events: perSku * skus, skus, carts, soldOnce, start });
    log(`growth, ${name}: filled in ${((performance.now() - began) / 1_000).toFixed(0)} s`);
    const shown = shopStock(carts, { start, ...(soldOnce && { sells: (shop, sku) => shopOf(sku) === shop }) });
    const anySku = () => `FILL-${Math.floor(Math.random() * skus)}`;
    const batcher = new CommandBatcher(new EventStore(database.pool));
    const place = {
      name,
      /** What a hub on it has in memory before there is work, and what it ever had. */
      idleMb: 0,
      memoryMb: 0,
      fanOut: async () => {
        const hub = await startHub(hubOptions);
        try {
          const touched = Array.from({ length: moved }, (_, i) => (moved < skus ? anySku() : `FILL-${i}`));
          place.idleMb = Math.max(place.idleMb, residentMb(hub.pid, 'VmRSS'));
          await fanOutOnce(hub, shops, shown, { movements: movements / 10, skus: touched });
          const found = await fanOutOnce(hub, shops, shown, { movements, skus: touched });
          place.memoryMb = Math.max(place.memoryMb, residentMb(hub.pid, 'VmHWM'));
          return found;
        } finally {
          await hub.stop();
        }
      },
      append: async (ms) => (await measure(clients, ms, () => append(batcher, anySku()))).perSecond,
      close: async () => {
        for (const stop of stops.toReversed()) await stop();
      },
    };
    return place;
  } catch (error) {
    for (const stop of stops.toReversed()) await stop();
    throw error;
  }
}

async function append(batcher, sku) {
  const outcome = await batcher.submit(movement(sku, 'MAIN'));
  if (outcome.kind !== 'accepted') throw new Error(JSON.stringify(outcome));
}

/** In MB. @param kind VmRSS: what it has resident; VmHWM: the most it ever had */
const residentMb = (pid, kind) =>
  Math.round(Number(new RegExp(`${kind}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024);

/** Location and carts as people make them; there is nothing to compare yet. */
async function connect(hubOptions, shops, { carts, secret }) {
  const hub = await startHub(hubOptions);
  try {
    await hub.ask('POST', '/v1/locations', { location: 'MAIN', name: 'Main' });
    for (let n = 0; n < carts; n += 1)
      await connectCart(hub, { id: `shop-${n}`, url: `${shops.url}/shops/${n}`, secret });
  } finally {
    await hub.stop();
  }
}

/** Items, their past and their listings, as they would be after years: made by the database itself. */
async function fill(pool, { events, skus, carts, soldOnce, start }) {
  await fillLog(pool, { events, skus, locations: ['MAIN'] });
  const client = await pool.connect();
  try {
    await client.query('SET statement_timeout = 0; SET synchronous_commit = off');
    await client.query(
      `INSERT INTO stream_heads (stream, version, state, recorded_at)
       SELECT 'item:FILL-' || n, 1, '{}', now() FROM generate_series(0, $1::int - 1) AS n`,
      [skus],
    );
    await client.query(
      `INSERT INTO items (sku, title, tags, active, folded_sku, words, version)
       SELECT 'FILL-' || n, 'Item ' || n, '{}', true, 'fill-' || n, '{item}', 1 FROM generate_series(0, $1::int - 1) AS n`,
      [skus],
    );
    await withoutIndexes(client, 'listings', () =>
      client.query(
        `INSERT INTO listings (cart_id, key, sku, generation, expected, target, baseline_kind, baseline_at, baseline_expected, baseline_record, baseline_echo)
         SELECT c.cart_id, 'FILL-' || n, 'FILL-' || n, c.generation, $3, $3, 'write', now(), $3, 0, 0
           FROM generate_series(0, $1::int - 1) AS n JOIN carts c ON NOT $4 OR c.cart_id = 'shop-' || n % $2::int`,
        [skus, carts, start, soldOnce],
      ),
    );
    for (const table of ['stream_heads', 'items', 'listings']) await client.query(`VACUUM ANALYZE ${table}`);
    // What was filled is written back here and now, and not while something is measured.
    await client.query('CHECKPOINT');
  } finally {
    client.release(true);
  }
}
