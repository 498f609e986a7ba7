import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { ended, given, onHand, run, send } from './send.js';

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
  await given(hub, 'MUG', 'CUP', '007', 'TEA; green "1"');
});
afterAll(() => hub.close());

const rowsOf = async (id: string, query = '') =>
  ((await hub.call('GET', `/v1/imports/${id}/rows.csv${query}`)).body as string).trimEnd().split('\r\n');

describe('each kind of file', () => {
  it('movements move stock, each with what it names', async () => {
    const file = [
      'Kind,SKU,Location,quantity,delta,reason,reference,occurred_at',
      'received,MUG,main,20,,,purchase-order:PO-7:1,2026-03-01T12:00:00Z',
      'sold,MUG,main,3,,,,',
      'returned,MUG,main,1,,,,',
      'adjusted,MUG,main,,-2,broken,,',
      'received,007,main,+5,,,,',
    ].join('\n');
    const done = await run(hub, 'kind=movements', file);
    expect(done).toMatchObject({ state: 'done', rows: { received: 5, applied: 5, refused: 0, waiting: 0 } });
    expect([await onHand(hub, 'MUG'), await onHand(hub, '007')]).toEqual([16, 5]);
    const { body } = await hub.call('GET', '/v1/items/MUG/ledger');
    expect(body.data.at(-1)).toMatchObject({ reference: { kind: 'purchase-order', number: 'PO-7', line: '1' } });
    expect((await rowsOf(done.id))[1]).toBe(
      '2,applied,,,received,MUG,main,20,,,purchase-order:PO-7:1,2026-03-01T12:00:00Z',
    );
  });

  it('counts set what was found, as of the moment they name', async () => {
    const done = await run(
      hub,
      'kind=counts',
      'sku,location,quantity,includesOpenOrders\nMUG,main,10,no\nCUP,main,4,\n',
    );
    expect(done).toMatchObject({ state: 'done', rows: { applied: 2 } });
    expect([await onHand(hub, 'MUG'), await onHand(hub, 'CUP')]).toEqual([10, 4]);
  });

  it('items are created; those that exist just so are left alone', async () => {
    const done = await run(
      hub,
      'kind=items',
      'sku,title,barcode\nNEW-1,Jug,4006381333931\nMUG,MUG,\nNEW-1,Jug,4006381333931\n',
    );
    expect(done).toMatchObject({ state: 'done', rows: { applied: 1, unchanged: 2 } });
    expect((await hub.call('GET', '/v1/items/NEW-1')).body).toMatchObject({ title: 'Jug', barcode: '4006381333931' });
    const other = await run(hub, 'kind=items', 'sku,title\nX,One\nX,Two\n');
    expect(other).toMatchObject({ state: 'refused', rows: { refused: 1 }, problems: [{ row: 3 }] });
  });

  it('items are changed by the fields that a row has, and an unknown one without a title is refused', async () => {
    const file = 'sku,title,tags,active\nJUG,Jug,"Kitchen, blue",\nMUG,,sale,no\n';
    expect(await run(hub, 'kind=items', file)).toMatchObject({ state: 'done', rows: { applied: 2 } });
    expect(await run(hub, 'kind=items', file)).toMatchObject({ state: 'done', rows: { applied: 0, unchanged: 2 } });
    const jug = async () => (await hub.call('GET', '/v1/items/JUG')).body;
    await expect.poll(jug).toMatchObject({ tags: ['blue', 'kitchen'], active: true });
    const mug = async () => (await hub.call('GET', '/v1/items/MUG')).body;
    await expect.poll(mug).toMatchObject({ title: 'MUG', tags: ['sale'], active: false });
    const unknown = await run(hub, 'kind=items', 'sku,active\nMUG,yes\nNOBODY,yes\n');
    expect(unknown).toMatchObject({ state: 'refused', problems: [{ row: 3, column: 'title' }] });
    expect(await run(hub, 'kind=items', 'sku,active\nMUG,yes\n')).toMatchObject({
      state: 'done',
      rows: { applied: 1 },
    });
    await expect.poll(mug).toMatchObject({ active: true });
  });

  it('orders are told whole: rows of one number are one order', async () => {
    const before = await onHand(hub, 'MUG');
    const file = 'number,sku,location,quantity,state\nP-1,MUG,main,2,\nP-1,CUP,main,1,\nP-2,MUG,main,1,shipped\n';
    const done = await run(hub, 'kind=orders', file);
    expect(done).toMatchObject({ state: 'done', rows: { applied: 3 } });
    expect(await onHand(hub, 'MUG')).toBe(before - 3);
    const { body } = await hub.call('GET', '/v1/orders/P-1');
    expect(body.lines).toMatchObject([
      { line: '1', sku: 'MUG' },
      { line: '2', sku: 'CUP' },
    ]);
    expect(await run(hub, 'kind=orders', file)).toMatchObject({ state: 'done', rows: { unchanged: 3 } });
    expect(await onHand(hub, 'MUG')).toBe(before - 3);
  });

  it('orders may name their origin, and each row of one order the same', async () => {
    await given(hub, 'ORIGIN');
    const head = 'number,origin,sku,location,quantity\n';
    const done = await run(hub, 'kind=orders', `${head}OR-1,store,ORIGIN,main,2\nOR-2,,ORIGIN,main,1\n`);
    expect(done).toMatchObject({ state: 'done', rows: { applied: 2 } });
    expect((await hub.call('GET', '/v1/orders/OR-1?origin=store')).body).toMatchObject({ origin: 'store' });
    expect((await hub.call('GET', '/v1/orders/OR-2')).body).toMatchObject({ origin: 'phone' });
    const mixed = await run(hub, 'kind=orders', `${head}OR-3,store,ORIGIN,main,2\nOR-3,phone,ORIGIN,main,1\n`);
    expect(mixed).toMatchObject({
      state: 'refused',
      problems: expect.arrayContaining([expect.objectContaining({ row: 3, column: 'origin' })]),
    });
    expect((await run(hub, 'kind=orders', `${head}OR-4,web,ORIGIN,main,2\n`)).state).toBe('refused');
  });

  it('an order with one wrong row, or in two places, is not taken at all, and its neighbours are', async () => {
    const file = [
      'number,line,sku,location,quantity',
      'Q-1,1,MUG,main,1',
      'Q-1,2,NOPE,main,1',
      'Q-2,1,MUG,main,x',
      'Q-2,2,MUG,main,1',
      'Q-3,1,MUG,main,1',
      'Q-4,1,MUG,main,1',
      'Q-3,2,MUG,main,1',
      'Q-5,1,MUG,main,1',
      'Q-5,1,CUP,main,1',
    ].join('\n');
    const done = await run(hub, 'kind=orders&onError=skip', file);
    expect(done).toMatchObject({ state: 'done', rows: { applied: 1, refused: 8 } });
    expect((await rowsOf(done.id, '?outcome=applied')).slice(1)).toEqual([expect.stringContaining('Q-4')]);
  });

  it('mappings tell a cart’s keys, and need the cart', async () => {
    const cart = { id: 'shop', name: 'Shop', type: 'seti', url: 'http://127.0.0.1:9/seti', locations: ['main'] };
    const added = await hub.call('POST', '/v1/carts', { ...cart, username: 'u', secret: 's', storeCode: '1' });
    expect(added.status).toBe(201);
    const done = await run(hub, 'kind=mappings&cart=shop', 'key,sku\nK1,MUG\nK2,CUP\nK1,MUG\n');
    expect(done).toMatchObject({ state: 'done', rows: { applied: 2, unchanged: 1 } });
    await onHand(hub, 'MUG');
    const listed = await hub.call('GET', '/v1/carts/shop/listings');
    expect(listed.body.data).toMatchObject([
      { key: 'K1', sku: 'MUG' },
      { key: 'K2', sku: 'CUP' },
    ]);
    expect((await send(hub, 'kind=mappings', 'key,sku\nK1,MUG\n')).body.detail).toContain('Name the cart');
    expect((await send(hub, 'kind=mappings&cart=nowhere', 'key,sku\nK1,MUG\n')).status).toBe(404);
    expect((await send(hub, 'kind=items&cart=shop', 'sku,title\nK1,MUG\n')).body.detail).toContain('no cart');
  });
});

