/**
 * Why does a quiet listing show something other than it should? Pure: told from what was delivered, sold and read since
 * the listing was last known to be equal. A class is claimed only when it alone fits; where two fit, the answer is
 * `unknown` and names both.
 */
export const driftClasses = [
  'delta-lost',
  'delta-doubled',
  'edited-at-cart',
  'order-not-imported',
  'clamped',
  'swallowed-by-checkout',
  'unlisted',
  'not-tracked',
  'unknown',
] as const;
export type DriftClass = (typeof driftClasses)[number];

/** A delta that the cart was told since the listing was last equal. */
export interface ToldLine {
  readonly delta: number;
  readonly outcome: string;
  /** The cart's reply told a quantity, and it was the right one: it was applied, and once. */
  readonly proven: boolean;
  /** Its own reply showed this very difference already: what came after it has nothing to do with it. */
  readonly lackedAtOnce?: boolean;
  /** How often it was sent. */
  readonly sends: number;
  /** Ended before the listing was last equal: what it did by then is in that, but a try of it may have come to the cart since. */
  readonly late?: boolean;
  /** Between these moments the cart carried it out. */
  readonly from: Date;
  readonly to: Date;
}

/** What the cart did itself, as its orders tell; it happened after `from` (null: unknown) and by `to`. */
export interface OwnChange {
  readonly delta: number;
  readonly from: Date | null;
  readonly to: Date;
}

export interface DriftEvidence {
  readonly listed: boolean;
  /** null: listed, and its stock not tracked. */
  readonly shown: number | null;
  readonly should: number;
  readonly lines: readonly ToldLine[];
  readonly changes: readonly OwnChange[];
  /** Whether the orders could be read to their end before and after. */
  readonly ordersComplete: boolean;
  /** The order feed has told a later order since the first reading, so none from before it is outstanding. */
  readonly feedMovedOn: boolean;
  /** An earlier drift of the opposite size was repaired, and an order of exactly that size came after. */
  readonly repairedBeforeItsOrder: boolean;
}

export interface Classified {
  readonly class: DriftClass;
  readonly candidates: readonly DriftClass[];
}

/** Beyond this many deltas there are too many sums that fit. */
const linesMax = 12;
/** An order placed this long before or after a call may have been under way in the shop together with it. */
const checkoutMs = 60_000;

export function classify(evidence: DriftEvidence): Classified {
  if (!evidence.listed) return only('unlisted');
  if (evidence.shown === null) return only('not-tracked');
  const difference = evidence.shown - evidence.should;
  const fitting = new Set<DriftClass>();
  for (const line of evidence.lines) {
    for (const cause of causesOf(line, difference, evidence.changes)) fitting.add(cause);
  }
  if (clamps(evidence, evidence.shown)) fitting.add('clamped');
  if (evidence.repairedBeforeItsOrder) fitting.add('order-not-imported');
  // Whatever else fits, an order or a cancel of the very same size that was not told yet would look the same.
  if (fitting.size > 0 && mayBeUntold(evidence, difference)) fitting.add('order-not-imported');
  if (fitting.size > 0) return chosen([...fitting]);
  if (!evidence.ordersComplete) return chosen(['edited-at-cart', 'order-not-imported']);
  const several = causesInSum(evidence.lines, difference);
  if (several.length > 0) return { class: 'unknown', candidates: [...several, 'edited-at-cart'] };
  if (mayBeUntold(evidence, difference)) return chosen(['edited-at-cart', 'order-not-imported']);
  if (mayBeCutOff(evidence, difference)) return chosen(['edited-at-cart', 'clamped']);
  return only('edited-at-cart');
}

/** Pieces that are missing may have been sold in an order that the cart has not told yet, pieces too many may be a cancel. */
function mayBeUntold({ ordersComplete, feedMovedOn, changes }: DriftEvidence, difference: number): boolean {
  if (!ordersComplete) return true;
  return difference < 0 ? !feedMovedOn : changes.some(({ delta }) => delta === -difference);
}

