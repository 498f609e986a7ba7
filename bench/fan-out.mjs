/**
 * 100,000 movements over 10,000 SKUs, sold in ten shops that take batches: how many (movement × cart) pairs a second are
 * reflected, from the first command until every shop shows the right quantity of everything. A hub process with all
 * roles, on Redis and on PostgreSQL. The baseline is BullMQ alone on the same backend: jobs that do nothing, added in
 * bulk beforehand and drained by one worker with concurrency 50.
 *
 * BENCH_MOVEMENTS, BENCH_SKUS and BENCH_CARTS choose other sizes; BENCH_LANES=redis or postgres only one of the two.
 */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createQueueBackend } from '../dist/cart-workers/queue-backend.js';
import { startRedis } from '../samples/redis.mjs';
import { connectCart } from './connect-cart.mjs';
import { startHub, startProcess } from './hub.mjs';
import { median } from './numbers.mjs';
import { ownDatabase } from './own-database.mjs';
import { processorTime } from './processor-time.mjs';

const movements = Number(process.env.BENCH_MOVEMENTS ?? 100_000);
const skuCount = Number(process.env.BENCH_SKUS ?? 10_000);
const cartCount = Number(process.env.BENCH_CARTS ?? 10);
const perCall = 1_000;
const callsAtOnce = 4;
const noOps = { redis: 50_000, postgres: 10_000 };
const bars = { redis: 1.5, postgres: 8 };

const root = fileURLToPath(new URL('..', import.meta.url));
const skus = Array.from({ length: skuCount }, (_, i) => `FAN-${i}`);

export async function run({ databaseUrl, dataDir, rounds, log }) {
  const kinds = process.env.BENCH_LANES === undefined ? Object.keys(bars) : [process.env.BENCH_LANES];
  const ratios = {};
  for (const kind of kinds) {
    const folder = path.join(dataDir, `fan-out-${kind}`);
    const redis = kind === 'redis' ? await startRedis({ dir: path.join(folder, 'redis') }) : undefined;
    try {
      const found = await compare({ kind, databaseUrl, redisUrl: redis?.url, folder, rounds, log });
      ratios[kind] = Number(found.toFixed(2));
    } finally {
      await redis?.stop();
    }
  }
  return { ratios, bars: Object.fromEntries(kinds.map((kind) => [kind, bars[kind]])) };
}

async function compare({ kind, databaseUrl, redisUrl, folder, rounds, log }) {
  const secret = `whsec_${randomBytes(24).toString('base64')}`;
  const shops = await startProcess([path.join(root, 'bench/batch-shops.mjs')], { SHOP_SECRET: secret });
  const database = await ownDatabase(databaseUrl, `fan_out_${kind}`);
  const idle = await ownDatabase(databaseUrl, `no_ops_${kind}`);
  const hub = await startHub({ databaseUrl: database, redisUrl, dataDir: path.join(folder, 'hub') });
  try {
    await open(hub, shops, secret);
    const ours = [];
    const bare = [];
    const state = { sum: 0, stock: new Map(skus.map((sku) => [sku, 0])) };
    for (let round = 0; round < rounds; round += 1) {
      bare.push(await drainNoOps(kind, idle, redisUrl));
      const before = processorTime(hub.pid);
      const found = await fanOutOnce(hub, shops, state);
      const cpu = processorTime(hub.pid) - before;
      ours.push(found.perSecond);
      log(
        `fan-out on ${kind}, round ${round + 1}: ${found.perSecond.toFixed(0)} pairs/s (appended after ${found.appendedS.toFixed(1)} s, ` +
          `equal after ${found.equalS.toFixed(1)} s, ${found.calls} calls with ${found.lines} lines, hub ${cpu.toFixed(1)} s of processor); ` +
          `no-op jobs ${bare.at(-1).toFixed(0)}/s`,
      );
    }
    return median(ours) / median(bare);
  } finally {
    await hub.stop();
    await shops.stop();
  }
}

