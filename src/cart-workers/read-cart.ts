import { steadyNow } from '../steady-clock.js';
import type { ReachableCart } from './cart-directory.js';

/** What the cart shows for these keys now; null where it does not track, absent where it does not list. */
export async function readQuantities(
  cart: ReachableCart,
  keys: readonly string[] | null,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<Map<string, number | null>> {
  const read = new Map<string, number | null>();
  const timeoutMs = cart.connection.requestTimeoutMs;
  const pages = cart.connector.readQuantities(cart.connection, keys, () => ({
    deadlineMs: Math.min(deadlineMs, steadyNow() + timeoutMs),
    signal,
  }));
  for await (const page of pages) for (const row of page) read.set(row.key, row.quantity);
  return read;
}
