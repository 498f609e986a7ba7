import type { Rule, RuleEffect, RuleKind, RuleScope, ZeroPolicy } from '../../events/rule.js';

/** A rule as it stands: `version` is that of the rule set in which it was saved. */
export interface StandingRule extends Rule {
  readonly version: string;
}

export type RuleOf<K extends RuleKind> = StandingRule & { readonly effect: Extract<RuleEffect, { kind: K }> };

/** What has to be known of a listing to find its rules. */
export interface Ruled {
  readonly sku: string;
  readonly cartId: string;
  readonly tags: readonly string[];
}

/** The rules that may govern one listing, each kind in the order in which they are asked. */
export type Candidates = { readonly [K in RuleKind]?: readonly RuleOf<K>[] };

/**
 * All rules, prepared for asking which of them govern a listing. Of each kind one does: the most specific, and among
 * equally specific ones that with the lowest order. A rule that names a SKU is more specific than one that names a tag, that
 * more than one that names locations, that more than one that names a cart; naming more beats naming less.
 */
export class RuleBook {
  private readonly bySku = new Map<string, StandingRule[]>();
  private readonly byTag = new Map<string, StandingRule[]>();
  private readonly others: StandingRule[] = [];
  private readonly rank = new Map<StandingRule, number>();
  /** Windows over which sales are asked for, in days, each once. */
  readonly salesWindows: readonly number[];
  readonly usesTags: boolean;
  readonly isEmpty: boolean;

  constructor(readonly rules: readonly StandingRule[]) {
    const sorted = rules.toSorted(byPrecedence);
    for (const [at, rule] of sorted.entries()) {
      this.rank.set(rule, at);
      if (rule.scope.sku !== null) put(this.bySku, rule.scope.sku, rule);
      else if (rule.scope.tag !== null) put(this.byTag, rule.scope.tag, rule);
      else this.others.push(rule);
    }
    const windows = rules.flatMap(({ effect }) => salesWindowOf(effect) ?? []);
    this.salesWindows = [...new Set(windows)].sort((a, b) => a - b);
    this.usesTags = rules.some(({ scope }) => scope.tag !== null);
    this.isEmpty = rules.length === 0;
  }

  /** @returns the rules whose scope the listing is in; locations are not looked at yet */
  candidates(listing: Ruled): Candidates {
    const found = [...(this.bySku.get(listing.sku) ?? []), ...this.others];
    for (const tag of listing.tags) found.push(...(this.byTag.get(tag) ?? []));
    const kinds: { [K in RuleKind]?: StandingRule[] } = {};
    for (const rule of found) if (isInScope(rule.scope, listing)) (kinds[rule.effect.kind] ??= []).push(rule);
    for (const rules of Object.values(kinds)) rules.sort((a, b) => (this.rank.get(a) ?? 0) - (this.rank.get(b) ?? 0));
    return kinds as Candidates;
  }
}

/** How specific a scope is: the larger comes first. */
export const specificity = ({ sku, tag, locations, cart }: RuleScope): number =>
  (sku === null ? 0 : 8) + (tag === null ? 0 : 4) + (locations === null ? 0 : 2) + (cart === null ? 0 : 1);

export function byPrecedence(a: Rule, b: Rule): number {
  return specificity(b.scope) - specificity(a.scope) || a.order - b.order || (a.ruleId < b.ruleId ? -1 : 1);
}

function isInScope({ sku, tag, cart }: RuleScope, listing: Ruled): boolean {
  return (
    (sku === null || sku === listing.sku) &&
    (cart === null || cart === listing.cartId) &&
    (tag === null || listing.tags.includes(tag))
  );
}

/** The first that speaks of the stock at a location. Without locations a rule speaks of every one. */
export const atLocation = <R extends StandingRule>(rules: readonly R[] | undefined, location: string): R | undefined =>
  rules?.find(({ scope }) => scope.locations === null || scope.locations.includes(location));

function salesWindowOf(effect: RuleEffect): number | undefined {
  if (effect.kind === 'velocity-buffer') return effect.salesWindowDays;
  return effect.kind === 'floor' && effect.daysOfSales !== null ? effect.salesWindowDays : undefined;
}

/** Whether the close of a day may change what a rule says. */
export function followsDays(effect: RuleEffect): boolean {
  switch (effect.kind) {
    case 'floor':
      return effect.steps.length > 0 || effect.daysOfSales !== null;
    case 'velocity-buffer':
    case 'unconfirmed':
      return true;
    default:
      return false;
  }
}

/** The policies under which a cart may show more than there is. */
export const sellsBeyondStock = (policy: ZeroPolicy): boolean => policy === 'keep-selling' || policy === 'backorder';

function put(map: Map<string, StandingRule[]>, key: string, rule: StandingRule): void {
  const rules = map.get(key);
  if (rules === undefined) map.set(key, [rule]);
  else rules.push(rule);
}
