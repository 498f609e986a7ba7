import { describe, expect, it } from 'vitest';
import { readCatalogue } from '../../samples/demo/catalogue.mjs';
import { Model } from '../../samples/demo/model.mjs';
import { parseOptions } from '../../samples/demo/options.mjs';
import { planDay } from '../../samples/demo/plan.mjs';
import { differencesOf, latenciesOf, lostAndDoubled } from '../../samples/demo/verdict.mjs';
import { LaneWatch } from '../../samples/demo/lane-watch.mjs';

const openedAt = Date.parse('2026-03-01T08:00:00Z');
const at = '2026-03-01T09:00:00.000Z';

/** A day of one item: ten pieces in the morning, the shop sold two, and the hub sent −3 for what happened elsewhere. */
function dayWith(sentDeltas: number[]) {
  const shown = 10 - 2 + sentDeltas.reduce((sum, delta) => sum + delta, 0);
  const change = (kind: string, delta: number) => ({ at, kind, key: 'X', delta, quantity: 0, id: '' });
  return {
    verdict: {
      truth: new Map([['X', 5]]),
      onHand: new Map([['X', 5]]),
      shown: [new Map([['X', shown]])],
      journals: [[change('sale', -2), ...sentDeltas.map((delta) => change('delta', delta))]],
      records: [{ cartId: 'shop-a', key: 'X', delta: -3 }],
    },
    morning: [new Map([['X', 10]])],
    shops: [{ name: 'Shop A', cartId: 'shop-a' }],
  };
}

function proofOf(sentDeltas: number[]) {
  const { verdict, morning, shops } = dayWith(sentDeltas);
  return lostAndDoubled(verdict, morning, shops, openedAt);
}

describe('the demo’s account of the day', () => {
  it('finds nothing where each change took effect once', () => {
    expect(proofOf([-3])).toMatchObject({ lost: 0, doubled: 0 });
    expect(differencesOf(dayWith([-3]).verdict)).toEqual([]);
  });

  it('finds a change that never reached the shop', () => {
    expect(proofOf([])).toMatchObject({ lost: 1, doubled: 0, cases: [{ key: 'X', surplus: 3 }] });
    expect(differencesOf(dayWith([]).verdict)).toHaveLength(1);
  });

  it('finds a change that took effect twice', () => {
    expect(proofOf([-3, -3])).toMatchObject({ lost: 0, doubled: 1 });
    expect(differencesOf(dayWith([-3, -3]).verdict)).toHaveLength(1);
  });

  it('counts only what happened while a lane was green', () => {
    const lanes = new LaneWatch(undefined as never);
    lanes.add({ cartId: 'shop-b', key: null, from: 2_000, to: 3_000 });
    const record = (cartId: string, from: number, to: number) => ({
      cartId,
      key: 'X',
      state: 'delivered',
      acceptedAt: new Date(from).toISOString(),
      endedAt: new Date(to).toISOString(),
    });
    const records = [record('shop-b', 1_000, 1_040), record('shop-b', 1_900, 3_500), record('shop-a', 2_100, 2_130)];
    expect(latenciesOf(records, lanes)).toMatchObject({ counted: 2, others: 1, max: 40 });
  });

  it('takes what the shops sold from what was asked for', () => {
    const model = new Model([{ sku: 'X', title: 'X', pieces: { MAIN: 5, STORE: 2 } }]);
    model.add('X', 'MAIN', 100);
    model.counted('X', 'STORE', 1);
    expect(model.totals([{ lines: [{ key: 'X', quantity: 4 }] }])).toEqual(new Map([['X', 102]]));
  });
});

describe('the demo’s day', () => {
  it('is the same for the same seed, and another for another', () => {
    const catalogue = readCatalogue();
    expect(planDay(catalogue, 7)).toEqual(planDay(catalogue, 7));
    expect(planDay(catalogue, 7)).not.toEqual(planDay(catalogue, 8));
  });

  it('has a catalogue with codes as merchants write them', () => {
    const skus = readCatalogue().map((item) => item.sku);
    expect(new Set(skus).size).toBe(skus.length);
    expect(skus.length).toBeGreaterThan(300);
    expect(skus).toEqual(expect.arrayContaining(['00417', 'GAS 100', 'ROPE 8MM+', 'TARP 3/4', 'TENT~OLD']));
  });
});

describe('the demo’s command line', () => {
  it.each([['--kill-at', '0'], ['--kill-at', 'many'], ['--seed', '-1'], ['--wrong']])(
    'refuses %s %s with a sentence',
    (...args) => {
      expect(parseOptions(args.filter((arg) => arg !== undefined))).toHaveProperty('problem');
    },
  );

  it('understands its flags', () => {
    expect(parseOptions(['--once', '--json', '--kill-at', '12'])).toMatchObject({
      once: true,
      json: true,
      redis: false,
      killAt: 12,
    });
  });
});
