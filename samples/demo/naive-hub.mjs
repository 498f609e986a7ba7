// The other way to connect shops, as most connectors do it, for comparison only: it knows its own number, pushes that
// number to every shop after each change and all numbers every few seconds, repeats a failed push blindly, and polls the
// shops for orders. No mistake is built in on purpose: its stock and its place in the orders are written down before
// anything is answered, and no order is imported twice. The demo's day runs about ten times as fast as Onhand's shipped
// times; polling every 3 s here is polling every 30 s there, which is more often than most connectors do.
//
//   node samples/demo/naive-hub.mjs '{"file": …, "stock": {sku: pieces}, "shops": [{"kind", "url", "user", "secret"}]}'
import { createHmac, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 3_000;
const PUSH_ALL_MS = 5_000;
const PUSHES_AT_ONCE = 4;
const TRIES = 5;
const RETRY_MS = 300;
const CALL_TIMEOUT_MS = 1_500;

const { file, stock: opening, shops } = JSON.parse(process.argv[2] ?? '{}');
/** @type {{stock: Record<string, number>, marks: Record<string, number>}} */
const state = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { stock: opening, marks: {} };
/** @type {{shop: any, rows: [string, number][], tries: number}[]} waiting pushes; a crash forgets them */
const queue = [];
let pushing = 0;
let pushedAllAt = 0;

http
  .createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    if (request.method === 'POST') {
      const { sku, delta } = JSON.parse(body);
      change([{ sku, delta }]);
    }
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({ stock: state.stock, waiting: queue.length + pushing, pushedAllAt, marks: state.marks }),
    );
  })
  .listen(Number(process.env.NAIVE_PORT ?? 0), '127.0.0.1', function listening() {
    process.stdout.write(`${JSON.stringify({ listening: `http://127.0.0.1:${this.address().port}` })}\n`);
  });
process.once('disconnect', () => process.exit(0));
for (const shop of shops) void pollForever(shop);
void pushAllForever();

/** Adds to the own numbers, writes them down, and pushes what they are now. */
function change(/** @type {{sku: string, delta: number}[]} */ deltas) {
  for (const { sku, delta } of deltas) state.stock[sku] = (state.stock[sku] ?? 0) + delta;
  save();
  for (const { sku } of deltas)
    for (const shop of shops) enqueue({ shop, rows: [[sku, state.stock[sku] ?? 0]], tries: 0 });
}

function save() {
  writeFileSync(`${file}.new`, JSON.stringify(state));
  renameSync(`${file}.new`, file);
}

async function pollForever(shop) {
  for (;;) {
    try {
      const since = state.marks[shop.url] ?? 0;
      const orders = await ordersSince(shop, since);
      if (orders.length > 0) {
        // Mark and numbers are saved together, so a crash neither skips an order nor takes it twice.
        state.marks[shop.url] = Math.max(...orders.map((order) => order.number));
        change(orders.flatMap((order) => order.lines.map(({ sku, quantity }) => ({ sku, delta: -quantity }))));
      }
    } catch {
      // The shop does not answer; the next poll asks for the same again.
    }
    await sleep(POLL_MS);
  }
}

async function pushAllForever() {
  for (;;) {
    for (const shop of shops) enqueue({ shop, rows: Object.entries(state.stock), tries: 0 });
    while (queue.length + pushing > 0) await sleep(50);
    pushedAllAt = Date.now();
    await sleep(PUSH_ALL_MS);
  }
}

function enqueue(push) {
  queue.push(push);
  void drain();
}

async function drain() {
  while (pushing < PUSHES_AT_ONCE && queue.length > 0) {
    const push = queue.shift();
    pushing += 1;
    void send(push).finally(() => {
      pushing -= 1;
      void drain();
    });
  }
}

/** A failed push is repeated as it was, later, behind what came since; that is how job queues do it. */
async function send(push) {
  try {
    await setQuantities(push.shop, push.rows);
  } catch {
    if (push.tries + 1 >= TRIES) return; // the next push of all numbers will bring it
    await sleep(RETRY_MS * 2 ** push.tries);
    queue.push({ ...push, tries: push.tries + 1 });
  }
}

function setQuantities(shop, /** @type {[string, number][]} */ rows) {
  const shown = rows.map(([key, quantity]) => ({ key, quantity: Math.max(0, quantity) }));
  if (shop.kind === 'webhook') return callWebhook(shop, 'stock.set', { lines: shown });
  const update = shown.map(({ key, quantity }) => `${key}~${quantity}|`).join('');
  return callSeti(shop, { setifunction: 'qohreplace', count: String(shown.length), update });
}

async function ordersSince(shop, /** @type {number} */ since) {
  if (shop.kind === 'webhook') {
    const { orders } = await callWebhook(shop, 'orders.list', { since: String(since) });
    return orders.map(({ number, lines }) => ({
      number: Number(number),
      lines: lines.map(({ key, quantity }) => ({ sku: key, quantity })),
    }));
  }
  const xml = await callSeti(shop, {
    setifunction: 'downloadorders',
    lastorder: since === 0 ? 'All' : String(since),
    startnum: '1',
    batchsize: '100',
  });
  return [...xml.matchAll(/<Order>(.*?)<\/Order>/gs)].map(([, order = '']) => ({
    number: Number(tagOf(order, 'OrderNumber')),
    lines: [...order.matchAll(/<Product>(.*?)<\/Product>/gs)].map(([, line = '']) => ({
      sku: tagOf(line, 'SKU'),
      quantity: Number(tagOf(line, 'Quantity')),
    })),
  }));
}

function tagOf(/** @type {string} */ xml, /** @type {string} */ tag) {
  const text = new RegExp(`<${tag}>(.*?)</${tag}>`, 's').exec(xml)?.[1] ?? '';
  return text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
}

async function callSeti(shop, fields) {
  const body = new URLSearchParams({
    setiuser: shop.user,
    password: shop.secret,
    code: '',
    omversion: '5.000',
    ...fields,
  });
  return textOf(await fetch(shop.url, { method: 'POST', body, signal: AbortSignal.timeout(CALL_TIMEOUT_MS) }));
}

async function callWebhook(shop, type, data) {
  const id = `msg_${randomUUID()}`;
  const timestamp = String(Math.floor(Date.now() / 1000));
  const body = JSON.stringify({ type, timestamp: new Date().toISOString(), data });
  const key = Buffer.from(shop.secret.replace(/^whsec_/, ''), 'base64');
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  const headers = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${signature}`,
  };
  return JSON.parse(
    await textOf(
      await fetch(shop.url, { method: 'POST', headers, body, signal: AbortSignal.timeout(CALL_TIMEOUT_MS) }),
    ),
  );
}

async function textOf(/** @type {Response} */ response) {
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status} ${text}`);
  return text;
}