async function open(hub, shops, secret) {
  await fetch(`${shops.url}/load`, { method: 'POST', body: JSON.stringify({ shops: cartCount, keys: skus }) });
  await hub.ask('POST', '/v1/locations', { location: 'MAIN', name: 'Main' });
  for (let at = 0; at < skuCount; at += 1_000)
    await hub.ask('POST', '/v1/items/batch', { items: skus.slice(at, at + 1_000).map((sku) => ({ sku, title: sku })) });
  for (let n = 0; n < cartCount; n += 1)
    await connectCart(hub, { id: `shop-${n}`, url: `${shops.url}/shops/${n}`, secret });
}

/** One round: the same number of movements again; `state` is what every shop has to show. */
async function fanOutOnce(hub, shops, state) {
  const before = await totals(shops);
  const batches = [];
  for (let at = 0; at < movements; at += perCall) {
    batches.push(
      Array.from({ length: Math.min(perCall, movements - at) }, () => {
        const sku = skus[Math.floor(Math.random() * skuCount)];
        const quantity = 1 + Math.floor(Math.random() * 3);
        state.stock.set(sku, state.stock.get(sku) + quantity);
        state.sum += quantity;
        return { kind: 'received', sku, location: 'MAIN', quantity };
      }),
    );
  }
  const began = performance.now();
  const send = async () => {
    for (let batch = batches.pop(); batch !== undefined; batch = batches.pop()) {
      const { refused } = await hub.ask('POST', '/v1/movements/batch', { movements: batch });
      if (refused > 0) throw new Error(`${refused} movements were refused`);
    }
  };
  await Promise.all(Array.from({ length: callsAtOnce }, send));
  const appendedS = (performance.now() - began) / 1_000;
  const after = await equal(shops, state);
  const equalS = (performance.now() - began) / 1_000;
  return {
    perSecond: (movements * cartCount) / equalS,
    appendedS,
    equalS,
    calls: sumOf(after, 'calls') - sumOf(before, 'calls'),
    lines: sumOf(after, 'lines') - sumOf(before, 'lines'),
  };
}

const totals = async (shops) => (await fetch(`${shops.url}/totals`)).json();
const sumOf = (rows, key) => rows.reduce((total, row) => total + row[key], 0);

/** Sums first, because they are cheap to ask for; then every quantity of every shop. */
async function equal(shops, state) {
  const end = Date.now() + 600_000;
  let seen = await totals(shops);
  while (!seen.every(({ sum }) => sum === state.sum)) {
    if (Date.now() > end) throw new Error(`The shops do not agree: ${JSON.stringify(seen)}, expected ${state.sum}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    seen = await totals(shops);
  }
  for (let n = 0; n < cartCount; n += 1) {
    const stock = await (await fetch(`${shops.url}/stock?shop=${n}`)).json();
    for (const [sku, quantity] of state.stock)
      if (stock[sku] !== quantity) throw new Error(`shop-${n} shows ${stock[sku]} of ${sku}, not ${quantity}`);
  }
  return seen;
}

async function drainNoOps(kind, databaseUrl, redisUrl) {
  const backend = await createQueueBackend({
    config: { redisUrl, lanesMax: 4 },
    databaseUrl,
    prefix: 'bare',
    onError: () => undefined,
  });
  const queue = backend.createQueue('no-ops');
  const count = noOps[kind];
  for (let at = 0; at < count; at += 1_000)
    await queue.addBulk(Array.from({ length: 1_000 }, (_, i) => ({ name: 'no-op', data: { n: at + i } })));
  const began = performance.now();
  let left = count;
  const worker = await new Promise((resolve) => {
    const made = backend.createWorker('no-ops', async () => undefined, {
      concurrency: 50,
      removeOnComplete: { count: 0 },
    });
    made.on('completed', () => {
      left -= 1;
      if (left === 0) resolve(made);
    });
  });
  const seconds = (performance.now() - began) / 1_000;
  await worker.close();
  await queue.close();
  await backend.close();
  return count / seconds;
}
