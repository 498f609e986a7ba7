import http from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { until } from '../support/until.js';
import { call, ownerKey, startHubUnderTest, type Answer, type HubUnderTest } from './hub-under-test.js';

/**
 * What careless and hostile callers send. Every case is answered with a problem whose sentence says what to do, and
 * afterwards nothing has changed: no table has a row more or less, and the hub is well.
 */
let hub: HubUnderTest;
let tables: string[];
const keys: Record<string, string> = {};

beforeAll(async () => {
  hub = await startHubUnderTest({ ONHAND_ALLOW_PRIVATE_CART_URLS: 'false' });
  await hub.call('POST', '/v1/locations', { location: 'main', name: 'Main' });
  await hub.call('POST', '/v1/locations', { location: 'shop', name: 'Shop' });
  await hub.call('POST', '/v1/items', { sku: 'MUG', title: 'Mug' });
  await hub.call('POST', '/v1/movements', { kind: 'received', sku: 'MUG', location: 'main', quantity: 10 });
  await hub.call('POST', '/v1/orders', { number: 'O-1', lines: [{ sku: 'MUG', location: 'main', quantity: 1 }] });
  await hub.call('POST', '/v1/transfers', {
    transfer: 'T-1',
    from: 'main',
    to: 'shop',
    lines: [{ sku: 'MUG', quantity: 1 }],
  });
  await hub.call('POST', '/v1/carts', cart);
  for (const scope of ['read', 'operate'])
    keys[scope] = (await hub.call('POST', '/v1/api-keys', { name: scope, scope })).body.key;
  keys['revoked'] = (await hub.call('POST', '/v1/api-keys', { name: 'revoked' })).body.key;
  keys['expired'] = (await hub.call('POST', '/v1/api-keys', { name: 'expired' })).body.key;
  await hub.database.pool.query(`UPDATE api_keys SET revoked_at = now() WHERE name = 'revoked'`);
  await hub.database.pool.query(`UPDATE api_keys SET expires_at = now() - interval '1 day' WHERE name = 'expired'`);
  await caughtUp();
  // The worker opens the cart's lane in its own time, and notes it.
  await until('the lane is open', async () => {
    const { rowCount } = await hub.database.pool.query(`SELECT FROM lane_workers WHERE cart_id = 'the-shop'`);
    return rowCount === 1;
  });
  const found = await hub.database.pool.query<{ name: string }>(
    `SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1`,
  );
  tables = found.rows.map(({ name }) => name);
});
afterAll(() => hub.close());

/** What was recorded shows in every table, so that the next case sees none of it happen. */
const caughtUp = async () => expect(await hub.hub.app.get(Projector).caughtUp(20_000)).toBe(true);

const cart = {
  id: 'the-shop',
  name: 'The shop',
  type: 'webhook',
  url: 'https://shop.example.com/hooks',
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  locations: ['main'],
};

const resetSource = { id: 'erp', includesOrders: 'all' };

interface Sent {
  readonly method?: string;
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  /** Without a key, or with another one. */
  readonly key?: string | null;
}
interface Expected {
  readonly status: number;
  readonly type: string;
  readonly words: RegExp;
  readonly field?: string | undefined;
}
type Row = readonly [what: string, sent: Sent, expected: Expected];

/** Rows per table. Workers and the projector write by themselves into none of these while nothing happens. */
async function rowsOfEveryTable(): Promise<Record<string, string>> {
  const counts = tables.map((name) => `(SELECT count(*) FROM "${name}") AS "${name}"`);
  const { rows } = await hub.database.pool.query<Record<string, string>>(`SELECT ${counts.join(', ')}`);
  return rows[0]!;
}

function ask({ method = 'GET', path, body, headers = {}, key = ownerKey }: Sent): Promise<Answer> {
  return call(hub.url + path, method, body, { ...(key !== null && { Authorization: `Bearer ${key}` }), ...headers });
}

function expectProblem(answer: Answer, { status, type, words, field }: Expected): void {
  expect(answer.body).toMatchObject({ type: expect.stringMatching(new RegExp(`[:#]${type}$`)), status });
  expect(answer.status).toBe(status);
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(answer.body.detail).toMatch(words);
  expect(answer.body.detail).toMatch(/[.…]$/);
  expect(JSON.stringify(answer.body)).not.toMatch(/node_modules|at .*\.[jt]s:\d|SELECT|drizzle|FST_|Zod/);
  if (field !== undefined) expect(answer.body.fields.map((entry: { field: string }) => entry.field)).toContain(field);
}

function refuses(rows: readonly Row[]): void {
  for (const [what, sent, expected] of rows) {
    it(what, async () => {
      const before = await rowsOfEveryTable();
      expectProblem(await ask(sent), expected);
      expect(await rowsOfEveryTable()).toEqual(before);
      expect((await ask({ path: '/v1/health/ready' })).status).toBe(200);
    });
  }
}

const invalid = (field: string | undefined, words: RegExp): Expected => ({
  status: 400,
  type: 'invalid-request',
  words,
  field,
});
const post = (path: string, body: unknown, headers?: Record<string, string>): Sent => ({
  method: 'POST',
  path,
  body,
  ...(headers !== undefined && { headers }),
});

const movement = { kind: 'received', sku: 'MUG', location: 'main', quantity: 1 };
const count = { sku: 'MUG', location: 'main', quantity: 1 };
const transfer = { transfer: 'T-9', from: 'main', to: 'shop', lines: [{ sku: 'MUG', quantity: 1 }] };
const order = { number: 'O-9', lines: [{ sku: 'MUG', location: 'main', quantity: 1 }] };

