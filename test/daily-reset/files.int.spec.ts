import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { INestApplication } from '@nestjs/common';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { given, onHand } from '../imports/send.js';
import { assertInvariants } from '../projections/assert-invariants.js';
import { until } from '../support/until.js';
import { addSource, ago, header, rowsOf, sendFile } from './given.js';

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
  await given(hub);
});
afterAll(async () => {
  await hub.hub.app.get(Projector).caughtUp(20_000);
  await assertInvariants(hub.database);
  await hub.close();
});

const move = (body: object) => hub.call('POST', '/v1/movements', { location: 'main', ...body });
const received = (sku: string, quantity: number) => move({ kind: 'received', sku, quantity, occurredAt: ago(86_400) });
const order = (number: string, sku: string, quantity: number, fields: object = {}) =>
  hub.call('POST', '/v1/orders', { number, lines: [{ sku, location: 'main', quantity }], ...fields });

describe('as of the moment of the file', () => {
  it('what moved since survives, and what the file knew and is told later counts once', async () => {
    await given(hub, 'AS-OF');
    await addSource(hub, 'as-of');
    await received('AS-OF', 10);
    await move({ kind: 'sold', sku: 'AS-OF', quantity: 2 });
    const asOf = ago(60);
    const file = await sendFile(hub, 'as-of', header + rowsOf({ 'AS-OF': 7 }), `asOf=${asOf}`);
    expect(file).toMatchObject({ state: 'applied', asOf, check: { rows: 1, lowered: 1, pieces: -3 } });
    expect(await onHand(hub, 'AS-OF')).toBe(5);
    await move({ kind: 'sold', sku: 'AS-OF', quantity: 1, occurredAt: ago(120) });
    expect(await onHand(hub, 'AS-OF')).toBe(5);
    const { body } = await hub.call('GET', '/v1/movements?reference=file:upload.csv');
    expect(body.data[0]).toMatchObject({ type: 'StockReset', source: 'file:as-of', delta: -3 });
  });

  it.each([
    // Of 20 pieces: 3 are ordered and not shipped, 4 ordered and shipped. What the file shows, and what is right.
    ['all', 13],
    ['shipped', 16],
    ['none', 20],
  ])('of a file that knows %s orders, unshipped ones are not resurrected', async (includesOrders, shown) => {
    const sku = `KNOWS-${includesOrders}`;
    await given(hub, sku);
    await addSource(hub, sku.toLowerCase(), { includesOrders, ordersSince: ago(7_200) });
    await received(sku, 20);
    await order(`${sku}-1`, sku, 3, { placedAt: ago(3_600) });
    await order(`${sku}-2`, sku, 4, { placedAt: ago(3_600), state: 'shipped' });
    expect(await onHand(hub, sku)).toBe(13);
    const asOf = ago(60);
    const file = await sendFile(hub, sku.toLowerCase(), header + rowsOf({ [sku]: shown }), `asOf=${asOf}`);
    expect(file).toMatchObject({ state: 'applied', check: { same: 1, pieces: 0 } });
    expect(await onHand(hub, sku)).toBe(13);
    // An order of before the file that is told only now: who knew of it has it already.
    await order(`${sku}-3`, sku, 2, { placedAt: ago(1_800) });
    expect(await onHand(hub, sku)).toBe(includesOrders === 'all' ? 13 : 11);
    // And one more morning with the same shelf changes nothing.
    const next = await sendFile(hub, sku.toLowerCase(), `${header}${rowsOf({ [sku]: shown })}\n`, `asOf=${ago(30)}`);
    expect([next.state, await onHand(hub, sku)]).toEqual(['applied', includesOrders === 'all' ? 13 : 11]);
  });

  it('may stand in a column, in a time zone', async () => {
    await given(hub, 'COLUMN');
    await addSource(hub, 'column', { moment: { kind: 'column', column: 'Snapshot At' }, timeZone: 'America/New_York' });
    await received('COLUMN', 5);
    const file = 'snapshot_at,FACILITY_ID,Id-Value,available qty\n2026-03-01 04:00:00,main,COLUMN,3\n';
    const done = await sendFile(hub, 'column', file);
    expect(done).toMatchObject({ state: 'applied', asOf: '2026-03-01T09:00:00.000Z' });
    const older = await sendFile(hub, 'column', file.replace('03:00', '03:01').replace('03-01 04', '02-01 04'));
    expect(older).toMatchObject({ state: 'refused', problem: expect.stringContaining('has been applied already') });
  });
});