describe('rows that are wrong', () => {
  const file = [
    'kind,sku,location,quantity,delta,key,occurredAt',
    'received,MUG,main,1,,,',
    'received,NOPE,main,1,,,',
    'received,MUG,nowhere,1,,,',
    'received,MUG,main,1.5,,,',
    'received,MUG,main,,,,',
    'received,MUG,main,0,,,',
    'adjusted,MUG,main,,-0,,',
    'adjusted,MUG,main,5,1,,',
    'lost,MUG,main,5,,,',
    'received,MUG,main,1,,,2999-01-01T00:00:00Z',
    'received,MUG,main,1,,,yesterday',
    'received,MUG,main,1,,k1,',
    'received,MUG,main,2,,k1,',
    'received,MUG',
    'received,,main,1,,,',
    `received,${'x'.repeat(256)},main,1,,,`,
    'received,MUG,main,1000000001,,,',
  ].join('\r\n');

  it('one of them applies nothing, and each says its row, its column and what to do', async () => {
    const before = await onHand(hub, 'MUG');
    const refused = await run(hub, 'kind=movements', file);
    expect(refused).toMatchObject({ state: 'refused', rows: { received: 17, applied: 0, refused: 15, waiting: 2 } });
    expect(refused.problem).toContain('nothing is applied');
    const told = refused.problems.map((one: { row: number; column: string | null }) => [one.row, one.column]);
    expect(told).toEqual([
      [3, 'sku'],
      [4, 'location'],
      [5, 'quantity'],
      [6, 'quantity'],
      [7, 'quantity'],
      [8, 'delta'],
      [9, 'quantity'],
      [10, 'kind'],
      [11, 'occurredAt'],
      [12, 'occurredAt'],
      [14, null],
      [15, null],
      [16, 'sku'],
      [17, 'sku'],
      [18, 'quantity'],
    ]);
    expect(await onHand(hub, 'MUG')).toBe(before);
    expect((await hub.call('POST', `/v1/imports/${refused.id}/apply`)).status).toBe(409);
  });

  it('with onError=skip the others are applied', async () => {
    const before = await onHand(hub, 'MUG');
    const done = await run(hub, 'kind=movements&onError=skip', file);
    expect(done).toMatchObject({ state: 'done', rows: { applied: 2, refused: 15 } });
    expect(await onHand(hub, 'MUG')).toBe(before + 2);
    const refused = await rowsOf(done.id, '?outcome=refused');
    expect(refused).toHaveLength(16);
    // What was corrected there is sent again as it is; the columns that tell of the outcome are not read.
    const corrected = [refused[0], refused[1]!.replaceAll('NOPE', 'MUG')].join('\n');
    expect(await run(hub, 'kind=movements', corrected)).toMatchObject({ state: 'done', rows: { applied: 1 } });
    expect(await onHand(hub, 'MUG')).toBe(before + 3);
  });

  it('a row with a key counts once, in however many files and requests it comes', async () => {
    const before = await onHand(hub, 'MUG');
    const keyed = 'kind,sku,location,quantity,key\nreceived,MUG,main,4,till-9\nreceived,MUG,main,4,till-9\n';
    expect(await run(hub, 'kind=movements', keyed)).toMatchObject({ rows: { applied: 1, unchanged: 1 } });
    await run(hub, 'kind=movements', keyed);
    const row = { kind: 'received', sku: 'MUG', location: 'main', quantity: 4, idempotencyKey: 'till-9' };
    await hub.call('POST', '/v1/movements/batch', { movements: [row] });
    expect(await onHand(hub, 'MUG')).toBe(before + 4);
    const other = await run(hub, 'kind=movements', keyed.replaceAll(',4,', ',5,'));
    expect(other).toMatchObject({ state: 'refused', problems: [{ row: 2, column: 'key' }] });
  });

  it('a file whose rows are all wrong is refused in either way', async () => {
    expect(await run(hub, 'kind=counts&onError=skip', 'sku,location,quantity\nNOPE,main,1\n')).toMatchObject({
      state: 'refused',
    });
  });
});