/** A SKU wherever one is sent: how to send it, and the field that is named. */
const skuPlaces: readonly [string, (value: unknown) => Sent, string][] = [
  ['a movement', (sku) => post('/v1/movements', { ...movement, sku }), 'sku'],
  ['a batch', (sku) => post('/v1/movements/batch', { movements: [movement, { ...movement, sku }] }), 'movements.1.sku'],
  ['a count', (sku) => post('/v1/counts', { ...count, sku }), 'sku'],
  ['a transfer', (sku) => post('/v1/transfers', { ...transfer, lines: [{ sku, quantity: 1 }] }), 'lines.0.sku'],
  ['an order', (sku) => post('/v1/orders', { ...order, lines: [{ ...order.lines[0], sku }] }), 'lines.0.sku'],
  ['an item', (sku) => post('/v1/items', { sku, title: 'x' }), 'sku'],
  ['a batch of items', (sku) => post('/v1/items/batch', { items: [{ sku, title: 'x' }] }), 'items.0.sku'],
  [
    'a mapping',
    (sku) => ({ method: 'PUT', path: '/v1/carts/the-shop/listings', body: { rows: [{ key: 'k', sku }] } }),
    'rows.0.sku',
  ],
];
const wrongTexts: readonly [string, unknown, RegExp][] = [
  ['empty', '', /must not be empty/],
  ['of 256 characters', 'x'.repeat(256), /at most 255 characters/],
  ['with a NUL byte', 'MUG\u0000', /printable/],
  ['with a control character', 'MU\u0007G', /printable/],
  ['with a line break', 'MUG\n', /printable/],
  ['with half of an emoji', '"MUG\\ud83d"', /printable/],
  ['that begins with a space', ' MUG', /begin or end with a space/],
  ['that ends with one', 'MUG\u00a0', /begin or end with a space/],
  ['that is only spaces', '   ', /begin or end with a space/],
  ['that is a number', 417, /expected string/],
  ['that is nothing', null, /expected string/],
  ['that is a list', ['MUG'], /expected string/],
  ['that is an object', { sku: 'MUG' }, /expected string/],
];

/** A lone surrogate cannot be written by JSON.stringify of fetch's body as it stands; it is put in as an escape. */
function withEscape({ body, ...sent }: Sent): Sent {
  return { ...sent, body: JSON.stringify(body).replaceAll(/"\\"MUG\\\\ud83d\\""/g, '"MUG\\ud83d"') };
}

describe('a SKU', () => {
  for (const [place, send, field] of skuPlaces)
    describe(`of ${place}`, () =>
      refuses(wrongTexts.map(([what, value, words]): Row => [what, withEscape(send(value)), invalid(field, words)])));

  describe('that nobody knows', () =>
    refuses(
      skuPlaces
        .filter(([place]) => !/batch|mapping|an item/.test(place))
        .map(([place, send]): Row => [
          `of ${place}`,
          send('NEVER-HEARD-OF'),
          { status: 404, type: 'unknown-item', words: /NEVER-HEARD-OF/ },
        ]),
    ));
});

const quantityPlaces: readonly [string, (value: string) => Sent, string][] = [
  ['a movement', (value) => raw('/v1/movements', { ...movement, quantity: '@' }, value), 'quantity'],
  [
    'a batch',
    (value) => raw('/v1/movements/batch', { movements: [{ ...movement, quantity: '@' }] }, value),
    'movements.0.quantity',
  ],
  [
    'an adjustment',
    (value) => raw('/v1/movements', { kind: 'adjusted', sku: 'MUG', location: 'main', delta: '@' }, value),
    'delta',
  ],
  ['a count', (value) => raw('/v1/counts', { ...count, quantity: '@' }, value), 'quantity'],
  [
    'a transfer',
    (value) => raw('/v1/transfers', { ...transfer, lines: [{ sku: 'MUG', quantity: '@' }] }, value),
    'lines.0.quantity',
  ],
  [
    'a receipt of a transfer',
    (value) => raw('/v1/transfers/T-1/receive', { lines: [{ sku: 'MUG', quantity: '@' }] }, value),
    'lines.0.quantity',
  ],
  [
    'an order',
    (value) => raw('/v1/orders', { ...order, lines: [{ ...order.lines[0], quantity: '@' }] }, value),
    'lines.0.quantity',
  ],
  [
    'a shipment',
    (value) => raw('/v1/orders/O-1/ship', { lines: [{ line: '1', quantity: '@' }] }, value),
    'lines.0.quantity',
  ],
];
/** JSON with a number written as it could not be written by JSON.stringify. */
const raw = (path: string, body: unknown, value: string): Sent =>
  post(path, JSON.stringify(body).replace('"@"', value));

const wrongQuantities: readonly [string, string, RegExp][] = [
  ['a half', '0.5', /expected int/],
  ['as text', '"1"', /expected (number|int)/],
  ['true', 'true', /expected (number|int)/],
  ['nothing', 'null', /expected (number|int)/],
  ['a list', '[1]', /expected (number|int)/],
  ['more than a billion', '1000000001', /1000000000/],
  ['2^53', '9007199254740992', /1000000000|safe|int/],
  ['1e400', '1e400', /expected (number|int)|1000000000/],
  ['less than minus a billion', '-1000000001', /must be|1000000000/],
];

describe('a quantity', () => {
  for (const [place, send, field] of quantityPlaces) {
    describe(`of ${place}`, () =>
      refuses([
        ...wrongQuantities.map(([what, value, words]): Row => [what, send(value), invalid(field, words)]),
        ['that is no number at all', send('NaN'), { status: 400, type: 'malformed-request', words: /not valid JSON/ }],
        ...(place === 'a count'
          ? []
          : [
              ['nothing', '0'],
              ['a negative nothing', '-0'],
            ].map(([what, value]): Row => [what!, send(value!), invalid(field, /must (be 1 or more|not be 0)/)])),
        ...(place === 'an adjustment' ? [] : [['negative', send('-1'), invalid(field, /must be [01] or more/)] as Row]),
      ]));
  }

  it('of a count that is a negative nothing is nothing', async () => {
    const answer = await ask(raw('/v1/counts', { ...count, location: 'shop', quantity: '@' }, '-0'));
    expect([answer.status, answer.body.facts[0]?.balance ?? 0]).toEqual([201, 0]);
    await caughtUp();
  });
});