describe('a file', () => {
  it('that is sent twice is applied once, one that is older than the last one not at all', async () => {
    await given(hub, 'TWICE');
    await addSource(hub, 'twice');
    const [older, newer] = [ago(120), ago(60)];
    const file = header + rowsOf({ TWICE: 4 });
    expect((await sendFile(hub, 'twice', file, `asOf=${newer}&name=monday.csv`)).state).toBe('applied');
    expect(await sendFile(hub, 'twice', file, `asOf=${newer}&name=copy.csv`)).toMatchObject({
      state: 'repeated',
      problem: expect.stringContaining('"monday.csv"'),
    });
    expect(await sendFile(hub, 'twice', header + rowsOf({ TWICE: 9 }), `asOf=${older}`)).toMatchObject({
      state: 'older',
      problem: expect.stringContaining('nothing was done'),
    });
    expect(await sendFile(hub, 'twice', header + rowsOf({ TWICE: 9 }), 'asOf=2999-01-01T00:00:00Z')).toMatchObject({
      state: 'refused',
    });
    expect(await onHand(hub, 'TWICE')).toBe(4);
  });

  it('has its columns in any case and order, others beside them, and items by barcode or number at Shopify', async () => {
    await given(hub, 'NAMED-1', 'NAMED-2', 'NAMED-3', 'NAMED-4');
    await hub.call('PATCH', '/v1/items/NAMED-1', { barcode: '030065245099' });
    await hub.call('PATCH', '/v1/items/NAMED-2', { shopifyProductId: '7001' });
    for (const sku of ['NAMED-3', 'NAMED-4']) await hub.call('PATCH', `/v1/items/${sku}`, { barcode: '4006381333931' });
    await addSource(hub, 'named', { locations: { DEMO_HC_STORE_1: 'main' }, idType: 'UPCA' });
    await hub.hub.app.get(Projector).caughtUp(20_000);
    const file = [
      'AVAILABLEQTY;comments;IDVALUE;facilityid;idType;locationSeqId;productId',
      '20;;30065245099;DEMO_HC_STORE_1;;TLTLTLLL01;10001',
      '5.0;;7001;DEMO_HC_STORE_1;shopifyProductId;;',
      '1;two have it;4006381333931;DEMO_HC_STORE_1;upca;;',
      '3;;NAMED-9;DEMO_HC_STORE_1;sku;;',
      '3;;NAMED-3;MOON;sku;;',
      'x;;NAMED-3;DEMO_HC_STORE_1;sku;;',
      '',
    ].join('\r\n');
    const done = await sendFile(hub, 'named', file);
    expect(done).toMatchObject({ state: 'applied', import: { rows: { received: 6, applied: 2, refused: 4 } } });
    expect([await onHand(hub, 'NAMED-1'), await onHand(hub, 'NAMED-2'), await onHand(hub, 'NAMED-3')]).toEqual([
      20, 5, 0,
    ]);
    const { body } = await hub.call('GET', `/v1/imports/${done.import.id}`);
    expect(body.problems.map(({ row, column }: { row: number; column: string }) => [row, column])).toEqual([
      [4, 'idType'],
      [5, 'idValue'],
      [6, 'facilityId'],
      [7, 'availableQty'],
    ]);
  });

  it('adds the shelves of one place up, and believes none of two rows that contradict each other', async () => {
    await given(hub, 'SHELF', 'SAID-TWICE', 'ODD', 'HALF');
    await addSource(hub, 'shelves', { holdAbovePercent: 100 });
    for (const sku of ['SHELF', 'SAID-TWICE', 'ODD', 'HALF']) await received(sku, 50);
    const file = [
      'facilityId,locationSeqId,idType,idValue,availableQty',
      'main,A1,SKU,SHELF,2',
      'main,A1,SKU,SAID-TWICE,7',
      'main,A1,SKU,ODD,1',
      'main,A2,SKU,SHELF,3',
      'main,A1,SKU,SAID-TWICE,7',
      'main,A1,SKU,ODD,2',
      'main,A1,SKU,HALF,4',
      'main,A2,SKU,HALF,many',
      '',
    ].join('\n');
    const done = await sendFile(hub, 'shelves', file);
    expect(done.import.rows).toMatchObject({ applied: 2, unchanged: 2, refused: 4 });
    const skus = ['SHELF', 'SAID-TWICE', 'ODD', 'HALF'];
    expect(await Promise.all(skus.map((sku) => onHand(hub, sku)))).toEqual([5, 7, 50, 50]);
  });

  it('that ends in the middle of a row has that row left out, unless its source never ends the last line', async () => {
    await given(hub, 'CUT');
    await addSource(hub, 'cut');
    await received('CUT', 30);
    const cut = await sendFile(hub, 'cut', header + rowsOf({ OTHER: 1 }) + 'main,,SKU,CUT,2');
    expect(cut).toMatchObject({ state: 'refused', import: { rows: { refused: 2 } } });
    expect(await onHand(hub, 'CUT')).toBe(30);
    expect((await hub.call('PATCH', '/v1/reset-sources/cut', { lastLine: 'may-be-open' })).status).toBe(200);
    expect((await sendFile(hub, 'cut', `${header}main,,SKU,CUT,2`)).state).toBe('applied');
    expect(await onHand(hub, 'CUT')).toBe(2);
  });

  it('without the columns that are needed is refused whole', async () => {
    await addSource(hub, 'columns');
    expect(await sendFile(hub, 'columns', 'facilityId,sku,qty\nmain,MUG,1\n')).toMatchObject({
      state: 'refused',
      problem: expect.stringMatching(/"idValue" is missing; "availableQty" is missing/),
    });
    expect((await sendFile(hub, 'columns', '\n\n')).problem).toMatch(/empty/);
  });
});