/** What one delta says about a difference of its own size. */
function causesOf(line: ToldLine, difference: number, changes: readonly OwnChange[]): DriftClass[] {
  const causes: DriftClass[] = [];
  if (line.late !== true && isApplied(line) && difference === -line.delta) {
    if (!line.proven) causes.push('delta-lost');
    // A checkout that reads, then writes what it read less what it sold, undoes what came between.
    if (line.lackedAtOnce !== true && changes.some((change) => change.delta < 0 && isAround(line, change)))
      causes.push('swallowed-by-checkout');
  }
  if (difference !== line.delta) return causes;
  if (mayBeTwice(line)) causes.push('delta-doubled');
  // A try that was given up may be carried out by the cart long after; that it was, nothing vouches for.
  else if (mayStillCome(line)) causes.push('delta-doubled', 'edited-at-cart');
  return causes;
}

const isApplied = ({ outcome }: ToldLine) =>
  outcome === 'applied' || outcome === 'settled as applied' || outcome === 'declared applied';

const mayBeTwice = (line: ToldLine) =>
  line.late !== true &&
  !line.proven &&
  (line.outcome === 'settled as not applied' ||
    line.outcome === 'declared not applied' ||
    (isApplied(line) && line.sends > 1));

/** Sent once more than was counted: refused, settled or superseded after a try without an answer, or sent again. */
const mayStillCome = (line: ToldLine) => line.sends > (isApplied(line) ? 1 : 0);

const isAround = (line: ToldLine, change: OwnChange) =>
  change.to.getTime() >= line.from.getTime() - checkoutMs &&
  (change.from === null || change.from.getTime() <= line.to.getTime() + checkoutMs);

/**
 * Which of several steps came first is known only roughly: an order is told long after it was placed. Where some order of
 * them can have met zero, pieces too many up to what is below it may be what was cut off there.
 */
function mayBeCutOff(evidence: DriftEvidence, difference: number): boolean {
  if (difference <= 0) return false;
  const { start, steps } = stepsOf(evidence);
  const lowest = start + steps.reduce((sum, { delta }) => sum + Math.min(delta, 0), 0);
  return difference <= Math.min(start, 0) - lowest;
}

/** What the cart was told and did, as it became known, and what it showed before. */
function stepsOf(evidence: DriftEvidence) {
  const steps = [
    ...evidence.lines
      .filter((line) => line.late !== true && isApplied(line))
      .map(({ delta, to }) => ({ delta, at: to })),
    ...evidence.changes.map(({ delta, to }) => ({ delta, at: to })),
  ].sort((a, b) => a.at.getTime() - b.at.getTime());
  return { steps, start: evidence.should - steps.reduce((sum, { delta }) => sum + delta, 0) };
}

/** Played again in order by a cart that lowers to 0 at most, the same steps end where the listing is. */
function clamps(evidence: DriftEvidence, shown: number): boolean {
  const { start, steps } = stepsOf(evidence);
  const end = steps.reduce(
    (sum, { delta }) => (delta < 0 ? Math.max(sum + delta, Math.min(sum, 0)) : sum + delta),
    start,
  );
  return shown !== evidence.should && end === shown;
}

/** More than one delta may have gone wrong. */
function causesInSum(lines: readonly ToldLine[], difference: number): DriftClass[] {
  const lost = lines.filter((line) => line.late !== true && isApplied(line) && !line.proven);
  const twice = lines.filter((line) => mayBeTwice(line) || mayStillCome(line));
  if (lost.length + twice.length > linesMax) return ['delta-lost', 'delta-doubled'];
  let sums = new Set([0]);
  for (const change of [...lost.map(({ delta }) => -delta), ...twice.map(({ delta }) => delta)])
    sums = new Set([...sums].flatMap((sum) => [sum, sum + change]));
  if (!sums.has(difference)) return [];
  return [
    ...(lost.length > 0 ? (['delta-lost'] as const) : []),
    ...(twice.length > 0 ? (['delta-doubled'] as const) : []),
  ];
}

const only = (one: DriftClass): Classified => ({ class: one, candidates: [one] });
const chosen = (fitting: readonly DriftClass[]): Classified =>
  fitting.length === 1 ? only(fitting[0] as DriftClass) : { class: 'unknown', candidates: fitting };
