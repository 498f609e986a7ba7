/**
 * How long after the API accepted a movement each of ten shops has it, at 50 movements a second: a hub process with all
 * roles (BENCH_PROCESSES=3: one of each role, as docker-compose.yml has it), a lane per shop. The baseline is what no such
 * system can do without, measured in the same run, alone and idle: a BullMQ job from `add` to its start, one signed HTTP
 * call, and four commits (event, listings, dispatch, attempt).
 */
import { randomBytes, randomUUID } from 'node:crypto';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { webhookConnector } from '../dist/cart-workers/connectors/webhook.connector.js';
import { createQueueBackend } from '../dist/cart-workers/queue-backend.js';
import { createDatabase } from '../dist/database.js';
import { startRedis } from '../samples/redis.mjs';
import { connectCart } from './connect-cart.mjs';
import { inOneProcess, inThreeProcesses, startHub, startProcess } from './hub.mjs';
import { median, quantile } from './numbers.mjs';
import { ownDatabase } from './own-database.mjs';

const shopCount = 10;
const skuCount = 200;
const perSecond = 50;
const secondsPerRound = 6;
const samples = 100;
const skus = Array.from({ length: skuCount }, (_, i) => `LAT-${i}`);
const p99BarMs = 60;
const processes = process.env.BENCH_PROCESSES === '3' ? inThreeProcesses : inOneProcess;
const root = fileURLToPath(new URL('..', import.meta.url));