const timePlaces: readonly [string, (value: unknown) => Sent, string][] = [
  ['a movement', (occurredAt) => post('/v1/movements', { ...movement, occurredAt }), 'occurredAt'],
  ['a count', (asOf) => post('/v1/counts', { ...count, asOf }), 'asOf'],
  ['a transfer', (occurredAt) => post('/v1/transfers', { ...transfer, occurredAt }), 'occurredAt'],
  ['an order', (placedAt) => post('/v1/orders', { ...order, placedAt }), 'placedAt'],
  ['a shipment', (occurredAt) => post('/v1/orders/O-1/ship', { occurredAt }), 'occurredAt'],
];
describe('a time', () => {
  for (const [place, send, field] of timePlaces) {
    describe(`of ${place}`, () =>
      refuses([
        ['before 1970', send('1969-12-31T23:59:59Z'), invalid(field, /since 1970/)],
        ['in the year nought', send('0000-01-01T00:00:00Z'), invalid(field, /since 1970/)],
        ['without an offset', send('2026-03-01T12:00:00'), invalid(field, /such as 2026-03-01T12:00:00Z/)],
        ['that is only a date', send('2026-03-01'), invalid(field, /such as/)],
        ['of a day that does not exist', send('2026-02-30T12:00:00Z'), invalid(field, /such as/)],
        ['that is a number', send(1_772_366_400), invalid(field, /expected string|such as/)],
        [
          'in the future',
          send('2999-01-01T00:00:00Z'),
          { status: 422, type: 'time-in-future', words: /five minutes after our clock/ },
        ],
      ]));
  }
  describe('of a question', () =>
    refuses([
      ['before 1970', { path: '/v1/items/MUG/on-hand?at=1969-01-01T00:00:00Z' }, invalid('at', /since 1970/)],
      ['in the year nought', { path: '/v1/items/MUG/on-hand?at=0000-01-01T00:00:00Z' }, invalid('at', /since 1970/)],
      [
        'why an order sold too much that is none',
        { path: '/v1/orders/NOPE/post-mortem' },
        { status: 404, type: 'unknown-order', words: /no order "NOPE"/ },
      ],
      ['why before 1970', { path: '/v1/items/MUG/explain?at=1969-01-01T00:00:00Z' }, invalid('at', /since 1970/)],
      ['why in the future', { path: '/v1/items/MUG/explain?at=2999-01-01T00:00:00Z' }, invalid('at', /in the future/)],
      ['why at no time', { path: '/v1/items/MUG/explain?at=noon' }, invalid('at', /such as/)],
      ['why too much', { path: '/v1/items/MUG/explain?movements=201' }, invalid('movements', /200/)],
      ['why in words of ours', { path: '/v1/items/MUG/explain?sku=MUG' }, invalid('', /sku/)],
      [
        'why an item that is none',
        { path: '/v1/items/NOPE/explain' },
        { status: 404, type: 'unknown-item', words: /no item "NOPE"/ },
      ],
      [
        'why at a cart that does not sell it',
        { path: '/v1/items/MUG/explain?cart=the-shop' },
        { status: 404, type: 'unknown-listing', words: /has no listing of "MUG"/ },
      ],
    ]));
});

const lists = [
  '/v1/items',
  '/v1/items/MUG/ledger',
  '/v1/locations',
  '/v1/orders',
  '/v1/carts',
  '/v1/carts/the-shop/listings',
  '/v1/web-stack',
  '/v1/dead-letters',
  '/v1/quarantined',
  '/v1/drifts',
  '/v1/pushes',
  '/v1/qoh-runs',
  '/v1/imports',
  '/v1/refused-flags',
  '/v1/reset-sources',
  '/v1/reset-files',
  '/v1/count-sessions',
];
const cursorOf = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('a page', () => {
  for (const list of lists) {
    describe(`of ${list}`, () =>
      refuses([
        ...['0', '-1', '1000000000', '1.5', 'many', 'NaN', ''].map((limit): Row => [
          `limit=${limit}`,
          { path: `${list}?limit=${limit}` },
          invalid('limit', /limit/),
        ]),
        ['two limits', { path: `${list}?limit=1&limit=2` }, invalid('limit', /limit/)],
        ['an unknown parameter', { path: `${list}?limt=1` }, invalid(undefined, /limt/)],
        ...[
          'x',
          '%00',
          cursorOf(null),
          cursorOf({}),
          cursorOf([]),
          cursorOf(['a\u0000', 'a\u0000', 'a\u0000']),
          cursorOf(['a\u0000']),
          cursorOf(['a\u0000', 'a\u0000']),
          cursorOf(['0000-01-01T00:00:00Z', 'a', 'b']),
          cursorOf([1e300, '1', '1']),
          cursorOf({ __proto__: ['a'], constructor: 1 }),
          'W'.repeat(1_999),
        ].map((cursor): Row => [
          `the cursor ${cursor.slice(0, 40)}`,
          { path: `${list}?cursor=${cursor}` },
          { status: 400, type: 'invalid-cursor', words: /nextCursor/, field: 'cursor' },
        ]),
        ['a cursor without end', { path: `${list}?cursor=${'W'.repeat(2_001)}` }, invalid('cursor', /2000/)],
      ]));
  }
});

