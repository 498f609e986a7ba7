import { randomBytes } from 'node:crypto';
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
    const expired = await makeKey('read', { expiresAt: new Date(Date.now() + 3_600_000).toISOString() });
    await hub.database.pool.query(`UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = $1`, [
      expired.id,
    ]);
    expect((await withKey('GET', '/v1/items', expired.key)).status).toBe(401);
  });

  it('that expire while they are in use open nothing from that moment on', async () => {
    const soon = await makeKey('read', { expiresAt: new Date(Date.now() + 1_500).toISOString() });
    expect((await withKey('GET', '/v1/items', soon.key)).status).toBe(200);
    await expect.poll(async () => (await withKey('GET', '/v1/items', soon.key)).status).toBe(401);
  });

  it('that are over when they are made are refused', async () => {
    const { status, body } = await hub.call('POST', '/v1/api-keys', { name: 'x', expiresAt: '2020-01-01T00:00:00Z' });
    expect([status, body.fields[0].field]).toEqual([400, 'expiresAt']);
  });

  it('tell when they were last used, to the minute', async () => {
    const { id, key } = await makeKey('read');
    const of = async () =>
      (await hub.call('GET', '/v1/api-keys')).body.data.find((row: { id: string }) => row.id === id);
    expect((await of()).lastUsedAt).toBeNull();
    const before = Date.now();
    await withKey('GET', '/v1/items', key);
    await expect.poll(async () => Date.parse((await of()).lastUsedAt)).toBeGreaterThanOrEqual(before - 60_000);
  });

  it('cannot make one that is stronger than themselves', async () => {
    const until = new Date(Date.now() + 3_600_000).toISOString();
    const { key } = await makeKey('admin', { expiresAt: until });
    const make = (body: object) => withKey('POST', '/v1/api-keys', key, { name: 'child', scope: 'read', ...body });
    for (const wish of [{}, { expiresAt: new Date(Date.now() + 7_200_000).toISOString() }]) {
      const refused = await make(wish);
      expect([refused.status, refused.body.fields?.[0]?.field]).toEqual([400, 'expiresAt']);
      expect(refused.body.detail).toContain(until);
    }
    expect((await make({ expiresAt: until })).status).toBe(201);
    const operate = await makeKey('operate');
    expect((await withKey('POST', '/v1/api-keys', operate.key, { name: 'x', scope: 'read' })).status).toBe(403);
  });

  it('when revoked in one process open nothing in any other, at once', async () => {
    const encryptionKey = randomBytes(32).toString('base64');
    const other = await startHubUnderTest({
      DATABASE_URL: hub.database.url,
      ONHAND_ENCRYPTION_KEY: encryptionKey,
      ONHAND_ROLES: 'api',
    });
    try {
      const { id, key } = await makeKey('read');
      const there = () => call(`${other.url}/v1/items`, 'GET', undefined, { 'X-API-Key': key });
      expect((await there()).status).toBe(200);
      await hub.call('DELETE', `/v1/api-keys/${id}`);
      // Well below the five seconds for which a process remembers.
      await expect.poll(async () => (await there()).status, { timeout: 1_000 }).toBe(401);
    } finally {
      await other.close();
    }
  });

  it('the last one with the scope admin is revoked only by force', async () => {
    const own = await startHubUnderTest({ ONHAND_ROLES: 'api' });
    try {
      const { body: owner } = await own.call('GET', '/v1/api-keys/current');
      const path = `/v1/api-keys/${owner.id}`;
      const refused = await own.call('DELETE', path);
      expect([refused.status, refused.body.type]).toEqual([409, expect.stringMatching(/last-admin-key$/)]);
      expect(refused.body.detail).toMatch(/last valid admin key.*force=true/);
      expect((await own.call('GET', '/v1/items')).status).toBe(200);
      const { body: second } = await own.call('POST', '/v1/api-keys', { name: 'second', scope: 'admin' });
      const outcomes = await Promise.all([own.call('DELETE', path), own.call('DELETE', `/v1/api-keys/${second.id}`)]);
      // Whichever came first: the other asks for the last one, or with a key that is no more.
      expect(outcomes.filter(({ status }) => status === 204)).toHaveLength(1);
      const left = outcomes[0].status === 204 ? second : { id: owner.id, key: ownerKey };
      const forced = await call(`${own.url}/v1/api-keys/${left.id}?force=true`, 'DELETE', undefined, {
        'X-API-Key': left.key,
      });
      expect(forced.status).toBe(204);
      await expect
        .poll(async () => (await call(`${own.url}/v1/items`, 'GET', undefined, { 'X-API-Key': left.key })).status)
        .toBe(401);
    } finally {
      await own.close();
    }
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
