import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runHere } from '../command-line/run-cli.js';
import { until } from '../support/until.js';
import { ownerKey, startHubUnderTest, type HubUnderTest } from './hub-under-test.js';

describe('projections by API and command line', () => {
  let hub: HubUnderTest;
  const post = async (path: string, body?: unknown) => hub.call('POST', path, body ?? {});
  const ended = async (path: string) =>
    until('the run has ended', async () => {
      const { body } = await hub.call('GET', path);
      return body.state === 'running' ? null : body;
    });
  const cli = (...args: string[]) => runHere(args, { ONHAND_URL: hub.url, ONHAND_API_KEY: ownerKey });

  beforeAll(async () => {
    hub = await startHubUnderTest();
    await post('/v1/locations', { location: 'main', name: 'Main' });
    await post('/v1/items', { sku: 'MUG', title: 'Mug' });
    const movement = { sku: 'MUG', location: 'main' };
    await post('/v1/movements', { kind: 'received', ...movement, quantity: 50 });
    for (const day of ['2026-03-01', '2026-03-01', '2026-03-03'])
      await post('/v1/movements', { kind: 'sold', ...movement, quantity: 4, occurredAt: `${day}T23:59:59+00:00` });
    await post('/v1/movements', {
      kind: 'returned',
      ...movement,
      quantity: 3,
      resellable: false,
      occurredAt: '2026-03-03T00:00:00Z',
    });
    const order = {
      number: '7',
      lines: [{ line: '1', sku: 'MUG', location: 'main', quantity: 5 }],
      placedAt: '2026-03-02T12:00:00Z',
    };
    await post('/v1/orders', { ...order, revision: 1, state: 'open' });
    await until('all is applied', async () => (await hub.call('GET', '/v1/projector')).body.lagFacts === 0);
  });
  afterAll(() => hub.close());

  it('tells units sold per day and location, returns beside them, and the average', async () => {
    const { status, body } = await hub.call('GET', '/v1/items/MUG/velocity?from=2026-03-01&to=2026-03-10');
    expect(status).toBe(200);
    expect(body).toMatchObject({ days: 10, sold: 17, cancelled: 0, units: 17, returned: 3, unitsPerDay: 1.7 });
    expect(body.data).toEqual([
      { day: '2026-03-01', location: 'main', sold: 8, cancelled: 0, units: 8, returned: 0 },
      { day: '2026-03-02', location: 'main', sold: 5, cancelled: 0, units: 5, returned: 0 },
      { day: '2026-03-03', location: 'main', sold: 4, cancelled: 0, units: 4, returned: 3 },
    ]);
    const shown = await cli('item', 'velocity', 'MUG', '--from', '2026-03-01', '--to', '2026-03-10');
    expect(shown.out).toContain('17 units in 10 days (2026-03-01 to 2026-03-10), 1.7 a day');
  });

  it('takes a cancelled order back on the day of the cancel, below zero if need be', async () => {
    const lines = [{ line: '1', sku: 'MUG', location: 'main', quantity: 5 }];
    await post('/v1/orders', { number: '7', lines, revision: 2, state: 'cancelled' });
    const today = await until('the cancel is applied', async () => {
      const { body } = await hub.call('GET', '/v1/items/MUG/velocity');
      return body.cancelled > 0 && body;
    });
    expect(today).toMatchObject({ days: 28, cancelled: 5, units: -5 });
  });

  it.each([
    ['from=2026-03-02&to=2026-03-01', 'from'],
    ['from=2020-01-01&to=2026-01-01', 'from'],
    ['from=yesterday', 'from'],
  ])('refuses %s and names the field', async (query, field) => {
    const { status, body } = await hub.call('GET', `/v1/items/MUG/velocity?${query}`);
    expect(status).toBe(400);
    expect(body.fields[0].field).toBe(field);
  });

  it('verifies, names what was changed by hand, shows it before it mends it', async () => {
    const begun = await post('/v1/projections/verify');
    expect(begun.status).toBe(202);
    expect((await ended(begun.body.statusUrl)).verdict).toBe('I1–I3 hold for 1 SKUs and 0 listings.');

    await hub.database.pool.query(`UPDATE quantity_on_hand SET on_hand = 99`);
    const wrong = await cli('projections', 'verify');
    expect(wrong.code).toBe(1);
    expect(wrong.out).toContain('on_hand 99');

    const looked = await cli('projections', 'rebuild', 'quantity-on-hand', '--dry-run');
    expect(looked).toMatchObject({ code: 1 });
    expect(looked.out).toContain('1 rows of quantity-on-hand differ; nothing was changed.');
    const unasked = await cli('projections', 'rebuild', 'quantity-on-hand');
    expect(unasked).toMatchObject({ code: 2 });
    expect(unasked.err).toContain('add --yes');
    expect((await hub.call('GET', '/v1/items/MUG')).body.onHand).toBe(99);

    const mended = await cli('projections', 'rebuild', 'quantity-on-hand', '--yes', '--json');
    expect(mended.code).toBe(0);
    expect(JSON.parse(mended.out)).toMatchObject({ state: 'done', apply: true, found: 1, mended: 1 });
    expect((await hub.call('GET', '/v1/items/MUG')).body.onHand).toBe(38);
    expect((await cli('projections', 'verify')).code).toBe(0);
  });

  it('does one of a kind at a time, and can be cancelled', async () => {
    const holder = await hub.database.pool.connect();
    await holder.query('BEGIN');
    await holder.query('LOCK TABLE velocity IN ACCESS EXCLUSIVE MODE');
    const first = await post('/v1/projections/velocity/rebuild');
    const second = await post('/v1/projections/velocity/rebuild', { apply: true });
    expect(second.status).toBe(409);
    expect(second.body.detail).toContain(first.body.id);
    const cancelled = await post(`/v1/projections/runs/${first.body.id}/cancel`);
    expect(cancelled.body).toMatchObject({ state: 'cancelled', verdict: 'Cancelled; nothing was changed.' });
    await holder.query('ROLLBACK');
    holder.release();
    const third = await post('/v1/projections/velocity/rebuild');
    expect(await ended(third.body.statusUrl)).toMatchObject({ state: 'done', found: 0 });
    expect((await post(`/v1/projections/runs/${third.body.id}/cancel`)).status).toBe(409);
    const { body } = await hub.call('GET', '/v1/projections/runs?limit=2');
    expect(body.data[0].id).toBe(third.body.id);
  });

  it.each(['listings', 'web-stack', 'deliveries', 'attempts'])('never rebuilds %s, and says why', async (name) => {
    const { status, body } = await post(`/v1/projections/${name}/rebuild`);
    expect(status).toBe(409);
    expect(body.detail).toMatch(/never rebuilt, only verified/);
  });

  it('says that the ledger has nothing behind it, and which projections there are', async () => {
    expect((await post('/v1/projections/ledger/rebuild')).body.detail).toMatch(/the log itself/);
    expect((await post('/v1/projections/nonsense/rebuild')).body.detail).toMatch(
      /quantity-on-hand, velocity, availability/,
    );
  });

  it('lets a key that may only read look, one that operates verify, and only an admin rebuild', async () => {
    const keyOf = async (scope: string) =>
      ({ Authorization: `Bearer ${(await post('/v1/api-keys', { name: scope, scope })).body.key}` }) as Record<
        string,
        string
      >;
    const [reader, operator] = [await keyOf('read'), await keyOf('operate')];
    expect((await hub.call('GET', '/v1/projections/runs', undefined, reader)).status).toBe(200);
    expect((await hub.call('POST', '/v1/projections/verify', {}, reader)).status).toBe(403);
    expect((await hub.call('POST', '/v1/projections/verify', {}, operator)).status).toBe(202);
    expect((await hub.call('POST', '/v1/projections/velocity/rebuild', {}, operator)).status).toBe(403);
  });
});