describe('a long file', () => {
  it('may take its time once it has arrived: its sender is not given up while it is stored', async () => {
    await given(hub, 'LONG');
    await addSource(hub, 'long');
    const sockets: Socket[] = [];
    const server = (hub.hub.app as INestApplication<Server>).getHttpServer();
    const note = ({ socket, url = '' }: IncomingMessage) => {
      if (url.startsWith('/v1/reset-sources/long/files')) sockets.push(socket);
    };
    server.on('request', note);
    const holder = await hub.database.pool.connect();
    try {
      await holder.query('BEGIN; LOCK TABLE imports IN ACCESS EXCLUSIVE MODE');
      const sending = sendFile(hub, 'long', header + rowsOf({ LONG: 3 }));
      await until('it waits to be stored', async () => {
        const { rows } = await holder.query(
          `SELECT FROM pg_locks WHERE NOT granted AND relation = 'imports'::regclass`,
        );
        return rows.length > 0;
      });
      expect(sockets.map(({ timeout }) => timeout)).toEqual([0]);
      await holder.query('COMMIT');
      expect((await sending).state).toBe('applied');
    } finally {
      holder.release(true);
      server.off('request', note);
    }
  });
});

describe('a complete file', () => {
  const complete = { complete: true, absent: 'zero', holdAbovePercent: 60 };

  it('sets what it does not hold to nothing at its own places, inactive items by choice', async () => {
    await hub.call('POST', '/v1/locations', { location: 'branch', name: 'Branch' });
    await hub.call('POST', '/v1/locations', { location: 'elsewhere', name: 'Elsewhere' });
    const skus = ['HERE', 'HERE-2', 'GONE', 'IDLE'];
    await given(hub, ...skus);
    for (const sku of skus)
      for (const location of ['branch', 'elsewhere']) await move({ kind: 'received', sku, location, quantity: 5 });
    await hub.call('PATCH', '/v1/items/IDLE', { active: false });
    await hub.hub.app.get(Projector).caughtUp(20_000);
    await addSource(hub, 'complete', complete);
    const file = (quantity: number) => `${header}branch,,SKU,HERE,${quantity}\nbranch,,SKU,HERE-2,5\n`;
    const done = await sendFile(hub, 'complete', file(4));
    expect(done).toMatchObject({ state: 'applied', check: { absent: 1, zeroed: 1 } });
    const at = async (sku: string) =>
      (await hub.call('GET', `/v1/items/${sku}`)).body.locations.map((row: { onHand: number }) => row.onHand);
    await hub.hub.app.get(Projector).caughtUp(20_000);
    expect([await at('HERE'), await at('GONE'), await at('IDLE')]).toEqual([
      [4, 5],
      [0, 5],
      [5, 5],
    ]);
    await hub.call('PATCH', '/v1/reset-sources/complete', { zeroInactive: true });
    expect((await sendFile(hub, 'complete', file(3))).check.absent).toBe(1);
    await hub.hub.app.get(Projector).caughtUp(20_000);
    expect(await at('IDLE')).toEqual([0, 5]);
    // Nothing is taken to be absent while nobody can tell what a row speaks of.
    const unreadable = await sendFile(hub, 'complete', `${header}branch,,SKU,HERE,3\nbranch,,SKU\n`);
    expect(unreadable.check).toMatchObject({ absent: 0, absentLeft: expect.stringContaining('1 rows') });
  });

  it('that would change too much is held with what it would do, and applied or rejected by a person', async () => {
    await hub.call('POST', '/v1/locations', { location: 'guarded', name: 'Guarded' });
    const skus = Array.from({ length: 10 }, (_, at) => `G-${at}`);
    await given(hub, ...skus);
    for (const sku of skus) await move({ kind: 'received', sku, location: 'guarded', quantity: 20 });
    await hub.hub.app.get(Projector).caughtUp(20_000);
    await addSource(hub, 'guarded', { ...complete, holdAbovePercent: 20 });
    const rows = (of: readonly string[], quantity: number) =>
      header + of.map((sku) => `guarded,,SKU,${sku},${quantity}\n`).join('');
    const truncated = await sendFile(hub, 'guarded', rows(skus.slice(0, 6), 20), 'name=truncated.csv');
    expect(truncated).toMatchObject({
      state: 'held',
      check: { zeroed: 4, absent: 4 },
      held: expect.stringMatching(/4 of 10/),
    });
    const preview = await hub.call('GET', `/v1/imports/${truncated.import.id}/preview`);
    expect(preview.body.differences[0]).toEqual({ sku: 'G-6', location: 'guarded', before: 20, after: 0 });
    const rejected = await hub.call('POST', `/v1/reset-files/${truncated.id}/reject`, { reason: 'half a file' });
    expect([rejected.status, rejected.body.problem]).toEqual([200, expect.stringContaining('half a file')]);
    const inflated = await sendFile(hub, 'guarded', rows(skus, 500), 'name=inflated.csv');
    expect(inflated).toMatchObject({ state: 'held', check: { inflated: 10 } });
    expect(await onHand(hub, 'G-9')).toBe(20);
    const whole = await sendFile(hub, 'guarded', rows(skus, 19), 'name=whole.csv');
    expect(whole.state).toBe('applied');
    // What waited all that time is older than what was applied since.
    const late = await hub.call('POST', `/v1/reset-files/${inflated.id}/apply`);
    expect([late.status, late.body.type]).toEqual([409, 'urn:onhand:problem:not-allowed-now']);
    expect(await onHand(hub, 'G-9')).toBe(19);
    const looked = await sendFile(hub, 'guarded', rows(skus, 18), 'preview=true&name=looked.csv');
    expect(looked.state).toBe('held');
    expect((await hub.call('POST', `/v1/reset-files/${looked.id}/apply`)).status).toBe(202);
    await expect.poll(() => onHand(hub, 'G-9')).toBe(18);
  });
});
