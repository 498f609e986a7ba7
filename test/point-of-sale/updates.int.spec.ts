import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { onHand } from '../imports/send.js';
import { assertInvariants } from '../projections/assert-invariants.js';

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
  await hub.call('POST', '/v1/locations', { location: 'store-1', name: 'Store 1', otherCodes: ['WH', '17'] });
  await hub.call('POST', '/v1/items/batch', {
    items: [
      { sku: 'MUG', title: 'Mug', barcode: '030065245099', shopifyProductId: '7001' },
      { sku: 'CUP', title: 'Cup' },
      { sku: 'TWIN-A', title: 'Twin', barcode: '4006381333931' },
      { sku: 'TWIN-B', title: 'Twin', barcode: '4006381333931' },
    ],
  });
});
afterAll(async () => {
  await assertInvariants(hub.database);
  await hub.close();
});

const path = '/api/service/updateInventoryByIdentification';
const update = (body: object, headers: Record<string, string> = {}) => hub.call('POST', path, body, headers);
const sale = {
  facilityId: 'store-1',
  availableDelta: -1,
  idType: 'SKU',
  idValue: 'CUP',
  locationSeqId: 'TLTLTLLL01',
  varianceReasonId: 'POS_SALE',
};

describe('updateInventoryByIdentification', () => {
  it('takes the sample of HotWax as it stands, and answers as HotWax does', async () => {
    const sample = {
      facilityId: 'WH',
      availableDelta: 4,
      idType: 'UPCA',
      idValue: '30065245099',
      locationSeqId: 'TLTLTLLL01',
      varianceReasonId: 'POS_SALE',
    };
    const { status, body } = await update(sample);
    expect(status).toBe(200);
    expect(body).toEqual({ ...sample, webSiteId: 'API', sku: 'MUG', location: 'store-1', onHand: 4 });
  });

  it('finds the item by SKU, barcode or number at Shopify, the place by its code or another one', async () => {
    const before = await onHand(hub, 'MUG');
    for (const [idType, idValue, facilityId] of [
      ['SKU', 'MUG', 'store-1'],
      ['UPCA', '030065245099', '17'],
      ['UPCA', 30065245099, 17],
      ['Shopify_Prod_ID', '7001', 'WH'],
      ['shopifyProductId', 7001, 'WH'],
    ]) {
      const { status, body } = await update({ ...sale, idType, idValue, facilityId });
      expect([status, body.sku, body.location]).toEqual([200, 'MUG', 'store-1']);
    }
    expect(await onHand(hub, 'MUG')).toBe(before - 5);
  });

  it('records sales as sales, sales taken back as returns, everything else as a correction with its reason', async () => {
    await update({ ...sale, availableDelta: '-2' });
    await update({ ...sale, availableDelta: 1 });
    await update({ ...sale, availableDelta: -3, varianceReasonId: 'VAR_DAMAGED', comments: 'of no interest' });
    await onHand(hub, 'CUP');
    const { body } = await hub.call('GET', '/v1/movements?reference=other:point-of-sale&line=store-1&limit=3');
    expect(body.data).toMatchObject([
      { type: 'StockAdjusted', sku: 'CUP', delta: -3, reason: 'VAR_DAMAGED' },
      { type: 'StockReturned', sku: 'CUP', delta: 1, reason: 'POS_SALE' },
      { type: 'StockSold', sku: 'CUP', delta: -2, reason: 'POS_SALE' },
    ]);
  });

  it('takes a reason without a change, and changes nothing', async () => {
    const before = await onHand(hub, 'CUP');
    const { status, body } = await update({ ...sale, availableDelta: 0, varianceReasonId: 'NO_VARIANCE_LOG' });
    expect([status, body.note]).toEqual([200, 'Nothing to do: availableDelta is 0.']);
    expect(await onHand(hub, 'CUP')).toBe(before);
  });

  it('counts a sale of before the last count once, when its till sends it later and says when it was', async () => {
    await hub.call('POST', '/v1/items', { sku: 'LATE', title: 'Late' });
    const asOf = new Date(Date.now() - 60_000).toISOString();
    await hub.call('POST', '/v1/counts', { sku: 'LATE', location: 'store-1', quantity: 5, asOf });
    const late = { ...sale, idValue: 'LATE', occurredAt: new Date(Date.now() - 120_000).toISOString() };
    expect((await update(late)).status).toBe(200);
    expect(await onHand(hub, 'LATE')).toBe(5);
    await update({ ...sale, idValue: 'LATE' });
    expect(await onHand(hub, 'LATE')).toBe(4);
  });
});

