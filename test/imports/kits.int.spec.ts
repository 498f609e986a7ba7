import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { ownerKey, startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { runHere } from '../command-line/run-cli.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { until } from '../support/until.js';
import { ended, given, run, send } from './send.js';

const seed = 20261122;
const parts = ['PEG', 'POLE', 'BAG', 'ROPE'];
const kits = ['K1', 'K2', 'K3', 'K4', 'K5'];
const head = 'kit,component,quantity\n';

describe('a file of kits', () => {
  let hub: HubUnderTest;
  beforeAll(async () => {
    hub = await startHubUnderTest();
    await given(hub, ...parts, ...kits, 'STOCKED');
    await hub.call('POST', '/v1/movements', { kind: 'received', sku: 'STOCKED', location: 'main', quantity: 2 });
  });
  afterAll(() => hub.close());
  afterEach(() => vi.restoreAllMocks());

  const caughtUp = async () => expect(await hub.hub.app.get(Projector).caughtUp(20_000)).toBe(true);
  /** What each of them is made of, in words; nothing of those that are no kit. */
  const made = async () => {
    await caughtUp();
    const { body } = await hub.call('GET', '/v1/kits');
    const words = (kit: { components: { sku: string; quantity: number }[] }) =>
      kit.components.map(({ sku, quantity }) => `${quantity} ${sku}`).join(', ');
    return Object.fromEntries(body.data.map((kit: { sku: string }) => [kit.sku, words(kit as never)]));
  };
  const noKits = async () => {
    for (const sku of Object.keys(await made())) await hub.call('DELETE', `/v1/kits/${sku}`);
    await caughtUp();
  };
  const problemsOf = (done: { problems: { row: number; column: string; detail: string }[] }) =>
    done.problems.map(({ row, column, detail }) => [row, column, detail]);

  it('sets each kit whole, and leaves what is made like this already', async () => {
    const file = `${head}K1,PEG,8\nK1,POLE,2\nK2,K1,1\nK2,BAG,1\n`;
    expect(await run(hub, 'kind=kits', file)).toMatchObject({ state: 'done', rows: { applied: 4, refused: 0 } });
    expect(await made()).toEqual({ K1: '8 PEG, 2 POLE', K2: '1 BAG, 1 K1' });
    expect((await hub.call('GET', '/v1/kits/K2')).body).toMatchObject({
      savedBy: expect.any(String),
      parts: [{ sku: 'BAG' }, { sku: 'PEG', quantity: 8 }, { sku: 'POLE', quantity: 2 }],
    });
    // The rows of a kit stand in any order.
    const again = `${head}K1,POLE,2\nK1,PEG,8\nK2,BAG,2\nK2,K1,1\n`;
    expect(await run(hub, 'kind=kits', again)).toMatchObject({ state: 'done', rows: { applied: 2, unchanged: 2 } });
    expect(await made()).toMatchObject({ K2: '2 BAG, 1 K1' });
  });

  it('is shown before it is applied', async () => {
    const ready = await run(hub, 'kind=kits&preview=true', `${head}K1,PEG,9\nK3,PEG,1\nK3,BAG,2\n`);
    expect((await hub.call('GET', `/v1/imports/${ready.id}/preview`)).body).toMatchObject({
      rows: { toApply: 3 },
      totals: [
        { kind: 'changed', rows: 1, kits: 1 },
        { kind: 'new', rows: 2, kits: 1 },
      ],
      differences: [
        { kit: 'K1', before: '8 × PEG, 2 × POLE', after: '9 × PEG' },
        { kit: 'K3', before: null, after: '2 × BAG, 1 × PEG' },
      ],
    });
    expect(await made()).toMatchObject({ K1: '8 PEG, 2 POLE' });
    await hub.call('POST', `/v1/imports/${ready.id}/cancel`);
  });

  it('tells of each wrong row what is wrong with it, refuses its kit whole, and takes the others where that is wanted', async () => {
    await noKits();
    const file = [
      'NOPE,PEG,1',
      'K1,PEG,8',
      'K1,NONE,2',
      'K2,PEG,0',
      'K2,POLE,1',
      'K3,K3,1',
      'K4,PEG,1',
      'K4,PEG,2',
      'STOCKED,PEG,1',
      'K5,PEG,10001',
    ].join('\n');
    const refused = await run(hub, 'kind=kits', head + file);
    expect(refused).toMatchObject({ state: 'refused', rows: { refused: 10 } });
    expect(problemsOf(refused)).toEqual([
      [2, 'kit', expect.stringMatching(/no item with the SKU "NOPE"/)],
      [3, null, expect.stringMatching(/Another row of this kit/)],
      [4, 'component', expect.stringMatching(/no item with the SKU "NONE"/)],
      [5, 'quantity', expect.stringMatching(/1 or more/)],
      [6, null, expect.stringMatching(/Another row of this kit/)],
      [7, 'component', expect.stringMatching(/cannot contain itself/)],
      [8, null, expect.stringMatching(/Another row of this kit/)],
      [9, 'component', expect.stringMatching(/in this kit already: PEG/)],
      [10, 'kit', expect.stringMatching(/STOCKED has 2 on hand at main/)],
      [11, 'quantity', expect.stringMatching(/10000/)],
    ]);
    const skipped = await run(hub, 'kind=kits&onError=skip', `${head}K1,NONE,2\nK5,PEG,1\nK2,PEG,1\nK5,POLE,1\n`);
    expect(skipped).toMatchObject({ state: 'done', rows: { applied: 1, refused: 3 } });
    expect(await made()).toEqual({ K2: '1 PEG' });
    const many = Array.from({ length: 51 }, (_, n) => `K1,X${n},1\n`).join('');
    const { id } = await run(hub, 'kind=kits', head + many);
    const { body } = await hub.call('GET', `/v1/imports/${id}/rows.csv?outcome=refused`);
    expect(body).toMatch(/^52,refused,kit,"A kit has at most 50 components; make a kit of some of them",K1,X50,1\r?$/m);
  });

  it('is refused where kits would be deeper than two, whichever row makes them so', async () => {
    await noKits();
    const deep = await run(hub, 'kind=kits', `${head}K1,K2,1\nK2,K3,1\nK3,PEG,1\n`);
    expect(problemsOf(deep)).toContainEqual([
      2,
      'component',
      expect.stringMatching(/K1 would contain K2, and that K3\. Name the items themselves/),
    ]);
    const circle = await run(hub, 'kind=kits', `${head}K1,K2,1\nK2,K1,1\n`);
    expect(circle).toMatchObject({ state: 'refused' });
    expect(await made()).toEqual({});
    await run(hub, 'kind=kits', `${head}K1,K2,1\nK2,PEG,1\n`);
    // K2 is inside of K1 still, though K1 is to be something else four rows below.
    const early = await run(hub, 'kind=kits', `${head}K3,PEG,1\nK2,K3,1\nK4,PEG,1\nK5,PEG,1\nK1,BAG,1\n`);
    expect(problemsOf(early)).toContainEqual([
      3,
      'component',
      expect.stringMatching(/K1 would contain K2, and that K3/),
    ]);
    expect(await run(hub, 'kind=kits', `${head}K3,PEG,1\nK1,BAG,1\nK2,K3,1\n`)).toMatchObject({ state: 'done' });
    expect(await made()).toEqual({ K1: '1 BAG', K2: '1 K3', K3: '1 PEG' });
  });

  it('is held against what the file before it did, also where somebody’s transaction keeps that from the projection', async () => {
    await noKits();
    const holder = await hub.database.pool.connect();
    await holder.query('BEGIN; SELECT pg_current_xact_id()');
    try {
      expect(await run(hub, 'kind=kits', `${head}K1,K2,1\n`)).toMatchObject({ state: 'done' });
      const waitsFor = vi.spyOn(hub.hub.app.get(Projector), 'applied');
      const second = await send(hub, 'kind=kits', `${head}K3,PEG,1\nK2,K3,1\n`);
      await until('the second file waits, or is through', async () => {
        const { body } = await hub.call('GET', `/v1/imports/${second.body.id}`);
        return waitsFor.mock.calls.length > 0 || body.state !== 'validating';
      });
      await holder.query('COMMIT');
      const found = await ended(hub, second.body.id as string);
      expect(found).toMatchObject({ state: 'refused' });
      expect(problemsOf(found)).toContainEqual([3, 'component', expect.stringMatching(/K1 would contain K2/)]);
    } finally {
      holder.release(true);
    }
  });

  it('that was found to be right is applied to its last row, whatever kits there are and however the file mixes them', async () => {
    const kit = fc.constantFrom(...kits);
    const component = fc.constantFrom(...kits, ...parts.slice(0, 2));
    const composition = fc.uniqueArray(component, { minLength: 1, maxLength: 2 });
    const anyFile = fc.uniqueArray(fc.tuple(kit, composition), {
      minLength: 1,
      maxLength: 5,
      selector: ([sku]) => sku,
    });
    let applied = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(anyFile, { minLength: 1, maxLength: 3 }), async (files) => {
        await noKits();
        for (const file of files) {
          const rows = file.flatMap(([sku, components]) => components.map((one) => `${sku},${one},1\n`)).join('');
          const before = await made();
          const done = await run(hub, 'kind=kits', head + rows);
          // One by one the decider has the last word; it must find nothing that the file's check had not found.
          const sent = oneByOne(before, file);
          if (done.state === 'done') {
            expect(done.rows.refused).toBe(0);
            applied += 1;
          }
          expect([rows, before, done.state]).toEqual([rows, before, sent ? 'done' : 'refused']);
        }
      }),
      { seed, numRuns: 25 },
    );
    expect(applied).toBeGreaterThan(5);
  }, 120_000);

  /** Whether a model takes the kits of a file one after the other: two levels, no circle. */
  function oneByOne(
    before: Readonly<Record<string, string>>,
    file: readonly (readonly [string, readonly string[]])[],
  ): boolean {
    const made = new Map(
      Object.entries(before).map(([sku, words]) => [sku, words.split(', ').map((one) => one.split(' ')[1] ?? '')]),
    );
    const depth = (sku: string, level = 0): number =>
      level > kits.length ? level : Math.max(0, ...(made.get(sku) ?? []).map((one) => 1 + depth(one, level + 1)));
    return file.every(([sku, components]) => {
      made.set(sku, [...components]);
      return kits.every((one) => depth(one) <= 2);
    });
  }

  it('takes a key that may change kits', async () => {
    const made = await hub.call('POST', '/v1/api-keys', { name: 'till', scope: 'operate' });
    const answer = await send(hub, 'kind=kits', `${head}K1,PEG,1\n`, { Authorization: `Bearer ${made.body.key}` });
    expect([answer.status, answer.body.detail]).toEqual([403, expect.stringMatching(/needs the scope "admin"/)]);
  });

  it('goes by command line, tried and applied', async () => {
    await noKits();
    const dir = await temporaryDirectory();
    const file = path.join(dir, 'kits.csv');
    await writeFile(file, 'kit;component;quantity\r\nK1;PEG;8\r\nK1;POLE;2\r\n');
    const onhand = (...args: string[]) =>
      runHere(['import', file, '--kind', 'kits', ...args], { ONHAND_URL: hub.url, ONHAND_API_KEY: ownerKey });
    const tried = await onhand('--dry-run');
    expect([tried.code, tried.out]).toEqual([
      0,
      expect.stringMatching(/kit "K1" +before null +after "8 × PEG, 2 × POLE"/),
    ]);
    expect(await made()).toEqual({});
    expect(await onhand()).toMatchObject({ code: 0, out: 'done: 2 applied, 0 unchanged, 0 refused\n' });
    expect(await made()).toEqual({ K1: '8 PEG, 2 POLE' });
    await rm(dir, { recursive: true, force: true });
  });
});
