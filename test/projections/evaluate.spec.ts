import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { everything, ruleKinds, zeroPolicies, type RuleEffect, type RuleScope } from '../../src/events/rule.js';
import {
  evaluate,
  type Calendar,
  type Decision,
  type ListingFacts,
  type PartFacts,
  type Step,
} from '../../src/projections/availability/evaluate.js';
import { RuleBook, sellsBeyondStock, type StandingRule } from '../../src/projections/availability/rule-book.js';

const seed = 20261122;
const calendar: Calendar = { day: '2026-03-31', latencyMs: 43_200_000 };

let made = 0;
function rule(effect: RuleEffect, scope: Partial<RuleScope> = {}, order = 0): StandingRule {
  made += 1;
  const ruleId = `r${String(made).padStart(4, '0')}`;
  return { ruleId, name: ruleId, scope: { ...everything, ...scope }, order, effect, version: String(made) };
}

interface Given extends Partial<ListingFacts> {
  /** At MAIN, which the cart sells. */
  readonly onHand?: number;
}

const listing = ({ onHand = 10, ...more }: Given = {}): ListingFacts => ({
  sku: 'MUG',
  cartId: 'a',
  tags: [],
  stock: [{ location: 'MAIN', onHand, seenAt: '2026-03-31T12:00:00.000Z', own: true }],
  sales: { own: [], chain: [] },
  expected: 0,
  shown: null,
  withheld: false,
  ...more,
});

const decide = (given: Given, ...rules: StandingRule[]): Decision =>
  evaluate(listing(given), new RuleBook(rules), calendar);
const target = (given: Given, ...rules: StandingRule[]) => decide(given, ...rules).target;

const floor = (below: number, more: object = {}): RuleEffect => ({
  kind: 'floor',
  below,
  steps: [],
  daysOfSales: null,
  salesWindowDays: 28,
  margin: 0,
  ...more,
});
const buffer = (units: number): RuleEffect => ({ kind: 'buffer', units, percent: null });
const bufferPercent = (percent: number): RuleEffect => ({ kind: 'buffer', units: null, percent });
const cap = (units: number): RuleEffect => ({ kind: 'cap', units });
const share = (percent: number): RuleEffect => ({ kind: 'share', percent });
const cover = (coverDays: number | null, margin = 0): RuleEffect => ({
  kind: 'velocity-buffer',
  coverDays,
  salesWindowDays: 28,
  margin,
});
const atZero = (policy: (typeof zeroPolicies)[number]): RuleEffect => ({ kind: 'at-zero', policy });

