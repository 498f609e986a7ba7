import type { CartOrder } from './connectors/connector.js';

/**
 * Which orders a poll asks for again. Orders do not come up in the order of their numbers (a checkout that takes longer
 * than the next one appears behind the mark), and some scripts tell an edit or a cancel by telling the order again. So now
 * and then a poll begins before the mark; what is told twice is imported once. Pure.
 *
 * It begins behind an order that the cart has told itself, never at a number that was worked out: some scripts look the
 * number up, and tell everything where they do not find it.
 */
export interface FeedState {
  readonly mark: string | null;
  readonly recent: readonly string[];
  readonly before: readonly string[];
  readonly startedAt: Date | null;
  readonly overlappedAt: Date | null;
  readonly deepAt: Date | null;
  /** Where orders are asked for by date: see order-days.ts. */
  readonly day: string | null;
  readonly beforeDay: string | null;
}

export type Overlap = 'none' | 'shallow' | 'deep';

const shallowEveryMs = 30_000;
const deepEveryMs = 300_000;
const shallowOrders = 10;
const deepOrders = 100;
/** Remembered one more, since asking begins *behind* an order. */
const recentMax = deepOrders + 1;

/** @param wanted somebody counts with the orders: at least the last ones are asked for again */
export function overlapOf(state: FeedState, now: Date, wanted: boolean): Overlap {
  const age = (at: Date | null) => (at === null ? Number.POSITIVE_INFINITY : now.getTime() - at.getTime());
  if (age(state.deepAt) >= deepEveryMs) return 'deep';
  return wanted || age(state.overlappedAt) >= shallowEveryMs ? 'shallow' : 'none';
}

/** The order behind which a poll begins. */
export function startOf(state: FeedState, overlap: Overlap): string | null {
  if (overlap === 'none') return state.mark;
  const told = [...state.before, ...state.recent];
  return told.at(-(overlap === 'deep' ? deepOrders : shallowOrders) - 1) ?? told[0] ?? state.mark;
}

/** Orders from before the cart was connected: what they took is in what it showed then. */
export function isFromBefore(
  { before, beforeDay }: Pick<FeedState, 'before' | 'beforeDay'>,
  { number, placedAt }: Pick<CartOrder, 'number' | 'placedAt'>,
): boolean {
  if (before.includes(number)) return true;
  if (beforeDay !== null) return placedAt !== null && placedAt.slice(0, 10) < beforeDay;
  const oldest = before[0];
  // One that is older than all that were told at the end of the first poll; one between them came up late.
  return oldest !== undefined && isNumber(number) && isNumber(oldest) && BigInt(number) < BigInt(oldest);
}

/**
 * Since when the cart has not shown an order that it tells now: between that moment and now it may have come up.
 * null: nobody knows, since it was not asked for lately.
 */
export function notSeenAt(state: FeedState, number: string): Date | null {
  const told = [...state.before, ...state.recent];
  const isBehind = (other: string | null | undefined) =>
    other !== null && other !== undefined && isNumber(other) && isNumber(number) && BigInt(number) > BigInt(other);
  if (state.mark === null || !isNumber(number) || isBehind(state.mark)) return state.startedAt;
  return isBehind(told.at(-shallowOrders - 1)) ? state.overlappedAt : null;
}

export function recentAfter(recent: readonly string[], told: readonly string[]): readonly string[] {
  const all = [...new Set([...recent, ...told])];
  if (all.every(isNumber)) all.sort((left, right) => Number(BigInt(left) - BigInt(right)));
  return all.slice(-recentMax);
}

/** The mark never goes back: a page that begins before it may end before it. */
export function laterMark(known: string | null, told: string): string {
  if (known === null || !isNumber(known) || !isNumber(told)) return told;
  return BigInt(told) > BigInt(known) ? told : known;
}

/** How many of the first poll's orders are remembered. */
export const beforeOf = (told: readonly string[]) => recentAfter([], told).slice(-shallowOrders - 1);

export const isNumber = (text: string) => /^\d+$/.test(text);
