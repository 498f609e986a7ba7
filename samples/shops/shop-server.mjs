// What both sample shops share: the till (buy, cancel, ship), the shop window, the readings for tests, and the fault
// switches. Only the path that the hub calls differs; each shop hands it in as `protocol`.

import http from 'node:http';
import { parseArgs } from 'node:util';

import { shopPage } from './shop-page.mjs';
import { ShopStore } from './shop-store.mjs';

/**
 * Faults of the hub's path. A number counts down one per call, `true` stays until it is switched off.
 * They hit calls that change stock; `scope: 'all'` makes them hit every call. `refuse` always hits every call.
 */
const NO_FAULTS = {
  scope: /** @type {'writes'|'all'} */ ('writes'),
  /** ms to wait before anything is changed */ delayBeforeMs: 0,
  /** ms to wait after the change, before the answer */ delayAfterMs: 0,
  /** answer 503 and change nothing */ refuse: /** @type {number|boolean} */ (0),
  /** answer 429 and change nothing */ throttle: /** @type {number|boolean} */ (0),
  retryAfterSeconds: 1,
  /** cut the connection and change nothing */ dropBeforeApply: /** @type {number|boolean} */ (0),
  /** change, then cut the connection */ dropAfterApply: /** @type {number|boolean} */ (0),
  /** change, then answer 500 */ failAfterApply: /** @type {number|boolean} */ (0),
  /** keys that this shop claims not to know */ unknownKeys: /** @type {string[]} */ ([]),
  /** keys whose stock this shop does not track */ untrackedKeys: /** @type {string[]} */ ([]),
  /** a quantity never goes below zero */ clampAtZero: false,
  /** say that it was changed, with the quantity there is, and change nothing */
  okButIgnored: /** @type {number|boolean} */ (0),
  /** tell no orders to whoever asks for them */ ordersHidden: false,
  /** webhook: no idempotency key is remembered; a repetition is a new call */ forgetKeys: false,
  /** SETI: an unknown item is answered OK with a note */ okButNotFound: false,
  /** SETI: `invupdate` sets instead of adding, as some scripts do */ updateSets: false,
};

/** @typedef {typeof NO_FAULTS} Faults */
/** @typedef {{status: number, headers?: Record<string, string>, body: string}} Answer */
/**
 * @typedef {object} Shop
 * @property {string} name
 * @property {ShopStore} store
 * @property {Faults} faults
 * @property {Record<string, string>} options
 * @property {number} writes writing calls under way
 * @property {number} writesAtOnceMax the most of them at any moment
 */
/**
 * @typedef {object} Protocol
 * @property {string} path what the hub calls
 * @property {boolean} restocksOnCancel
 * @property {(shop: Shop, request: http.IncomingMessage, body: Buffer) => boolean} writes whether this call may change stock
 * @property {(shop: Shop, request: http.IncomingMessage, body: Buffer) => Promise<Answer>} serve
 * @property {(shop: Shop) => void} [started]
 * @property {(shop: Shop) => void} [orderChanged]
 */

const BODY_BYTES_MAX = 32 * 1024 * 1024;