describe('a body', () => {
  const malformed = { status: 400, type: 'malformed-request', words: /not valid JSON/ };
  const unsupported = { status: 415, type: 'unsupported-media-type', words: /JSON|compressed|file itself/ };
  const routes = ['/v1/movements', '/v1/movements/batch', '/v1/counts', '/v1/transfers', '/v1/orders', '/v1/items', '/v1/locations', '/v1/carts', '/v1/api-keys', '/v1/dead-letters/redrive', '/v1/quarantined/resolve', '/v1/drifts/1/resolve', '/v1/pushes/decide', '/v1/carts/the-shop/comparison', '/v1/qoh-runs']; // prettier-ignore
  for (const path of routes) {
    describe(`of ${path}`, () =>
      refuses([
        ['that ends in the middle', post(path, '{"sku":'), malformed],
        ['that is no JSON', post(path, "{'sku': 1}"), malformed],
        ['with a trailing comma', post(path, '{"sku":"MUG",}'), malformed],
        ['that hides a prototype', post(path, '{"__proto__":{"admin":true}}'), malformed],
        ['that hides a constructor', post(path, '{"constructor":{"prototype":{"admin":true}}}'), malformed],
        ['that is a list', post(path, '[]'), invalid(undefined, /expected object/)],
        ['that is a text', post(path, '"MUG"'), invalid(undefined, /expected object/)],
        ['that is null', post(path, 'null'), invalid(undefined, /expected object/)],
        [
          'that is deep',
          post(path, `${'['.repeat(100_000)}${']'.repeat(100_000)}`),
          invalid(undefined, /expected object/),
        ],
        ['that is deep and never ends', post(path, '{"a":'.repeat(100_000)), malformed],
        ['that is empty', { method: 'POST', path }, invalid(undefined, /expected/)],
        ['with an unknown field', post(path, { colour: 'red' }), invalid(undefined, /colour|expected|Invalid/)],
        ['called text', post(path, 'x', { 'Content-Type': 'text/plain' }), unsupported],
        ['called XML', post(path, '<a/>', { 'Content-Type': 'application/xml' }), unsupported],
        ['called CSV', post(path, 'a,b', { 'Content-Type': 'text/csv' }), unsupported],
        ['called a form', post(path, 'a=1', { 'Content-Type': 'application/x-www-form-urlencoded' }), unsupported],
        ['called an upload', post(path, 'x', { 'Content-Type': 'multipart/form-data; boundary=x' }), unsupported],
        ['called nonsense', post(path, '{}', { 'Content-Type': 'nonsense' }), unsupported],
        ['said to be compressed', post(path, '{}', { 'Content-Encoding': 'gzip' }), unsupported],
        [
          'of eleven megabytes',
          post(path, `{"x":"${'x'.repeat(11 * 1024 * 1024)}"}`),
          { status: 413, type: 'too-large', words: /smaller parts/ },
        ],
      ]));
  }
  refuses([
    [
      'an unknown field of a movement is named',
      post('/v1/movements', { ...movement, quantitiy: 2 }),
      invalid(undefined, /quantitiy/),
    ],
    [
      'and inside a line',
      post('/v1/orders', { ...order, lines: [{ ...order.lines[0], colour: 'red' }] }),
      invalid('lines.0', /colour/),
    ],
    ['a batch of nothing', post('/v1/movements/batch', { movements: [] }), invalid('movements', />=1|at least/i)],
    [
      'a batch of 1,001',
      post('/v1/movements/batch', { movements: Array.from({ length: 1_001 }, () => movement) }),
      invalid('movements', /1000/),
    ],
    [
      'ten megabytes for a batch',
      post('/v1/movements/batch', { movements: 'x'.repeat(10 * 1024 * 1024) }),
      { status: 413, type: 'too-large', words: /10 MB/ },
    ],
  ]);

  it('that names a field twice counts the last, as JSON parsers do', async () => {
    const answer = await ask(
      post('/v1/movements', '{"quantity":5,"kind":"received","sku":"MUG","location":"main","quantity":2}'),
    );
    expect(answer.body.facts[0].delta).toBe(2);
    await caughtUp();
  });
});