describe('what a cart shows', () => {
  it('is what is on hand where there is no rule, and never raised at zero', () => {
    expect([7, 0, -3].map((onHand) => target({ onHand, expected: 2 }))).toEqual([7, 0, 0]);
    expect(target({ onHand: -3, expected: -1 })).toBe(-1);
  });

  it('counts the cart’s own locations, and those below zero whole', () => {
    const at = (location: string, onHand: number, own: boolean) => ({ location, onHand, seenAt: null, own });
    expect(target({ stock: [at('A', 5, true), at('B', -2, true), at('C', 9, false)] })).toBe(3);
    expect(target({ stock: [at('A', 5, true), at('B', -2, true), at('C', 9, false)] }, rule(share(50)))).toBe(0);
  });

  it('keeps a buffer back in units, or in percent rounded up', () => {
    expect(target({ onHand: 10 }, rule(buffer(3)))).toBe(7);
    expect(target({ onHand: 2 }, rule(buffer(3)))).toBe(0);
    expect(target({ onHand: 10 }, rule(bufferPercent(25)))).toBe(7);
    expect(target({ onHand: 100 }, rule(bufferPercent(7)))).toBe(93);
  });

  it('publishes a share of each location, rounded down', () => {
    const at = (location: string, onHand: number) => ({ location, onHand, seenAt: null, own: true });
    const stock = [at('A', 5), at('B', 5)];
    expect(target({ stock }, rule(share(50)))).toBe(4);
    expect(target({ stock }, rule(share(50), { locations: ['B'] }))).toBe(7);
  });

  it('caps a listing, or the stock at a location', () => {
    const at = (location: string, onHand: number) => ({ location, onHand, seenAt: null, own: true });
    expect(target({ onHand: 50 }, rule(cap(9)))).toBe(9);
    expect(target({ stock: [at('A', 50), at('B', 50)] }, rule(cap(9), { locations: ['A'] }))).toBe(59);
    expect(target({ stock: [at('A', 50), at('B', 50)] }, rule(cap(9), { locations: ['A'] }), rule(cap(20)))).toBe(20);
  });

  it('hides below five units in the chain, whatever the cart itself sells', () => {
    const at = (location: string, onHand: number, own: boolean) => ({ location, onHand, seenAt: null, own });
    const rules = [rule(floor(5)), rule(atZero('hide'))];
    expect(decide({ stock: [at('A', 3, true), at('B', 1, false)], expected: 3 }, ...rules)).toMatchObject({
      target: 0,
      shown: 'hidden',
    });
    expect(decide({ stock: [at('A', 3, true), at('B', 2, false)], shown: 'hidden' }, ...rules)).toMatchObject({
      target: 3,
      shown: 'visible',
    });
    expect(target({ stock: [at('A', 3, true), at('B', 2, false)] }, rule(floor(3), { locations: ['B'] }))).toBe(0);
  });

  it('raises the threshold on the days it was planned for, and with the sales of a day', () => {
    const steps = [
      { from: '2026-03-01', below: 8 },
      { from: '2026-04-01', below: 12 },
      { from: '2026-04-02', below: 99 },
    ];
    expect([11, 12].map((onHand) => target({ onHand }, rule(floor(5, { steps }))))).toEqual([0, 12]);
    const grown = rule(floor(5, { daysOfSales: 0.5 }));
    expect([9, 10].map((onHand) => target({ onHand, sales: { own: [0], chain: [560] } }, grown))).toEqual([0, 10]);
    expect(target({ onHand: 5, sales: { own: [0], chain: [28] } }, grown)).toBe(5);
  });

  it('keeps back what is sold while nobody can be told, by days or by the slowest cart', () => {
    expect(target({ onHand: 20, sales: { own: [29], chain: [0] } }, rule(cover(2)))).toBe(17);
    expect(target({ onHand: 20, sales: { own: [28], chain: [0] } }, rule(cover(null)))).toBe(19);
    expect(target({ onHand: 20, sales: { own: [-5], chain: [0] } }, rule(cover(2)))).toBe(20);
  });

  it('brings back what a threshold held back only with its margin', () => {
    const withMargin = rule(floor(5, { margin: 2 }));
    const shown = (onHand: number, withheld: boolean) => decide({ onHand, withheld }, withMargin);
    expect(shown(5, false)).toMatchObject({ target: 5, withheld: false });
    expect(shown(4, false)).toMatchObject({ target: 0, withheld: true });
    expect(shown(6, true)).toMatchObject({ target: 0, withheld: true });
    expect(shown(7, true)).toMatchObject({ target: 7, withheld: false });
    const sales = { own: [28], chain: [0] };
    expect(decide({ onHand: 5, sales, withheld: true }, rule(cover(2, 4)))).toMatchObject({
      target: 0,
      withheld: true,
    });
    expect(decide({ onHand: 6, sales, withheld: true }, rule(cover(2, 4)))).toMatchObject({ target: 4 });
  });

  it('does not publish the last two units that nobody has seen for long', () => {
    const unconfirmed = rule({ kind: 'unconfirmed', atMost: 2, days: 60 });
    const seen = (onHand: number, seenAt: string | null) =>
      target({ stock: [{ location: 'MAIN', onHand, seenAt, own: true }] }, unconfirmed);
    expect(seen(2, '2026-01-30T23:59:59.999Z')).toBe(0);
    expect(seen(2, '2026-01-31T00:00:00.000Z')).toBe(2);
    expect(seen(3, '2020-01-01T00:00:00.000Z')).toBe(3);
    expect(seen(1, null)).toBe(0);
  });

  it('does nothing that depends on days before a day was closed', () => {
    const rules = [
      rule({ kind: 'unconfirmed', atMost: 99, days: 1 }),
      rule(floor(1, { steps: [{ from: '2000-01-01', below: 99 }] })),
    ];
    const old = listing({ stock: [{ location: 'MAIN', onHand: 2, seenAt: '2000-01-01T00:00:00.000Z', own: true }] });
    expect(evaluate(old, new RuleBook(rules), { day: null, latencyMs: null }).target).toBe(2);
  });
});

