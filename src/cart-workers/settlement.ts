/**
 * Was a delta applied whose answer never came? Pure: decides from what was read before and after, and from what the cart
 * is known to have sold in between.
 *
 * With q0 the quantity before, d the delta and s the sum of what the cart did itself since q0 (sales negative):
 * applied means `read = q0 + d + s`, not applied means `read = q0 + s`. Sales of which nobody can say whether q0 saw them
 * already may be in s or not; every combination is tried. Only when exactly one of the two hypotheses fits any
 * combination is there proof. Everything else is for a person to decide.
 */
export type Settlement = 'applied' | 'not-applied' | 'undecidable';

/** Beyond this many uncertain sales there are too many stories that fit. */
const uncertainMax = 12;

export function settle(evidence: {
  readonly q0: number;
  readonly delta: number;
  readonly read: number;
  /** Sum of what the cart certainly did itself after q0 and before the reading. */
  readonly certain: number;
  /** What it may have done before or after q0. */
  readonly uncertain: readonly number[];
}): Settlement {
  if (evidence.uncertain.length > uncertainMax) return 'undecidable';
  const unexplained = evidence.read - evidence.q0 - evidence.certain;
  const sums = subsetSums(evidence.uncertain);
  const applied = sums.has(unexplained - evidence.delta);
  const notApplied = sums.has(unexplained);
  if (applied === notApplied) return 'undecidable';
  return applied ? 'applied' : 'not-applied';
}

/**
 * Whether a cart that lowers to 0 at most may have cut something off on the way: then sums prove nothing, in any order.
 * @param changes what the cart did itself, as far as it may lie after q0
 */
export function mayHaveClamped(evidence: {
  readonly q0: number;
  readonly delta: number;
  readonly changes: readonly number[];
}): boolean {
  const lowest = [evidence.delta, ...evidence.changes].reduce((sum, step) => sum + Math.min(step, 0), evidence.q0);
  return lowest < 0;
}

function subsetSums(values: readonly number[]): Set<number> {
  let sums = new Set([0]);
  for (const value of values) sums = new Set([...sums].flatMap((sum) => [sum, sum + value]));
  return sums;
}

/** An interval in which something was true or happened; `from` null: unknown how long before. */
export interface Between {
  readonly from: Date | null;
  readonly to: Date;
}

/**
 * Where a cart's own change stands relative to a reading. It happened somewhere between the last poll that did not show
 * its order and the one that did; the reading is true for some moment between its request and its answer.
 */
export function relativeTo(reading: Between, change: Between): 'before' | 'after' | 'uncertain' {
  // Within the same millisecond nobody knows which was first.
  if (change.from !== null && change.from > reading.to) return 'after';
  if (reading.from !== null && change.to < reading.from) return 'before';
  return 'uncertain';
}