describe('texts beside SKUs', () => {
  const nul = 'a\u0000b';
  refuses([
    ['the title of an item', post('/v1/items', { sku: 'N', title: nul }), invalid('title', /printable/)],
    ['a barcode', post('/v1/items', { sku: 'N', title: 'x', barcode: nul }), invalid('barcode', /printable/)],
    ['a location', post('/v1/locations', { location: 'a/b', name: 'x' }), invalid('location', /must not contain/)],
    ['a reason', post('/v1/movements', { ...movement, reason: nul }), invalid('reason', /printable/)],
    ['a reference', post('/v1/movements', { ...movement, reference: { kind: 'order', number: nul } }), invalid('reference.number', /printable/)],
    ['a source', post('/v1/movements', { ...movement, source: 'file:' }), invalid('source', /direct, phone/)],
    ['a source with a NUL byte', post('/v1/movements', { ...movement, source: `file:${nul}` }), invalid('source', /printable/)],
    ['a row’s idempotency key', post('/v1/movements/batch', { movements: [{ ...movement, idempotencyKey: nul }] }), invalid('movements.0.idempotencyKey', /printable/)],
    ['an order’s number', post('/v1/orders', { ...order, number: nul }), invalid('number', /printable/)],
    ['an order’s line', post('/v1/orders', { ...order, lines: [{ ...order.lines[0], line: nul }] }), invalid('lines.0.line', /printable/)],
    ['a cart order’s key', post('/v1/orders', { number: 'O-9', cartId: 'the-shop', lines: [{ key: nul, quantity: 1 }] }), invalid('lines.0.key', /printable/)],
    ['a cart order’s title', post('/v1/orders', { number: 'O-9', cartId: 'the-shop', lines: [{ key: 'k', title: nul, quantity: 1 }] }), invalid('lines.0.title', /printable/)],
    ['a transfer’s number', post('/v1/transfers', { ...transfer, transfer: nul }), invalid('transfer', /printable/)],
    ['a line to ship', post('/v1/orders/O-1/ship', { lines: [{ line: nul, quantity: 1 }] }), invalid('lines.0.line', /printable/)],
    ['a key’s name', post('/v1/api-keys', { name: nul }), invalid('name', /printable/)],
    ['a pause’s reason', post('/v1/carts/the-shop/pause', { reason: nul }), invalid('reason', /printable/)],
    ['a search', { path: '/v1/search?q=a%00' }, invalid('q', /printable/)],
    ['an empty search', { path: '/v1/search?q=%20' }, invalid('q', /empty/)],
    ['a prefix', { path: '/v1/items?prefix=a%00' }, invalid('prefix', /printable/)],
    ['a mapping’s key', { method: 'PUT', path: '/v1/carts/the-shop/listings', body: { rows: [{ key: nul, sku: 'MUG' }] } }, invalid('rows.0.key', /printable/)],
    ['an idempotency key without end', post('/v1/movements', movement, { 'Idempotency-Key': 'x'.repeat(201) }), invalid('Idempotency-Key', /200 characters/)],
    ['an expected version that is none', post('/v1/movements', movement, { 'If-Match': 'latest' }), invalid('If-Match', /such as "7"/)],
    ['a scope that does not exist', post('/v1/api-keys', { name: 'x', scope: 'root' }), invalid('scope', /admin/)],
    ['a record that is no number', { path: '/v1/web-stack/abc' }, invalid('record', /record/)],
    ['an import that is no id', { path: '/v1/imports/abc' }, invalid('id', /id of an import/)],
    ['another code of a place', post('/v1/locations', { location: 'x', name: 'x', otherCodes: [nul] }), invalid('otherCodes.0', /printable/)],
    ['no change of a place', { method: 'PATCH', path: '/v1/locations/main', body: {} }, invalid(undefined, /at least one field/)],
    ['a number at Shopify', post('/v1/items', { sku: 'X', title: 'X', shopifyProductId: nul }), invalid('shopifyProductId', /printable/)],
    ['seconds without end', { path: '/v1/point-of-sale/repeats?withinSeconds=9999' }, invalid('withinSeconds', /3600/)],
    ['a till’s facility', post('/api/service/updateInventoryByIdentification', { facilityId: nul, availableDelta: 1, idType: 'SKU', idValue: 'MUG', varianceReasonId: 'x' }), invalid('facilityId', /printable/)],
    ['a reset source without a word on orders', post('/v1/reset-sources', { id: 'erp' }), invalid('includesOrders', /none, shipped or all/)],
    ['a reset source’s time of day', post('/v1/reset-sources', { ...resetSource, schedule: { kind: 'daily', at: '25:00' } }), invalid('schedule.at', /04:00/)],
    ['a reset source’s time zone', post('/v1/reset-sources', { ...resetSource, timeZone: 'Mars/Olympus' }), invalid('timeZone', /Europe/)],
    ['a reset source’s moment', post('/v1/reset-sources', { ...resetSource, moment: { kind: 'name', pattern: 'stock.csv' } }), invalid('moment.pattern', /braces/)],
    ['a reset source’s host key', post('/v1/reset-sources', { ...resetSource, from: { kind: 'sftp', host: 'x', username: 'u', folder: '/', hostKey: 'abc' } }), invalid('from.hostKey', /ssh-keygen/)],
    ['a reset source that zeroes by half a file', post('/v1/reset-sources', { ...resetSource, absent: 'zero' }), invalid('absent', /complete/)],
    ['a reset source of a place nobody knows', post('/v1/reset-sources', { ...resetSource, locations: { WH: 'moon' } }), { status: 404, type: 'unknown-location', words: /moon/ }],
    ['a change of no reset source', { method: 'PATCH', path: '/v1/reset-sources/nope', body: { on: false } }, { status: 404, type: 'unknown-reset-source', words: /nope/ }],
    ['the removal of no reset source', { method: 'DELETE', path: '/v1/reset-sources/nope' }, { status: 404, type: 'unknown-reset-source', words: /nope/ }],
    ['a count session that is no id', { path: '/v1/count-sessions/abc' }, invalid('id', /id of a count session/)],
    ['a reset file that is no id', { path: '/v1/reset-files/abc' }, invalid('id', /id of a reset file/)],
    ['a reset file that is none', { path: '/v1/reset-files/6a1f0a6e-2f0b-4f65-9a37-4b0a3d1a2b3c' }, { status: 404, type: 'unknown-reset-file', words: /reset-files/ }],
    ['refused flags of a cart that cannot be', { path: '/v1/refused-flags?cart=No%20Such' }, invalid('cart', /cart/)],
    ['kits that belong to a cart', { method: 'POST', path: '/v1/imports?kind=kits&cart=the-shop', body: 'kit,component,quantity', headers: { 'Content-Type': 'text/csv' } }, invalid('cart', /belongs to no cart/)],
    ['a reset as an import', { method: 'POST', path: '/v1/imports?kind=reset', body: 'a', headers: { 'Content-Type': 'text/csv' } }, invalid('kind', /movements/)],
    ['a key that is no id', { method: 'DELETE', path: '/v1/api-keys/abc' }, invalid('id', /id of an API key/)],
    ['minutes without end', { path: '/v1/latency?minutes=61' }, invalid('minutes', /60/)],
  ]); // prettier-ignore
});

