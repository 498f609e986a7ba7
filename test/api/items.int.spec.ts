import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { startHubUnderTest, type HubUnderTest } from './hub-under-test.js';

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
  await hub.call('POST', '/v1/locations', { location: 'MAIN', name: 'Main warehouse' });
});
afterAll(() => hub.close());

const caughtUp = () => hub.hub.app.get(Projector).caughtUp(10_000);
const create = async (sku: string, more: Record<string, unknown> = {}) =>
  expect((await hub.call('POST', '/v1/items', { sku, title: sku, ...more })).status).toBe(201);
const change = (sku: string, body: unknown, headers: Record<string, string> = {}) =>
  hub.call('PATCH', `/v1/items/${encodeURIComponent(sku)}`, body, headers);
const get = async (path: string) => {
  await caughtUp();
  return (await hub.call('GET', path)).body;
};
const skusOf = (page: { data: { sku: string }[] }) => page.data.map(({ sku }) => sku);

/** Every page of a list, one after the other. */
async function everything(path: string, limit: number): Promise<{ skus: string[]; pages: number }> {
  const skus: string[] = [];
  let pages = 0;
  for (let cursor: string | null = null; pages === 0 || cursor !== null; pages += 1) {
    const from: string = cursor === null ? '' : `&cursor=${cursor}`;
    const page = await get(`${path}&limit=${limit}${from}`);
    skus.push(...skusOf(page));
    cursor = page.nextCursor;
  }
  return { skus, pages };
}

describe('changing an item', () => {
  it('changes what is named, and the same request again is the same answer', async () => {
    await create('C-1', { barcode: '1', tags: ['Sale'] });
    const key = { 'Idempotency-Key': 'change-1' };
    const first = await change('C-1', { title: 'Changed', addTags: ['new'], active: false }, key);
    const again = await change('C-1', { title: 'Changed', addTags: ['new'], active: false }, key);
    expect([first.status, first.body.facts[0].type, first.body.facts[0].version]).toEqual([200, 'ItemChanged', '2']);
    expect([again.headers.get('idempotent-replayed'), again.body]).toEqual(['true', first.body]);
    expect(await get('/v1/items/C-1')).toMatchObject({
      title: 'Changed',
      barcode: '1',
      tags: ['new', 'sale'],
      active: false,
      version: '2',
    });
    expect((await change('C-1', { title: 'Other' }, key)).body.type).toBe('urn:onhand:problem:idempotency-key-reused');
  });

  it('honours the version it was read at, in the header or in the body', async () => {
    await create('C-2');
    expect((await change('C-2', { title: 'A' }, { 'If-Match': '"1"' })).status).toBe(200);
    expect((await change('C-2', { title: 'B' }, { 'If-Match': '"1"' })).body.type).toBe(
      'urn:onhand:problem:version-conflict',
    );
    expect((await change('C-2', { title: 'B', expectedVersion: '1' })).status).toBe(409);
    expect((await change('C-2', { title: 'B', expectedVersion: '2' })).status).toBe(200);
    expect((await change('C-2', { title: 'C', expectedVersion: '3' }, { 'If-Match': '2' })).status).toBe(400);
  });

  it('names what is wrong, and changes nothing then', async () => {
    await create('C-3');
    const wrong: [unknown, string][] = [
      [{}, ''],
      [{ tags: ['two words'] }, 'tags.0'],
      [{ title: '' }, 'title'],
      [{ sku: 'C-4' }, ''],
    ];
    for (const [body, field] of wrong) {
      const { status, body: problem } = await change('C-3', body);
      expect([status, problem.fields[0].field]).toEqual([400, field]);
    }
    expect((await change('nobody', { title: 'x' })).status).toBe(404);
    expect((await get('/v1/items/C-3')).version).toBe('1');
  });

  it('to inactive takes it out of lists and searches, and not out of stock', async () => {
    await create('GONE-1', { title: 'Gone for good' });
    await create('GONE-2', { title: 'Gone fishing' });
    await change('GONE-1', { active: false });
    const received = { kind: 'received', sku: 'GONE-1', location: 'MAIN', quantity: 3 };
    expect((await hub.call('POST', '/v1/movements', received)).status).toBe(201);
    const lists = ['prefix=GONE', 'q=gone-', 'q=gone'].map((query) => `/v1/items?${query}`);
    for (const list of lists) {
      expect(skusOf(await get(list))).toEqual(['GONE-2']);
      expect(skusOf(await get(`${list}&active=all`))).toEqual(['GONE-1', 'GONE-2']);
      expect((await get(`${list}&active=no`)).data).toMatchObject([{ sku: 'GONE-1', onHand: 3, active: false }]);
    }
    expect(skusOf(await get('/v1/search?q=gone'))).toEqual(['GONE-2']);
  });

  it('leaves no word and no tag of before behind', async () => {
    await create('W-1', { title: 'Zither zebra', tags: ['old'] });
    expect(skusOf(await get('/v1/items?q=zith'))).toEqual(['W-1']);
    await change('W-1', { title: 'Zebra crossing', tags: ['new-tag'] });
    expect([skusOf(await get('/v1/items?q=zith')), skusOf(await get('/v1/items?tag=old'))]).toEqual([[], []]);
    expect([skusOf(await get('/v1/items?q=cross')), skusOf(await get('/v1/items?tag=NEW-TAG'))]).toEqual([
      ['W-1'],
      ['W-1'],
    ]);
  });
});

