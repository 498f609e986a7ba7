/**
 * What a cart should show of one listing: a pure function over what is on hand, the rules, sales, and the days that were
 * closed. The projector, dry runs, verification and explanations all call it, so that they cannot differ.
 *
 *   stock of each location the cart sells    unconfirmed → share → buffer → cap of that location
 *   their sum                                floor → buffer → velocity buffer → cap
 *   nothing left                             the policy at zero
 *   target                                   never raised to zero or below (target.ts)
 *
 * A kit is as many as can be put together of what the cart might show of each of its parts: every part passes its own rules
 * first, and then the kit's rules speak of their number.
 *
 * Of each kind at most one rule governs a place (rule-book.ts). Every rounding is towards publishing less. Stock below zero
 * is never raised by a rule: it counts whole, whatever share of a location is published.
 */
import { rateOver } from './daily-sales.js';
import { atLocation, type Candidates, type RuleBook, type Ruled, type StandingRule } from './rule-book.js';
import { targetFor } from './target.js';

/** What the log says of time: see DayClosed. */
export interface Calendar {
  /** The last UTC day that is over; null: none was closed yet, and what depends on days does nothing. */
  readonly day: string | null;
  /** How long the slowest cart took to learn of a change on that day. */
  readonly latencyMs: number | null;
}

/** What is on hand of a listing's SKU at one location. */
export interface LocationStock {
  readonly location: string;
  /** May be below zero. */
  readonly onHand: number;
  /** When somebody last sold, received, brought back, moved or counted it; null: nobody did. */
  readonly seenAt: string | null;
  /** Whether the cart sells it. */
  readonly own: boolean;
}

/** Units sold in each of the rule book's windows of days, the last closed day included. */
export interface Sales {
  /** At the locations that the cart sells. */
  readonly own: readonly number[];
  readonly chain: readonly number[];
}

/** What flags at the cart were last asked for; null: no rule ever asked for one, and they are left alone. */
export type Shown = 'visible' | 'hidden' | 'backorder';

/** An item of which so many pieces are in one kit, as the cart might sell it by itself. */
export interface PartFacts {
  readonly sku: string;
  readonly quantity: number;
  readonly tags: readonly string[];
  readonly stock: readonly LocationStock[];
  readonly sales: Sales;
}

/** A listing, as its rules see it. */
export interface ListingFacts extends Ruled {
  /** Of a kit: what it is made of, down to plain items. */
  readonly parts?: readonly PartFacts[];
  readonly stock: readonly LocationStock[];
  readonly sales: Sales;
  /** What the listing shows once all that is owed has been applied. */
  readonly expected: number;
  readonly shown: Shown | null;
  /** Whether a threshold held it back when it was last looked at: then it comes back only with the margin. */
  readonly withheld: boolean;
}

export interface Decision {
  /** Through all rules; at or below zero there is nothing to publish. */
  readonly available: number;
  readonly target: number;
  /** Whether the target is another one than what is available says: it follows from what was expected before. */
  readonly leans: boolean;
  readonly shown: Shown | null;
  readonly withheld: boolean;
}

/** One thing that had a say, in order. */
export interface Step {
  readonly step: 'on hand' | StandingRule['effect']['kind'] | 'put together' | 'never raised at zero';
  /** The part of the kit that it is about; left out: the listing itself. */
  readonly part?: string;
  /** null: no rule. */
  readonly rule: { readonly ruleId: string; readonly name: string; readonly version: string } | null;
  /** null: the sum of all locations. */
  readonly location: string | null;
  readonly before: number;
  readonly after: number;
  /** The numbers behind it, such as a threshold and what it was compared with. */
  readonly because: Readonly<Record<string, string | number | boolean | null>>;
}

/**
 * @param steps filled with what had a say, where an explanation is wanted
 */
export function evaluate(listing: ListingFacts, book: RuleBook, calendar: Calendar, steps?: Step[]): Decision {
  const { expected } = listing;
  if (book.isEmpty && steps === undefined) {
    const own = listing.stock.reduce((sum, stock) => (stock.own ? sum + stock.onHand : sum), 0);
    const available = listing.parts === undefined ? own : fromParts(listing, listing.parts, book, calendar);
    const shown = listing.shown === null ? null : 'visible';
    const target = targetFor(available, expected);
    return { available, target, leans: leansOn(target, available), shown, withheld: false };
  }
  const rules = book.candidates(listing);
  const ground =
    listing.parts === undefined
      ? sumOfLocations(listing, rules, calendar, steps)
      : fromParts(listing, listing.parts, book, calendar, steps);
  const { available, withheld } = throughThresholds(ground, { listing, rules, book, calendar, steps });
  const policy = rules['at-zero']?.[0];
  const atZero = available <= 0 ? policy?.effect.policy : undefined;
  const target = atZero === 'keep-selling' ? expected : targetFor(available, expected);
  if (atZero !== undefined && policy !== undefined)
    tell(steps, policy, null, available, target, { policy: policy.effect.policy, expected });
  else if (target !== available)
    steps?.push({
      step: 'never raised at zero',
      rule: null,
      location: null,
      before: available,
      after: target,
      because: { expected },
    });
  return { available, target, leans: leansOn(target, available), shown: shownAs(atZero, listing.shown), withheld };
}

