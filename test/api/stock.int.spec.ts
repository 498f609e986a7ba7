import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { ownerKey, startHubUnderTest, type Answer, type HubUnderTest } from './hub-under-test.js';

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
  for (const location of ['main', 'shop']) await hub.call('POST', '/v1/locations', { location, name: location });
});
afterAll(() => hub.close());

let made = 0;
/** An item of its own for each test. */
async function newItem(): Promise<string> {
  const sku = `SKU/${(made += 1)} ä`;
  expect((await hub.call('POST', '/v1/items', { sku, title: `Item ${made}` })).status).toBe(201);
  return sku;
}

const pathOf = (sku: string) => `/v1/items/${encodeURIComponent(sku)}`;
const post = (body: Record<string, unknown>, key?: string): Promise<Answer> =>
  hub.call('POST', '/v1/movements', { location: 'main', ...body }, key === undefined ? {} : { 'Idempotency-Key': key });

/** By then the projection has what the log has: answers wait for it, but no longer than a client would. */
async function onHand(sku: string, query = ''): Promise<Record<string, number>> {
  expect(await hub.hub.app.get(Projector).caughtUp(20_000)).toBe(true);
  const { body } = await hub.call('GET', `${pathOf(sku)}/on-hand${query}`);
  return Object.fromEntries(
    body.locations.map((row: { location: string; onHand: number }) => [row.location, row.onHand]),
  );
}

describe('movements', () => {
  it('of every kind add up, each answered with its balance', async () => {
    const sku = await newItem();
    expect((await post({ kind: 'received', sku, quantity: 10 })).body.facts[0]).toMatchObject({
      type: 'StockReceived',
      delta: 10,
      balance: 10,
    });
    expect((await post({ kind: 'sold', sku, quantity: 12 })).body.facts[0]).toMatchObject({ delta: -12, balance: -2 });
    expect((await post({ kind: 'returned', sku, quantity: 2 })).body.facts[0]).toMatchObject({ delta: 2, balance: 0 });
    expect((await post({ kind: 'returned', sku, quantity: 1, resellable: false })).body.facts[0]).toMatchObject({
      delta: 0,
      balance: 0,
    });
    expect((await post({ kind: 'adjusted', sku, delta: 4, reason: 'found' })).body.facts[0]).toMatchObject({
      delta: 4,
      balance: 4,
    });
    expect(await onHand(sku)).toEqual({ main: 4 });
  });

  it('sent again with the same key are answered again and recorded once', async () => {
    const sku = await newItem();
    const body = { kind: 'received', sku, quantity: 3, reference: { kind: 'purchase-order', number: 'PO-1' } };
    const first = await post(body, 'again');
    const second = await post(body, 'again');
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect([second.status, second.body]).toEqual([first.status, first.body]);
    expect(await onHand(sku)).toEqual({ main: 3 });
    const other = await post({ ...body, quantity: 4 }, 'again');
    expect([other.status, other.body.type]).toEqual([422, 'urn:onhand:problem:idempotency-key-reused']);
  });

  it('refused once are refused again under the same key, and the key of another client is another key', async () => {
    const body = { kind: 'received', sku: 'nobody', location: 'main', quantity: 1 };
    const first = await post(body, 'refused');
    await hub.call('POST', '/v1/items', { sku: 'nobody', title: 'created meanwhile' });
    const second = await post(body, 'refused');
    expect([first.status, second.status, second.headers.get('idempotent-replayed')]).toEqual([404, 404, 'true']);
    const { body: key } = await hub.call('POST', '/v1/api-keys', { name: 'other', scope: 'operate' });
    const other = await hub.call('POST', '/v1/movements', body, {
      'Idempotency-Key': 'refused',
      Authorization: `Bearer ${key.key}`,
    });
    expect(other.status).toBe(201);
  });

  it('in a batch are answered one by one; a refused row does not touch its neighbours', async () => {
    const sku = await newItem();
    const row = { kind: 'received', sku, location: 'main', quantity: 1 };
    const movements = [row, { ...row, sku: 'unknown' }, { ...row, quantity: 5, idempotencyKey: 'own key' }];
    const first = await hub.call('POST', '/v1/movements/batch', { movements }, { 'Idempotency-Key': 'batch' });
    expect(first.body).toMatchObject({ accepted: 2, refused: 1 });
    expect(first.body.outcomes.map((outcome: { status: number }) => outcome.status)).toEqual([201, 404, 201]);
    const second = await hub.call('POST', '/v1/movements/batch', { movements }, { 'Idempotency-Key': 'batch' });
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect(await onHand(sku)).toEqual({ main: 6 });
  });

  it('come a thousand at once', async () => {
    const sku = await newItem();
    const movements = Array.from({ length: 1000 }, () => ({ kind: 'received', sku, location: 'main', quantity: 1 }));
    const answer = await hub.call('POST', '/v1/movements/batch', { movements });
    expect(answer.body).toMatchObject({ accepted: 1000, refused: 0 });
    expect(await onHand(sku)).toEqual({ main: 1000 });
  });
});

