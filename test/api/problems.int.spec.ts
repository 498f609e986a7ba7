import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, startHubUnderTest, type HubUnderTest } from './hub-under-test.js';

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
});
afterAll(() => hub.close());

interface Case {
  readonly what: string;
  readonly method?: string;
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  readonly status: number;
  readonly type: string;
  readonly field?: string;
}

const movement = { kind: 'received', sku: 'A', location: 'main', quantity: 1 };
const cases: Case[] = [
  { what: 'a route that does not exist', path: '/v1/nothing', status: 404, type: 'not-found' },
  { what: 'a path outside the API', path: '/nothing', status: 404, type: 'not-found' },
  { what: 'a URL that cannot be decoded', path: '/v1/items/%E0%A4%A', status: 400, type: 'malformed-request' },
  {
    what: 'malformed JSON',
    method: 'POST',
    path: '/v1/movements',
    body: '{"kind":',
    status: 400,
    type: 'malformed-request',
  },
  { what: 'an empty body', method: 'POST', path: '/v1/movements', status: 400, type: 'invalid-request' },
  {
    what: 'plain text',
    method: 'POST',
    path: '/v1/movements',
    body: 'x',
    headers: { 'Content-Type': 'text/plain' },
    status: 415,
    type: 'unsupported-media-type',
  },
  {
    what: 'a form',
    method: 'POST',
    path: '/v1/movements',
    body: 'a=1',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    status: 415,
    type: 'unsupported-media-type',
  },
  {
    what: 'more than a megabyte',
    method: 'POST',
    path: '/v1/movements',
    body: { reason: 'x'.repeat(1_100_000) },
    status: 413,
    type: 'too-large',
  },
  {
    what: 'a quantity of nothing',
    method: 'POST',
    path: '/v1/movements',
    body: { ...movement, quantity: 0 },
    status: 400,
    type: 'invalid-request',
    field: 'quantity',
  },
  {
    what: 'a fraction of a piece',
    method: 'POST',
    path: '/v1/movements',
    body: { ...movement, quantity: 1.5 },
    status: 400,
    type: 'invalid-request',
    field: 'quantity',
  },
  {
    what: 'a kind that does not exist',
    method: 'POST',
    path: '/v1/movements',
    body: { ...movement, kind: 'eaten' },
    status: 400,
    type: 'invalid-request',
    field: 'kind',
  },
  {
    what: 'a time without an offset',
    method: 'POST',
    path: '/v1/movements',
    body: { ...movement, occurredAt: '2026-01-01 10:00' },
    status: 400,
    type: 'invalid-request',
    field: 'occurredAt',
  },
  {
    what: 'a row of a batch',
    method: 'POST',
    path: '/v1/movements/batch',
    body: { movements: [movement, { ...movement, sku: '' }] },
    status: 400,
    type: 'invalid-request',
    field: 'movements.1.sku',
  },
  {
    what: 'one of two shapes of an order',
    method: 'POST',
    path: '/v1/orders',
    body: { number: '1', lines: [{ sku: 'A', location: 'main', quantity: 0 }] },
    status: 400,
    type: 'invalid-request',
    field: 'lines.0.quantity',
  },
  {
    what: 'an unknown field',
    method: 'POST',
    path: '/v1/locations',
    body: { location: 'x', name: 'X', colour: 'red' },
    status: 400,
    type: 'invalid-request',
  },
  { what: 'too large a page', path: '/v1/items?limit=201', status: 400, type: 'invalid-request', field: 'limit' },
  {
    what: 'a cursor that is not ours',
    path: '/v1/items?cursor=abc',
    status: 400,
    type: 'invalid-cursor',
    field: 'cursor',
  },
  {
    what: 'an idempotency key of control characters',
    method: 'POST',
    path: '/v1/movements',
    body: movement,
    headers: { 'Idempotency-Key': ' ' },
    status: 400,
    type: 'invalid-request',
  },
  { what: 'an unknown item', path: '/v1/items/none', status: 404, type: 'unknown-item' },
  {
    what: 'a movement of an unknown item',
    method: 'POST',
    path: '/v1/movements',
    body: { ...movement, sku: 'none' },
    status: 404,
    type: 'unknown-item',
  },
  { what: 'an unknown order', path: '/v1/orders/none', status: 404, type: 'unknown-order' },
  {
    what: 'an unknown transfer',
    method: 'POST',
    path: '/v1/transfers/none/receive',
    body: {},
    status: 404,
    type: 'unknown-transfer',
  },
  { what: 'an unknown cart', path: '/v1/carts/none', status: 404, type: 'unknown-cart' },
  { what: 'an unknown cart’s listings', path: '/v1/carts/none/listings', status: 404, type: 'unknown-cart' },
  { what: 'pausing an unknown cart', method: 'POST', path: '/v1/carts/none/pause', status: 404, type: 'unknown-cart' },
  {
    what: 'comparing an unknown cart',
    method: 'POST',
    path: '/v1/carts/none/comparison',
    body: { direction: 'send' },
    status: 404,
    type: 'unknown-cart',
  },
  {
    what: 'an unknown cart type',
    method: 'POST',
    path: '/v1/cart-types/none/test',
    body: { url: 'http://shop.invalid/', secret: 's' },
    status: 404,
    type: 'unknown-cart-type',
    field: 'type',
  },
  {
    what: 'a cart without what its type needs',
    method: 'POST',
    path: '/v1/cart-types/seti/test',
    body: { url: 'http://shop.invalid/', secret: 's' },
    status: 400,
    type: 'invalid-request',
    field: 'username',
  },
  {
    what: 'a password in a URL',
    method: 'POST',
    path: '/v1/cart-types/seti/test',
    body: { url: 'http://u:p@shop.invalid/', username: 'u', secret: 's' },
    status: 400,
    type: 'invalid-request',
    field: 'url',
  },
  { what: 'an unknown record', path: '/v1/web-stack/999', status: 404, type: 'unknown-record' },
  {
    what: 'an unknown API key',
    method: 'DELETE',
    path: '/v1/api-keys/00000000-0000-4000-8000-000000000000',
    status: 404,
    type: 'unknown-api-key',
  },
  {
    what: 'a webhook nobody signed',
    method: 'POST',
    path: '/v1/carts/none/webhooks',
    body: {},
    status: 401,
    type: 'unauthorized',
  },
];

