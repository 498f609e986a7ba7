/** The rules of the whole hub as one set, so that a change can be refused when the set is no longer the one looked at. */
import type { Command } from './commands.js';
import { accept, refuse } from './decision.js';
import type { Decision, DecisionContext, Handler, Refused } from './decision.js';
import type { Fact } from './facts.js';
import type { FloorStep, Rule, RuleEffect } from './rule.js';
import { calendarStream, cartStream, itemStream, locationStream, ruleSetStream } from './streams.js';
import type { StreamName } from './streams.js';

export interface RuleSetState {
  readonly rules: Readonly<Record<string, Rule>>;
}

export interface CalendarState {
  readonly day: string;
}

export const initialRuleSet: RuleSetState = { rules: {} };
export const initialCalendar: CalendarState | null = null;

/** Enough for every exception a shop has; each listing looks through those that may mean it. */
export const rulesMax = 500;

export function evolveRuleSet(state: RuleSetState, fact: Fact): RuleSetState {
  switch (fact.type) {
    case 'RuleSaved':
    case 'RuleRestored':
      return { rules: { ...state.rules, [fact.data.rule.ruleId]: fact.data.rule } };
    case 'RuleRemoved': {
      const { [fact.data.ruleId]: _gone, ...rules } = state.rules;
      return { rules };
    }
    default:
      return state;
  }
}

export function evolveCalendar(state: CalendarState | null, fact: Fact): CalendarState | null {
  return fact.type === 'DayClosed' ? { day: fact.data.day } : state;
}

type Of<T extends Command['type']> = Extract<Command, { type: T }>;

export const saveRuleHandler: Handler<Of<'SaveRule'>> = {
  streams: () => [ruleSetStream],
  checks: ({ rule }) => namedBy(rule),
  decide: ({ rule: asked, by }, context) => {
    const rule = inOrder(asked);
    const refused = refuseRule(rule, context);
    if (refused) return refused;
    const { rules } = ruleSet(context);
    if (sameRule(rules[rule.ruleId], rule)) return accept([], 'Nothing to do: the rule is like this already.');
    return added(rules, rule) ?? acceptOne({ type: 'RuleSaved', data: { rule, by } });
  },
};

export const removeRuleHandler: Handler<Of<'RemoveRule'>> = {
  streams: () => [ruleSetStream],
  decide: ({ ruleId, by }, context) => {
    if (ruleSet(context).rules[ruleId] === undefined)
      return refuse('unknown-rule', `There is no rule ${ruleId}; GET /v1/rules lists them.`, 'ruleId');
    return acceptOne({ type: 'RuleRemoved', data: { ruleId, by } });
  },
};

/** What was valid when it was saved is valid again: what it names never vanishes. */
export const restoreRuleHandler: Handler<Of<'RestoreRule'>> = {
  streams: () => [ruleSetStream],
  decide: ({ rule, from, by }, context) => {
    const { rules } = ruleSet(context);
    if (sameRule(rules[rule.ruleId], rule)) return accept([], 'Nothing to do: the rule is like this already.');
    return added(rules, rule) ?? acceptOne({ type: 'RuleRestored', data: { rule, from, by } });
  },
};

export const closeDayHandler: Handler<Of<'CloseDay'>> = {
  streams: () => [calendarStream],
  decide: ({ day, slowestCart }, context) => {
    const calendar = context.stateOf(calendarStream) as CalendarState | null;
    if (calendar !== null && calendar.day >= day) return accept([], `Nothing to do: ${calendar.day} is closed.`);
    if (day >= context.now.slice(0, 10)) return refuse('not-allowed-now', `${day} is not over yet.`, 'day');
    const fact: Fact = { type: 'DayClosed', data: { day, slowestCart } };
    return accept([{ stream: calendarStream, fact, occurredAt: null }]);
  },
};

const ruleSet = (context: DecisionContext) => (context.stateOf(ruleSetStream) ?? initialRuleSet) as RuleSetState;
const acceptOne = (fact: Fact): Decision => accept([{ stream: ruleSetStream, fact, occurredAt: null }]);

/** @returns a refusal when it would be one rule too many */
function added(rules: RuleSetState['rules'], { ruleId }: Rule): Refused | undefined {
  if (rules[ruleId] !== undefined || Object.keys(rules).length < rulesMax) return undefined;
  return refuse('not-allowed-now', `There are ${rulesMax} rules already; one tag can stand for many SKUs.`, 'ruleId');
}

/** Streams of what the rule names, which have to exist. */
export function namedBy({ scope }: Rule): StreamName[] {
  return [
    ...(scope.sku === null ? [] : [itemStream(scope.sku)]),
    ...(scope.cart === null ? [] : [cartStream(scope.cart)]),
    ...(scope.locations ?? []).map(locationStream),
  ];
}

/** Before it is saved, and before it is tried. */
export function refuseRule({ scope, effect }: Rule, context: Pick<DecisionContext, 'exists'>): Refused | undefined {
  const { sku, cart, locations } = scope;
  if (sku !== null && !context.exists(itemStream(sku)))
    return refuse('unknown-item', `There is no item with the SKU ${sku}; create it first.`, 'scope.sku');
  if (cart !== null && !context.exists(cartStream(cart)))
    return refuse('unknown-cart', `There is no cart ${cart}; add it first.`, 'scope.cart');
  const unknown = locations?.find((location) => !context.exists(locationStream(location)));
  if (unknown !== undefined)
    return refuse('unknown-location', `There is no location ${unknown}; add it first.`, 'scope.locations');
  return contradictionIn({ scope, effect });
}

/** Only what contradicts itself; what merely never applies is told beside the answer. */
function contradictionIn({ scope, effect }: Pick<Rule, 'scope' | 'effect'>): Refused | undefined {
  const hasLocations = scope.locations !== null;
  if (hasLocations && (effect.kind === 'at-zero' || effect.kind === 'velocity-buffer')) {
    return refuse(
      'not-allowed-now',
      `A rule of the kind ${effect.kind} speaks of a listing, not of the stock at some locations; leave the locations out.`,
      'scope.locations',
    );
  }
  if (effect.kind === 'buffer' && (effect.units === null) === (effect.percent === null))
    return refuse('not-allowed-now', 'A buffer is either units or percent; give one of them.', 'effect');
  if (effect.kind === 'floor' && new Set(effect.steps.map(({ from }) => from)).size < effect.steps.length)
    return refuse('not-allowed-now', 'Two steps begin on the same day; leave one of them out.', 'effect.steps');
  return undefined;
}

/** One spelling for every rule, so that two compare as text. */
function inOrder(rule: Rule): Rule {
  const { sku, tag, locations, cart } = rule.scope;
  const scope = { sku, tag, locations: locations === null ? null : [...new Set(locations)].sort(), cart };
  return { ruleId: rule.ruleId, name: rule.name, scope, order: rule.order, effect: effectInOrder(rule.effect) };
}

function effectInOrder(effect: RuleEffect): RuleEffect {
  if (effect.kind !== 'floor') return effect;
  const steps = effect.steps.map(({ from, below }): FloorStep => ({ from, below }));
  return { ...effect, steps: steps.sort((a, b) => (a.from < b.from ? -1 : 1)) };
}

/** Key by key: what was stored as JSON comes back with its keys in another order. */
function sameRule(a: Rule | undefined, b: Rule): boolean {
  return a !== undefined && canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
