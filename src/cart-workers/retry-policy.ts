import type { Capabilities } from './connectors/connector.js';
import type { CartError } from './connectors/cart-error.js';

/**
 * What to do after a try that did not simply succeed. Pure: the same history gives the same verdict.
 *
 * resend       the same bytes again, by the same key (the cart answers a repetition without applying it twice)
 * return       the lines go back to the Web Stack and leave later under a new key; nothing of them was applied
 * settle       nobody knows whether it was applied: look at the cart, after its quiet time
 * dead-letter  definitely not applied, and refused too often
 */
export type Verdict =
  | { readonly kind: 'resend'; readonly delayMs: number; readonly cartDown: boolean }
  | { readonly kind: 'return'; readonly delayMs: number; readonly counted: boolean; readonly cartDown: boolean }
  | { readonly kind: 'settle' }
  | { readonly kind: 'dead-letter' };

export interface Attempted {
  readonly delivery: Capabilities['delivery'];
  readonly keyLifeMs: number | null;
  /** Age of the delivery's key. */
  readonly keyAgeMs: number;
  /** Whether this or an earlier try of the same delivery may have been applied. */
  readonly ambiguousBefore: boolean;
  readonly resends: number;
  /** Most counted attempts among the delivery's records, before this one. */
  readonly attemptsCounted: number;
  /** A number from 0 to 1, for the jitter. */
  readonly random: number;
}

export const retryLimits = {
  /** Tries that count before a refused line becomes a dead letter. */
  attemptsCountedMax: 5,
  backoffBaseMs: 250,
  backoffCapMs: 20_000,
} as const;

/** Judges a try that ended in an error. */
export function judge(error: CartError, attempted: Attempted): Verdict {
  if (error.certainty === 'ambiguous') return judgeAmbiguous(attempted, 0);
  // Proof that *this* try did nothing says nothing about the one before.
  if (attempted.ambiguousBefore) return judgeAmbiguous(attempted, throttleMs(error) ?? 0);
  const cartDown = isAboutTheCart(error);
  if (cartDown) return { kind: 'return', delayMs: throttleMs(error) ?? 0, counted: false, cartDown };
  return judgeRefusal(attempted);
}

/** Judges a line that the cart refused in so many words while it answered for the others. */
export function judgeRefusal(attempted: Pick<Attempted, 'attemptsCounted' | 'random'>): Verdict {
  if (attempted.attemptsCounted + 1 >= retryLimits.attemptsCountedMax) return { kind: 'dead-letter' };
  return {
    kind: 'return',
    delayMs: backoffMs(attempted.attemptsCounted + 1, attempted.random),
    counted: true,
    cartDown: false,
  };
}

/** Exponential with full jitter, capped: many lines that failed together do not come back together. */
export function backoffMs(tries: number, random: number): number {
  const ceiling = Math.min(retryLimits.backoffCapMs, retryLimits.backoffBaseMs * 2 ** Math.min(tries, 20));
  return Math.round(ceiling * random);
}

/** When to look whether a cart that was down is back: growing, without jitter down to nothing, never beyond the cap. */
export function probeDelayMs(probes: number, random: number): number {
  const ceiling = Math.min(retryLimits.backoffCapMs, retryLimits.backoffBaseMs * 2 ** Math.min(probes, 20));
  return Math.round(ceiling / 2 + (ceiling / 2) * random);
}

function judgeAmbiguous(attempted: Attempted, delayMsMin: number): Verdict {
  if (!mayResend(attempted)) return { kind: 'settle' };
  const delayMs = Math.max(delayMsMin, backoffMs(attempted.resends + 1, attempted.random));
  return { kind: 'resend', delayMs, cartDown: attempted.resends > 0 };
}

/** Whether the cart still knows the delivery's key, so that the same bytes cannot be applied a second time. */
export function mayResend({
  delivery,
  keyLifeMs,
  keyAgeMs,
}: Pick<Attempted, 'delivery' | 'keyLifeMs' | 'keyAgeMs'>): boolean {
  return delivery === 'idempotency-key' && (keyLifeMs === null || keyAgeMs < keyLifeMs);
}

/** Unreachable, throttled, not let in: no line is to blame, and no other line would fare better. */
function isAboutTheCart(error: CartError): boolean {
  switch (error.code) {
    case 'cart-unreachable':
    case 'cart-throttled':
    case 'cart-url-refused':
      return true;
    default:
      return 'scope' in error && error.scope === 'cart';
  }
}

/** How long the cart asked to be left alone; null where it did not. */
export function throttleMs(error: CartError): number | null {
  return 'retryAfterMs' in error && typeof error.retryAfterMs === 'number' ? error.retryAfterMs : null;
}