describe('every error is a problem with a stable type:', () => {
  for (const { what, method = 'GET', path, body, headers, status, type, field } of cases) {
    it(what, async () => {
      const answer = await hub.call(method, path, body, headers);
      expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
      expect(answer.body).toMatchObject({ type: `urn:onhand:problem:${type}`, status });
      expect(answer.status).toBe(status);
      expect(answer.body.title).not.toBe('');
      expect(answer.body.detail).toMatch(/[.…]$/);
      if (field !== undefined)
        expect(answer.body.fields.map((entry: { field: string }) => entry.field)).toContain(field);
    });
  }

  it('a fault, of which nothing is told', async () => {
    await hub.database.pool.query('ALTER TABLE items RENAME TO away');
    try {
      const answer = await hub.call('GET', '/v1/items');
      expect(answer.status).toBe(500);
      expect(answer.body.type).toBe('urn:onhand:problem:fault');
      expect(JSON.stringify(answer.body)).not.toMatch(/"items"|select|stack/i);
    } finally {
      await hub.database.pool.query('ALTER TABLE away RENAME TO items');
    }
  });

  it('no key at all', async () => {
    const answer = await call(`${hub.url}/v1/items`, 'GET');
    expect(answer.status).toBe(401);
    expect(answer.body.type).toBe('urn:onhand:problem:unauthorized');
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="onhand"');
  });
});