/** Reads the command line, opens the stock and listens; prints one line of JSON when ready. */
export function startShop(
  /** @type {Protocol} */ protocol,
  /** @type {Record<string, string>} */ defaults,
  /** @type {(dir: string) => any} */ openStore = (dir) => new ShopStore(dir),
) {
  const { values } = parseArgs({
    options: Object.fromEntries(
      ['port', 'host', 'dir', 'name', ...Object.keys(defaults)].map((name) => [
        name,
        { type: /** @type {const} */ ('string') },
      ]),
    ),
  });
  const options = /** @type {Record<string, string>} */ ({ ...defaults, ...values });
  const host = options.host ?? '127.0.0.1';
  /** @type {Shop} */
  const shop = {
    name: options.name ?? 'Sample shop',
    store: openStore(options.dir ?? '.'),
    faults: structuredClone(NO_FAULTS),
    options,
    writes: 0,
    writesAtOnceMax: 0,
  };

  const server = http.createServer((request, response) => {
    answer(protocol, shop, request, response).catch((error) => {
      const status = error instanceof RangeError || error instanceof SyntaxError ? 400 : 500;
      if (!response.headersSent && !response.destroyed)
        send(response, json({ error: String(error.message ?? error) }, status));
    });
  });
  server.keepAliveTimeout = 15_000;
  shop.store.onChanges = (changes) => tellParent({ changes });
  server.listen(Number(options.port ?? 0), host, () => {
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : options.port;
    process.stdout.write(`${JSON.stringify({ listening: `http://${host}:${port}` })}\n`);
    protocol.started?.(shop);
  });

  const stop = () => {
    server.close(() => shop.store.close().then(() => process.exit(0)));
    server.closeAllConnections();
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  // Whoever forked us is gone: a shop without its owner closes.
  process.once('disconnect', stop);
}

/**
 * A parent that forked us hears of every change of stock, and of each writing call of the hub: when it arrived, when it
 * was carried out, and when its answer was handed to the network. Without such a parent nobody is told.
 */
function tellParent(/** @type {object} */ message) {
  if (process.connected) process.send?.(message, () => undefined);
}

let calls = 0;

async function answer(
  /** @type {Protocol} */ protocol,
  /** @type {Shop} */ shop,
  /** @type {http.IncomingMessage} */ request,
  /** @type {http.ServerResponse} */ response,
) {
  const body = await readBody(request);
  const { pathname } = new URL(request.url ?? '/', 'http://shop');
  if (pathname === protocol.path) return answerHub(protocol, shop, request, body, response);
  const route = `${request.method} ${pathname}`;
  if (route === 'GET /') return send(response, shopPage(shop.name));
  if (route === 'GET /healthz') return send(response, json({ status: 'ok' }));
  if (route === 'GET /stock') return send(response, json({ name: shop.name, items: await readings(shop).items() }));
  if (route === 'GET /orders') return send(response, json({ orders: await readings(shop).orders() }));
  if (route === 'GET /journal')
    return send(
      response,
      json({
        journal: await readings(shop).journal(),
        outbox: shop.store.outboxSize(),
        writesAtOnceMax: shop.writesAtOnceMax,
      }),
    );
  if (route === 'GET /faults') return send(response, json(shop.faults));
  if (request.method === 'POST') return send(response, await answerTill(protocol, shop, pathname, request, body));
  return send(response, json({ error: 'not found' }, 404));
}

/** What a shop shows: its store knows at once, one whose till runs elsewhere has to ask. */
function readings(/** @type {Shop} */ shop) {
  return /** @type {import('./till-store.mjs').TillStore} */ (/** @type {unknown} */ (shop.store));
}

/** The shop's own side: what a customer, the shop's owner or a test does. JSON only, so no other web page can post here. */
async function answerTill(
  /** @type {Protocol} */ protocol,
  /** @type {Shop} */ shop,
  /** @type {string} */ pathname,
  /** @type {http.IncomingMessage} */ request,
  /** @type {Buffer} */ body,
) {
  if (!String(request.headers['content-type']).startsWith('application/json'))
    return json({ error: 'send application/json' }, 415);
  const data = JSON.parse(body.toString('utf8') || '{}');
  switch (pathname) {
    case '/buy':
      return buy(protocol, shop, data);
    case '/cancel':
    case '/ship': {
      const state = pathname === '/cancel' ? 'cancelled' : 'shipped';
      const order = await shop.store.moveOrder(String(data.number), state, protocol.restocksOnCancel);
      if (!order) return json({ error: `no order ${data.number}` }, 404);
      protocol.orderChanged?.(shop);
      return json({ order });
    }
    case '/load': {
      const items = /** @type {import('./shop-store.mjs').Item[]} */ (data.items ?? []);
      await shop.store.load(items);
      return json({ loaded: items.length });
    }
    case '/hub':
      await shop.store.append({ hubUrl: String(data.url) });
      protocol.orderChanged?.(shop);
      return json({ hub: shop.store.hubUrl });
    case '/faults': {
      const unknown = Object.keys(data).filter((name) => !(name in NO_FAULTS));
      if (unknown.length > 0) return json({ error: `unknown faults: ${unknown.join(', ')}` }, 400);
      shop.faults = { ...structuredClone(NO_FAULTS), ...data };
      return json(shop.faults);
    }
    default:
      return json({ error: 'not found' }, 404);
  }
}

async function buy(/** @type {Protocol} */ protocol, /** @type {Shop} */ shop, /** @type {any} */ data) {
  const lines = /** @type {{key: string, quantity: number}[]} */ (
    data.lines ?? [{ key: data.key, quantity: data.quantity ?? 1 }]
  );
  for (const { key, quantity } of lines) {
    if (!Number.isSafeInteger(quantity) || quantity < 1)
      return json({ error: 'quantity must be a whole number above zero' }, 400);
    const item = await readings(shop).item(key);
    if (!item) return json({ error: `unknown item ${key}` }, 404);
    const wanted = lines.filter((line) => line.key === key).reduce((sum, line) => sum + line.quantity, 0);
    if (item.quantity < wanted && data.backorder !== true) return json({ error: 'sold out', left: item.quantity }, 409);
  }
  const order = await shop.store.sell(lines, data.waitFor ? { waitFor: data.waitFor } : {});
  protocol.orderChanged?.(shop);
  return json({ order, items: await Promise.all(lines.map(({ key }) => readings(shop).item(key))) }, 201);
}

/** Counts the writing calls that the shop is working on, from their arrival to their end, whoever still waits for them. */
async function answerHub(
  /** @type {Protocol} */ protocol,
  /** @type {Shop} */ shop,
  /** @type {http.IncomingMessage} */ request,
  /** @type {Buffer} */ body,
  /** @type {http.ServerResponse} */ response,
) {
  if (!protocol.writes(shop, request, body)) return serveHub(protocol, shop, request, body, response);
  shop.writes += 1;
  shop.writesAtOnceMax = Math.max(shop.writesAtOnceMax, shop.writes);
  try {
    await serveHub(protocol, shop, request, body, response);
  } finally {
    shop.writes -= 1;
  }
}

/** Serves one call of the hub, with the faults that are switched on. */
async function serveHub(
  /** @type {Protocol} */ protocol,
  /** @type {Shop} */ shop,
  /** @type {http.IncomingMessage} */ request,
  /** @type {Buffer} */ body,
  /** @type {http.ServerResponse} */ response,
) {
  const writes = protocol.writes(shop, request, body);
  const hit = shop.faults.scope === 'all' || writes;
  if (spend(shop.faults, 'refuse')) return send(response, { status: 503, body: 'closed for maintenance\n' });
  if (hit && spend(shop.faults, 'throttle')) {
    return send(response, {
      status: 429,
      headers: { 'retry-after': String(shop.faults.retryAfterSeconds) },
      body: 'slow down\n',
    });
  }
  const call = writes ? ++calls : 0;
  if (writes) tellParent({ call, moment: 'arrived' });
  if (hit && shop.faults.delayBeforeMs > 0) await delay(shop.faults.delayBeforeMs);
  if (hit && spend(shop.faults, 'dropBeforeApply')) return response.destroy();
  const result = await protocol.serve(shop, request, body);
  if (writes) tellParent({ call, moment: 'applied' });
  if (hit && shop.faults.delayAfterMs > 0) await delay(shop.faults.delayAfterMs);
  if (hit && spend(shop.faults, 'dropAfterApply')) return response.destroy();
  if (hit && spend(shop.faults, 'failAfterApply'))
    return send(response, { status: 500, body: 'internal server error\n' });
  send(response, result);
  if (writes) tellParent({ call, moment: 'answered' });
}

/** Whether a counted fault strikes now; takes one off its count. */
export function spend(
  /** @type {Faults} */ faults,
  /** @type {'refuse'|'throttle'|'dropBeforeApply'|'dropAfterApply'|'failAfterApply'|'okButIgnored'} */ name,
) {
  const left = faults[name];
  if (typeof left === 'boolean') return left;
  if (left <= 0) return false;
  faults[name] = left - 1;
  return true;
}

/** @returns {Promise<Buffer>} */
async function readBody(/** @type {http.IncomingMessage} */ request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > BODY_BYTES_MAX) throw new RangeError('request too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** @returns {Answer} */
export function json(/** @type {unknown} */ value, status = 200) {
  return { status, headers: { 'content-type': 'application/json; charset=utf-8' }, body: JSON.stringify(value) };
}

function send(/** @type {http.ServerResponse} */ response, /** @type {Answer} */ { status, headers, body }) {
  const bytes = Buffer.from(body, 'utf8');
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': bytes.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  });
  response.end(bytes);
}

export const delay = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));