describe('a cart', () => {
  const withUrl = (url: unknown): Sent => post('/v1/carts', { ...cart, id: 'other', url });
  const tried = (url: string): Sent => post('/v1/cart-types/webhook/test', { url, secret: cart.secret });
  refuses([
    ['at no URL', withUrl('shop'), invalid('url', /such as https/)],
    ['at a file', withUrl('file:///etc/passwd'), invalid('url', /such as https/)],
    ['with a password in its URL', withUrl('https://u:p@shop.example.com'), invalid('url', /fields of their own/)],
    ['with an id that is none', post('/v1/carts', { ...cart, id: 'The Shop!' }), invalid('id', /small letters/)],
    ['that exists', post('/v1/carts', { ...cart, secret: 'another' }), { status: 409, type: 'already-exists', words: /the-shop/ }],
    ['of a type that does not exist', post('/v1/carts', { ...cart, id: 'other', type: 'toaster' }), { status: 404, type: 'unknown-cart-type', words: /cart-types/ }],
    ['without a secret', post('/v1/carts', { ...cart, id: 'other', secret: '' }), invalid('secret', /empty/)],
    ['without a location', post('/v1/carts', { ...cart, id: 'other', locations: [] }), invalid('locations', />=1|at least/i)],
    ['of a location nobody knows', post('/v1/carts', { ...cart, id: 'other', locations: ['moon'] }), { status: 404, type: 'unknown-location', words: /moon/ }],
    ['changed in nothing', { method: 'PATCH', path: '/v1/carts/the-shop', body: {} }, invalid('', /at least one field/)],
    ['whose type would change', { method: 'PATCH', path: '/v1/carts/the-shop', body: { type: 'seti' } }, invalid('', /type/)],
    ...['http://127.0.0.1/', 'http://localhost/', 'http://10.0.0.1/', 'http://[::1]/', 'http://169.254.169.254/latest/', 'http://0x7f000001/', 'http://[::ffff:10.0.0.1]/'].map(
      (url): Row => [`tried at ${url}`, tried(url), { status: 422, type: 'cart-call-failed', words: /private address/ }],
    ),
    ['tried where nobody is', tried('http://nobody.invalid/'), { status: 422, type: 'cart-call-failed', words: /unknown host|cannot be looked up|nobody\.invalid/ }],
    ['whose orders begin at no day', post('/v1/carts', { ...cart, id: 'other', ordersFrom: { date: 'June' } }), invalid('ordersFrom.date', /day such as/)],
    ['whose orders have no numbers to begin above', post('/v1/carts', { ...cart, id: 'other', ordersFrom: { number: '7' } }), invalid('ordersFrom', /date/)],
    ['switched to maybe', { method: 'PUT', path: '/v1/carts/the-shop/switch', body: { on: 'maybe' } }, invalid('on', /boolean/)],
    ['switched on unprobed without a reason', { method: 'PUT', path: '/v1/carts/the-shop/switch', body: { on: true, unprobed: '' } }, invalid('unprobed', /say why/)],
    ['probed with no item', post('/v1/carts/the-shop/probe', {}), invalid('sku', /name one item/)],
    ['probed with a SKU and a key', post('/v1/carts/the-shop/probe', { sku: 'MUG', key: '4711' }), invalid('sku', /name one item/)],
    ['probed, whose type needs none', post('/v1/carts/the-shop/probe', { sku: 'MUG' }), { status: 409, type: 'not-allowed-now', words: /nothing to probe/ }],
    ['asked for a probe that was not made', { path: '/v1/carts/the-shop/probe/nope' }, { status: 404, type: 'unknown-probe', words: /start one/ }],
    ['with a drift policy that does not exist', { method: 'PATCH', path: '/v1/carts/the-shop', body: { driftPolicy: 'hope' } }, invalid('driftPolicy', /take-over/)],
    ['with a guard that has no share', { method: 'PATCH', path: '/v1/carts/the-shop', body: { guard: { listingsMax: 5 } } }, invalid('guard.sharePercent', /./)],
    ['with a guard of more than all', { method: 'PATCH', path: '/v1/carts/the-shop', body: { guard: { listingsMax: 5, sharePercent: 101 } } }, invalid('guard.sharePercent', /100/)],
    ['told at no time', { method: 'PATCH', path: '/v1/carts/the-shop', body: { cadence: { kind: 'cron', pattern: '61 6 * * *', timeZone: 'UTC' } } }, invalid('cadence.pattern', /five fields/)],
    ['told by a pattern with seconds', { method: 'PATCH', path: '/v1/carts/the-shop', body: { cadence: { kind: 'cron', pattern: '* * * * * *', timeZone: 'UTC' } } }, invalid('cadence.pattern', /five fields/)],
    ['told on a day that never comes', { method: 'PATCH', path: '/v1/carts/the-shop', body: { cadence: { kind: 'cron', pattern: '0 0 31 2 *', timeZone: 'UTC' } } }, invalid('cadence.pattern', /never comes/)],
    ['told by the clock of Mars', post('/v1/carts', { ...cart, id: 'other', cadence: { kind: 'cron', pattern: '0 6 * * *', timeZone: 'Mars/Olympus' } }), invalid('cadence.timeZone', /Europe/)],
    ['told by no clock', { method: 'PATCH', path: '/v1/carts/the-shop', body: { cadence: { kind: 'cron', pattern: '0 6 * * *' } } }, invalid('cadence.timeZone', /string/)],
    ['told some time', { method: 'PATCH', path: '/v1/carts/the-shop', body: { cadence: { kind: 'some-time' } } }, invalid('cadence.kind', /./)],
    ['that is none, sent now', post('/v1/carts/nope/send-now', {}), { status: 404, type: 'unknown-cart', words: /nope/ }],
    ['compared in no direction', post('/v1/carts/the-shop/comparison', { direction: 'both' }), invalid('direction', /send/)],
    ['compared for no item', post('/v1/carts/the-shop/comparison', { direction: 'send', skus: [] }), invalid('skus', /at least one/)],
    ['looked at for some items', post('/v1/carts/the-shop/comparison', { direction: 'look', skus: ['MUG'] }), invalid('skus', /whole cart/)],
    ['compared for a tag with spaces', post('/v1/carts/the-shop/comparison', { direction: 'send', tag: 'two words' }), invalid('tag', /without spaces/)],
    ['sent new products', post('/v1/carts/the-shop/comparison', { direction: 'send', createNewProducts: true }), invalid('createNewProducts', /only for direction "get"/)],
    ['compared for new products with a tag', post('/v1/carts/the-shop/comparison', { direction: 'get', tag: 'new', createNewProducts: true }), invalid('createNewProducts', /whole cart/)],
    ['that nobody named, to follow', post('/v1/qoh-runs', { direction: 'get' }), invalid('carts', /one cart/)],
    ['that is none, sent to', post('/v1/qoh-runs', { direction: 'send', carts: ['nope'] }), { status: 404, type: 'unknown-cart', words: /nope/ }],
    ['that is none, on its way', { path: '/v1/carts/nope/switching-on' }, { status: 404, type: 'unknown-cart', words: /nope/ }],
    ['with a run that is none', { path: '/v1/qoh-runs/7' }, invalid('id', /id of a run/)],
    ['with a run that nobody began', { path: '/v1/qoh-runs/00000000-0000-4000-8000-000000000000/differences' }, { status: 404, type: 'not-found', words: /GET \/v1\/qoh-runs/ }],
    ['with a run to cancel that nobody began', post('/v1/qoh-runs/00000000-0000-4000-8000-000000000000/cancel', {}), { status: 404, type: 'not-found', words: /There is no run/ }],
    ['with a run to resume that nobody began', post('/v1/qoh-runs/00000000-0000-4000-8000-000000000000/resume', {}), { status: 404, type: 'not-found', words: /There is no run/ }],
    ['with a webhook nobody signed', { ...post('/v1/carts/the-shop/webhooks', {}), key: null }, { status: 401, type: 'unauthorized', words: /Sign the bytes/ }],
    ['with a webhook that is compressed', { ...post('/v1/carts/the-shop/webhooks', '{}', { 'Content-Encoding': 'gzip' }), key: null }, { status: 415, type: 'unsupported-media-type', words: /compressed/ }],
    ['with a path for an id', { path: '/v1/carts/..%2F..%2Fapi-keys' }, invalid('id', /small letters/)],
  ]); // prettier-ignore
});

