import { describe, expect, it } from 'vitest';
import { everything, type RuleEffect, type RuleScope } from '../../src/events/rule.js';
import { explanationSentence, type Told } from '../../src/modules/explanations/explanation-sentence.js';
import { evaluate, type PartFacts, type Step } from '../../src/projections/availability/evaluate.js';
import { RuleBook, type StandingRule } from '../../src/projections/availability/rule-book.js';

const rule = (name: string, version: string, effect: RuleEffect, scope: Partial<RuleScope> = {}): StandingRule => ({
  ruleId: name,
  name,
  version,
  order: 0,
  scope: { ...everything, ...scope },
  effect,
});

/** A kit of a tent and eight pegs. */
const kitOf = (tents: number, pegs: number): readonly PartFacts[] =>
  [
    { sku: 'TENT', quantity: 1, onHand: tents },
    { sku: 'PEG', quantity: 8, onHand: pegs },
  ].map(({ sku, quantity, onHand }) => ({
    sku,
    quantity,
    tags: [],
    stock: [{ location: 'MAIN', onHand, seenAt: null, own: true }],
    sales: { own: [14], chain: [14] },
  }));

function told(
  stock: Readonly<Record<string, number>>,
  rules: readonly StandingRule[],
  more: Partial<Told> & { expected?: number; parts?: readonly PartFacts[] } = {},
): string {
  const places = Object.entries(stock).map(([location, onHand]) => ({ location, onHand, seenAt: null, own: true }));
  const steps: Step[] = [];
  const { expected = 0, parts, ...rest } = more;
  const { target } = evaluate(
    {
      sku: 'T',
      cartId: 'a',
      tags: [],
      stock: places,
      ...(parts !== undefined && { parts }),
      sales: { own: [14], chain: [14] },
      expected,
      shown: null,
      withheld: false,
    },
    new RuleBook(rules),
    { day: '2026-03-01', latencyMs: null },
    steps,
  );
  return explanationSentence({
    cartName: 'Shop A',
    target,
    shows: target,
    owed: 0,
    steps,
    past: false,
    obstacles: [],
    ...rest,
  });
}

const buffer = rule('tents', '3', { kind: 'buffer', units: 5, percent: null });
const cap = rule('few', '4', { kind: 'cap', units: 7 });
const floor = (below: number) =>
  rule('chain', '2', { kind: 'floor', below, steps: [], daysOfSales: null, salesWindowDays: 28, margin: 0 });
const atZero = (policy: 'hide' | 'keep-selling' | 'backorder' | 'show-zero') =>
  rule('zero', '9', { kind: 'at-zero', policy });

describe('the sentence of an explanation', () => {
  it.each<[string, string]>([
    [
      told({ MAIN: 12, STORE: 3 }, [buffer, cap]),
      'Shop A shows 7: 12 in MAIN + 3 in STORE, minus 5 kept back (rule "tents", v3), capped at 7 (rule "few", v4).',
    ],
    [told({ MAIN: 12 }, []), 'Shop A shows 12: 12 in MAIN.'],
    [told({}, []), 'Shop A shows 0: nothing on hand where it sells.'],
    [
      told({ MAIN: 10 }, [rule('shop half', '2', { kind: 'share', percent: 50 }, { locations: ['MAIN'] })]),
      'Shop A shows 5: 10 in MAIN (of which 50 % are 5 (rule "shop half", v2)).',
    ],
    [
      told({ MAIN: 3 }, [floor(5)]),
      'Shop A shows 0: 3 in MAIN, none shown, because the chain has 3 and 5 are asked for (rule "chain", v2).',
    ],
    [
      told({ MAIN: 9 }, [
        rule('pace', '6', { kind: 'velocity-buffer', coverDays: 0.5, salesWindowDays: 7, margin: 0 }),
      ]),
      'Shop A shows 8: 9 in MAIN, minus 1 for what sells in 0.5 days (rule "pace", v6).',
    ],
    [
      told({ MAIN: 0 }, [atZero('hide')]),
      'Shop A shows 0: 0 in MAIN, nothing is left, so it is hidden (rule "zero", v9).',
    ],
    [
      told({ MAIN: -2 }, [atZero('keep-selling')], { expected: 4 }),
      'Shop A shows 4: −2 in MAIN, nothing is left, and it goes on selling with 4 (rule "zero", v9).',
    ],
    [
      told({ MAIN: -2 }, [], { expected: -1 }),
      'Shop A shows −1: −2 in MAIN, nothing is left, and below zero nothing is raised.',
    ],
    [
      told({ MAIN: 12 }, [], { shows: 14, owed: -2, obstacles: ['The lane of Shop A is paused by Ann.'] }),
      'Shop A shows 14 and is to show 12 (−2 is owed to it): 12 in MAIN. The lane of Shop A is paused by Ann.',
    ],
    [
      told({ MAIN: 12 }, [], {
        shows: null,
        owed: null,
        past: true,
        obstacles: ['Nothing was sent: the system switch was off.'],
      }),
      'Shop A would have shown 12: 12 in MAIN. Nothing was sent: the system switch was off.',
    ],
  ])('%#', (said, wanted) => expect(said).toBe(wanted));

  it('of a kit names what is scarcest, how much of it each takes, and the rules of both', () => {
    expect(told({}, [], { parts: kitOf(5, 20) })).toBe(
      'Shop A shows 2: 2 can be put together with 8 × PEG in each (20 in MAIN).',
    );
    expect(told({}, [cap], { parts: kitOf(50, 800) })).toBe(
      'Shop A shows 0: 0 can be put together with 8 × PEG in each (800 in MAIN, capped at 7 (rule "few", v4)).',
    );
    const ofKit = rule('sets', '5', { kind: 'cap', units: 1 }, { sku: 'T' });
    expect(told({}, [ofKit], { parts: kitOf(3, 100) })).toBe(
      'Shop A shows 1: 3 can be put together with 1 × TENT in each (3 in MAIN), capped at 1 (rule "sets", v5).',
    );
    expect(told({}, [], { parts: kitOf(-1, 100), expected: -1 })).toBe(
      'Shop A shows −1: −1 can be put together with 1 × TENT in each (−1 in MAIN).',
    );
  });
});
