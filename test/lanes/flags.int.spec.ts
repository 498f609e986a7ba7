import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { everything, type RuleScope, type ZeroPolicy } from '../../src/events/rule.js';
import { Flags } from '../../src/cart-workers/flags.js';
import { Explanations } from '../../src/modules/explanations/explanations.js';
import { LedgerReads } from '../../src/modules/inventory/ledger-reads.js';
import { RefusedFlags } from '../../src/modules/rules/refused-flags.js';
import { RuleWarnings } from '../../src/modules/rules/rule-warnings.js';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';

/** What rules ask of an item at a cart beside its number: told to a real shop, behind the number. */
describe('a flag at a cart', () => {
  let hub: Harness;
  let shop: Shop;
  let plain: Shop;
  const skus = ['F1', 'F2', 'F3', 'F4', 'F5', 'F6', 'F7', 'F8', 'F9'];

  beforeAll(async () => {
    hub = await createHarness({ backend: 'postgres' });
    const items = skus.map((key) => ({ key, title: key, quantity: 5 }));
    shop = await startShop('webhook', { items });
    plain = await startShop('seti', { items });
    await hub.stockUp(Object.fromEntries(skus.map((sku) => [sku, 5])));
    await hub.connect('flags', shop, { quietTimeMs: 400, requestTimeoutMs: 500 });
    await hub.connect('plain', plain, { requestTimeoutMs: 500, quietTimeMs: 200 });
    await hub.quiet();
  });
  afterAll(async () => {
    await hub.close();
    await Promise.all([shop.stop(), plain.stop()]);
  });

  const save = (policy: ZeroPolicy, scope: Partial<RuleScope>) => {
    const rule = { ruleId: `zero-${scope.sku}`, name: 'zero', order: 0, scope: { ...everything, ...scope } };
    return hub.ask({ type: 'SaveRule', rule: { ...rule, effect: { kind: 'at-zero', policy } }, by: 'Ann' });
  };
  const move = (sku: string, delta: number) => hub.ask({ type: 'AdjustStock', sku, location: 'MAIN', delta });
  const shows = (sku: string, flag: string) =>
    until(`the shop has ${sku} ${flag}`, async () => (await shop.flags())[sku] === flag, 20_000);
  const settled = async () => {
    await hub.quiet();
    await until('every flag is told', async () => {
      const [row] = await hub.rows<{ open: string }>(
        `SELECT count(*) AS open FROM listings WHERE cart_id = 'flags' AND shown IS DISTINCT FROM shown_told`,
      );
      return row?.open === '0';
    });
    await assertInvariants(hub.database);
    await assertShopsAgree(
      hub.database,
      new Map([
        ['flags', shop],
        ['plain', plain],
      ]),
    );
  };

  it('is hidden at zero, comes back by itself, and nothing is said of items that no rule means', async () => {
    await save('hide', { sku: 'F1' });
    await move('F1', -5);
    await move('F2', -5);
    await shows('F1', 'hidden');
    expect((await shop.stock()).get('F1')).toBe(0);
    await move('F1', 3);
    await shows('F1', 'shown');
    await settled();
    expect(await shop.flags()).toEqual({ F1: 'shown' });
  });

  it('takes back-orders, and is given back when the rule goes', async () => {
    await save('backorder', { sku: 'F3' });
    await move('F3', -5);
    await shows('F3', 'backorder');
    await hub.ask({ type: 'RemoveRule', ruleId: 'zero-F3', by: 'Ann' });
    await shows('F3', 'shown');
    await settled();
  });

  it('is told again after a lost answer, and says the latest once the lost call can no longer run', async () => {
    await save('hide', { sku: 'F4' });
    await move('F4', -5);
    await shows('F4', 'hidden');
    await settled();
    // Both calls take effect and neither is answered; then the rule has changed its mind.
    await shop.faults({ dropAfterApply: 2 });
    await save('show-zero', { sku: 'F4' });
    await shows('F4', 'shown');
    await save('hide', { sku: 'F4' });
    await shows('F4', 'hidden');
    await shop.faults({});
    await settled();
  });

  it('waits in a paused lane, and while its number is on its way', async () => {
    await save('hide', { sku: 'F5' });
    await hub.laneControl.pause('flags', 'Ann', null);
    await move('F5', -5);
    expect(await hub.projector.caughtUp(20_000)).toBe(true);
    const calls = () => hub.rows(`SELECT FROM flag_calls WHERE key = 'F5'`);
    expect(await calls()).toHaveLength(0);
    await hub.laneControl.resume('flags');
    await shows('F5', 'hidden');
    const [after] = await hub.rows<{ behind: boolean }>(
      `SELECT f.confirmed_at >= max(w.ended_at) AS behind FROM flag_calls f JOIN web_stack w USING (cart_id, key)
        WHERE f.key = 'F5' GROUP BY f.confirmed_at`,
    );
    await settled();
    expect(after?.behind === true || after?.behind === null).toBe(true);
  });

  it('is said again after a restart, where the answer came too late', async () => {
    await move('F6', -5);
    await settled();
    await shop.faults({ delayAfterMs: 2_000 });
    await save('hide', { sku: 'F6' });
    await until(
      'a call about it is written down',
      async () => (await hub.rows(`SELECT FROM flag_calls WHERE key = 'F6'`)).length > 0,
    );
    await hub.restartWorkers();
    await shop.faults({});
    await shows('F6', 'hidden');
    await settled();
  });

  it('is told by whoever comes next where its process is killed between the number and the flag', async () => {
    await save('hide', { sku: 'F9' });
    await hub.stopWorkers();
    const worker = await hub.startWorkerProcess();
    // Each call waits at the shop, so that the flag is on its way, and not applied, for as long as this takes.
    await shop.faults({ scope: 'all', delayBeforeMs: 400 });
    await move('F9', -5);
    await until('the flag is on its way, behind the number', async () => {
      const [found] = await hub.rows<{ ended: boolean; confirmed: boolean }>(
        `SELECT w.state = 'delivered' AS ended, f.confirmed_at IS NOT NULL AS confirmed
           FROM flag_calls f JOIN web_stack w USING (cart_id, key) WHERE f.cart_id = 'flags' AND f.key = 'F9'`,
      );
      return found?.ended === true && !found.confirmed;
    });
    worker.kill('SIGKILL');
    await once(worker, 'exit');
    expect((await shop.stock()).get('F9')).toBe(0);
    // Meanwhile it is needed no more, and then it is: what the dead process had said last is not taken for told.
    await move('F9', 2);
    await move('F9', -2);
    await shop.faults({});
    await hub.restartWorkers();
    await shows('F9', 'hidden');
    await settled();
    expect((await shop.flags())['F9']).toBe('hidden');
  });

  it('waits for the next opening at a cart with a cadence, like its number', async () => {
    const cadence = (kind: 'on-demand' | 'real-time') =>
      hub.ask({ type: 'ChangeCart', cartId: 'flags', cadence: { kind } });
    await cadence('on-demand');
    await save('hide', { sku: 'F7' });
    await move('F7', -5);
    expect(await hub.projector.caughtUp(20_000)).toBe(true);
    await hub.laneControl.sendNow('flags');
    await shows('F7', 'hidden');
    await move('F7', 2);
    await save('hide', { sku: 'F2' });
    expect(await hub.projector.caughtUp(20_000)).toBe(true);
    // A flag of its own, without a number to wait for: of a listing that a rounds' look does find.
    const [row] = await hub.rows<{ shown: string }>(
      `SELECT shown FROM listings WHERE cart_id = 'flags' AND key = 'F2'`,
    );
    expect(row).toEqual({ shown: 'hidden' });
    const due = new Flags({ database: hub.database, directory: hub.directory, log: { warn: () => undefined } });
    due.start();
    await due.stop();
    expect([(await shop.flags())['F2'], (await shop.flags())['F7']]).toEqual([undefined, 'hidden']);
    await hub.laneControl.sendNow('flags');
    await Promise.all([shows('F2', 'hidden'), shows('F7', 'shown')]);
    await cadence('real-time');
    await settled();
  });

  it('that is refused again and again is explained, asked for once an hour, and told once the cart takes it', async () => {
    await move('F8', -5);
    await settled();
    await shop.faults({ scope: 'all', unknownKeys: ['F8'] });
    await save('hide', { sku: 'F8' });
    // Nobody waits for the pauses between the tries.
    const nextTry = () => hub.rows(`UPDATE flag_calls SET retry_at = now() WHERE key = 'F8' AND NOT refused`);
    const call = await until('it is refused as often as a change may be', async () => {
      await nextTry();
      const [row] = await hub.rows<{ attempts: number; refused: boolean; later: boolean }>(
        `SELECT attempts, refused, retry_at > now() + interval '50 minutes' AS later FROM flag_calls WHERE key = 'F8'`,
      );
      return row?.refused === true && row;
    });
    expect(call).toEqual({ attempts: 5, refused: true, later: true });
    const explanations = new Explanations(hub.database, new LedgerReads(hub.database));
    const { carts } = await explanations.of('F8', { cart: 'flags', at: null, movements: 1 });
    expect(carts[0]?.sentence).toMatch(/Shop flags refuses to hide it \(.+\); it is asked again once an hour\.$/);
    const refused = new RefusedFlags(hub.database);
    expect(await refused.list({ limit: 10 })).toMatchObject({
      data: [{ cartId: 'flags', cartName: 'Shop flags', key: 'F8', sku: 'F8', flag: 'hidden', attempts: 5 }],
      nextCursor: null,
    });
    expect((await refused.list({ limit: 10, cart: 'plain' })).data).toEqual([]);
    expect(await refused.perCart()).toEqual([{ cartId: 'flags', refused: 1 }]);
    await shop.faults({});
    await hub.rows(`UPDATE flag_calls SET retry_at = now() WHERE key = 'F8'`);
    await shows('F8', 'hidden');
    await settled();
    expect(await refused.perCart()).toEqual([]);
  });

  it('is nothing to a cart that has none: no call is made, and rule and explanation say so', async () => {
    expect(await hub.rows(`SELECT FROM flag_calls WHERE cart_id = 'plain'`)).toHaveLength(0);
    const effect = { kind: 'at-zero', policy: 'hide' } as const;
    const scope = { ...everything, sku: 'F1' };
    const warnings = await new RuleWarnings(hub.database).of({ ruleId: 'r', name: 'r', order: 0, scope, effect });
    expect(warnings).toContain('Shop plain cannot hide; there it shows 0.');
    const explanations = new Explanations(hub.database, new LedgerReads(hub.database));
    const { carts } = await explanations.of('F6', { cart: null, at: null, movements: 1 });
    expect(carts.map(({ cartId, flag, flagTold, sentence }) => [cartId, flag, flagTold, sentence])).toEqual([
      [
        'flags',
        'hidden',
        'hidden',
        expect.stringMatching(/^Shop flags shows 0: 0 in MAIN, .* \(rule "zero", v\d+\)\.$/),
      ],
      ['plain', 'hidden', null, expect.stringMatching(/^Shop plain shows 0: .* Shop plain cannot hide items\.$/)],
    ]);
  });

  it('does not wait for another cart that is slow to answer, or that cannot be asked at all', async () => {
    const [slow, unreadable] = await Promise.all(
      [1, 2].map(() => startShop('webhook', { items: skus.map((key) => ({ key, title: key, quantity: 5 })) })),
    );
    if (slow === undefined || unreadable === undefined) throw new Error('Two shops were started');
    // Both are asked before the other one: carts are gone through by their ids.
    await hub.connect('a-slow', slow, { requestTimeoutMs: 12_000 });
    await hub.connect('b-unreadable', unreadable);
    await hub.quiet();
    const told = (shop: Shop, flag: string) =>
      until(`F6 is ${flag}`, async () => (await shop.flags())['F6'] === flag, 20_000);
    await Promise.all([told(slow, 'hidden'), told(unreadable, 'hidden')]);
    await slow.faults({ scope: 'all', delayBeforeMs: 8_000 });
    await hub.rows(`UPDATE cart_secrets SET key_id = key_id || ' lost' WHERE cart_id = 'b-unreadable'`);
    // Its number is 0 before and after: nothing but the flag is to be told.
    await save('show-zero', { sku: 'F6' });
    await shows('F6', 'shown');
    expect([(await slow.flags())['F6'], (await unreadable.flags())['F6']]).toEqual(['hidden', 'hidden']);
    await hub.rows(`UPDATE cart_secrets SET key_id = left(key_id, 16) WHERE cart_id = 'b-unreadable'`);
    await slow.faults({});
    for (const [cartId, one] of [
      ['a-slow', slow],
      ['b-unreadable', unreadable],
    ] as const) {
      await told(one, 'shown');
      await hub.ask({ type: 'SwitchCart', cartId, on: false });
    }
    expect(await hub.projector.caughtUp(20_000)).toBe(true);
    await Promise.all([slow.stop(), unreadable.stop()]);
  }, 60_000);
});