describe('a key', () => {
  const unauthorized = { status: 401, type: 'unauthorized', words: /Send a valid API key/ };
  const forbidden = (words: RegExp) => ({ status: 403, type: 'forbidden', words });
  it.each(['revoked', 'expired'])('that is %s opens nothing', async (name) => {
    expectProblem(await ask({ path: '/v1/items', key: keys[name]! }), unauthorized);
  });
  it('of too small a scope is told which it takes', async () => {
    expectProblem(
      await ask({ ...post('/v1/movements', movement), key: keys['read']! }),
      forbidden(/"operate".*"read"/),
    );
    expectProblem(await ask({ ...post('/v1/carts', cart), key: keys['operate']! }), forbidden(/"admin".*"operate"/));
    expectProblem(await ask({ path: '/v1/api-keys', key: keys['operate']! }), forbidden(/"admin"/));
  });
  refuses([
    ['that is missing', { path: '/v1/items', key: null }, unauthorized],
    ['that is wrong', { path: '/v1/items', key: 'ohk_wrong' }, unauthorized],
    ['without end', { path: '/v1/items', key: 'x'.repeat(8_000) }, unauthorized],
    ['sent as a user and password', { path: '/v1/items', key: null, headers: { Authorization: 'Basic dTpw' } }, unauthorized],
    ['in the query', { path: `/v1/items?api_key=${ownerKey}`, key: null }, unauthorized],
    ['that is missing, with ten megabytes to come', { ...post('/v1/movements', `"${'x'.repeat(10 * 1024 * 1024)}"`), key: null }, { ...unauthorized, status: 413, type: 'too-large', words: /./ }],
  ]); // prettier-ignore
});

describe('a route', () => {
  const missing = (words: RegExp) => ({ status: 404, type: 'not-found', words });
  refuses([
    ['that does not exist', { path: '/v1/itms' }, missing(/no GET \/v1\/itms.*\/docs/)],
    ['asked in a way it does not know', { method: 'DELETE', path: '/v1/items' }, missing(/no DELETE \/v1\/items/)],
    ['asked in a way nobody knows', { method: 'PATCH', path: '/v1/movements' }, missing(/no PATCH/)],
    ['that cannot be decoded', { path: '/v1/items/%E0%A4%A' }, { status: 400, type: 'malformed-request', words: /%XX/ }],
    ['with a query it does not take', post('/v1/movements?dryRun=true', movement), invalid('dryRun', /takes no query/)],
  ]); // prettier-ignore
});

/** Without fetch's tidying of paths and headers. */
function rawly(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  const { hostname, port } = new URL(hub.url);
  return new Promise((resolve, reject) => {
    const request = http.request(
      { hostname, port, path, method, headers: { Authorization: `Bearer ${ownerKey}`, ...headers } },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: new Headers(response.headers as Record<string, string>),
            body: JSON.parse(text),
          }),
        );
      },
    );
    request.on('error', reject).end();
  });
}

describe('any printable text is a SKU and works in a path', () => {
  it.each([
    '0000815', '007', '-0', '1e3', 'a/b', '/', '//', '..', '.', '../..', '%', '%2F', '%00', 'a%b', '~', 'a~b', '?', 'a?b=c', '#',
    'a b', '"', "'", '\\', '|', ';', '&', '+', '=', '<script>', "'; DROP TABLE items; --", '${7*7}', '__proto__', 'constructor', 'toString',
    'null', 'undefined', 'batch', 'ledger', '😀', '👩‍👩‍👧‍👦', 'é', 'e\u0301', 'Ⅳ', '中文', 'עברית', 'x'.repeat(255), '中'.repeat(255), '😀'.repeat(127),
  ])('%s', async (sku) => {
    expect((await ask(post('/v1/items', { sku, title: 'x' }))).status).toBe(201);
    const moved = await ask(post('/v1/movements', { ...movement, sku, quantity: 3 }));
    expect([moved.status, moved.body.facts?.[0].sku]).toEqual([201, sku]);
    await caughtUp();
    const encoded = [...Buffer.from(sku)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
    const read = await rawly(`/v1/items/${encoded}`);
    expect([read.status, read.body.sku]).toEqual([200, sku]);
    expect((await rawly(`/v1/items/${encoded}/ledger`)).body.data).toHaveLength(1);
    expect((await rawly(`/v1/items/${encoded}/on-hand`)).status).toBe(200);
  }); // prettier-ignore
});

describe('what is hardly a request', () => {
  it('headers without end', async () => {
    const answer = await rawly('/v1/items', { 'X-Long': 'x'.repeat(20_000) });
    expectProblem(answer, { status: 431, type: 'headers-too-large', words: /16 KB/ });
  });
  it('a method that nobody knows', async () => {
    const answer = await rawly('/v1/items', {}, 'PURGE');
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.body.type).toMatch(/problem/);
  });
});

