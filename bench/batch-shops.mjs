/**
 * Several shops in one process that take our signed webhooks in batches and keep their stock in memory: as little as a
 * shop can do that checks signatures and remembers idempotency keys, so that what is measured is the hub.
 *
 *   POST /shops/N      the shop's webhook (ping, stock.read, stock.adjust, stock.set, orders.list)
 *   POST /load         {"shops": 10, "keys": ["A", …], "journal": false}: every shop with every key at zero;
 *                      with "start": 5 every shop knows any key it is asked about, at five until it is told otherwise
 *   GET  /totals       per shop: the sum of its quantities, calls and lines it took
 *   GET  /stock?shop=N its quantities by key
 *   GET  /journal      per shop: every line it took since the last time it was asked, [key, delta, when it came]
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

const secret = Buffer.from(process.env.SHOP_SECRET.replace(/^whsec_/, ''), 'base64');
let shops = [];
let journaling = false;
/** What a shop shows of a key that it has not met: null where it knows only those it was given. */
let startOfAny = null;

const server = createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const { status, body } = answer(request, Buffer.concat(chunks));
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(body);
  });
});

function answer(request, body) {
  const url = new URL(request.url, 'http://shop');
  const ok = (value) => ({ status: 200, body: JSON.stringify(value) });
  if (url.pathname === '/totals')
    return ok(
      shops.map(({ stock, calls, lines }) => ({ sum: [...stock.values()].reduce((a, b) => a + b, 0), calls, lines })),
    );
  if (url.pathname === '/stock') return ok(Object.fromEntries(shops[Number(url.searchParams.get('shop'))].stock));
  if (url.pathname === '/journal') return ok(shops.map((shop) => shop.journal.splice(0)));
  if (url.pathname === '/load') {
    const { shops: count, keys = [], journal = false, start = null } = JSON.parse(body);
    journaling = journal;
    startOfAny = start;
    shops = Array.from({ length: count }, () => ({
      stock: new Map(keys.map((key) => [key, 0])),
      answers: new Map(),
      journal: [],
      calls: 0,
      lines: 0,
    }));
    return ok({});
  }
  const shop = shops[Number(/^\/shops\/(\d+)$/.exec(url.pathname)?.[1])];
  if (shop === undefined) return { status: 404, body: '{}' };
  if (!signed(request.headers, body)) return { status: 401, body: '{}' };
  return serve(shop, request.headers['webhook-id'], body);
}

function signed(headers, body) {
  const id = headers['webhook-id'];
  const time = headers['webhook-timestamp'];
  const made = createHmac('sha256', secret).update(`${id}.${time}.`).update(body).digest();
  const given = Buffer.from(String(headers['webhook-signature']).replace(/^v1,/, ''), 'base64');
  return made.length === given.length && timingSafeEqual(made, given);
}

function serve(shop, id, body) {
  const { type, data } = JSON.parse(body);
  const ok = (value) => ({ status: 200, body: JSON.stringify(value) });
  if (type === 'ping') return ok({ version: '1' });
  if (type === 'orders.list') return ok({ orders: [], mark: '0' });
  if (type === 'stock.read') {
    const keys = data.keys ?? [...shop.stock.keys()].slice(Number(data.cursor ?? 0), Number(data.cursor ?? 0) + 1_000);
    const next = data.keys === null && keys.length === 1_000 ? String(Number(data.cursor ?? 0) + 1_000) : null;
    return ok({ rows: keys.map((key) => ({ key, quantity: shop.stock.get(key) ?? startOfAny })), nextCursor: next });
  }
  const now = Date.now();
  const hash = createHash('sha256').update(body).digest('base64');
  const known = shop.answers.get(id);
  if (known !== undefined) return known.hash === hash ? known.answer : { status: 409, body: '{}' };
  const lines = data.lines.map(({ key, delta, quantity }) => {
    const before = shop.stock.get(key) ?? startOfAny;
    if (before === null) return { key, status: 'not-found', quantity: null };
    shop.stock.set(key, type === 'stock.set' ? quantity : before + delta);
    if (journaling) shop.journal.push([key, shop.stock.get(key) - before, now]);
    return { key, status: 'applied', quantity: shop.stock.get(key) };
  });
  shop.calls += 1;
  shop.lines += lines.length;
  const given = ok({ lines });
  shop.answers.set(id, { hash, answer: given });
  return given;
}

server.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ listening: `http://127.0.0.1:${server.address().port}` }));
});
process.on('SIGTERM', () => {
  server.closeAllConnections();
  server.close();
});