export async function run({ databaseUrl, rounds, redis, dataDir, log }) {
  const stops = [];
  try {
    const redisServer = redis ? await startRedis({ dir: path.join(dataDir, 'redis') }) : undefined;
    if (redisServer !== undefined) stops.push(redisServer.stop);
    const secret = `whsec_${randomBytes(24).toString('base64')}`;
    const shops = await startProcess([path.join(root, 'bench/batch-shops.mjs')], { SHOP_SECRET: secret });
    stops.push(shops.stop);
    await fetch(`${shops.url}/load`, {
      method: 'POST',
      body: JSON.stringify({ shops: shopCount, keys: [...skus, 'ALONE'], journal: true }),
    });
    const idle = await ownDatabase(databaseUrl, 'alone');
    const hub = await startHub({
      databaseUrl,
      redisUrl: redisServer?.url,
      dataDir: path.join(dataDir, 'hub'),
      processes,
    });
    stops.push(hub.stop);
    await connect(hub, shops, secret);
    await measure(hub, shops);
    const ours = [];
    const alone = { job: [], call: [], commit: [] };
    for (let round = 0; round < rounds; round += 1) {
      alone.job.push(...(await jobsAlone(idle, redisServer?.url)));
      alone.call.push(...(await callsAlone(shops, secret)));
      alone.commit.push(...(await commitsAlone(idle)));
      ours.push(...(await measure(hub, shops)));
    }
    const baselineMs = median(alone.job) + median(alone.call) + 4 * median(alone.commit);
    const p50Ms = median(ours);
    const p99Ms = quantile(ours, 0.99);
    const ms = (value) => `${value.toFixed(1)} ms`;
    log(
      `latency, ${shopCount} lanes on ${redis ? 'Redis' : 'PostgreSQL'}, processes of the hub: ${processes.length}, ${perSecond} movements a second: accepted → shop p50 ${ms(p50Ms)}, ` +
        `p99 ${ms(p99Ms)} (${ours.length} samples); job ${ms(median(alone.job))} + call ${ms(median(alone.call))} + ` +
        `4 × commit ${ms(median(alone.commit))} = ${ms(baselineMs)}`,
    );
    const ratio = (value) => Number(value.toFixed(2));
    return {
      ratios: { p50: ratio(baselineMs / p50Ms), ...(redis && { p99: ratio(p99BarMs / p99Ms) }) },
      bars: { p50: 0.33, ...(redis && { p99: 1 }) },
      p50Ms,
      p99Ms,
      baselineMs,
    };
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const journals = async (shops) => (await fetch(`${shops.url}/journal`)).json();

/** @returns ms from `recordedAt` to the shop's own journal entry, per movement and shop */
async function measure(hub, shops) {
  await journals(shops);
  const accepted = new Map();
  const sent = [];
  const began = performance.now();
  for (let i = 0; i < perSecond * secondsPerRound; i += 1) {
    const sku = skus[i % skuCount];
    // No two changes of a SKU are alike, so that each is known again at the shop.
    const quantity = 1_000 + i;
    sent.push(
      hub
        .ask('POST', '/v1/movements', { kind: 'received', sku, location: 'MAIN', quantity })
        .then((answer) => accepted.set(`${sku} ${quantity}`, Date.parse(answer.facts[0].recordedAt))),
    );
    await pause(Math.max(0, began + ((i + 1) * 1_000) / perSecond - performance.now()));
  }
  await Promise.all(sent);
  const latencies = [];
  for (const change of await arrived(shops, sent.length * shopCount)) {
    const at = accepted.get(`${change[0]} ${change[1]}`);
    if (at !== undefined) latencies.push(change[2] - at);
  }
  return latencies;
}

async function arrived(shops, count) {
  const end = Date.now() + 30_000;
  const changes = [];
  for (;;) {
    changes.push(...(await journals(shops)).flat());
    if (changes.length >= count) return changes;
    if (Date.now() > end) throw new Error(`Only ${changes.length} of ${count} changes arrived`);
    await pause(50);
  }
}

/** ms from `add` to the start of a job, one at a time. */
async function jobsAlone(databaseUrl, redisUrl) {
  const backend = await createQueueBackend({
    config: { redisUrl, lanesMax: 4 },
    databaseUrl,
    prefix: 'alone',
    onError: () => undefined,
  });
  const queue = backend.createQueue('alone');
  let started = () => undefined;
  const worker = backend.createWorker('alone', async () => started(), {
    concurrency: 1,
    removeOnComplete: { count: 0 },
  });
  await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
  const times = [];
  for (let i = 0; i < samples; i += 1) {
    await pause(5);
    const start = performance.now();
    const began = new Promise((resolve) => (started = () => resolve(performance.now())));
    await queue.add('job', { n: i });
    times.push((await began) - start);
  }
  await worker.close();
  await queue.close();
  await backend.close();
  return times;
}

async function callsAlone(shops, secret) {
  const times = [];
  for (let i = 0; i < samples; i += 1) {
    const start = performance.now();
    await webhookConnector.sendDeltas(
      {
        cartId: 'bench',
        url: `${shops.url}/shops/0`,
        username: '',
        secret,
        storeCode: '',
        requestTimeoutMs: 5_000,
        allowPrivateAddress: true,
      },
      { idempotencyKey: randomUUID(), createdAtMs: Date.now(), lines: [{ key: 'ALONE', delta: 1 }] },
      { deadlineMs: Date.now() + 5_000 },
    );
    times.push(performance.now() - start);
  }
  return times;
}

/** ms of a COMMIT after one row was written. */
async function commitsAlone(databaseUrl) {
  const database = createDatabase({ url: databaseUrl, poolMax: 1, applicationName: 'onhand bench' });
  try {
    const client = await database.pool.connect();
    await client.query('CREATE TABLE IF NOT EXISTS alone (n int)');
    const times = [];
    for (let i = 0; i < samples; i += 1) {
      await client.query('BEGIN');
      await client.query('INSERT INTO alone VALUES ($1)', [i]);
      const start = performance.now();
      await client.query('COMMIT');
      times.push(performance.now() - start);
    }
    client.release();
    return times;
  } finally {
    await database.close();
  }
}

async function connect(hub, shops, secret) {
  await hub.ask('POST', '/v1/locations', { location: 'MAIN', name: 'Main' });
  await hub.ask('POST', '/v1/items/batch', { items: skus.map((sku) => ({ sku, title: sku })) });
  for (let n = 0; n < shopCount; n += 1)
    await connectCart(hub, { id: `shop-${n}`, url: `${shops.url}/shops/${n}`, secret });
}