describe('a rule', () => {
  const rule = { name: 'x', effect: { kind: 'cap', units: 1 } };
  const save = (body: unknown): Sent => ({ method: 'PUT', path: '/v1/rules/x', body });
  const effect = (given: unknown) => save({ ...rule, effect: given });
  refuses([
    ['of no kind', effect({ kind: 'magic' }), invalid('effect.kind', /effect/)],
    ['with a cap below zero', effect({ kind: 'cap', units: -1 }), invalid('effect.units', /0 or more/)],
    ['with a share of more than all', effect({ kind: 'share', percent: 100.5 }), invalid('effect.percent', /0 to 100/)],
    ['with three decimals', effect({ kind: 'share', percent: 1.234 }), invalid('effect.percent', /two decimals/)],
    [
      'with a day that does not exist',
      effect({ kind: 'floor', below: 1, steps: [{ from: '2026-02-30', below: 2 }] }),
      invalid('effect.steps.0.from', /day such as/),
    ],
    [
      'with a window of no days',
      effect({ kind: 'velocity-buffer', salesWindowDays: 0 }),
      invalid('effect.salesWindowDays', /1 to 90/),
    ],
    [
      'with a buffer of both kinds',
      effect({ kind: 'buffer', units: 1, percent: 1 }),
      { status: 409, type: 'not-allowed-now', words: /units or percent/ },
    ],
    ['with a field of another kind', effect({ kind: 'cap', units: 1, percent: 1 }), invalid('effect', /percent/)],
    [
      'for an unknown SKU',
      save({ ...rule, scope: { sku: 'NO-SUCH' } }),
      { status: 404, type: 'unknown-item', words: /NO-SUCH/ },
    ],
    [
      'for an unknown cart',
      save({ ...rule, scope: { cart: 'no-such' } }),
      { status: 404, type: 'unknown-cart', words: /no-such/ },
    ],
    [
      'for an unknown location',
      save({ ...rule, scope: { locations: ['moon'] } }),
      { status: 404, type: 'unknown-location', words: /moon/ },
    ],
    ['for no location', save({ ...rule, scope: { locations: [] } }), invalid('scope.locations', /locations/)],
    [
      'at zero, for a location',
      save({ ...rule, scope: { locations: ['main'] }, effect: { kind: 'at-zero', policy: 'hide' } }),
      { status: 409, type: 'not-allowed-now', words: /leave the locations out/ },
    ],
    ['under an id with capitals', { method: 'PUT', path: '/v1/rules/Few', body: rule }, invalid('id', /small letters/)],
    [
      'removed that never was',
      { method: 'DELETE', path: '/v1/rules/nope' },
      { status: 404, type: 'unknown-rule', words: /nope/ },
    ],
    ['undone that never was', post('/v1/rules/nope/undo', {}), { status: 404, type: 'unknown-rule', words: /nope/ }],
    ['tried without any', post('/v1/rules/dry-run', {}), invalid(undefined, /at least one rule/)],
    [
      'tried for a tag that no item has',
      post('/v1/rules/dry-run', { save: [{ id: 'x', ...rule, scope: { tag: 'nobody' } }] }),
      { status: 404, type: 'not-found', words: /No item has the tag nobody/, field: 'scope.tag' },
    ],
    [
      'tried for a cart that nobody knows',
      post('/v1/rules/dry-run', { save: [{ id: 'x', ...rule, scope: { cart: 'no-such' } }] }),
      { status: 404, type: 'unknown-cart', words: /no-such/, field: 'scope.cart' },
    ],
    [
      'tried without one that is not there',
      post('/v1/rules/dry-run', { remove: ['nope'] }),
      { status: 404, type: 'unknown-rule', words: /no rule nope to remove/, field: 'remove' },
    ],
    ['run that never was', { path: '/v1/recompute-runs/7' }, invalid('id', /id of a run/)],
    [
      'counted below zero',
      post('/v1/doubtful/count', { sku: 'MUG', location: 'main', quantity: -1 }),
      invalid('quantity', /0 or more/),
    ],
  ]);
});

describe('a kit', () => {
  const set = (sku: string, body: unknown): Sent => ({ method: 'PUT', path: `/v1/kits/${sku}`, body });
  const of = (...components: unknown[]) => set('MUG', { components });
  refuses([
    ['of nothing', of(), invalid('components', /components/)],
    ['without its components', set('MUG', {}), invalid('components', /components/)],
    ['of no piece', of({ sku: 'MUG', quantity: 0 }), invalid('components.0.quantity', /1 or more/)],
    ['of half a piece', of({ sku: 'MUG', quantity: 1.5 }), invalid('components.0.quantity', /quantity/)],
    ['of too many pieces', of({ sku: 'MUG', quantity: 10_001 }), invalid('components.0.quantity', /10000/)],
    [
      'of too many components',
      of(...Array.from({ length: 51 }, (_, n) => ({ sku: `S-${n}`, quantity: 1 }))),
      invalid('components', /50/),
    ],
    ['with a field of its own', of({ sku: 'MUG', quantity: 1, colour: 'red' }), invalid('components.0', /colour/)],
    [
      'of what nobody knows',
      of({ sku: 'NO-SUCH', quantity: 1 }),
      { status: 404, type: 'unknown-item', words: /NO-SUCH/, field: 'components' },
    ],
    [
      'that nobody knows',
      set('NO-SUCH', { components: [{ sku: 'MUG', quantity: 1 }] }),
      { status: 404, type: 'unknown-item', words: /NO-SUCH/, field: 'sku' },
    ],
    [
      'of itself',
      of({ sku: 'MUG', quantity: 1 }),
      { status: 409, type: 'kit-not-possible', words: /cannot contain itself/, field: 'components' },
    ],
    ['that is none', { path: '/v1/kits/MUG' }, { status: 404, type: 'unknown-kit', words: /MUG is no kit/ }],
    [
      'removed that is none',
      { method: 'DELETE', path: '/v1/kits/MUG' },
      { status: 404, type: 'unknown-kit', words: /MUG is no kit/ },
    ],
    ['looked for by nothing', { path: '/v1/kits?component=' }, invalid('component', /empty/)],
  ]);
});
