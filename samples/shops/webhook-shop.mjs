// A sample shop that takes signed webhooks at /onhand and tells the hub of its own orders in the same way.
//
//   node samples/shops/webhook-shop.mjs --port 0 --dir DIR --name "Shop B" --secret whsec_… [--hub URL]
//
// The secret may come from SHOP_SECRET instead; the hub's address may also be given later by POST /hub {url}.
// An idempotency key, its answer and the change of stock are one durable write, so a resend can never double a change.

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

import { delay, json, spend, startShop } from './shop-server.mjs';

/** @typedef {import('./shop-server.mjs').Shop} Shop */
/** @typedef {import('./shop-server.mjs').Answer} Answer */

const VERSION = '1.0';
const TOLERANCE_S = 300;
const READ_PAGE_ROWS = 500;
const ORDER_PAGE_ROWS = 100;
const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 5_000;
const HUB_TIMEOUT_MS = 10_000;

startShop(
  {
    path: '/onhand',
    restocksOnCancel: true,
    writes: (_shop, _request, body) =>
      /^\{"type":"stock\.(adjust|set|visibility)"/.test(body.subarray(0, 40).toString('utf8')),
    serve,
    started: (shop) => {
      if (shop.options.hub !== '' && shop.options.hub !== shop.store.hubUrl)
        void shop.store.append({ hubUrl: shop.options.hub });
      sendOrders(shop);
    },
    orderChanged: sendOrders,
  },
  { secret: process.env.SHOP_SECRET ?? 'whsec_c2FtcGxlLXNob3Atc2VjcmV0LTMyLWJ5dGVzLWxvbmc=', hub: '' },
);

async function serve(
  /** @type {Shop} */ shop,
  /** @type {import('node:http').IncomingMessage} */ request,
  /** @type {Buffer} */ body,
) {
  if (request.method !== 'POST') return json({ error: 'use POST' }, 405);
  if (!signatureFits(request, body, shop.options.secret)) return json({ error: 'signature does not fit' }, 401);
  let call;
  try {
    call = JSON.parse(body.toString('utf8'));
  } catch {
    return json({ error: 'not JSON' }, 400);
  }
  const id = String(request.headers['webhook-id']);
  switch (call.type) {
    case 'ping':
      return json({ version: VERSION });
    case 'stock.read':
      return readStock(shop, call.data);
    case 'orders.list':
      return listOrders(shop, call.data);
    case 'stock.adjust':
    case 'stock.set':
      return once(shop, id, body, () => changeStock(shop, call, id));
    case 'stock.visibility':
      return once(shop, id, body, () => changeVisibility(shop, call));
    default:
      return json({ error: `unknown type ${call.type}` }, 422);
  }
}

/** Same key and same body: the stored answer. Same key, other body: a conflict. */
async function once(
  /** @type {Shop} */ shop,
  /** @type {string} */ id,
  /** @type {Buffer} */ body,
  /** @type {() => {changes?: any[], visibility?: Record<string, any>, answer: Answer}} */ make,
) {
  const bodyHash = createHash('sha256').update(body).digest('hex');
  const stored = shop.faults.forgetKeys ? undefined : shop.store.answer(id);
  if (stored && stored.bodyHash !== bodyHash) return json({ error: 'this key was used for another body' }, 409);
  if (stored) return { ...json(null), status: stored.status, body: stored.body };
  const { answer, ...entry } = make();
  await shop.store.append({ ...entry, answer: { id, bodyHash, status: answer.status, body: answer.body } });
  return answer;
}

function changeStock(/** @type {Shop} */ shop, /** @type {any} */ call, /** @type {string} */ id) {
  const sets = call.type === 'stock.set';
  /** @type {any[]} */
  const changes = [];
  /** @type {any[]} */
  const lines = [];
  const now = new Map();
  const ignored = spend(shop.faults, 'okButIgnored');
  for (const line of call.data.lines) {
    const item = shop.faults.unknownKeys.includes(line.key) ? undefined : shop.store.item(line.key);
    const value = sets ? line.quantity : line.delta;
    if (!item) lines.push({ key: line.key, status: 'not-found', quantity: null });
    else if (shop.faults.untrackedKeys.includes(line.key))
      lines.push({ key: line.key, status: 'not-tracked', quantity: null });
    else if (line.from !== undefined && line.from !== (now.get(line.key) ?? item.quantity))
      lines.push({ key: line.key, status: 'stale', quantity: now.get(line.key) ?? item.quantity });
    else if (!Number.isSafeInteger(value))
      lines.push({ key: line.key, status: 'rejected', quantity: item.quantity, message: 'not a whole number' });
    else if (ignored) lines.push({ key: line.key, status: 'applied', quantity: item.quantity });
    else {
      const before = now.get(line.key) ?? item.quantity;
      const after = sets ? value : before + value;
      const quantity = shop.faults.clampAtZero ? Math.max(0, after) : after;
      now.set(line.key, quantity);
      changes.push({
        at: new Date().toISOString(),
        kind: sets ? 'set' : 'delta',
        key: line.key,
        delta: quantity - before,
        quantity,
        id,
      });
      lines.push({ key: line.key, status: 'applied', quantity });
    }
  }
  return { changes, answer: json({ lines }) };
}

function changeVisibility(/** @type {Shop} */ shop, /** @type {any} */ call) {
  /** @type {Record<string, 'shown'|'hidden'|'backorder'>} */
  const visibility = {};
  const lines = call.data.lines.map((/** @type {any} */ { key, visibility: wanted }) => {
    const item = shop.faults.unknownKeys.includes(key) ? undefined : shop.store.item(key);
    if (!item) return { key, status: 'not-found', quantity: null };
    if (!['shown', 'hidden', 'backorder'].includes(wanted))
      return { key, status: 'rejected', quantity: item.quantity, message: 'shown, hidden or backorder' };
    visibility[key] = wanted;
    return { key, status: 'applied', quantity: item.quantity };
  });
  return { visibility, answer: json({ lines }) };
}

function readStock(/** @type {Shop} */ shop, /** @type {any} */ { keys, cursor }) {
  const first = Number(cursor ?? 0);
  const wanted = keys
    ? keys.map((/** @type {string} */ key) => shop.store.item(key)).filter(Boolean)
    : shop.store.items();
  const rows = wanted.slice(first, first + READ_PAGE_ROWS).map((/** @type {any} */ { key, quantity }) => ({
    key,
    quantity: shop.faults.untrackedKeys.includes(key) ? null : quantity,
  }));
  return json({ rows, nextCursor: first + rows.length < wanted.length ? String(first + rows.length) : null });
}

function listOrders(/** @type {Shop} */ shop, /** @type {any} */ { since }) {
  const after = Number(since ?? 0);
  const orders = shop.store
    .orders()
    .filter(({ number }) => !shop.faults.ordersHidden && Number(number) > after)
    .slice(0, ORDER_PAGE_ROWS);
  return json({ orders, mark: orders.at(-1)?.number ?? since ?? '0' });
}

/** @type {WeakMap<Shop, Promise<void>>} one sender at a time, so the hub sees orders in their order */
const sending = new WeakMap();

function sendOrders(/** @type {Shop} */ shop) {
  if (sending.has(shop) || shop.store.hubUrl === '') return;
  const run = drainOutbox(shop).finally(() => {
    sending.delete(shop);
    if (shop.store.nextMessage()) sendOrders(shop);
  });
  sending.set(shop, run);
}

/** Sends what the hub has not confirmed, oldest first, and tries each again until it answers 2xx. */
async function drainOutbox(/** @type {Shop} */ shop) {
  let retryMs = RETRY_FIRST_MS;
  for (let next = shop.store.nextMessage(); next; next = shop.store.nextMessage()) {
    const [id, order] = next;
    const body = JSON.stringify({ type: 'order.updated', timestamp: order.placedAt, data: order });
    if (await delivered(shop, id, body)) {
      await shop.store.append({ outboxDone: id });
      retryMs = RETRY_FIRST_MS;
    } else {
      await delay(retryMs * (0.5 + Math.random() / 2));
      retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
    }
  }
}

async function delivered(/** @type {Shop} */ shop, /** @type {string} */ id, /** @type {string} */ body) {
  const timestamp = String(Math.floor(Date.now() / 1000));
  try {
    const response = await fetch(shop.store.hubUrl, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1,${sign(shop.options.secret, id, timestamp, Buffer.from(body)).toString('base64')}`,
      },
      body,
      redirect: 'manual',
      signal: AbortSignal.timeout(HUB_TIMEOUT_MS),
    });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

function signatureFits(
  /** @type {import('node:http').IncomingMessage} */ request,
  /** @type {Buffer} */ body,
  /** @type {string} */ secret,
) {
  const id = String(request.headers['webhook-id'] ?? '');
  const timestamp = String(request.headers['webhook-timestamp'] ?? '');
  if (id === '' || !(Math.abs(Date.now() / 1000 - Number(timestamp)) <= TOLERANCE_S)) return false;
  const expected = sign(secret, id, timestamp, body);
  return String(request.headers['webhook-signature'] ?? '')
    .split(' ')
    .some((entry) => {
      const given = Buffer.from(entry.startsWith('v1,') ? entry.slice(3) : '', 'base64');
      return given.length === expected.length && timingSafeEqual(given, expected);
    });
}

/** Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, keyed with the bytes after `whsec_`. */
function sign(
  /** @type {string} */ secret,
  /** @type {string} */ id,
  /** @type {string} */ timestamp,
  /** @type {Buffer} */ body,
) {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  return createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
}
