import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { everything, type Rule, type RuleEffect, type RuleScope } from '../../src/events/rule.js';
import { LedgerReads } from '../../src/modules/inventory/ledger-reads.js';
import { Explanations } from '../../src/modules/explanations/explanations.js';
import type { Harness } from '../support/hub-harness.js';
import { assertInvariants } from './assert-invariants.js';
import { givenTrade } from './given-trade.js';

const seed = 20260611;
const momentsWanted = 1_000;
const plain = ['T00', 'T01', 'T02', 'T03', 'T04', 'T05'];
/** Kits of those, the second one of the first, too. */
const kits = ['K0', 'K1'];
const traded = [...plain, ...kits];

type Published = {
  readonly cart_id: string;
  readonly key: string;
  readonly sku: string;
  readonly target: number | null;
  readonly shown: string | null;
  readonly withheld: boolean;
  readonly in_effect: boolean;
};

/**
 * A day with everything a number follows from: movements at two places, orders that echo, counts, rules that come, change
 * and go, days that are closed, tags, switches, comparisons. After each batch of facts what every listing was published
 * with is written down beside the moment; then each of these is worked out anew from the log.
 */
describe('any number that was ever published', () => {
  let hub: Harness;
  let explanations: Explanations;
  const seen: { readonly at: Date; readonly published: Published }[] = [];
  const random = fc.sample(fc.nat(1_000_000), { numRuns: 4_000, seed });
  let drawn = 0;
  const upTo = (max: number) => (random[drawn++ % random.length] as number) % max;
  const pick = <T>(list: readonly T[]) => list[upTo(list.length)] as T;
  let order = 0;
  let day = 0;
  let systemOn = true;

  beforeAll(async () => {
    console.log(`explain: seed ${seed}`);
    hub = await givenTrade();
    await hub.ask({ type: 'AddLocation', location: 'SHOP', name: 'Shop' });
    const cart = { name: 'B', connector: 'webhook', url: 'http://127.0.0.1:1/', username: '', storeCode: '' } as const;
    const timing = { requestTimeoutMs: 1_000, quietTimeMs: 300, pollIntervalMs: 1_000, clampsAtZero: false };
    await hub.ask({
      type: 'AddCart',
      cartId: 'b',
      ...cart,
      locations: ['MAIN', 'SHOP'],
      orderLocation: 'SHOP',
      ...timing,
    });
    for (const sku of kits) await hub.ask({ type: 'CreateItem', sku, title: sku });
    await hub.ask({ type: 'MapListings', cartId: 'a', rows: kits.map((sku) => ({ key: sku, sku })) });
    await setKits();
    await hub.ask({ type: 'MapListings', cartId: 'b', rows: traded.map((sku) => ({ key: `b-${sku}`, sku })) });
    await hub.ask({ type: 'SwitchCart', cartId: 'b', on: true });
    await baseline('a');
    await baseline('b');
    for (const sku of plain) await hub.ask({ type: 'CountStock', sku, location: 'MAIN', quantity: 6 });
    explanations = new Explanations(hub.database, new LedgerReads(hub.database));
  }, 60_000);
  afterAll(() => hub.close());

  const components = (...skus: readonly string[]) => skus.map((sku) => ({ sku, quantity: 1 + upTo(2) }));
  async function setKits(): Promise<void> {
    const [a, b] =
      fc.sample(fc.shuffledSubarray(plain, { minLength: 2, maxLength: 2 }), { numRuns: 1, seed: upTo(9_999) })[0] ?? [];
    await hub.ask({ type: 'SetKit', sku: 'K0', components: components(a as string, b as string), by: 'Ann' });
    await hub.ask({ type: 'SetKit', sku: 'K1', components: components('K0', pick(plain)), by: 'Ann' });
  }
  const baseline = (cartId: string) =>
    hub.ask({
      type: 'BaselineListings',
      cartId,
      kind: 'write',
      at: new Date().toISOString(),
      mark: null,
      rows: traded.map((sku) => ({ key: cartId === 'a' ? sku : `b-${sku}`, sku, quantity: upTo(9) - 2 })),
    });
  const save = (ruleId: string, effect: RuleEffect, scope: Partial<RuleScope> = {}) => {
    const rule: Rule = { ruleId, name: ruleId, scope: { ...everything, ...scope }, order: 0, effect };
    return hub.ask({ type: 'SaveRule', rule, by: 'Ann' });
  };
  const effects: readonly (() => RuleEffect)[] = [
    () => ({ kind: 'cap', units: 1 + upTo(8) }),
    () => ({ kind: 'buffer', units: upTo(4), percent: null }),
    () => ({ kind: 'floor', below: 1 + upTo(5), steps: [], daysOfSales: null, salesWindowDays: 7, margin: upTo(4) }),
    () => ({ kind: 'velocity-buffer', coverDays: 1 + upTo(3), salesWindowDays: 7, margin: upTo(3) }),
    () => ({ kind: 'share', percent: 20 * (1 + upTo(5)) }),
    () => ({ kind: 'unconfirmed', atMost: 2, days: 1 + upTo(3) }),
    () => ({
      kind: 'at-zero',
      policy: pick(['hide', 'hide', 'keep-selling', 'hide', 'backorder', 'show-zero'] as const),
    }),
  ];
  const locationOf = (effect: RuleEffect) =>
    effect.kind === 'at-zero' || effect.kind === 'velocity-buffer' || upTo(3) > 0 ? {} : { locations: ['SHOP'] };

  const switchSystem = (on: boolean) => {
    systemOn = on;
    return hub.ask({ type: 'SwitchSystem', on });
  };

  async function something(): Promise<unknown> {
    // Not off for long: numbers that nobody is told are not what this is about.
    if (!systemOn && upTo(4) === 0) return switchSystem(true);
    const sku = pick(plain);
    const sold = pick(traded);
    const location = pick(['MAIN', 'SHOP']);
    const quantity = 1 + upTo(4);
    const cartId = pick(['a', 'b']);
    switch (upTo(17)) {
      case 0:
      case 1:
        return hub.ask({ type: 'ReceiveStock', sku, location, quantity: 4 * quantity });
      case 2:
      case 3:
      case 4:
        return hub.ask({ type: 'SellStock', sku, location, quantity });
      case 5:
        return hub.ask({ type: 'AdjustStock', sku, location, delta: -quantity });
      case 6:
        return hub.ask({ type: 'CountStock', sku, location, quantity: upTo(7) });
      case 7: {
        const at = new Date(Date.now() - upTo(4) * 86_400_000).toISOString();
        return hub.ask({ type: 'SellStock', sku, location, quantity, occurredAt: at });
      }
      case 8:
      case 9:
      case 10:
        return hub.ask({
          type: 'ImportOrder',
          source: `cart:${cartId}`,
          number: String(++order),
          revision: 1,
          state: 'open',
          lines: [{ line: '1', sku: sold, key: cartId === 'a' ? sold : `b-${sold}`, location, quantity }],
          sighting: { after: null, by: new Date().toISOString() },
          cartMovesStock: { at: 'order', restocksOnCancel: true },
        });
      case 11: {
        const effect = pick(effects)();
        const scope = pick<Partial<RuleScope>>([{}, { sku: sold }, { tag: 'sale' }, { cart: cartId }]);
        return save(`${effect.kind}-${upTo(2)}`, effect, { ...scope, ...locationOf(effect) });
      }
      case 12: {
        const rules = await hub.rows<{ rule_id: string }>('SELECT rule_id FROM rules ORDER BY rule_id');
        return rules.length > 0 && hub.ask({ type: 'RemoveRule', ruleId: pick(rules).rule_id, by: 'Ann' });
      }
      case 13:
        return hub.ask({ type: 'ChangeItem', sku, tags: upTo(2) === 0 ? ['sale'] : [] });
      case 14:
        return setKits();
      case 15: {
        if (upTo(2) === 0) return baseline(cartId);
        const closed = new Date(Date.now() - (9 - Math.min(8, day++)) * 86_400_000).toISOString().slice(0, 10);
        return hub.ask({ type: 'CloseDay', day: closed, slowestCart: null });
      }
      default: {
        if (upTo(3) > 0)
          return hub.ask({ type: 'ChangeCart', cartId: 'b', locations: upTo(2) === 0 ? ['SHOP'] : ['MAIN', 'SHOP'] });
        if (upTo(2) === 0) return switchSystem(false);
        await hub.ask({ type: 'SwitchCart', cartId: 'b', on: false });
        await hub.ask({ type: 'SwitchCart', cartId: 'b', on: true });
        return baseline('b');
      }
    }
  }

  /** A millisecond in which nothing is recorded, so that it is after everything before and before everything after. */
  async function quietMoment(): Promise<Date> {
    const next = async () => {
      const now = Date.now();
      while (Date.now() <= now) await new Promise((resolve) => setImmediate(resolve));
    };
    await next();
    const at = new Date();
    await next();
    return at;
  }

  it('is worked out again from the log, a thousand times', async () => {
    while (seen.length < momentsWanted) {
      const facts = 1 + upTo(4);
      for (let n = 0; n < facts; n += 1) await something();
      expect(await hub.projector.caughtUp(20_000)).toBe(true);
      const at = await quietMoment();
      const published = await hub.rows<Published>(
        `SELECT l.cart_id, l.key, l.sku, l.target::int, l.shown, l.withheld,
                c.is_on AND s.is_on AND l.generation = c.generation AND l.expected IS NOT NULL AS in_effect
           FROM listings l JOIN carts c USING (cart_id) CROSS JOIN system_switch s WHERE l.sku = ANY ($1)`,
        traded,
      );
      for (const row of published) seen.push({ at, published: row });
    }
    if (!systemOn) await switchSystem(true);
    expect(await hub.projector.caughtUp(20_000)).toBe(true);
    await assertInvariants(hub.database);
    const wrong: unknown[] = [];
    const asked =
      fc.sample(fc.shuffledSubarray(seen, { minLength: momentsWanted, maxLength: momentsWanted }), {
        numRuns: 1,
        seed,
      })[0] ?? [];
    for (const { at, published } of asked) {
      const { carts } = await explanations.of(published.sku, { cart: published.cart_id, at, movements: 1 });
      const told = carts.find(({ key }) => key === published.key);
      if (told?.inEffect !== published.in_effect) wrong.push({ at, published, told });
      else if (
        published.in_effect &&
        (told.target !== published.target || told.flag !== published.shown || told.withheld !== published.withheld)
      )
        wrong.push({ at, published, told: { ...told, records: told.records.length } });
    }
    expect(wrong.slice(0, 3)).toEqual([]);
    const inEffect = asked.filter(({ published }) => published.in_effect);
    expect(inEffect.length).toBeGreaterThan(momentsWanted / 2);
    const specials: Readonly<Record<string, (p: Published) => boolean>> = {
      'below zero': ({ target }) => (target ?? 0) < 0,
      withheld: ({ withheld }) => withheld,
      hidden: ({ shown }) => shown === 'hidden',
      'of a kit': ({ sku, target }) => kits.includes(sku) && (target ?? 0) > 0,
    };
    const missing = Object.entries(specials).filter(([, is]) => !inEffect.some(({ published }) => is(published)));
    expect(missing.map(([name]) => name)).toEqual([]);
  }, 240_000);

  it('is the same now as the projector has it, by both ways of looking', async () => {
    const at = await quietMoment();
    for (const sku of traded) {
      const [now, then] = await Promise.all([
        explanations.of(sku, { cart: null, at: null, movements: 5 }),
        explanations.of(sku, { cart: null, at, movements: 5 }),
      ]);
      expect(then.movements.data).toEqual(now.movements.data);
      expect(
        then.carts.map(({ target, steps }) => ({
          target,
          steps: steps.map(({ step, before, after }) => ({ step, before, after })),
        })),
      ).toEqual(
        now.carts.map(({ target, steps }) => ({
          target,
          steps: steps.map(({ step, before, after }) => ({ step, before, after })),
        })),
      );
    }
  });
});
