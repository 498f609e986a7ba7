import { request } from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, ownerKey, startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { ended, given, onHand, run, send } from './send.js';

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
  await given(hub, 'MUG', 'Straße');
});
afterAll(() => hub.close());

describe('a file that cannot be taken', () => {
  const good = 'kind,sku,location,quantity\nreceived,MUG,main,1\n';
  const cases: [string, string, string | Uint8Array, Record<string, string>, number, string][] = [
    ['an empty one', 'kind=movements', '', {}, 400, 'is empty'],
    ['a header alone', 'kind=movements', 'kind,sku,location,quantity\n', {}, 400, 'no rows'],
    ['missing columns', 'kind=movements', 'kind,sku\nreceived,MUG\n', {}, 400, '"location" is missing'],
    ['an unknown column', 'kind=items', 'sku,title,color\nA,B,C\n', {}, 400, '"color" is not a column of items'],
    ['Latin-1 that is not named so', 'kind=items', Buffer.from('sku,title\nA,\xfc\n', 'latin1'), {}, 400, 'not UTF-8'],
    ['a quote that is never closed', 'kind=movements', `${good}received,"MUG,main,1\n`, {}, 400, 'quotes of row 3'],
    ['a field of 10 MB', 'kind=items', `sku,title\nA,${'x'.repeat(10_485_760)}\n`, {}, 400, 'Row 2 is longer'],
    ['JSON', 'kind=movements', '{}', { 'Content-Type': 'application/json' }, 415, 'text/csv'],
    ['no such kind', 'kind=things', good, {}, 400, 'movements, counts'],
    ['no kind', '', good, {}, 400, 'kind'],
    ['no key', 'kind=movements', good, { Authorization: '' }, 401, 'API key'],
  ];
  it.each(cases)('%s', async (_what, query, file, headers, status, sentence) => {
    const answer = await send(hub, query, file, headers);
    expect(answer).toMatchObject({ status, body: { status } });
    expect(JSON.stringify(answer.body)).toContain(sentence.replaceAll('"', '\\"'));
  });

  it('nothing of them was applied, and the hub is well', async () => {
    expect(await onHand(hub, 'MUG')).toBe(0);
    const { body } = await hub.call('GET', '/v1/imports?limit=200');
    expect(body.data.every((one: { state: string }) => one.state === 'refused')).toBe(true);
  });

  it('CSV is for imports only', async () => {
    const answer = await call(`${hub.url}/v1/movements`, 'POST', good, {
      Authorization: `Bearer ${ownerKey}`,
      'Content-Type': 'text/csv',
    });
    expect(answer.status).toBe(415);
  });

  it('an upload that breaks off applies nothing, and may be sent again under its key', async () => {
    const headers = { 'Content-Type': 'text/csv', Authorization: `Bearer ${ownerKey}`, 'Idempotency-Key': 'broken' };
    await new Promise<void>((resolve) => {
      const asked = request(`${hub.url}/v1/imports?kind=movements`, { method: 'POST', headers });
      asked.on('error', () => resolve());
      asked.write(good + 'received,MUG,main,1\n'.repeat(5_000), () => setTimeout(() => asked.destroy(), 100));
    });
    const broken = async () => (await hub.call('GET', '/v1/imports?limit=1')).body.data[0];
    await expect.poll(broken).toMatchObject({ state: 'refused', problem: expect.stringContaining('broke off') });
    expect(await onHand(hub, 'MUG')).toBe(0);
    const again = await send(hub, 'kind=movements', good, { 'Idempotency-Key': 'broken' });
    expect(again.status).toBe(202);
    expect(await ended(hub, again.body.id)).toMatchObject({ state: 'done' });
    expect(await onHand(hub, 'MUG')).toBe(1);
  });
});

