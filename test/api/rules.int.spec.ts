import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommandBatcher } from '../../src/events/command-batcher.js';
import type { Command } from '../../src/events/commands.js';
import { Projector } from '../../src/projections/projector.js';
import { runHere } from '../command-line/run-cli.js';
import { assertInvariants } from '../projections/assert-invariants.js';
import { until } from '../support/until.js';
import { ownerKey, startHubUnderTest, type HubUnderTest } from './hub-under-test.js';

describe('rules by API and command line', () => {
  let hub: HubUnderTest;
  const skus = ['MUG', 'CUP', 'POT'];
  const cli = (...args: string[]) => runHere(args, { ONHAND_URL: hub.url, ONHAND_API_KEY: ownerKey });
  const record = (command: Command) =>
    hub.hub.app.get(CommandBatcher).submit({ client: 'test', idempotencyKey: null, bodyHash: null, command });
  const caughtUp = async () => {
    expect(await hub.hub.app.get(Projector).caughtUp(20_000)).toBe(true);
    await assertInvariants(hub.database);
  };
  const put = (id: string, body: object, headers?: Record<string, string>) =>
    hub.call('PUT', `/v1/rules/${id}`, { name: id, ...body }, headers);
  const targets = async () => {
    await caughtUp();
    const { body } = await hub.call('GET', '/v1/carts/shop/listings');
    return Object.fromEntries(body.data.map((row: { key: string; target: number }) => [row.key, row.target]));
  };

  beforeAll(async () => {
    hub = await startHubUnderTest();
    await hub.call('POST', '/v1/locations', { location: 'MAIN', name: 'Main' });
    const cart = { id: 'shop', name: 'Shop', type: 'webhook', url: 'http://127.0.0.1:9/onhand', locations: ['MAIN'] };
    await hub.call('POST', '/v1/carts', { ...cart, secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}` });
    for (const sku of skus) {
      await hub.call('POST', '/v1/items', { sku, title: sku, tags: sku === 'POT' ? ['sale'] : [] });
      await hub.call('POST', '/v1/movements', { kind: 'received', sku, location: 'MAIN', quantity: 20 });
    }
    await record({ type: 'MapListings', cartId: 'shop', rows: skus.map((sku) => ({ key: sku, sku })) });
    await record({ type: 'SwitchCart', cartId: 'shop', on: true });
    const rows = skus.map((sku) => ({ key: sku, sku, quantity: 20 }));
    const at = new Date().toISOString();
    await record({ type: 'BaselineListings', cartId: 'shop', kind: 'write', at, mark: null, rows });
    await caughtUp();
  });
  afterAll(() => hub.close());

  it('closes the day before by itself, with nobody slow on it', async () => {
    const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
    const closed = await until('the day is closed', async () => {
      const { rows } = await hub.database.pool.query(`SELECT data FROM events WHERE type = 'DayClosed'`);
      return rows.length > 0 && rows;
    });
    expect(closed).toEqual([{ data: { day: yesterday, slowestCart: null } }]);
  });

  it('shows before what a rule would change, and then does exactly that', async () => {
    const few = { id: 'few', name: 'Few', effect: { kind: 'cap', units: 5 } };
    const tried = await hub.call('POST', '/v1/rules/dry-run', { save: [few], limit: 2 });
    expect(tried.body).toMatchObject({
      version: '0',
      carts: [{ cartId: 'shop', listings: 3, changed: 3, lowered: 3, raised: 0, toZero: 0, pieces: -45 }],
      changes: [
        { key: 'CUP', from: 20, to: 5 },
        { key: 'MUG', from: 20, to: 5 },
      ],
    });
    expect(await targets()).toEqual({ CUP: 20, MUG: 20, POT: 20 });
    const { status, body } = await put('few', { effect: few.effect }, { 'If-Match': tried.body.version });
    expect([status, body.warnings, body.rule]).toMatchObject([200, [], { id: 'few', version: '1', order: 0 }]);
    expect(await targets()).toEqual({ CUP: 5, MUG: 5, POT: 5 });
    const runs = await hub.call('GET', '/v1/recompute-runs');
    expect(runs.body.data[0]).toMatchObject({ state: 'done', progress: { done: 3, total: 3 }, records: 3 });
    expect((await hub.call('GET', `/v1/recompute-runs/${runs.body.data[0].id}`)).body).toEqual(runs.body.data[0]);
  });

  it('refuses a change that was prepared on another set, and repeats an answer under its key', async () => {
    const stale = await put('other', { effect: { kind: 'cap', units: 9 } }, { 'If-Match': '"0"' });
    expect([stale.status, stale.body.type]).toEqual([409, expect.stringMatching(/version-conflict$/)]);
    const keyed = { 'Idempotency-Key': 'save-once' };
    const first = await put('keyed', { scope: { sku: 'CUP' }, effect: { kind: 'cap', units: 4 } }, keyed);
    const again = await put('keyed', { scope: { sku: 'CUP' }, effect: { kind: 'cap', units: 4 } }, keyed);
    expect(again.headers.get('Idempotent-Replayed')).toBe('true');
    expect(again.body.facts).toEqual(first.body.facts);
    expect(await targets()).toEqual({ CUP: 4, MUG: 5, POT: 5 });
    expect((await hub.call('DELETE', '/v1/rules/keyed')).status).toBe(200);
  });

  it('keeps of each change who made it, when, and in which version, undone ones and undone undoing too', async () => {
    const keyOf = async (name: string) => {
      const { body } = await hub.call('POST', '/v1/api-keys', { name, scope: 'admin' });
      return { Authorization: `Bearer ${body.key}` };
    };
    const [ann, ben] = [await keyOf('Ann'), await keyOf('Ben')];
    const before = Date.now();
    const rule = (units: number) => ({ scope: { sku: 'CUP' }, effect: { kind: 'cap', units } });
    const undo = (who: Record<string, string>) => hub.call('POST', '/v1/rules/told/undo', {}, who);
    await put('told', rule(9), ann);
    await put('told', rule(8), ben);
    const undone = await undo(ann);
    expect(undone.body.rule).toMatchObject({ effect: { units: 9 }, savedBy: 'Ann' });
    expect((await targets())['CUP']).toBe(9);
    const again = await undo(ben);
    expect(again.body.rule).toMatchObject({ effect: { units: 8 }, savedBy: 'Ben' });
    await hub.call('DELETE', '/v1/rules/told', undefined, ann);
    expect((await undo(ben)).body.rule).toMatchObject({ effect: { units: 8 } });
    expect((await undo(ann)).body.rule).toBeNull();

    const { body } = await hub.call('GET', '/v1/rules/told');
    type Version = { version: string; change: string; by: string; at: string; equals: string | null };
    const versions: Version[] = body.versions.toReversed();
    const [first] = versions.map(({ version }) => Number(version));
    const expected = [
      ['RuleSaved', 'Ann', null],
      ['RuleSaved', 'Ben', null],
      ['RuleRestored', 'Ann', 0],
      ['RuleRestored', 'Ben', 1],
      ['RuleRemoved', 'Ann', null],
      ['RuleRestored', 'Ben', 3],
      ['RuleRemoved', 'Ann', null],
    ] as const;
    expect(versions).toMatchObject(
      expected.map(([change, by, equals], at) => ({
        change,
        by,
        version: String(first! + at),
        equals: equals === null ? null : String(first! + equals),
      })),
    );
    const times = versions.map(({ at }) => Date.parse(at));
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    // The hub's clock and the test's are one.
    expect([times[0]! >= before - 1_000, times.at(-1)! <= Date.now() + 1_000]).toEqual([true, true]);
    expect((await hub.call('GET', '/v1/rules')).body.data.map(({ id }: { id: string }) => id)).not.toContain('told');
  });

  it('undoes a change, a removal and a first save, and goes back to any version', async () => {
    await put('sale', { scope: { tag: 'sale' }, effect: { kind: 'cap', units: 3 } });
    await put('sale', { scope: { tag: 'sale' }, effect: { kind: 'cap', units: 2 } });
    expect((await targets())['POT']).toBe(2);
    const undone = await hub.call('POST', '/v1/rules/sale/undo', {});
    expect(undone.body.rule.effect).toEqual({ kind: 'cap', units: 3 });
    expect((await targets())['POT']).toBe(3);
    await hub.call('DELETE', '/v1/rules/sale');
    expect((await targets())['POT']).toBe(5);
    expect((await hub.call('POST', '/v1/rules/sale/undo', {})).body.rule.effect).toEqual({ kind: 'cap', units: 3 });
    const { body } = await hub.call('GET', '/v1/rules/sale');
    const changes = body.versions.map(({ change }: { change: string }) => change);
    expect(changes).toEqual(['RuleRestored', 'RuleRemoved', 'RuleRestored', 'RuleSaved', 'RuleSaved']);
    const second = body.versions[3].version;
    expect((await hub.call('POST', '/v1/rules/sale/undo', { to: second })).body.rule.effect.units).toBe(2);
    expect((await hub.call('POST', '/v1/rules/sale/undo', { to: '999' })).body.fields).toMatchObject([{ field: 'to' }]);
    await hub.call('DELETE', '/v1/rules/sale');
    await put('once', { scope: { sku: 'MUG' }, effect: { kind: 'cap', units: 1 } });
    expect((await hub.call('POST', '/v1/rules/once/undo', {})).body.rule).toBeNull();
  });

  it('refuses a rule that contradicts itself, tried or saved, in the same words', async () => {
    const contradictions = [
      { scope: { locations: ['MAIN'] }, effect: { kind: 'at-zero', policy: 'hide' } },
      { scope: { locations: ['MAIN'] }, effect: { kind: 'velocity-buffer', coverDays: 1 } },
      { effect: { kind: 'buffer', units: 1, percent: 5 } },
      { effect: { kind: 'buffer' } },
      {
        effect: {
          kind: 'floor',
          below: 1,
          steps: [
            { from: '2030-01-01', below: 2 },
            { from: '2030-01-01', below: 3 },
          ],
        },
      },
    ];
    for (const rule of contradictions) {
      const tried = await hub.call('POST', '/v1/rules/dry-run', { save: [{ id: 'odd', name: 'odd', ...rule }] });
      const saved = await put('odd', rule);
      expect(tried.status).toBe(409);
      const words = ({ body }: typeof tried) => [body.type, body.detail, body.fields];
      expect(words(tried)).toEqual(words(saved));
    }
  });

  it('tries nothing that names what nobody knows, and says what that is', async () => {
    const cap = { kind: 'cap', units: 1 };
    const tried = async (body: object) => {
      const { status, body: answer } = await hub.call('POST', '/v1/rules/dry-run', body);
      return [status, answer.type.split(':').at(-1), answer.fields?.[0]?.field];
    };
    const saved = (scope: object) => ({ save: [{ id: 'odd', name: 'odd', scope, effect: cap }] });
    expect(await tried(saved({ cart: 'no-such' }))).toEqual([404, 'unknown-cart', 'scope.cart']);
    expect(await tried(saved({ sku: 'NO-SUCH' }))).toEqual([404, 'unknown-item', 'scope.sku']);
    expect(await tried(saved({ locations: ['moon'] }))).toEqual([404, 'unknown-location', 'scope.locations']);
    expect(await tried(saved({ tag: 'nobody' }))).toEqual([404, 'not-found', 'scope.tag']);
    expect(await tried({ remove: ['never-was'] })).toEqual([404, 'unknown-rule', 'remove']);
  });

  it('warns of rules that can never apply', async () => {
    const warned = async (id: string, body: object) => (await put(id, body)).body.warnings.join(' ');
    expect(await warned('w1', { scope: { tag: 'nobody' }, effect: { kind: 'cap', units: 1 } })).toMatch(
      /No item has the tag/,
    );
    expect(await warned('w2', { order: 7, effect: { kind: 'cap', units: 1 } })).toMatch(/never applies: few/);
    await put('w3', { scope: { sku: 'POT' }, effect: { kind: 'share', percent: 50 } });
    expect(await warned('w4', { scope: { tag: 'sale' }, effect: { kind: 'share', percent: 50 } })).toMatch(
      /own, which is more/,
    );
    const steps = [
      { from: '2020-01-01', below: 1 },
      { from: '2020-02-01', below: 0 },
    ];
    expect(await warned('w5', { effect: { kind: 'floor', below: 6, steps } })).toMatch(
      /2 of its steps .* 0 holds at once/,
    );
    expect(await warned('w6', { scope: { sku: 'MUG' }, effect: { kind: 'cap', units: 0 } })).toMatch(
      /nothing is ever published/,
    );
    for (const id of ['w1', 'w2', 'w3', 'w4', 'w5', 'w6']) await hub.call('DELETE', `/v1/rules/${id}`);
    await caughtUp();
  });

  it('lists what nobody has seen for long; counting or writing it off ends that', async () => {
    const yesterday = new Date(Date.now() - 86_400_000 * 200).toISOString();
    for (const sku of ['OLD', 'LOST', 'PART', 'SET']) {
      await hub.call('POST', '/v1/items', { sku, title: sku });
      if (sku === 'SET') continue;
      const count = { sku, location: 'MAIN', quantity: 2, asOf: yesterday };
      expect((await hub.call('POST', '/v1/counts', count)).status).toBe(201);
    }
    // Sold by no cart but in a set, whose number it holds back all the same.
    await record({ type: 'SetKit', sku: 'SET', components: [{ sku: 'PART', quantity: 1 }], by: 'Ann' });
    const listed = ['OLD', 'LOST', 'SET'];
    await record({ type: 'MapListings', cartId: 'shop', rows: listed.map((sku) => ({ key: sku, sku })) });
    const rows = listed.map((sku) => ({ key: sku, sku, quantity: 2 }));
    await record({
      type: 'BaselineListings',
      cartId: 'shop',
      kind: 'write',
      at: new Date().toISOString(),
      mark: null,
      rows,
    });
    await put('seen', { effect: { kind: 'unconfirmed', atMost: 2, days: 60 } });
    expect(await targets()).toMatchObject({ OLD: 0, LOST: 0, SET: 0, MUG: 5 });
    const { body } = await hub.call('GET', '/v1/doubtful');
    expect(body).toMatchObject({
      data: [
        { sku: 'LOST', onHand: 2 },
        { sku: 'OLD', location: 'MAIN', heldBack: [{ cartId: 'shop', ruleId: 'seen' }] },
        { sku: 'PART', location: 'MAIN', heldBack: [{ cartId: 'shop', ruleId: 'seen' }] },
      ],
      nextCursor: null,
    });
    const page = await hub.call('GET', '/v1/doubtful?limit=1');
    expect((await hub.call('GET', `/v1/doubtful?cursor=${page.body.nextCursor}`)).body.data).toMatchObject([
      { sku: 'OLD' },
      { sku: 'PART' },
    ]);
    expect((await hub.call('POST', '/v1/doubtful/count', { sku: 'PART', location: 'MAIN', quantity: 2 })).status).toBe(
      201,
    );
    expect((await hub.call('POST', '/v1/doubtful/count', { sku: 'OLD', location: 'MAIN', quantity: 1 })).status).toBe(
      201,
    );
    expect((await cli('doubtful', 'write-off', 'LOST', 'MAIN')).code).toBe(0);
    expect(await targets()).toMatchObject({ OLD: 1, LOST: 0, SET: 2 });
    expect((await hub.call('GET', '/v1/doubtful')).body.data).toEqual([]);
    expect((await cli('doubtful')).out).toMatch(/Nothing is in doubt/);
  });

  it('is all there on the command line', async () => {
    const tried = await cli('rules', 'save', 'hide', '--name', 'Off at zero', '--at-zero', 'hide', '--try');
    expect([tried.code, tried.out]).toEqual([0, expect.stringMatching(/shop +LOST +0 +0 +hidden/)]);
    expect((await cli('rules', 'save', 'hide', '--name', 'Off at zero', '--at-zero', 'hide')).out).toMatch(/is saved/);
    expect((await cli('rules')).out).toMatch(/hide +everything .*at zero: hide/);
    expect((await cli('rules', 'show', 'few')).out).toMatch(/at most 5/);
    expect((await cli('rules', 'remove', 'few', '--try')).out).toMatch(/MUG +5 +20/);
    expect((await cli('rules', 'remove', 'few')).code).toBe(0);
    expect((await cli('rules', 'undo', 'few')).out).toMatch(/as it was: at most 5/);
    expect((await cli('rules', 'runs')).out).toMatch(/RuleRestored/);
    const two = await cli('rules', 'save', 'x', '--name', 'x', '--cap', '1', '--floor', '2');
    expect([two.code, two.err]).toEqual([2, expect.stringMatching(/one effect/)]);
    await caughtUp();
  });
});
