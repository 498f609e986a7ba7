/**
 * How long after the API accepted a movement the shop has it: a hub process with all roles and sample shops that take
 * signed webhooks, at a steady rate. The baseline is one signed call to such a shop, alone, with nothing in between.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { webhookConnector } from '../dist/cart-workers/connectors/webhook.connector.js';
import { startRedis } from '../samples/redis.mjs';
import { startHub, startProcess } from './hub.mjs';
import { median, quantile } from './numbers.mjs';

const shopCount = 2;
const skuCount = 200;
const perSecond = 25;
const secondsPerRound = 6;
const skus = Array.from({ length: skuCount }, (_, i) => `LAT-${i}`);
const root = fileURLToPath(new URL('..', import.meta.url));

export async function run({ databaseUrl, rounds, redis, dataDir, log }) {
  const stops = [];
  try {
    const redisServer = redis ? await startRedis({ dir: path.join(dataDir, 'redis') }) : undefined;
    if (redisServer !== undefined) stops.push(redisServer.stop);
    const shops = [];
    for (let n = 0; n < shopCount; n += 1) {
      const shop = await startShop(path.join(dataDir, `shop-${n}`));
      stops.push(shop.stop);
      shops.push(shop);
    }
    const hub = await startHub({ databaseUrl, redisUrl: redisServer?.url, dataDir: path.join(dataDir, 'hub') });
    stops.push(hub.stop);
    await connect(hub, shops);
    await measure(hub, shops);
    const ours = [];
    const alone = [];
    for (let round = 0; round < rounds; round += 1) {
      alone.push(...(await callsAlone(shops[0])));
      ours.push(...(await measure(hub, shops)));
    }
    const backend = redis ? 'Redis' : 'PostgreSQL';
    const show = (values) =>
      `p50 ${median(values).toFixed(1)} ms, p99 ${quantile(values, 0.99).toFixed(1)} ms (${values.length} samples)`;
    log(
      `latency, ${shopCount} lanes on ${backend}, ${perSecond} movements a second: accepted → shop ${show(ours)}; one call alone ${show(alone)}`,
    );
    return {
      ratios: { p50: Number((median(ours) / median(alone)).toFixed(1)) },
      p50Ms: median(ours),
      p99Ms: quantile(ours, 0.99),
    };
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}

/** @returns ms from `recordedAt` to the shop's own journal entry, per movement and shop */
async function measure(hub, shops) {
  const before = await Promise.all(shops.map(async (shop) => (await shop.journal()).length));
  const accepted = new Map();
  const sent = [];
  for (let i = 0; i < perSecond * secondsPerRound; i += 1) {
    const sku = skus[i % skuCount];
    const quantity = 1_000 + i;
    sent.push(
      hub
        .ask('POST', '/v1/movements', { kind: 'received', sku, location: 'MAIN', quantity })
        .then((answer) => accepted.set(`${sku} ${quantity}`, Date.parse(answer.facts[0].recordedAt))),
    );
    await new Promise((resolve) => setTimeout(resolve, 1000 / perSecond));
  }
  await Promise.all(sent);
  const latencies = [];
  for (const [index, shop] of shops.entries()) {
    const changes = await arrived(shop, before[index], sent.length);
    for (const change of changes) {
      const at = accepted.get(`${change.key} ${change.delta}`);
      if (at !== undefined) latencies.push(Date.parse(change.at) - at);
    }
  }
  return latencies;
}

async function arrived(shop, before, count) {
  const end = Date.now() + 30_000;
  for (;;) {
    const changes = (await shop.journal()).slice(before);
    if (changes.length >= count) return changes;
    if (Date.now() > end) throw new Error(`Only ${changes.length} of ${count} changes arrived`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function callsAlone(shop) {
  const times = [];
  for (let i = 0; i < 100; i += 1) {
    const start = performance.now();
    await webhookConnector.sendDeltas(
      {
        cartId: 'bench',
        url: `${shop.url}/onhand`,
        username: '',
        secret: shop.secret,
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

async function connect(hub, shops) {
  await hub.ask('POST', '/v1/locations', { location: 'MAIN', name: 'Main' });
  await hub.ask('POST', '/v1/items/batch', { items: skus.map((sku) => ({ sku, title: sku })) });
  for (const [index, shop] of shops.entries()) {
    const id = `shop-${index}`;
    await hub.ask('POST', '/v1/carts', {
      id,
      name: id,
      type: 'webhook',
      url: `${shop.url}/onhand`,
      secret: shop.secret,
      locations: ['MAIN'],
    });
    await hub.ask('PUT', `/v1/carts/${id}/listings`, { allItems: true });
    await hub.ask('PUT', `/v1/carts/${id}/switch`, { on: true });
    let comparison = await hub.ask('POST', `/v1/carts/${id}/comparison`, { direction: 'send' });
    while (comparison.state !== 'done') {
      if (comparison.state === 'failed') throw new Error(comparison.error);
      await new Promise((resolve) => setTimeout(resolve, 100));
      comparison = await hub.ask('GET', comparison.statusUrl);
    }
  }
}

async function startShop(dir) {
  const secret = `whsec_${randomBytes(24).toString('base64')}`;
  const script = path.join(root, 'samples/shops/webhook-shop.mjs');
  const { url, stop } = await startProcess([script, '--port', '0', '--dir', dir, '--name', 'bench'], {
    SHOP_SECRET: secret,
  });
  const items = [...skus, 'ALONE'].map((key) => ({ key, title: key, quantity: 0 }));
  await fetch(`${url}/load`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ items }),
  });
  const journal = async () => (await (await fetch(`${url}/journal`)).json()).journal;
  return { url, secret, stop, journal };
}
