import type { ReachableCart } from './cart-directory.js';
import type { LineAnswer } from './connectors/connector.js';
import type { LineEnd } from './outcome.js';
import { backoffMs, judgeRefusal } from './retry-policy.js';

/** What the cart's word about a line, or its silence, means for that line. */
export function lineEnd(cart: ReachableCart, answer: LineAnswer, attemptsCounted: number): LineEnd {
  const { key, response } = answer;
  switch (answer.outcome) {
    case 'applied':
      return { key, response, end: 'delivered', outcome: 'applied', quantity: answer.quantity, seen: null };
    case 'not-found':
    case 'not-tracked':
      return { key, response, end: 'dead-lettered', outcome: answer.outcome, unlisted: answer.outcome };
    case 'rejected':
      return refusedLine(key, response, answer.outcome, attemptsCounted);
    case 'stale':
      return staleLine(key, response, answer.quantity);
    case 'unknown':
      return unknownLine(cart, key, response);
    default:
      return answer satisfies never;
  }
}

/** A line whose fate nobody knows: sent again by its key, or settled by looking at the cart after its quiet time. */
export function unknownLine(cart: ReachableCart, key: string, response: string): LineEnd {
  return cart.capabilities.delivery === 'idempotency-key'
    ? { key, response, end: 'open' }
    : inDoubt(cart, key, response);
}

/**
 * The listing has moved since it was looked at, so nothing was applied. A delta that met a stale look is never repeated
 * under its key, so this is always the answer to the only try: the line leaves anew, compared with what is there now.
 */
function staleLine(key: string, response: string, quantity: number | null): LineEnd {
  const back = { key, response, end: 'returned', outcome: 'stale', counted: false } as const;
  const delayMs = backoffMs(1, Math.random());
  return quantity === null ? { ...back, delayMs, lookAgain: true } : { ...back, delayMs, quantity, seen: null };
}

export const inDoubt = (cart: ReachableCart, key: string, response: string): LineEnd => ({
  key,
  response,
  end: 'in-doubt',
  settleInMs: cart.settings.quietTimeMs,
});

function refusedLine(key: string, response: string, outcome: string, attemptsCounted: number): LineEnd {
  const verdict = judgeRefusal({ attemptsCounted, random: Math.random() });
  return verdict.kind === 'return'
    ? { key, response, end: 'returned', outcome, delayMs: verdict.delayMs, counted: verdict.counted }
    : { key, response, end: 'dead-lettered', outcome, unlisted: null };
}

export function summary(lines: readonly LineEnd[]): string {
  const ends = new Set(lines.map((line) => ('outcome' in line ? line.outcome : line.end)));
  return ends.size === 1 ? ([...ends][0] as string) : 'mixed';
}

/** A key that a reading did not show, or showed without a quantity. */
export function notListed(key: string, read: ReadonlyMap<string, number | null>): LineEnd {
  return read.has(key)
    ? {
        key,
        response: 'The cart lists the item but does not track its stock',
        end: 'dead-lettered',
        outcome: 'not-tracked',
        unlisted: 'not-tracked',
      }
    : {
        key,
        response: 'The cart does not list this item',
        end: 'dead-lettered',
        outcome: 'not-found',
        unlisted: 'not-found',
      };
}
