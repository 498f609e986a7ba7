import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { LaneControl } from '../../src/cart-workers/lane-control.js';
import { call, ownerKey, startHubUnderTest, type HubUnderTest } from './hub-under-test.js';

let hub: HubUnderTest;
const opened: EventReader[] = [];

beforeAll(async () => {
  hub = await startHubUnderTest();
  await hub.call('POST', '/v1/locations', { location: 'MAIN', name: 'Main warehouse' });
  const cart = { id: 'shop', name: 'Shop', type: 'webhook', url: 'http://127.0.0.1:9/onhand', locations: ['MAIN'] };
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
  await hub.call('POST', '/v1/carts', { ...cart, secret });
  await hub.call('POST', '/v1/items', { sku: 'TENT-2', title: 'Tent for two', barcode: '4006381333931' });
  await hub.call('POST', '/v1/items', { sku: 'ROPE', title: 'Tent rope' });
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((reader) => reader.close()));
});
afterAll(() => hub.close());

/** A connection of server-sent events, read event by event. */
class EventReader {
  private text = '';
  private readonly decoder = new TextDecoder();

  private constructor(
    readonly response: Response,
    private readonly body: ReadableStreamDefaultReader<Uint8Array>,
    private readonly abort: AbortController,
  ) {}

  static async open(headers: Record<string, string> = { 'X-API-Key': ownerKey }): Promise<EventReader> {
    const abort = new AbortController();
    const response = await fetch(`${hub.url}/v1/stream`, { headers, signal: abort.signal });
    const reader = new EventReader(response, response.body!.getReader(), abort);
    opened.push(reader);
    return reader;
  }

  /** Resolves with the next event of this name that fits, or null at the end of the stream. */
  // The tests read events freely.
  // oxlint-disable-next-line typescript/no-explicit-any
  async next(name: string, fits: (data: any) => boolean = () => true): Promise<any> {
    for (;;) {
      const end = this.text.indexOf('\n\n');
      if (end === -1) {
        const { done, value } = await this.body.read();
        if (done) return null;
        this.text += this.decoder.decode(value, { stream: true });
        continue;
      }
      const lines = this.text.slice(0, end).split('\n');
      this.text = this.text.slice(end + 2);
      const data = lines.find((line) => line.startsWith('data: '));
      if (!lines.includes(`event: ${name}`) || data === undefined) continue;
      const parsed: unknown = JSON.parse(data.slice(6));
      if (fits(parsed)) return parsed;
    }
  }

  async close(): Promise<void> {
    this.abort.abort();
    await this.body.cancel().catch(() => undefined);
  }
}

async function sessionOf(scope: string): Promise<{ id: string; cookie: string }> {
  const { body } = await hub.call('POST', '/v1/api-keys', { name: `somebody who may ${scope}`, scope });
  const form = new URLSearchParams({ key: body.key, to: '/' });
  const answer = await fetch(`${hub.url}/sign-in`, { method: 'POST', redirect: 'manual', body: form });
  return { id: body.id, cookie: answer.headers.get('set-cookie')!.split(';')[0]! };
}