const leansOn = (target: number, available: number) => target !== Math.max(available, 0);

/**
 * As many kits as the scarcest part allows, over all locations that the cart sells. Sold pieces that were taken from the
 * kit itself, before it was one, count against it; pieces of its own are nothing that an order would take.
 */
function fromParts(
  listing: ListingFacts,
  parts: readonly PartFacts[],
  book: RuleBook,
  calendar: Calendar,
  steps?: Step[],
): number {
  const shown = parts.map((part) => {
    const own: Step[] | undefined = steps === undefined ? undefined : [];
    const asListing: ListingFacts = { ...part, cartId: listing.cartId, expected: 0, shown: null, withheld: false };
    const rules = book.candidates(asListing);
    const ground = sumOfLocations(asListing, rules, calendar, own);
    const { available } = throughThresholds(ground, { listing: asListing, rules, book, calendar, steps: own });
    steps?.push(...(own ?? []).map((step) => ({ ...step, part: part.sku })));
    return { ...part, available };
  });
  const scarcest = shown.reduce((a, b) => (kitsOf(b, b.available) < kitsOf(a, a.available) ? b : a));
  const missing = listing.stock.reduce((sum, { own, onHand }) => (own ? sum + onHand : sum), 0);
  const after = kitsOf(scarcest, scarcest.available) + Math.min(missing, 0);
  const because = { scarcest: scarcest.sku, pieces: scarcest.available, piecesInOneKit: scarcest.quantity };
  steps?.push({ step: 'put together', rule: null, location: null, before: scarcest.available, after, because });
  return after;
}

const kitsOf = ({ quantity }: PartFacts, pieces: number) => Math.floor(pieces / quantity);

/** Flags are touched when a rule asks for it at zero, and given back once it asks no more. */
function shownAs(atZero: string | undefined, before: Shown | null): Shown | null {
  if (atZero === 'hide') return 'hidden';
  if (atZero === 'backorder') return 'backorder';
  if (atZero === 'show-zero') return 'visible';
  return before === null ? null : 'visible';
}

function sumOfLocations(listing: ListingFacts, rules: Candidates, calendar: Calendar, steps?: Step[]): number {
  let sum = 0;
  for (const stock of listing.stock) {
    if (!stock.own) continue;
    steps?.push({
      step: 'on hand',
      rule: null,
      location: stock.location,
      before: stock.onHand,
      after: stock.onHand,
      because: { seenAt: stock.seenAt },
    });
    sum += atItsLocation(stock, rules, calendar, steps);
  }
  return sum;
}

/** Stock at or below zero passes as it is. */
function atItsLocation(stock: LocationStock, rules: Candidates, calendar: Calendar, steps?: Step[]): number {
  const { location, seenAt } = stock;
  let left = stock.onHand;
  const unconfirmed = atLocation(rules.unconfirmed, location);
  if (unconfirmed !== undefined && left > 0) {
    const { atMost, days } = unconfirmed.effect;
    const doubtful = left <= atMost && isLongAgo(seenAt, days, calendar);
    left = tell(steps, unconfirmed, location, left, doubtful ? 0 : left, { seenAt, atMost, days });
  }
  const share = atLocation(rules.share, location);
  if (share !== undefined && left > 0) {
    const { percent } = share.effect;
    left = tell(steps, share, location, left, Math.floor(percentOf(left, percent)), { percent });
  }
  const buffer = rules.buffer?.find(({ scope }) => scope.locations?.includes(location));
  if (buffer !== undefined && left > 0) left = tell(steps, buffer, location, left, buffered(left, buffer), {});
  const cap = rules.cap?.find(({ scope }) => scope.locations?.includes(location));
  if (cap !== undefined) left = tell(steps, cap, location, left, Math.min(left, cap.effect.units), {});
  return left;
}