describe('a file that is sent', () => {
  it('again under one key is one import, and another file under it is refused', async () => {
    const before = await onHand(hub, 'MUG');
    const file = 'kind;sku;location;quantity\r\nreceived;MUG;main;2\r\n';
    const keyed = { 'Idempotency-Key': 'file-1' };
    const first = await send(hub, 'kind=movements', file, keyed);
    await ended(hub, first.body.id);
    const second = await send(hub, 'kind=movements', file, keyed);
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect(second.body.id).toBe(first.body.id);
    expect(await onHand(hub, 'MUG')).toBe(before + 2);
    expect((await send(hub, 'kind=movements', `${file}\n`, keyed)).status).toBe(422);
    expect((await send(hub, 'kind=movements&onError=skip', file, keyed)).status).toBe(422);
  });

  it('as Latin-1 that is named so means what it says', async () => {
    const file = Buffer.from('kind,sku,location,quantity\nreceived,Stra\xdfe,main,3\n', 'latin1');
    const answer = await send(hub, 'kind=movements', file, { 'Content-Type': 'text/csv; charset=ISO-8859-1' });
    expect(await ended(hub, answer.body.id)).toMatchObject({ state: 'done' });
    expect(await onHand(hub, 'Straße')).toBe(3);
  });

  it('however it is written is applied whole or not at all', async () => {
    const cell = fc.oneof(
      { weight: 6, arbitrary: fc.constant('1') },
      fc.constantFrom('2', '0', '', 'x', '"1"', '"1', '1,1', '-1', '1e3', '1\u0000', ' 1 '),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(cell, { minLength: 1, maxLength: 6 }), async (quantities) => {
        const before = await onHand(hub, 'MUG');
        const file = `kind,sku,location,quantity\n${quantities.map((text) => `received,MUG,main,${text}\n`).join('')}`;
        const sent = await send(hub, 'kind=movements', file);
        const state = sent.status === 202 ? (await ended(hub, sent.body.id)).state : 'refused';
        const clean = quantities.map((text) => text.replaceAll(/["\s]/g, ''));
        const sum = state === 'done' ? clean.reduce((total, text) => total + Number(text), 0) : 0;
        expect(await onHand(hub, 'MUG')).toBe(before + sum);
        if (quantities.every((text) => ['1', '2', '"1"', ' 1 '].includes(text))) expect(state).toBe('done');
        else expect(state).toBe('refused');
      }),
      { numRuns: 25 },
    );
  }, 60_000);
});

describe('100,000 rows', () => {
  it('go through in a bounded time and in little memory', async () => {
    const count = 100_000;
    const skus = Array.from({ length: 500 }, (_, at) => `S-${at}`);
    await given(hub, ...skus);
    let at = 0;
    const encoder = new TextEncoder();
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (at === 0) controller.enqueue(encoder.encode('kind,sku,location,quantity,reason\n'));
        const rows = Array.from({ length: 500 }, () => `received,S-${at++ % 500},main,1,${'delivery '.repeat(10)}\n`);
        controller.enqueue(encoder.encode(rows.join('')));
        if (at >= count) controller.close();
      },
    });
    const heap = heapWatch();
    const startedAt = Date.now();
    const sent = await send(hub, 'kind=movements', body);
    const receivedMs = Date.now() - startedAt;
    const done = await ended(hub, sent.body.id, 100_000);
    console.log(
      `100,000 rows: received in ${receivedMs} ms, done in ${Date.now() - startedAt} ms, heap +${heap.stop()} MB at most`,
    );
    expect(done).toMatchObject({ state: 'done', rows: { received: count, applied: count } });
    expect(heap.stop()).toBeLessThan(100);
    expect(await onHand(hub, 'S-7')).toBe(count / 500);
    const csv = await fetch(`${hub.url}${done.rowsUrl}`, { headers: { Authorization: `Bearer ${ownerKey}` } });
    expect((await csv.text()).split('\r\n')).toHaveLength(count + 2);
  }, 120_000);
});

it('an import by a file of a thousand repeated rows sums them', async () => {
  const before = await onHand(hub, 'MUG');
  const done = await run(hub, 'kind=movements', `kind,sku,location,delta\n${'adjusted,MUG,main,-1\n'.repeat(1_000)}`);
  expect(done.rows.applied).toBe(1_000);
  expect(await onHand(hub, 'MUG')).toBe(before - 1_000);
});

/** What is still held after the garbage is gone, at its highest, in MB. */
function heapWatch() {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const used = () => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = used();
  let most = 0;
  const timer = setInterval(() => (most = Math.max(most, used() - before)), 1_000);
  return {
    stop: () => {
      clearInterval(timer);
      return Math.round(most / 1024 / 1024);
    },
  };
}
