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
import { fanOutOnce, shopStock } from './fan-out-once.mjs';
import { startHub, startProcess } from './hub.mjs';
import { median } from './numbers.mjs';
import { ownDatabase } from './own-database.mjs';
import { processorTime } from './processor-time.mjs';

const movements = Number(process.env.BENCH_MOVEMENTS ?? 100_000);
const skuCount = Number(process.env.BENCH_SKUS ?? 10_000);
const cartCount = Number(process.env.BENCH_CARTS ?? 10);
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
    // All shops sell everything, so what one of them has to show all have to.
    const stock = shopStock(cartCount);
    for (let round = 0; round < rounds; round += 1) {
      bare.push(await drainNoOps(kind, idle, redisUrl));
      const before = processorTime(hub.pid);
      const found = await fanOutOnce(hub, shops, stock, { movements, skus });
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