describe('which rule governs', () => {
  it('is the most specific one of its kind, then the one with the lowest order', () => {
    const rules = [
      rule(cap(1)),
      rule(cap(2), { cart: 'a' }),
      rule(cap(3), { tag: 'sale' }),
      rule(cap(4), { tag: 'sale', cart: 'a' }),
      rule(cap(5), { sku: 'MUG' }, 2),
      rule(cap(6), { sku: 'MUG' }, 1),
      rule(cap(7), { sku: 'MUG', cart: 'a' }, 9),
    ];
    const winners = [];
    for (const left = [...rules]; left.length > 0;) {
      const shown = target({ onHand: 50, tags: ['sale'] }, ...left);
      winners.push(shown);
      left.splice(
        left.findIndex(({ effect }) => effect.kind === 'cap' && effect.units === shown),
        1,
      );
    }
    expect(winners).toEqual([7, 6, 5, 4, 3, 2, 1]);
  });

  it('is none that names another cart, tag or SKU', () => {
    const others = [rule(cap(1), { cart: 'b' }), rule(cap(1), { tag: 'x' }), rule(cap(1), { sku: 'CUP' })];
    expect(target({ onHand: 50, tags: ['sale'] }, ...others)).toBe(50);
    expect(target({ onHand: 50, tags: ['sale'] }, rule(cap(1), { tag: 'sale', cart: 'b' }))).toBe(50);
  });
});

describe('flags at the cart', () => {
  it('are touched when a rule asks for it at zero, given back above it, and left alone otherwise', () => {
    const hide = rule(atZero('hide'));
    expect(decide({ onHand: 5 }, hide).shown).toBeNull();
    expect(decide({ onHand: 0 }, hide).shown).toBe('hidden');
    expect(decide({ onHand: 5, shown: 'hidden' }, hide).shown).toBe('visible');
    expect(decide({ onHand: 0, shown: 'hidden' }).shown).toBe('visible');
    expect(decide({ onHand: 0, shown: 'hidden' }, rule(atZero('keep-selling'))).shown).toBe('visible');
    expect(decide({ onHand: 0 }, rule(atZero('keep-selling'))).shown).toBeNull();
  });
});

/** The table "Below zero" of docs/rules.md, row by row: on hand, what the cart expects, policy → target, flag. */
const belowZero: [number, number, (typeof zeroPolicies)[number] | null, number, Decision['shown']][] = [
  [0, 4, null, 0, null],
  [0, 4, 'show-zero', 0, 'visible'],
  [0, 4, 'hide', 0, 'hidden'],
  [0, 4, 'backorder', 0, 'backorder'],
  [0, 4, 'keep-selling', 4, null],
  [-2, 4, null, 0, null],
  [-2, 4, 'show-zero', 0, 'visible'],
  [-2, 4, 'hide', 0, 'hidden'],
  [-2, 4, 'backorder', 0, 'backorder'],
  [-2, 4, 'keep-selling', 4, null],
  [-2, -1, null, -1, null],
  [-2, -1, 'show-zero', -1, 'visible'],
  [-2, -1, 'hide', -1, 'hidden'],
  [-2, -1, 'backorder', -1, 'backorder'],
  [-2, -1, 'keep-selling', -1, null],
];

