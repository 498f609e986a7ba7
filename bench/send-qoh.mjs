/**
 * Send QOH of 100,000 listings, all of which differ, to a shop that takes a hundred lines a call: looked at, made equal and
 * delivered, in one hub process whose memory is watched. The baseline is as little as anybody could do: the same hundred
 * thousand lines in bare signed calls to the same shop, one after another, with nothing written down and nothing compared.
 */
import { createHmac, randomUUID } from 'node:crypto';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectCart } from './connect-cart.mjs';
import { startHub, startProcess } from './hub.mjs';
import { watchMemory } from './memory.mjs';
import { processorTime } from './processor-time.mjs';

const listings = Number(process.env.BENCH_LISTINGS ?? 100_000);
const linesPerCall = 100;
const moved = 7;
const secret = `whsec_${Buffer.from('a secret for a bench of some bytes').toString('base64')}`;
const sku = (i) => `SEND-${String(i).padStart(6, '0')}`;

export async function run({ databaseUrl, dataDir, log }) {
  const shops = await startProcess([fileURLToPath(new URL('batch-shops.mjs', import.meta.url))], {
    SHOP_SECRET: secret,
  });
  const hub = await startHub({ databaseUrl, dataDir: path.join(dataDir, 'hub') });
  try {
    const keys = Array.from({ length: listings }, (_, i) => sku(i));
    await fetch(`${shops.url}/load`, { method: 'POST', body: JSON.stringify({ shops: 2, keys }) });
    await prepare(hub, shops);
    const bareSeconds = await bare(shops, keys);
    // Somebody edits everything at the shop.
    await calls(`${shops.url}/shops/0`, keys, -moved);
    const memory = watchMemory(hub.pid);
    const processorBefore = processorTime(hub.pid);
    const started = performance.now();
    const { id } = await hub.ask('POST', '/v1/carts/shop-0/comparison', { direction: 'send' });
    const run = await ended(hub, `/v1/carts/shop-0/comparison/${id}`);
    const comparedSeconds = (performance.now() - started) / 1_000;
    const wanted = listings * 2 * moved;
    while ((await sumOf(shops)) !== wanted) await new Promise((resolve) => setTimeout(resolve, 100));
    const seconds = (performance.now() - started) / 1_000;
    const { startMb, maxMb } = memory();
    const processorSeconds = processorTime(hub.pid) - processorBefore;
    const rate = (took) => Math.round(listings / took);
    if (run.result.differences !== listings) throw new Error(`${run.result.differences} listings differed`);
    log(
      [
        `send-qoh: ${listings} listings, all different: equal in ${comparedSeconds.toFixed(0)} s, the last delta at the shop after ${seconds.toFixed(0)} s, ${rate(seconds)} listings/s; bare calls ${rate(bareSeconds)} lines/s`,
        `  hub ${startMb} MB before, ${maxMb} MB at most; processor time of the hub ${processorSeconds.toFixed(1)} s, ${rate(processorSeconds)} listings per second of one processor`,
      ].join('\n'),
    );
    return {
      listings,
      ratios: { bareCalls: Number((bareSeconds / seconds).toFixed(4)) },
      listingsPerSecond: { send: rate(seconds), bareCalls: rate(bareSeconds) },
      listingsPerProcessorSecond: rate(processorSeconds),
      hubMb: { startMb, maxMb },
    };
  } finally {
    await hub.stop();
    await shops.stop();
  }
}

/** Items, twice as many pieces of each as were moved, and the shop made equal once: what is measured is a Send to a cart that is on. */
async function prepare(hub, shops) {
  await hub.ask('POST', '/v1/locations', { location: 'MAIN', name: 'Main' });
  const rows = (head, line) =>
    async function* () {
      yield head;
      for (let at = 0; at < listings; at += 1_000)
        yield Array.from({ length: Math.min(1_000, listings - at) }, (_, i) => line(sku(at + i))).join('');
    };
  const imported = async (kind, lines) => ended(hub, (await hub.send(`/v1/imports?kind=${kind}`, lines)).statusUrl);
  await imported(
    'items',
    rows('sku,title\n', (key) => `${key},Item ${key}\n`),
  );
  await imported(
    'movements',
    rows('sku,location,kind,quantity\n', (key) => `${key},MAIN,received,${2 * moved}\n`),
  );
  await connectCart(hub, { id: 'shop-0', url: `${shops.url}/shops/0`, secret });
  while ((await sumOf(shops)) !== listings * 2 * moved) await new Promise((resolve) => setTimeout(resolve, 250));
}

async function bare(shops, keys) {
  const started = performance.now();
  await calls(`${shops.url}/shops/1`, keys, moved);
  return (performance.now() - started) / 1_000;
}

async function calls(url, keys, delta) {
  for (let at = 0; at < keys.length; at += linesPerCall) {
    const lines = keys.slice(at, at + linesPerCall).map((key) => ({ key, delta }));
    const body = JSON.stringify({ type: 'stock.adjust', data: { lines } });
    const id = randomUUID();
    const time = String(Math.floor(Date.now() / 1_000));
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    const signature = createHmac('sha256', key).update(`${id}.${time}.`).update(body).digest('base64');
    const headers = { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': `v1,${signature}` };
    const response = await fetch(url, { method: 'POST', headers, body });
    if (!response.ok) throw new Error(`${url}: ${response.status}`);
    await response.arrayBuffer();
  }
}

const sumOf = async (shops) => (await (await fetch(`${shops.url}/totals`)).json())[0].sum;

async function ended(hub, route) {
  for (;;) {
    const found = await hub.ask('GET', route);
    if (found.state === 'done') return found;
    if (['refused', 'held', 'failed', 'cancelled'].includes(found.state)) throw new Error(JSON.stringify(found));
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