/** Seen before so many days that are over; the day after the last closed one is today. */
export function isLongAgo(seenAt: string | null, days: number, { day }: Calendar): boolean {
  if (day === null) return false;
  const today = Date.parse(`${day}T00:00:00.000Z`) + dayMs;
  return seenAt === null || Date.parse(seenAt) < today - days * dayMs;
}

interface Asked {
  readonly listing: ListingFacts;
  readonly rules: Candidates;
  readonly book: RuleBook;
  readonly calendar: Calendar;
  readonly steps: Step[] | undefined;
}

function throughThresholds(ground: number, asked: Asked): { available: number; withheld: boolean } {
  const { rules, steps } = asked;
  let available = ground;
  let withheld = false;
  const floor = rules.floor?.[0];
  if (floor !== undefined) {
    const { threshold, counted } = floorOf(floor.effect, floor.scope.locations, asked);
    const wanted = threshold + (asked.listing.withheld ? floor.effect.margin : 0);
    if (counted < wanted) withheld = true;
    const after = counted < wanted ? Math.min(available, 0) : available;
    available = tell(steps, floor, null, available, after, { counted, threshold, comesBackAt: wanted });
  }
  const buffer = rules.buffer?.find(({ scope }) => scope.locations === null);
  if (buffer !== undefined && available > 0)
    available = tell(steps, buffer, null, available, buffered(available, buffer), {});
  const velocity = rules['velocity-buffer']?.[0];
  if (velocity !== undefined) {
    const { units, because } = velocityBuffer(velocity.effect, asked);
    const left = available - units;
    const short = left <= 0 || (asked.listing.withheld && left < velocity.effect.margin);
    if (short) withheld = true;
    const after = available <= 0 ? available : short ? 0 : left;
    available = tell(steps, velocity, null, available, after, { buffer: units, ...because });
  }
  const cap = rules.cap?.find(({ scope }) => scope.locations === null);
  if (cap !== undefined) available = tell(steps, cap, null, available, Math.min(available, cap.effect.units), {});
  return { available, withheld };
}

type FloorEffect = NonNullable<Candidates['floor']>[number]['effect'];
type VelocityEffect = NonNullable<Candidates['velocity-buffer']>[number]['effect'];

/** Counted over the whole chain, or over the locations that the rule names, whatever the cart itself sells. */
function floorOf(effect: FloorEffect, locations: readonly string[] | null, { listing, book, calendar }: Asked) {
  const { below, steps, daysOfSales, salesWindowDays } = effect;
  const countedOf = ({ stock }: Pick<ListingFacts, 'stock'>) =>
    stock
      .filter(({ location }) => locations === null || locations.includes(location))
      .reduce((sum, { onHand }) => sum + onHand, 0);
  const counted =
    listing.parts === undefined
      ? countedOf(listing)
      : Math.min(...listing.parts.map((part) => kitsOf(part, countedOf(part))));
  const today = calendar.day === null ? null : dayAfter(calendar.day);
  const begun = today === null ? undefined : steps.findLast(({ from }) => from <= today);
  const threshold = begun?.below ?? below;
  if (daysOfSales === null) return { threshold, counted };
  const sold = listing.sales.chain[book.salesWindows.indexOf(salesWindowDays)] ?? 0;
  return { threshold: Math.max(threshold, rateOver(sold, salesWindowDays, daysOfSales)), counted };
}

function velocityBuffer({ coverDays, salesWindowDays }: VelocityEffect, { listing, book, calendar }: Asked) {
  const sold = listing.sales.own[book.salesWindows.indexOf(salesWindowDays)] ?? 0;
  const cover = coverDays ?? (calendar.latencyMs ?? 0) / dayMs;
  return { units: rateOver(sold, salesWindowDays, cover), because: { sold, salesWindowDays, coverDays: cover } };
}

function buffered(left: number, { effect: { units, percent } }: NonNullable<Candidates['buffer']>[number]): number {
  const kept = units ?? Math.ceil(percentOf(left, percent ?? 0));
  return Math.max(0, left - kept);
}

/** In hundredths of a percent, so that 7 % of 100 is 7 and not a little more. */
const percentOf = (of: number, percent: number) => (of * Math.round(percent * 100)) / 10_000;

function tell(
  steps: Step[] | undefined,
  { effect, ruleId, name, version }: StandingRule,
  location: string | null,
  before: number,
  after: number,
  because: Step['because'],
): number {
  steps?.push({ step: effect.kind, rule: { ruleId, name, version }, location, before, after, because });
  return after;
}

const dayMs = 86_400_000;
const dayAfter = (day: string) => new Date(Date.parse(`${day}T00:00:00.000Z`) + dayMs).toISOString().slice(0, 10);