describe('at zero and below', () => {
  it.each(belowZero)(
    'on hand %i, expected %i, policy %s: target %i, flag %s',
    (onHand, expected, policy, wanted, shown) => {
      const rules = policy === null ? [] : [rule(atZero(policy))];
      expect(decide({ onHand, expected }, ...rules)).toMatchObject({ target: wanted, shown });
    },
  );

  it('is what the table in the docs says', async () => {
    const page = await readFile(new URL('../../docs/rules.md', import.meta.url), 'utf8');
    const rows = page
      .slice(page.indexOf('## Below zero'))
      .split('\n')
      .filter((line) => /^\| −?\d/.test(line))
      .map((line) =>
        line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim().replace('−', '-').replace(/`/g, '')),
      );
    const none = (text: string | null) => text ?? 'none';
    expect(rows).toEqual(
      belowZero.map(([onHand, expected, policy, wanted, shown]) => [
        String(onHand),
        String(expected),
        none(policy),
        String(wanted),
        shown ?? 'left alone',
      ]),
    );
  });
});

const day = fc.integer({ min: 0, max: 120 }).map((n) => new Date(Date.UTC(2026, 0, 1) + n * 86_400_000).toISOString());
const percent = fc.integer({ min: 0, max: 10_000 }).map((n) => n / 100);
const few = fc.nat(12);
const effect: fc.Arbitrary<RuleEffect> = fc.oneof(
  fc.constantFrom(...zeroPolicies).map(atZero),
  fc.record({
    kind: fc.constant('floor' as const),
    below: few,
    steps: fc.array(fc.record({ from: day.map((at) => at.slice(0, 10)), below: few }), { maxLength: 2 }),
    daysOfSales: fc.option(percent),
    salesWindowDays: fc.constantFrom(7, 28),
    margin: few,
  }),
  few.map(buffer),
  percent.map(bufferPercent),
  few.map(cap),
  percent.map(share),
  fc.record({
    kind: fc.constant('velocity-buffer' as const),
    coverDays: fc.option(percent),
    salesWindowDays: fc.constantFrom(7, 28),
    margin: few,
  }),
  fc.record({ kind: fc.constant('unconfirmed' as const), atMost: few, days: fc.integer({ min: 1, max: 100 }) }),
);
const scope: fc.Arbitrary<Omit<RuleScope, 'locations'>> = fc.record({
  sku: fc.option(fc.constantFrom('MUG', 'CUP'), { nil: null }),
  tag: fc.option(fc.constantFrom('sale', 'new'), { nil: null }),
  cart: fc.option(fc.constantFrom('a', 'b'), { nil: null }),
});
const anyRule = fc
  .tuple(effect, scope, fc.integer({ min: -3, max: 3 }), fc.option(fc.subarray(['A', 'B', 'C'], { minLength: 1 })))
  .map(([e, s, order, locations]) =>
    rule(e, { ...s, locations: e.kind === 'at-zero' || e.kind === 'velocity-buffer' ? null : locations }, order),
  );
const anyStock = fc.tuple(
  ...['A', 'B', 'C'].map((location) =>
    fc.record({
      location: fc.constant(location),
      onHand: fc.integer({ min: -5, max: 30 }),
      seenAt: fc.option(day),
      own: fc.boolean(),
    }),
  ),
);
const anySales = fc.record({ own: fc.tuple(fc.nat(60), fc.nat(60)), chain: fc.tuple(fc.nat(60), fc.nat(60)) });
const anyPart: fc.Arbitrary<PartFacts> = fc.record({
  sku: fc.constantFrom('MUG', 'CUP', 'BAG'),
  quantity: fc.integer({ min: 1, max: 4 }),
  tags: fc.subarray(['sale', 'new']),
  stock: anyStock,
  sales: anySales,
});
const anyItem: fc.Arbitrary<ListingFacts> = fc.record({
  sku: fc.constantFrom('MUG', 'CUP', 'BAG'),
  cartId: fc.constantFrom('a', 'b'),
  tags: fc.subarray(['sale', 'new']),
  stock: anyStock,
  sales: anySales,
  expected: fc.integer({ min: -5, max: 30 }),
  shown: fc.constantFrom(null, 'visible', 'hidden', 'backorder'),
  withheld: fc.boolean(),
});
const anyKit = fc
  .tuple(anyItem, fc.array(anyPart, { minLength: 1, maxLength: 3 }))
  .map(([item, parts]): ListingFacts => ({ ...item, parts }));
const anyListing = fc.oneof({ weight: 2, arbitrary: anyItem }, { weight: 1, arbitrary: anyKit });
const anyCalendar = fc.record({
  day: fc.option(day.map((at) => at.slice(0, 10))),
  latencyMs: fc.option(fc.nat(200_000_000)),
});
const situation = fc.tuple(anyListing, fc.array(anyRule, { maxLength: 8 }), anyCalendar);
const ownSum = ({ stock }: Pick<ListingFacts, 'stock'>) =>
  stock.reduce((sum, { own, onHand }) => (own ? sum + onHand : sum), 0);
/** What a cart could sell if there were no rule. */
const onHandOf = (one: ListingFacts) =>
  one.parts === undefined
    ? ownSum(one)
    : Math.min(...one.parts.map((part) => Math.floor(ownSum(part) / part.quantity))) + Math.min(ownSum(one), 0);
const governs = (found: ListingFacts, rules: StandingRule[]) =>
  new RuleBook(rules).candidates(found)['at-zero']?.[0]?.effect.policy;

describe('whatever the rules are', () => {
  it('no policy but keep-selling and backorder publishes more than there is', () => {
    fc.assert(
      fc.property(situation, ([one, rules, now]) => {
        const { target: published } = evaluate(one, new RuleBook(rules), now);
        const policy = governs(one, rules);
        if (policy !== undefined && sellsBeyondStock(policy)) return;
        expect(published).toBeLessThanOrEqual(Math.max(0, onHandOf(one)));
        expect(Number.isSafeInteger(published)).toBe(true);
      }),
      { seed, numRuns: 3_000 },
    );
  });

  it('nothing is raised to zero or below, under any policy', () => {
    fc.assert(
      fc.property(situation, ([one, rules, now]) => {
        const { target: published } = evaluate(one, new RuleBook(rules), now);
        if (published <= 0) expect(published).toBeLessThanOrEqual(one.expected);
      }),
      { seed, numRuns: 3_000 },
    );
  });

  it('working it out once more changes nothing', () => {
    fc.assert(
      fc.property(situation, ([one, rules, now]) => {
        const book = new RuleBook(rules);
        const first = evaluate(one, book, now);
        const again = { ...one, expected: first.target, shown: first.shown, withheld: first.withheld };
        expect(evaluate(again, book, now)).toMatchObject({
          target: first.target,
          shown: first.shown,
          withheld: first.withheld,
        });
      }),
      { seed, numRuns: 3_000 },
    );
  });

  it('the order in which they were saved does not matter, and an explanation ends at what is published', () => {
    fc.assert(
      fc.property(situation, ([one, rules, now]) => {
        const steps: Step[] = [];
        const told = evaluate(one, new RuleBook(rules), now, steps);
        expect(evaluate(one, new RuleBook(rules.toReversed()), now)).toEqual(told);
        const last = steps.at(-1);
        if (last?.location === null) expect(last.after).toBe(told.target);
        const lastly = ['at-zero', 'never raised at zero', 'put together'];
        for (const { before, after, step } of steps)
          if (!lastly.includes(step)) expect(after).toBeLessThanOrEqual(before);
      }),
      { seed, numRuns: 2_000 },
    );
  });

  it('more stock is never shown as less, and every kind of rule takes part in that', () => {
    const kinds = new Set<string>();
    fc.assert(
      fc.property(situation, fc.nat(10), ([one, rules, now], more) => {
        for (const {
          effect: { kind },
        } of rules)
          kinds.add(kind);
        const [first, ...rest] = one.stock;
        if (first === undefined || !first.own || rules.some(({ effect: { kind } }) => kind === 'at-zero')) return;
        const richer = { ...one, stock: [{ ...first, onHand: first.onHand + more }, ...rest] };
        const book = new RuleBook(rules);
        expect(evaluate(richer, book, now).available).toBeGreaterThanOrEqual(evaluate(one, book, now).available);
      }),
      { seed, numRuns: 3_000 },
    );
    expect([...kinds].sort()).toEqual([...ruleKinds].sort());
  });
});