describe('a repeat', () => {
  it('two equal sales without a key are two sales, and are listed as suspicious', async () => {
    await hub.call('POST', '/v1/items', { sku: 'TWICE', title: 'Twice' });
    const twice = { ...sale, idValue: 'TWICE' };
    await update(twice);
    await update(twice);
    await update({ ...twice, availableDelta: -2 });
    expect(await onHand(hub, 'TWICE')).toBe(-4);
    const { body } = await hub.call('GET', '/v1/point-of-sale/repeats');
    const ours = body.data.filter((row: { sku: string }) => row.sku === 'TWICE');
    expect(ours).toMatchObject([{ location: 'store-1', delta: -1, reason: 'POS_SALE' }]);
  });

  it('under the same key counts once, under two keys twice, and neither is suspicious', async () => {
    await hub.call('POST', '/v1/items', { sku: 'KEYED', title: 'Keyed' });
    const keyed = { ...sale, idValue: 'KEYED' };
    const first = await update(keyed, { 'Idempotency-Key': 'till-7/receipt-1/line-1' });
    const again = await update(keyed, { 'Idempotency-Key': 'till-7/receipt-1/line-1' });
    await update(keyed, { 'Idempotency-Key': 'till-7/receipt-1/line-2' });
    expect(again.headers.get('Idempotent-Replayed')).toBe('true');
    expect(again.body).toEqual(first.body);
    expect(await onHand(hub, 'KEYED')).toBe(-2);
    const other = await update({ ...keyed, availableDelta: -9 }, { 'Idempotency-Key': 'till-7/receipt-1/line-1' });
    expect([other.status, other.body.type]).toEqual([422, 'urn:onhand:problem:idempotency-key-reused']);
    const { body } = await hub.call('GET', '/v1/point-of-sale/repeats');
    expect(body.data.filter((row: { sku: string }) => row.sku === 'KEYED')).toEqual([]);
  });
});

describe('what is wrong', () => {
  it.each([
    ['an item nobody knows', { idValue: 'NOPE' }, 404, 'unknown-item', /NOPE/],
    ['a facility nobody knows', { facilityId: 'MOON' }, 404, 'unknown-location', /otherCodes/],
    [
      'a barcode of two items',
      { idType: 'UPCA', idValue: '4006381333931' },
      409,
      'not-allowed-now',
      /TWIN-A and TWIN-B/,
    ],
    ['half a piece', { availableDelta: -0.5 }, 400, 'invalid-request', /whole number/],
    ['no number', { availableDelta: 'many' }, 400, 'invalid-request', /whole number/],
    ['another kind of id', { idType: 'ISBN' }, 400, 'invalid-request', /SKU, UPCA or Shopify_Prod_ID/],
    ['no reason', { varianceReasonId: undefined }, 400, 'invalid-request', /varianceReasonId/],
    ['a delta without end', { availableDelta: 1e12 }, 400, 'invalid-request', /availableDelta/],
    ['a time that is none', { occurredAt: 'yesterday' }, 400, 'invalid-request', /occurredAt/],
  ])('%s is refused in the words of both worlds', async (_what, fields, status, type, words) => {
    const answer = await update({ ...sale, ...fields });
    expect([answer.status, answer.body.type]).toEqual([status, `urn:onhand:problem:${type}`]);
    expect(JSON.stringify(answer.body)).toMatch(words);
    expect(answer.body['_ERROR_MESSAGE_']).toBe(answer.body.detail);
    expect(answer.body['_ERROR_MESSAGE_LIST_'][0]).toEqual(expect.any(String));
  });

  it('a caller without a key, or with one that may only look, is told so', async () => {
    const open = await call(`${hub.url}${path}`, 'POST', sale);
    expect([open.status, open.body['_ERROR_MESSAGE_']]).toEqual([401, expect.stringContaining('Bearer')]);
    const reader = (await hub.call('POST', '/v1/api-keys', { name: 'reader', scope: 'read' })).body.key as string;
    expect((await update(sale, { Authorization: `Bearer ${reader}` })).status).toBe(403);
    expect((await update('{"facilityId":' as unknown as object)).body).toMatchObject({
      status: 400,
      _ERROR_MESSAGE_: expect.any(String),
    });
  });

  it('a code that means another place already is not taken twice', async () => {
    const again = await hub.call('POST', '/v1/locations', { location: 'store-2', name: 'Store 2', otherCodes: ['WH'] });
    expect([again.status, again.body.fields]).toMatchObject([400, [{ field: 'otherCodes' }]]);
    await hub.call('POST', '/v1/locations', { location: 'store-2', name: 'Store 2' });
    expect((await hub.call('PATCH', '/v1/locations/store-2', { otherCodes: ['18'] })).status).toBe(200);
    await expect.poll(async () => (await update({ ...sale, facilityId: '18' })).body.location).toBe('store-2');
    expect((await hub.call('PATCH', '/v1/locations/nope', { name: 'x' })).status).toBe(404);
  });
});