describe('GET /v1/stream', () => {
  it('says who asks and then how every lane is, whatever event was the last one seen', async () => {
    const reader = await EventReader.open({ 'X-API-Key': ownerKey, 'Last-Event-ID': '4711' });
    expect(reader.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(await reader.next('hello')).toMatchObject({ caller: { scope: 'admin' } });
    expect(await reader.next('lanes')).toMatchObject({
      promiseMs: 20_000,
      projector: { state: 'following', lagMs: 0 },
      lanes: [
        {
          cartId: 'shop',
          light: 'off',
          why: 'The cart switch is off',
          waiting: 0,
          latency: { records: 0 },
          first: null,
        },
      ],
    });
  });

  it('tells a change soon', async () => {
    const reader = await EventReader.open();
    await reader.next('lanes');
    const askedAt = Date.now();
    await hub.call('POST', '/v1/carts/shop/pause', { reason: 'stocktaking' });
    const told = await reader.next('lanes', ({ lanes }) => lanes[0].paused !== null);
    expect(told.lanes[0].paused).toMatchObject({ reason: 'stocktaking' });
    expect(Date.now() - askedAt).toBeLessThan(5_000);
    await hub.call('POST', '/v1/carts/shop/resume');
    await reader.next('lanes', ({ lanes }) => lanes[0].paused === null);
  });

  it('tells how far a change of rules is, until it is done', async () => {
    const reader = await EventReader.open();
    await reader.next('lanes', ({ recomputeRuns }) => recomputeRuns[0]?.cause.type !== 'RuleSaved');
    await hub.call('PUT', '/v1/rules/few', { name: 'Few', effect: { kind: 'cap', units: 5 } });
    const told = await reader.next(
      'lanes',
      ({ recomputeRuns: [run] }) => run?.cause.type === 'RuleSaved' && run.state === 'done',
    );
    expect(told.recomputeRuns[0]).toMatchObject({
      progress: { done: 0, total: 0 },
      records: 0,
      endedAt: expect.any(String),
    });
    // A large one is told while it is under way.
    await hub.database.pool.query(
      `INSERT INTO recompute_runs (id, cause, scopes, state, total, done, accepted_at, created_at, ended_at)
       SELECT gen_random_uuid(), cause, scopes, 'absorbed', 100000, 2000, now(), now(), now() FROM recompute_runs ORDER BY created_at DESC LIMIT 1`,
    );
    const next = await reader.next('lanes', ({ recomputeRuns: [run] }) => run.state === 'absorbed');
    expect(next.recomputeRuns[0].progress).toEqual({ done: 2000, total: 100000 });
    await hub.call('DELETE', '/v1/rules/few');
  });

  it('tells a movement that waits for a cart, with the first record', async () => {
    await hub.call('PUT', '/v1/carts/shop/listings', { rows: [{ key: 'TENT-2', sku: 'TENT-2' }] });
    const { rowCount } = await hub.database.pool.query(
      `INSERT INTO web_stack (cart_id, key, sku, generation, delta, target, cause, accepted_at, created_at, attempts, last_response)
       VALUES ('shop', 'TENT-2', 'TENT-2', 1, -2, 5, '{"type":"StockSold"}', now() - interval '1 minute', now(), 3, 'connection refused')`,
    );
    expect(rowCount).toBe(1);
    const reader = await EventReader.open();
    const told = await reader.next('lanes', ({ lanes }) => lanes[0].waiting === 1);
    expect(told.lanes[0].first).toMatchObject({
      sku: 'TENT-2',
      delta: -2,
      attempts: 3,
      lastResponse: 'connection refused',
    });
    await hub.database.pool.query(`UPDATE web_stack SET state = 'delivered', ended_at = now()`);
    await reader.next('lanes', ({ lanes }) => lanes[0].waiting === 0 && lanes[0].first === null);
  });

  it('reads once for many browsers, and not at all for none', async () => {
    const statuses = vi.spyOn(LaneControl.prototype, 'statuses');
    try {
      const readers = await Promise.all(Array.from({ length: 20 }, () => EventReader.open()));
      await Promise.all(readers.map((reader) => reader.next('lanes')));
      expect(statuses.mock.calls.length).toBeLessThan(5);
      await Promise.all(readers.map((reader) => reader.close()));
      await expect
        .poll(async () => {
          const before = statuses.mock.calls.length;
          await new Promise((resolve) => setTimeout(resolve, 1_500));
          return statuses.mock.calls.length - before;
        })
        .toBe(0);
    } finally {
      statuses.mockRestore();
    }
  });

  it('refuses whoever has no key, and answers HEAD without a stream', async () => {
    expect((await call(`${hub.url}/v1/stream`, 'GET')).status).toBe(401);
    expect((await hub.call('HEAD', '/v1/stream')).status).toBe(200);
  });

  it('ends when the hub stops', async () => {
    const other = await startHubUnderTest({ ONHAND_ROLES: 'api,projector' });
    const response = await fetch(`${other.url}/v1/stream`, { headers: { 'X-API-Key': ownerKey } });
    const startedAt = Date.now();
    const reading = response.text().then((text) => ({ text, tookMs: Date.now() - startedAt }));
    await other.close();
    const { text, tookMs } = await reading;
    expect(text).toContain('event: hello');
    // Open connections are cut after three seconds; a stream has ended by itself long before.
    expect(tookMs).toBeLessThan(2_500);
  });
});

describe('GET /v1/latency', () => {
  it('tells p50, p99 and the longest of what was delivered lately, per cart', async () => {
    await hub.database.pool.query(`DELETE FROM web_stack`);
    await hub.database.pool.query(
      `INSERT INTO web_stack (cart_id, key, sku, generation, delta, target, cause, state, accepted_at, created_at, ended_at)
       SELECT 'shop', 'K' || i, 'TENT-2', 1, 1, 1, '{}', 'delivered', ended - i * interval '1 ms', ended, ended
         FROM generate_series(1, 100) i, (SELECT now() - interval '2 minutes' AS ended) t`,
    );
    const numbers = { cartId: 'shop', records: 100, p50Ms: 50, p99Ms: 99, maxMs: 100 };
    expect((await hub.call('GET', '/v1/latency')).body).toEqual({ minutes: 5, data: [numbers], nextCursor: null });
    expect((await hub.call('GET', '/v1/latency?minutes=1')).body.data).toEqual([
      { cartId: 'shop', records: 0, p50Ms: null, p99Ms: null, maxMs: null },
    ]);
    expect((await hub.call('GET', '/v1/latency?minutes=600')).status).toBe(400);
  });
});

describe('GET /v1/search', () => {
  const found = async (q: string) =>
    (await hub.call('GET', `/v1/search?q=${encodeURIComponent(q)}`)).body.data.map(({ sku }: { sku: string }) => sku);

  it('finds by the beginning of a SKU first, then of a title, and by a whole barcode', async () => {
    expect(await found('tent')).toEqual(['TENT-2', 'ROPE']);
    expect(await found('tent r')).toEqual(['ROPE']);
    expect(await found('4006381333931')).toEqual(['TENT-2']);
    expect(await found('100%_')).toEqual([]);
  });

  it('refuses what cannot be the beginning of anything', async () => {
    for (const q of ['', '%20', '%00', 'x'.repeat(256)])
      expect((await hub.call('GET', `/v1/search?q=${q}`)).body.type).toBe('urn:onhand:problem:invalid-request');
  });
});

describe('the page', () => {
  it('is shown to a session and sends others to the sign-in page', async () => {
    const stranger = await call(`${hub.url}/`, 'GET', undefined, { Accept: 'text/html' });
    expect([stranger.status, stranger.headers.get('location')]).toEqual([303, '/sign-in?to=%2F']);
    expect((await call(`${hub.url}/`, 'GET')).status).toBe(401);
    const { cookie } = await sessionOf('read');
    const page = await call(`${hub.url}/`, 'GET', undefined, { Cookie: cookie });
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    expect(page.headers.get('content-security-policy')).toContain("script-src 'self';");
    // The policy would refuse them, so the page must hold none.
    expect(page.body).not.toMatch(/<script(?![^>]* src=)|<style| style=| on\w+=/);
  });

  for (const [file, type] of [
    ['road/road.js', 'text/javascript; charset=utf-8'],
    ['road/lane-view.js', 'text/javascript; charset=utf-8'],
    ['road/item-view.js', 'text/javascript; charset=utf-8'],
    ['road/hub-calls.js', 'text/javascript; charset=utf-8'],
    ['road/elements.js', 'text/javascript; charset=utf-8'],
    ['road/road.css', 'text/css; charset=utf-8'],
    ['favicon.ico', 'image/svg+xml'],
  ] as const) {
    it(`is made of /${file}, which is sent once`, async () => {
      const first = await call(`${hub.url}/${file}`, 'GET');
      expect([first.status, first.headers.get('content-type')]).toEqual([200, type]);
      const again = await call(`${hub.url}/${file}`, 'GET', undefined, { 'If-None-Match': first.headers.get('etag')! });
      expect(again.status).toBe(304);
    });
  }

  it('has no other files', async () => {
    expect((await call(`${hub.url}/road/..%2froad.controller.ts`, 'GET')).status).toBe(404);
  });
});

describe('a browser session', () => {
  const meant = { 'X-Onhand-Request': 'road' };

  it('reads what the page shows, and streams until its key is revoked', async () => {
    const { id, cookie } = await sessionOf('read');
    for (const path of ['/v1/lanes', '/v1/latency', '/v1/search?q=t', '/v1/items/TENT-2', '/v1/items/TENT-2/ledger'])
      expect((await call(hub.url + path, 'GET', undefined, { Cookie: cookie })).status).toBe(200);
    const reader = await EventReader.open({ Cookie: cookie });
    expect(await reader.next('hello')).toMatchObject({ caller: { scope: 'read' } });
    await hub.call('DELETE', `/v1/api-keys/${id}`);
    expect((await call(`${hub.url}/v1/stream`, 'GET', undefined, { Cookie: cookie })).status).toBe(401);
  });

  it('pauses and resumes only with the header that another site’s page cannot add', async () => {
    const { cookie } = await sessionOf('operate');
    const pause = (headers: Record<string, string>) =>
      call(`${hub.url}/v1/carts/shop/pause`, 'POST', { reason: 'x' }, { Cookie: cookie, ...headers });
    const bare = await pause({});
    expect([bare.status, bare.body.detail]).toEqual([403, expect.stringContaining('X-Onhand-Request')]);
    expect((await pause({ ...meant, 'Sec-Fetch-Site': 'same-site' })).status).toBe(401);
    expect((await pause({ ...meant, 'Sec-Fetch-Site': 'same-origin' })).status).toBe(200);
    const resumed = await call(`${hub.url}/v1/carts/shop/resume`, 'POST', undefined, { Cookie: cookie, ...meant });
    expect([resumed.status, resumed.body.paused]).toEqual([200, null]);
  });

  it('can try the API out on its page, which adds that header', async () => {
    const { cookie } = await sessionOf('operate');
    const script = await call(`${hub.url}/docs/swagger-ui-init.js`, 'GET', undefined, { Cookie: cookie });
    expect(script.body).toMatch(/requestInterceptor[^]*X-Onhand-Request/);
  });

  it('that may only read does not pause', async () => {
    const { cookie } = await sessionOf('read');
    const answer = await call(`${hub.url}/v1/carts/shop/pause`, 'POST', {}, { Cookie: cookie, ...meant });
    expect(answer.status).toBe(403);
  });
});