describe('movements of one paper', () => {
  const under = (number: string, query = '') => `/v1/movements?reference=purchase-order:${number}${query}`;
  const purchase = (number: string, line: string) => ({ reference: { kind: 'purchase-order', number, line } });

  it('are found by it: one line of a purchase order comes in several receipts, and too much of it is seen', async () => {
    const [sku, other] = [await newItem(), await newItem()];
    await post({ kind: 'received', sku, quantity: 6, ...purchase('PO:1', '1') });
    await post({ kind: 'received', sku, quantity: 3, ...purchase('PO:1', '1') });
    await post({ kind: 'received', sku: other, location: 'shop', quantity: 4, ...purchase('PO:1', '2') });
    // Ten were ordered, twelve came: nobody is turned away at the door, and the total tells.
    await post({ kind: 'received', sku, quantity: 3, ...purchase('PO:1', '1') });
    await post({ kind: 'received', sku, quantity: 5, ...purchase('PO:2', '1') });

    const { body } = await hub.call('GET', under('PO:1'));
    expect(body.data.map((row: { sku: string; delta: number }) => [row.sku, row.delta])).toEqual([
      [sku, 3],
      [other, 4],
      [sku, 3],
      [sku, 6],
    ]);
    expect(body.data[0]).toMatchObject({
      type: 'StockReceived',
      location: 'main',
      ...purchase('PO:1', '1'),
      balance: 12,
    });
    const totals = await hub.call('GET', '/v1/movements/totals?reference=purchase-order:PO:1');
    expect(totals.body.data).toEqual([
      { line: '1', sku, location: 'main', type: 'StockReceived', movements: 3, quantity: 12, delta: 12 },
      { line: '2', sku: other, location: 'shop', type: 'StockReceived', movements: 1, quantity: 4, delta: 4 },
    ]);
    expect((await hub.call('GET', under('PO:1', '&line=2'))).body.data).toHaveLength(1);
    expect((await hub.call('GET', under('nobody'))).body).toEqual({ data: [], nextCursor: null });
  });

  it('are read page by page without gap or repetition, and their totals too', async () => {
    const sku = await newItem();
    for (let line = 1; line <= 5; line += 1)
      await post({ kind: 'received', sku, quantity: line, ...purchase('PAGES', String(line)) });
    for (const [list, expected] of [
      ['/v1/movements', [5, 4, 3, 2, 1]],
      ['/v1/movements/totals', [1, 2, 3, 4, 5]],
    ] as const) {
      const seen: number[] = [];
      for (let cursor = ''; ;) {
        const { body } = await hub.call('GET', `${list}?reference=purchase-order:PAGES&limit=2${cursor}`);
        seen.push(...body.data.map((row: { delta: number }) => row.delta));
        if (body.nextCursor === null) break;
        cursor = `&cursor=${body.nextCursor}`;
      }
      expect(seen).toEqual(expected);
    }
  });

  it('keep a return that cannot be sold again: on record and in the ledger, and not on hand', async () => {
    const sku = await newItem();
    const order = { reference: { kind: 'order', number: '1001', line: '1' } };
    await post({ kind: 'received', sku, quantity: 5 });
    await post({ kind: 'returned', sku, quantity: 2, ...order });
    await post({ kind: 'returned', sku, quantity: 3, resellable: false, reason: 'torn', ...order });
    expect(await onHand(sku)).toEqual({ main: 7 });
    const torn = {
      type: 'StockReturned',
      delta: 0,
      returned: 3,
      resellable: false,
      reason: 'torn',
      balance: 7,
      ...order,
    };
    expect((await hub.call('GET', `${pathOf(sku)}/ledger?limit=1`)).body.data).toMatchObject([torn]);
    expect((await hub.call('GET', '/v1/movements?reference=order:1001')).body.data).toMatchObject([
      torn,
      { delta: 2, returned: 2, resellable: true },
    ]);
    expect((await hub.call('GET', '/v1/movements/totals?reference=order:1001&line=1')).body.data).toMatchObject([
      { quantity: 3, delta: 0, resellable: false },
      { quantity: 2, delta: 2, resellable: true },
    ]);
  });

  it('are looked up in an index of their own, and a wrong name says how it looks', async () => {
    const client = await hub.database.pool.connect();
    try {
      await client.query('BEGIN');
      await client.query('SET LOCAL enable_seqscan = off');
      const { rows } = await client.query<{ 'QUERY PLAN': string }>(
        `EXPLAIN SELECT * FROM events WHERE (data -> 'reference' ->> 'kind') = 'order' AND (data -> 'reference' ->> 'number') = '1'
            AND delta IS NOT NULL ORDER BY generation DESC, transaction_id DESC, position DESC LIMIT 50`,
      );
      const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
      expect(plan).toContain('Index Scan Backward using events_reference');
      expect(plan).not.toContain('Sort');
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
    const wrong = await hub.call('GET', '/v1/movements?reference=PO-7');
    expect([wrong.status, wrong.body.fields[0].field]).toEqual([400, 'reference']);
    expect(wrong.body.fields[0].detail).toContain('purchase-order:PO-7');
  });
});

describe('counts and transfers', () => {
  it('a count as of a moment keeps what moved since', async () => {
    const sku = await newItem();
    await post({ kind: 'received', sku, quantity: 10, occurredAt: '2026-01-01T08:00:00Z' });
    await post({ kind: 'sold', sku, quantity: 3, occurredAt: '2026-01-03T08:00:00Z' });
    const counted = await hub.call('POST', '/v1/counts', {
      sku,
      location: 'main',
      quantity: 9,
      asOf: '2026-01-02T08:00:00Z',
    });
    expect(counted.body.facts[0]).toMatchObject({ type: 'StockCounted', delta: -1, balance: 6 });
  });

  it('what is shipped is in transit until it is received', async () => {
    const sku = await newItem();
    await post({ kind: 'received', sku, quantity: 10 });
    const paper = { transfer: 'T1', from: 'main', to: 'shop', lines: [{ sku, quantity: 4 }] };
    expect((await hub.call('POST', '/v1/transfers', paper)).status).toBe(201);
    expect(await onHand(sku)).toEqual({ main: 6, 'in-transit': 4 });
    const part = await hub.call('POST', '/v1/transfers/T1/receive', { lines: [{ sku, quantity: 3 }], close: true });
    expect(part.status).toBe(201);
    expect(await onHand(sku)).toMatchObject({ main: 6, shop: 3, 'in-transit': 0 });
    expect((await hub.call('POST', '/v1/transfers/T1/receive', {})).body.type).toBe(
      'urn:onhand:problem:transfer-closed',
    );
  });

  it('a transfer that comes in parts takes in no piece twice, whoever receives the rest at the same moment', async () => {
    const sku = await newItem();
    await post({ kind: 'received', sku, quantity: 10 });
    const paper = { transfer: 'T3', from: 'main', to: 'shop', lines: [{ sku, quantity: 7 }] };
    await hub.call('POST', '/v1/transfers', paper, { 'Idempotency-Key': 't3' });
    const other = { ...paper, lines: [{ sku, quantity: 8 }] };
    const reused = await hub.call('POST', '/v1/transfers', other, { 'Idempotency-Key': 't3' });
    expect([reused.status, reused.body.type]).toEqual([422, 'urn:onhand:problem:idempotency-key-reused']);
    const receive = (quantity: number, headers = {}) =>
      hub.call('POST', '/v1/transfers/T3/receive', { lines: [{ sku, quantity }] }, headers);
    expect((await receive(2, { 'Idempotency-Key': 'first part' })).status).toBe(201);
    expect((await receive(2, { 'Idempotency-Key': 'first part' })).headers.get('idempotent-replayed')).toBe('true');
    expect(await onHand(sku)).toMatchObject({ main: 3, shop: 2, 'in-transit': 5 });
    expect((await receive(6)).body).toMatchObject({ type: 'urn:onhand:problem:not-enough-in-transit' });
    const rest = await Promise.all([receive(5), receive(5), receive(5)]);
    expect(rest.map(({ status }) => status).toSorted((one, other) => one - other)).toEqual([201, 409, 409]);
    expect(await onHand(sku)).toMatchObject({ main: 3, shop: 7, 'in-transit': 0 });
    const { body } = await hub.call('GET', '/v1/movements?reference=transfer:T3');
    expect(
      body.data.map(({ location, delta }: { location: string; delta: number }) => `${location} ${delta}`).toSorted(),
    ).toEqual(['in-transit -2', 'in-transit -5', 'in-transit 7', 'main -7', 'shop 2', 'shop 5']);
  });

  it('a transfer that is told late is not taken from a shelf that was counted without it', async () => {
    const sku = await newItem();
    await post({ kind: 'received', sku, quantity: 10, occurredAt: '2026-01-01T08:00:00Z' });
    // Four had left before the count, and nobody had told so yet.
    await hub.call('POST', '/v1/counts', { sku, location: 'main', quantity: 6, asOf: '2026-01-03T08:00:00Z' });
    const paper = { transfer: 'T4', from: 'main', to: 'shop', lines: [{ sku, quantity: 4 }] };
    const late = await hub.call('POST', '/v1/transfers', { ...paper, occurredAt: '2026-01-02T08:00:00Z' });
    expect(late.status).toBe(201);
    expect(await onHand(sku)).toMatchObject({ main: 6, 'in-transit': 4 });
    await hub.call('POST', '/v1/transfers/T4/receive', {});
    expect(await onHand(sku)).toMatchObject({ main: 6, shop: 4, 'in-transit': 0 });
  });

  it('a transfer can be shipped and received in one request, and repeated', async () => {
    const sku = await newItem();
    await post({ kind: 'received', sku, quantity: 2 });
    const paper = { transfer: 'T2', from: 'main', to: 'shop', lines: [{ sku, quantity: 2 }], receive: true };
    await hub.call('POST', '/v1/transfers', paper, { 'Idempotency-Key': 't2' });
    const again = await hub.call('POST', '/v1/transfers', paper, { 'Idempotency-Key': 't2' });
    expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([201, 'true']);
    expect(await onHand(sku)).toMatchObject({ main: 0, shop: 2 });
  });
});

describe('what was on hand', () => {
  it('is told as of a moment by recording and by business time', async () => {
    const sku = await newItem();
    await post({ kind: 'received', sku, quantity: 10, occurredAt: '2026-01-01T08:00:00Z' });
    const between = new Date().toISOString();
    await new Promise((resolve) => setTimeout(resolve, 5));
    await post({ kind: 'sold', sku, quantity: 3, occurredAt: '2026-01-02T08:00:00Z' });
    expect(await onHand(sku, `?at=${between}`)).toEqual({ main: 10 });
    expect(await onHand(sku, `?at=${between}&by=business`)).toEqual({ main: 7 });
    expect(await onHand(sku, '?at=2026-01-01T12:00:00%2B01:00&by=business')).toEqual({ main: 10 });
    expect(await onHand(sku, '?at=2025-01-01T00:00:00Z&by=business')).toEqual({});
  });

  it('has a ledger, the newest first, read page by page without gap or repetition', async () => {
    const sku = await newItem();
    for (let quantity = 1; quantity <= 7; quantity += 1)
      await post({ kind: 'received', sku, quantity, location: quantity % 2 ? 'main' : 'shop' });
    const seen: number[] = [];
    for (let cursor = ''; ;) {
      const { body } = await hub.call('GET', `${pathOf(sku)}/ledger?limit=3${cursor}`);
      seen.push(...body.data.map((entry: { delta: number }) => entry.delta));
      if (body.nextCursor === null) break;
      cursor = `&cursor=${body.nextCursor}`;
    }
    expect(seen).toEqual([7, 6, 5, 4, 3, 2, 1]);
    const { body } = await hub.call('GET', `${pathOf(sku)}/ledger?location=shop`);
    expect(body.data.map((entry: { balance: number }) => entry.balance)).toEqual([12, 6, 2]);
  });
});

describe('items and orders', () => {
  it('an item is found right after it was created, with its stock per location', async () => {
    const sku = await newItem();
    expect((await hub.call('GET', pathOf(sku))).body).toMatchObject({ sku, onHand: 0, locations: [], listings: [] });
    const again = await hub.call('POST', '/v1/items', { sku, title: 'other' });
    expect(again.status).toBe(409);
  });

  it('lists are read to the end by their cursors, and by prefix', async () => {
    const items = Array.from({ length: 5 }, (_, i) => ({ sku: `P%-${i}`, title: `${i}` }));
    expect((await hub.call('POST', '/v1/items/batch', { items })).body).toMatchObject({ accepted: 5 });
    // Each row is a command of its own; reading an item by name waits until it is there.
    await Promise.all(items.map(({ sku }) => hub.call('GET', pathOf(sku))));
    const first = await hub.call('GET', '/v1/items?prefix=P%25-&limit=3');
    const second = await hub.call('GET', `/v1/items?prefix=P%25-&limit=3&cursor=${first.body.nextCursor}`);
    expect([...first.body.data, ...second.body.data].map((item: { sku: string }) => item.sku)).toEqual(
      items.map((item) => item.sku),
    );
    expect(second.body.nextCursor).toBeNull();
  });

  it('an order takes its pieces when it is told, once, and is open until it is shipped', async () => {
    const sku = await newItem();
    await post({ kind: 'received', sku, quantity: 10 });
    const order = { number: 'PH-1', placedAt: '2026-01-05T10:00:00Z', lines: [{ sku, location: 'main', quantity: 4 }] };
    expect((await hub.call('POST', '/v1/orders', order)).status).toBe(201);
    expect((await hub.call('POST', '/v1/orders', order)).body.facts).toEqual([]);
    expect((await hub.call('GET', '/v1/orders/PH-1')).body).toMatchObject({
      number: 'PH-1',
      cartId: null,
      state: 'open',
      lines: [{ line: '1', sku, quantity: 4 }],
    });
    expect(await onHand(sku)).toEqual({ main: 6 });
    expect((await hub.call('POST', '/v1/orders/PH-1/ship')).status).toBe(201);
    expect(await onHand(sku)).toEqual({ main: 6 });
    await expect.poll(async () => (await hub.call('GET', pathOf(sku))).body).toMatchObject({ onHand: 6, open: 0 });
    await expect.poll(async () => (await hub.call('GET', '/v1/orders/PH-1')).body.state).toBe('shipped');
  });

  it('an order shipped in part stays open until its last piece has left', async () => {
    const sku = await newItem();
    const order = {
      number: 'PH-2',
      placedAt: '2026-01-05T10:00:00Z',
      lines: [{ line: '1', sku, location: 'main', quantity: 4 }],
    };
    await hub.call('POST', '/v1/orders', order);
    await hub.call('POST', '/v1/orders/PH-2/ship', { lines: [{ line: '1', quantity: 1 }] });
    await expect.poll(async () => (await hub.call('GET', pathOf(sku))).body.open).toBe(3);
    expect((await hub.call('GET', '/v1/orders/PH-2')).body.state).toBe('open');
    await hub.call('POST', '/v1/orders/PH-2/close');
    await expect.poll(async () => (await hub.call('GET', '/v1/orders/PH-2')).body.state).toBe('closed');
  });

  it('a POST that names a content type and has no body is one without a body', async () => {
    const answer = await fetch(`${hub.url}/v1/projector/resume`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${ownerKey}`, 'content-type': 'application/json', 'content-length': '0' },
    });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ state: 'following' });
  });
});
