import type { Database } from '../database.js';
import type { JobEnd } from './cart-worker.js';
import { isSerial, type ReachableCart } from './cart-directory.js';
import type { Claim } from './claim.js';
import { type CartError, OutcomeUnknownError } from './connectors/cart-error.js';
import type { LineAnswer } from './connectors/connector.js';
import { downFor } from './lane-down.js';
import { inDoubt, lineEnd, summary, unknownLine } from './line-ends.js';
import { recordOutcome, type LineEnd } from './outcome.js';
import { judge, probeDelayMs, throttleMs } from './retry-policy.js';

/** Records what the cart answered, line by line. */
export async function recordAnswers(
  database: Database,
  cart: ReachableCart,
  claimed: Claim,
  answers: readonly LineAnswer[],
): Promise<JobEnd> {
  const answerOf = new Map(answers.map((answer) => [answer.key, answer]));
  const lines = openLines(claimed).map((line): LineEnd => {
    const answer = answerOf.get(line.key);
    if (answer === undefined) return unknownLine(cart, line.key, 'The answer does not speak of this item');
    return lineEnd(cart, answer, line.attemptsCounted);
  });
  const resendInMs = lines.some((line) => line.end === 'open')
    ? probeDelayMs(claimed.resends, Math.random())
    : undefined;
  await recordOutcome(database, {
    ...endOf(claimed),
    outcome: summary(lines),
    response: lines[0]?.response ?? '',
    lines,
    resendInMs,
    cart: 'up',
  });
  return resendInMs === undefined ? { kind: 'done' } : { kind: 'resend', inMs: resendInMs };
}

/** What an error of the call means, and what becomes of the lines by the retry policy. */
export async function recordError(
  database: Database,
  cart: ReachableCart,
  claimed: Claim,
  error: CartError,
): Promise<JobEnd> {
  const { capabilities } = cart;
  const random = Math.random();
  const lines = openLines(claimed);
  const verdict = judge(error, {
    delivery: capabilities.delivery,
    keyLifeMs: capabilities.keyLifeMs,
    keyAgeMs: claimed.keyAgeMs + cart.settings.requestTimeoutMs,
    ambiguousBefore: claimed.ambiguous,
    resends: claimed.resends,
    attemptsCounted: Math.max(0, ...lines.map((line) => line.attemptsCounted)),
    random,
  });
  const cartDown = verdict.kind === 'settle' || ('cartDown' in verdict && verdict.cartDown);
  const { response } = error;
  const ends = lines.map(({ key }): LineEnd => {
    switch (verdict.kind) {
      case 'resend':
        return { key, response, end: 'open' };
      case 'settle':
        return inDoubt(cart, key, response);
      case 'return':
        return {
          key,
          response,
          end: 'returned',
          outcome: error.code,
          delayMs: verdict.delayMs,
          counted: verdict.counted,
        };
      case 'dead-letter':
        return { key, response, end: 'dead-lettered', outcome: error.code, unlisted: null };
      default:
        return verdict satisfies never;
    }
  });
  const resendInMs = verdict.kind === 'resend' ? verdict.delayMs : undefined;
  await recordOutcome(database, {
    ...endOf(claimed),
    outcome: error.code,
    response,
    lines: ends,
    resendInMs,
    mayStillRun:
      verdict.kind === 'settle' && isSerial(cart) && !(error instanceof OutcomeUnknownError && error.answered),
    ...(cartDown ? await downFor(database, claimed, random, throttleMs(error) ?? 0) : { cart: null }),
  });
  return resendInMs === undefined ? { kind: 'done' } : { kind: 'resend', inMs: resendInMs };
}

/** The reading before a delivery has failed. Nothing was sent: whatever went wrong, the lines are free to go back. */
export async function recordUnsent(database: Database, claimed: Claim, error: CartError): Promise<void> {
  const { code, response } = error;
  await recordOutcome(database, {
    ...endOf(claimed),
    outcome: code,
    response,
    lines: claimed.lines.map(({ key }): LineEnd => ({
      key,
      response,
      end: 'returned',
      outcome: code,
      delayMs: 0,
      counted: false,
    })),
    countsAsTry: true,
    ...(await downFor(database, claimed, Math.random(), throttleMs(error) ?? 0)),
  });
}

export const openLines = (claimed: Claim) => claimed.lines.filter((line) => line.open);

export const endOf = ({ attemptId, deliveryId, cartId }: Claim) => ({ attemptId, deliveryId, cartId });
