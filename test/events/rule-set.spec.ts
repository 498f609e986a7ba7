import { describe, expect, it } from 'vitest';
import type { Command } from '../../src/events/commands.js';
import { everything, type Rule } from '../../src/events/rule.js';
import { rulesMax, type RuleSetState } from '../../src/events/rule-set.js';
import { calendarStream, ruleSetStream } from '../../src/events/streams.js';
import { refusalOf, shopWorld, typesOf } from './given.js';

const rule = (more: Partial<Rule> = {}): Rule => ({
  ruleId: 'few',
  name: 'Not the last five',
  scope: everything,
  order: 0,
  effect: { kind: 'cap', units: 5 },
  ...more,
});
const save = (more: Partial<Rule> = {}): Command => ({ type: 'SaveRule', rule: rule(more), by: 'Ann' });

describe('the rule set', () => {
  it('keeps a rule, and does nothing when it is like this already', () => {
    const world = shopWorld();
    expect(typesOf(world.send(save()))).toEqual(['RuleSaved']);
    expect(typesOf(world.send(save()))).toEqual([]);
    expect(typesOf(world.send(save({ order: 1 })))).toEqual(['RuleSaved']);
    expect((world.state(ruleSetStream) as RuleSetState).rules['few']).toMatchObject({ order: 1 });
  });

  it('removes a rule, and restores it as it was', () => {
    const world = shopWorld();
    world.given(save());
    world.given({ type: 'RemoveRule', ruleId: 'few', by: 'Ann' });
    expect(refusalOf(world.send({ type: 'RemoveRule', ruleId: 'few', by: 'Ann' }))).toBe('unknown-rule');
    const restore: Command = { type: 'RestoreRule', rule: rule(), from: '1', by: 'Ben' };
    expect(typesOf(world.send(restore))).toEqual(['RuleRestored']);
    expect(typesOf(world.send(restore))).toEqual([]);
    expect((world.state(ruleSetStream) as RuleSetState).rules['few']).toEqual(rule());
  });

  it.each([
    ['an unknown SKU', { scope: { ...everything, sku: 'NO' } }, 'unknown-item'],
    ['an unknown cart', { scope: { ...everything, cart: 'no' } }, 'unknown-cart'],
    ['an unknown location', { scope: { ...everything, locations: ['no'] } }, 'unknown-location'],
    [
      'a policy at zero for locations',
      { scope: { ...everything, locations: ['shop'] }, effect: { kind: 'at-zero', policy: 'hide' } },
      'not-allowed-now',
    ],
    ['a buffer of both kinds', { effect: { kind: 'buffer', units: 1, percent: 1 } }, 'not-allowed-now'],
    ['a buffer of no kind', { effect: { kind: 'buffer', units: null, percent: null } }, 'not-allowed-now'],
  ] as [string, Partial<Rule>, string][])('refuses %s', (_what, more, code) => {
    expect(refusalOf(shopWorld().send(save(more)))).toBe(code);
  });

  it('refuses two steps of one day, and puts steps and locations in order', () => {
    const world = shopWorld();
    const floor = (days: readonly string[]): Partial<Rule> => ({
      scope: { ...everything, locations: ['store', 'shop', 'store'] },
      effect: {
        kind: 'floor',
        below: 5,
        steps: days.map((from) => ({ from, below: 7 })),
        daysOfSales: null,
        salesWindowDays: 28,
        margin: 0,
      },
    });
    expect(refusalOf(world.send(save(floor(['2026-05-01', '2026-05-01']))))).toBe('not-allowed-now');
    world.given(save(floor(['2026-06-01', '2026-05-01'])));
    const kept = (world.state(ruleSetStream) as RuleSetState).rules['few'];
    expect(kept?.scope.locations).toEqual(['shop', 'store']);
    expect(kept?.effect).toMatchObject({ steps: [{ from: '2026-05-01' }, { from: '2026-06-01' }] });
  });

  it('ends at its limit', () => {
    const world = shopWorld();
    for (let n = 0; n < rulesMax; n += 1) world.given(save({ ruleId: `r${n}` }));
    expect(refusalOf(world.send(save({ ruleId: 'one-more' })))).toBe('not-allowed-now');
    expect(typesOf(world.send(save({ ruleId: 'r7', order: 3 })))).toEqual(['RuleSaved']);
  });
});

describe('the calendar', () => {
  const close = (day: string): Command => ({ type: 'CloseDay', day, slowestCart: null });

  it('closes a day once it is over, once, and never an earlier one', () => {
    const world = shopWorld();
    expect(refusalOf(world.send(close('2026-03-01'), '2026-03-01T23:59:59.999Z'))).toBe('not-allowed-now');
    expect(typesOf(world.send(close('2026-03-01'), '2026-03-02T00:00:00.000Z'))).toEqual(['DayClosed']);
    expect(typesOf(world.send(close('2026-03-01'), '2026-03-03T00:00:00.000Z'))).toEqual([]);
    expect(typesOf(world.send(close('2026-02-20'), '2026-03-03T00:00:00.000Z'))).toEqual([]);
    expect(world.state(calendarStream)).toEqual({ day: '2026-03-01' });
  });
});
