/**
 * What a merchant may say about what carts show. A rule has a scope, a place among rules of the same kind, and one effect.
 * Whole units everywhere; percentages and days have two decimals at most.
 */

/** Each part that is given narrows it; with none it is everything. */
export interface RuleScope {
  readonly sku: string | null;
  readonly tag: string | null;
  /** Sorted. The rule speaks of the stock at these locations. */
  readonly locations: readonly string[] | null;
  readonly cart: string | null;
}

export const zeroPolicies = ['hide', 'keep-selling', 'backorder', 'show-zero'] as const;
export type ZeroPolicy = (typeof zeroPolicies)[number];

export interface FloorStep {
  /** UTC day from which it holds. */
  readonly from: string;
  readonly below: number;
}

export type RuleEffect =
  | { readonly kind: 'at-zero'; readonly policy: ZeroPolicy }
  /** Nothing is published while the chain has fewer than `below` pieces. */
  | {
      readonly kind: 'floor';
      readonly below: number;
      /** Sorted by day; the last one whose day has come takes the place of `below`. */
      readonly steps: readonly FloorStep[];
      /** At least as many pieces as are sold in so many days; null: sales do not matter. */
      readonly daysOfSales: number | null;
      readonly salesWindowDays: number;
      /** What was withheld comes back at the threshold and so many pieces more. */
      readonly margin: number;
    }
  /** One of the two is null. */
  | { readonly kind: 'buffer'; readonly units: number | null; readonly percent: number | null }
  | { readonly kind: 'cap'; readonly units: number }
  /** Of the stock at each location. */
  | { readonly kind: 'share'; readonly percent: number }
  | {
      readonly kind: 'velocity-buffer';
      /** null: as long as the slowest cart takes to learn of a change, as measured when the last day was closed. */
      readonly coverDays: number | null;
      readonly salesWindowDays: number;
      readonly margin: number;
    }
  /** At most so many pieces that nobody sold, received, brought back or counted for so many days are not published. */
  | { readonly kind: 'unconfirmed'; readonly atMost: number; readonly days: number };

export type RuleKind = RuleEffect['kind'];
export const ruleKinds = [
  'unconfirmed',
  'share',
  'floor',
  'buffer',
  'velocity-buffer',
  'cap',
  'at-zero',
] as const satisfies readonly RuleKind[];

export interface Rule {
  readonly ruleId: string;
  readonly name: string;
  readonly scope: RuleScope;
  /** Among rules of one kind that are equally specific the lowest comes first; equal ones go by their ids. */
  readonly order: number;
  readonly effect: RuleEffect;
}

export type RuleSetFact =
  | { readonly type: 'RuleSaved'; readonly data: { readonly rule: Rule; readonly by: string } }
  | { readonly type: 'RuleRemoved'; readonly data: { readonly ruleId: string; readonly by: string } }
  /** A rule is again what it was in an earlier version of the set, whether it was changed or removed since. */
  | {
      readonly type: 'RuleRestored';
      readonly data: { readonly rule: Rule; readonly from: string; readonly by: string };
    };

/** Time that matters is a fact: what follows from a day is the same whenever it is worked out. */
export type CalendarFact = {
  readonly type: 'DayClosed';
  readonly data: {
    /** UTC. */
    readonly day: string;
    /** The cart that was the slowest to learn of changes on that day, and how long most of them took; null: none did. */
    readonly slowestCart: { readonly cartId: string; readonly latencyMs: number } | null;
  };
};

export const everything: RuleScope = { sku: null, tag: null, locations: null, cart: null };
