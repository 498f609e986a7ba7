import type { Database } from '../database.js';
import { reached } from '../moments.js';
import type { ReachableCart } from './cart-directory.js';
import type { Claim, ClaimedLine } from './claim.js';
import { CartError } from './connectors/cart-error.js';
import type { LineAnswer } from './connectors/connector.js';
import { databaseNow } from './database-clock.js';
import { lineEnd } from './line-ends.js';
import { recordOutcome, type LineEnd } from './outcome.js';
import { endOf, openLines, recordError } from './record-answers.js';

/**
 * Delivers to a cart that can only be told absolute quantities: orders → read → set → orders → read back. The delivery was
 * claimed for reading just before, so `q0` is as fresh as it can be; each line sets it to `q0 + delta`, never to what we
 * believe the cart shows, which may be a sale behind.
 *
 * What was sold between the reading and the setting is overwritten, whatever the cart answers. So no answer ends a line:
 * every line that may have been set stays in doubt and is read back at once (settle-delivery.ts). An absolute quantity is
 * never sent a second time for the same line.
 */
export async function sendQuantities(
  database: Database,
  cart: ReachableCart,
  claimed: Claim,
  signal: AbortSignal,
): Promise<void> {
  const open = openLines(claimed);
  const rows = open.map((line) => ({ key: line.key, quantity: knownBefore(line) + line.delta }));
  try {
    const answers = await cart.connector.setQuantities(
      cart.connection,
      { idempotencyKey: claimed.deliveryId, createdAtMs: claimed.createdAtMs, rows },
      { deadlineMs: claimed.deadlineMs, signal, onSent: () => reached('worker:request-sent', claimed.cartId) },
    );
    const answerOf = new Map(answers.map((answer) => [answer.key, answer]));
    const lines = open.map(({ key, attemptsCounted }) => endOfSet(cart, key, answerOf.get(key), attemptsCounted));
    await recordOutcome(database, {
      ...endOf(claimed),
      outcome: 'set',
      response: lines[0]?.response ?? '',
      lines,
      lastByteBy: await databaseNow(database),
      cart: 'up',
    });
  } catch (error) {
    if (!(error instanceof CartError)) throw error;
    await recordError(database, cart, claimed, error);
  }
}

/** The claim reads what it lacks, so a delivery never leaves without it; a zero in its place would erase stock. */
function knownBefore({ key, q0 }: ClaimedLine): number {
  if (q0 === null) throw new Error(`What ${key} shows was not read before it is set`);
  return q0;
}

function endOfSet(cart: ReachableCart, key: string, answer: LineAnswer | undefined, attemptsCounted: number): LineEnd {
  if (answer === undefined)
    return lineEnd(
      cart,
      { key, outcome: 'unknown', response: 'The answer does not speak of this item' },
      attemptsCounted,
    );
  if (answer.outcome !== 'applied') return lineEnd(cart, answer, attemptsCounted);
  return { key, response: `${answer.response}; being read back`, end: 'in-doubt', settleInMs: 0 };
}
