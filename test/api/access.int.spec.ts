import http from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, ownerKey, startHubUnderTest, type HubUnderTest } from './hub-under-test.js';

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
});
afterAll(() => hub.close());

/** Without fetch's tidying of the path. */
function rawGet(path: string): Promise<{ status: number }> {
  const { hostname, port } = new URL(hub.url);
  return new Promise((resolve, reject) => {
    http
      .get({ hostname, port, path }, (response) => {
        response.resume();
        response.on('end', () => resolve({ status: response.statusCode ?? 0 }));
      })
      .on('error', reject);
  });
}

const withKey = (method: string, path: string, key: string, body?: unknown) =>
  call(hub.url + path, method, body, { 'X-API-Key': key });

async function makeKey(scope: string, more: Record<string, unknown> = {}): Promise<{ id: string; key: string }> {
  const made = await hub.call('POST', '/v1/api-keys', { name: `a ${scope} key`, scope, ...more });
  expect(made.status).toBe(201);
  return made.body;
}

describe('API keys', () => {
  it('are shown once and stored as a hash', async () => {
    const { key } = await makeKey('read');
    expect(key).toMatch(/^ohk_[A-Za-z0-9_-]{43}$/);
    const listed = await hub.call('GET', '/v1/api-keys');
    expect(JSON.stringify(listed.body)).not.toContain(key);
    const stored = await hub.database.pool.query<{ row: string }>('SELECT t::text AS row FROM api_keys t');
    expect(JSON.stringify(stored.rows)).not.toContain(key);
  });

  it('work in either header', async () => {
    const { key } = await makeKey('read');
    expect((await call(`${hub.url}/v1/items`, 'GET', undefined, { Authorization: `Bearer ${key}` })).status).toBe(200);
    expect((await withKey('GET', '/v1/items', key)).status).toBe(200);
  });

  it('do what their scope includes and no more', async () => {
    const { key: read } = await makeKey('read');
    const { key: operate } = await makeKey('operate');
    const location = { location: 'shop', name: 'Shop' };
    expect((await withKey('POST', '/v1/locations', read, location)).body.type).toBe('urn:onhand:problem:forbidden');
    expect((await withKey('POST', '/v1/locations', operate, location)).status).toBe(201);
    expect((await withKey('PUT', '/v1/system/switch', operate, { on: false })).status).toBe(403);
    expect((await withKey('GET', '/v1/api-keys', operate)).status).toBe(403);
  });

  it('that were revoked or have expired open nothing', async () => {
    const revoked = await makeKey('read');
    expect((await withKey('GET', '/v1/items', revoked.key)).status).toBe(200);
    expect((await hub.call('DELETE', `/v1/api-keys/${revoked.id}`)).status).toBe(204);
    expect((await withKey('GET', '/v1/items', revoked.key)).status).toBe(401);
    const expired = await makeKey('read', { expiresAt: '2020-01-01T00:00:00Z' });
    expect((await withKey('GET', '/v1/items', expired.key)).status).toBe(401);
  });

  it('are not guessed from the shown prefix', async () => {
    const { key } = await makeKey('read');
    expect((await withKey('GET', '/v1/items', `${key.slice(0, 12)}${'A'.repeat(key.length - 12)}`)).status).toBe(401);
  });
});

describe('a browser', () => {
  async function signIn(key: string, to: string): Promise<Response> {
    return fetch(`${hub.url}/sign-in`, { method: 'POST', redirect: 'manual', body: new URLSearchParams({ key, to }) });
  }

  it('is sent to the sign-in page and comes back with a cookie that scripts cannot read', async () => {
    const sent = await call(`${hub.url}/queues`, 'GET', undefined, { Accept: 'text/html' });
    expect([sent.status, sent.headers.get('location')]).toEqual([303, '/sign-in?to=%2Fqueues']);
    const signedIn = await signIn(ownerKey, '/queues');
    expect([signedIn.status, signedIn.headers.get('location')]).toEqual([303, '/queues']);
    const cookie = signedIn.headers.get('set-cookie') ?? '';
    expect(cookie).toMatch(/HttpOnly; SameSite=Strict/);
    expect(cookie).not.toContain(ownerKey);
    const session = { Cookie: cookie.split(';')[0]! };
    expect(
      (await call(`${hub.url}/queues/api/queues`, 'GET', undefined, session)).body.queues.map(
        (q: { name: string }) => q.name,
      ),
    ).toEqual(expect.arrayContaining(['order-polls', 'comparisons', 'clean-up']));
    expect((await call(`${hub.url}/docs/openapi.json`, 'GET', undefined, session)).body.openapi).toBe('3.1.0');
    const forged = { Cookie: `${session.Cookie.slice(0, -4)}AAAA` };
    expect((await call(`${hub.url}/queues/api/queues`, 'GET', undefined, forged)).status).toBe(401);
  });

  for (const path of [
    '/queues',
    '/queues/',
    '/queues/api/queues',
    '/%71ueues/api/queues',
    '/QUEUES/api/queues',
    '/queues/static/../api/queues',
    '/docs',
    '/docs/',
    '/%64ocs',
    '/docs/openapi.json',
    '/docs/openapi.yaml',
    '/docs/swagger-ui-init.js',
  ]) {
    it(`without a session gets nothing at ${path}`, async () => {
      expect((await rawGet(path)).status).toBeGreaterThan(400);
    });
  }

  it('cannot be led by another site', async () => {
    const session = (await signIn(ownerKey, '/')).headers.get('set-cookie')!.split(';')[0]!;
    const other = await call(
      `${hub.url}/v1/locations`,
      'POST',
      { location: 'evil', name: 'x' },
      { Cookie: session, 'Sec-Fetch-Site': 'cross-site' },
    );
    expect(other.status).toBe(401);
    expect((await signIn(ownerKey, '//elsewhere.invalid/x')).headers.get('location')).toBe('/');
    expect((await signIn(ownerKey, '/\\elsewhere.invalid')).headers.get('location')).toBe('/');
  });

  it('with a wrong key learns only that it is wrong', async () => {
    const answer = await signIn('ohk_wrong', '/');
    expect(answer.status).toBe(401);
    expect(answer.headers.get('set-cookie')).toBeNull();
  });

  it('gets headers that keep pages from being framed or sniffed', async () => {
    const { headers } = await call(`${hub.url}/`, 'GET');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
  });
});

it('tells every route of the API in its OpenAPI document, each behind a key but the open ones', async () => {
  const { body } = await hub.call('GET', '/docs/openapi.json');
  const open = Object.entries<Record<string, { security?: unknown }>>(body.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => operation.security === undefined)
      .map(([method]) => `${method} ${path}`),
  );
  expect(open.sort()).toEqual(['get /v1/health/live', 'post /v1/carts/{id}/webhooks']);
  expect(Object.keys(body.paths).length).toBeGreaterThan(35);
});