describe('looking before', () => {
  it('a preview tells on hand before and after, and waits to be applied', async () => {
    const before = await onHand(hub, 'MUG');
    const ready = await run(hub, 'kind=counts&preview=true', 'sku,location,quantity\nMUG,main,50\nCUP,main,0\n');
    expect(ready.state).toBe('ready');
    const { body } = await hub.call('GET', `/v1/imports/${ready.id}/preview`);
    expect(body.differences).toMatchObject([
      { sku: 'MUG', location: 'main', before, after: 50 },
      { sku: 'CUP', after: 0 },
    ]);
    expect(await onHand(hub, 'MUG')).toBe(before);
    expect((await hub.call('POST', `/v1/imports/${ready.id}/apply`)).status).toBe(202);
    const done = await run(hub, 'kind=counts', 'sku,location,quantity\nCUP,main,0\n');
    expect(done.rows.applied).toBe(1);
    await expect.poll(() => onHand(hub, 'MUG')).toBe(50);
    await expect.poll(async () => (await hub.call('GET', `/v1/imports/${ready.id}`)).body.state).toBe('done');
    expect((await hub.call('POST', `/v1/imports/${ready.id}/apply`)).status).toBe(202);
    expect((await hub.call('GET', `/v1/imports/${ready.id}/preview`)).status).toBe(409);
  });

  it('there is a preview of every kind', async () => {
    const files = {
      'kind=movements': 'kind,sku,location,quantity\nsold,MUG,main,2\nsold,MUG,main,3\n',
      'kind=items': 'sku,title,tags\nPREVIEWED,Title,\nCUP,,new\n',
      'kind=orders': 'number,sku,location,quantity\nPRE-1,MUG,main,2\n',
      'kind=mappings&cart=shop': 'key,sku\nK1,CUP\n',
    };
    const seen = [];
    for (const [query, file] of Object.entries(files)) {
      const ready = await run(hub, `${query}&preview=true`, file);
      const { body } = await hub.call('GET', `/v1/imports/${ready.id}/preview`);
      seen.push([body.totals, body.differences]);
      await hub.call('POST', `/v1/imports/${ready.id}/cancel`);
    }
    expect(seen).toMatchObject([
      [[{ kind: 'sold', rows: 2, pieces: -5 }], [{ sku: 'MUG', rows: 2, before: 50, after: 45 }]],
      [
        [
          { kind: 'changed', rows: 1 },
          { kind: 'new', rows: 1 },
        ],
        [
          { sku: 'PREVIEWED', before: null, after: 'Title' },
          { sku: 'CUP', before: 'CUP', after: 'CUP (tags new)' },
        ],
      ],
      [[{ kind: 'open', orders: 1, pieces: -2 }], [{ number: 'PRE-1', before: null, after: 'open' }]],
      [[{ kind: 'changed', rows: 1 }], [{ key: 'K1', before: 'MUG', after: 'CUP' }]],
    ]);
  });

  it('a cancelled import never applies', async () => {
    const before = await onHand(hub, 'MUG');
    const ready = await run(hub, 'kind=counts&preview=true', 'sku,location,quantity\nMUG,main,99\n');
    expect((await hub.call('POST', `/v1/imports/${ready.id}/cancel`)).body.state).toBe('cancelled');
    expect((await hub.call('POST', `/v1/imports/${ready.id}/cancel`)).status).toBe(200);
    expect((await hub.call('POST', `/v1/imports/${ready.id}/apply`)).status).toBe(409);
    expect(await ended(hub, ready.id)).toMatchObject({ state: 'cancelled', rows: { applied: 0 } });
    expect(await onHand(hub, 'MUG')).toBe(before);
    const done = await run(hub, 'kind=counts', `sku,location,quantity\nMUG,main,${before}\n`);
    expect((await hub.call('POST', `/v1/imports/${done.id}/cancel`)).status).toBe(409);
  });

  it('imports are listed page by page, the last first', async () => {
    const first = (await hub.call('GET', '/v1/imports?limit=2')).body;
    expect(first.data).toHaveLength(2);
    const second = (await hub.call('GET', `/v1/imports?limit=2&cursor=${first.nextCursor}`)).body;
    expect(second.data[0].createdAt <= first.data[1].createdAt).toBe(true);
    expect(new Set([...first.data, ...second.data].map((one) => one.id)).size).toBe(4);
    expect((await hub.call('GET', '/v1/imports?state=done')).body.data[0].state).toBe('done');
    expect((await hub.call('GET', '/v1/imports/5c7b0f1e-3b53-4b3f-9f57-1a1f3d1f9a11')).status).toBe(404);
    expect((await hub.call('GET', '/v1/imports/nonsense')).status).toBe(400);
  });
});