describe('barcodes', () => {
  it('may be shared; who shares one is listed and never guessed', async () => {
    for (const sku of ['B-1', 'B-2', 'B-3']) await create(sku, { barcode: sku === 'B-3' ? 'own' : 'Shared-9' });
    expect((await get('/v1/items/B-1')).sharesBarcodeWith).toEqual(['B-2']);
    expect((await get('/v1/items/B-3')).sharesBarcodeWith).toEqual([]);
    expect(skusOf(await get('/v1/items?barcode=shared-9'))).toEqual(['B-1', 'B-2']);
    const first = await get('/v1/items/shared-barcodes?limit=1');
    expect(skusOf(first)).toEqual(['B-1']);
    expect(skusOf(await get(`/v1/items/shared-barcodes?limit=1&cursor=${first.nextCursor}`))).toEqual(['B-2']);
  });
});

describe('searching', () => {
  beforeAll(async () => {
    const items = [
      ['PAN', 'Frying pan, blue'],
      ['PAN-XL', 'Frying pan, Größe XL, blue bluish', '5012345'],
      ['pan-s', 'Small blue frying pan'],
      ['ÜBER 1', 'Café crème'],
      ['100%_A', 'Percent'],
      ['100XYZ', 'No percent'],
    ] as const;
    for (const [sku, title, barcode] of items) await create(sku, { title, barcode });
  });
  const found = async (q: string) => skusOf(await get(`/v1/items?q=${encodeURIComponent(q)}`));

  it('finds SKUs first, then barcodes, then words, whatever the capitals and accents', async () => {
    expect(await found('Pan')).toEqual(['PAN', 'pan-s', 'PAN-XL']);
    expect(await found('5012')).toEqual(['PAN-XL']);
    expect(await found('FRY')).toEqual(['PAN', 'PAN-XL', 'pan-s']);
    expect(await found('über')).toEqual(['ÜBER 1']);
    expect(await found('cafe CRÈ')).toEqual(['ÜBER 1']);
  });

  it('finds an item once, and only if every word begins one of its title', async () => {
    expect(await found('blu')).toEqual(['PAN', 'PAN-XL', 'pan-s']);
    expect(await found('fry gross')).toEqual([]);
    expect(await found('xl fry')).toEqual(['PAN-XL']);
  });

  it('takes what means something in a pattern as it is', async () => {
    expect(await found('100%_')).toEqual(['100%_A']);
    expect([await found('%'), await found('_'), await found("'; --"), await found('\\')]).toEqual([[], [], [], []]);
  });

  it('goes on page by page through all stages, without repeating or skipping, while items are added', async () => {
    for (let at = 10; at < 30; at += 1) await create(`KETTLE-${at}`, { title: `Thing ${at}` });
    for (let at = 10; at < 30; at += 1) await create(`X-${at}`, { title: `Kettle number ${at} kettles` });
    const before = (await everything('/v1/items?q=kettle', 7)).skus;
    expect(before).toHaveLength(40);
    expect(new Set(before).size).toBe(40);
    const seen: string[] = [];
    let added = 0;
    for (let cursor: string | null = null; seen.length === 0 || cursor !== null;) {
      const from: string = cursor === null ? '' : `&cursor=${cursor}`;
      const page = await get(`/v1/items?q=kettle&limit=6${from}`);
      seen.push(...skusOf(page));
      cursor = page.nextCursor;
      added += 1;
      await create(`KETTLE-0${added}`, { title: 'before every cursor' });
      await create(`X-${10 + added}b`, { title: 'Kettle in between' });
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(before.filter((sku) => !seen.includes(sku))).toEqual([]);
    expect(seen.filter((sku) => before.includes(sku))).toEqual(before);
  });

  it('refuses a cursor of another list, and two filters at once', async () => {
    const { nextCursor } = await get('/v1/items?limit=1');
    expect((await hub.call('GET', `/v1/items?q=a&cursor=${nextCursor}`)).body.type).toBe(
      'urn:onhand:problem:invalid-cursor',
    );
    expect((await hub.call('GET', '/v1/items?q=a&tag=b')).status).toBe(400);
  });
});
