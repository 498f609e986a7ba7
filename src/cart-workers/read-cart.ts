import { steadyNow } from '../steady-clock.js';
import type { ReachableCart } from './cart-directory.js';
import type { QuantityRow } from './connectors/connector.js';

/**
 * What the cart shows for these keys now; null where it does not track, absent where it does not list.
 * @param doubled is given every key that one page told of several products, with what each of them showed
 */
export async function readQuantities(
  cart: ReachableCart,
  keys: readonly string[] | null,
  deadlineMs: number,
  signal: AbortSignal,
  doubled?: Map<string, readonly (number | null)[]>,
): Promise<Map<string, number | null>> {
  const read = new Map<string, number | null>();
  const timeoutMs = cart.connection.requestTimeoutMs;
  const pages = cart.connector.readQuantities(cart.connection, keys, () => ({
    deadlineMs: Math.min(deadlineMs, steadyNow() + timeoutMs),
    signal,
  }));
  for await (const page of pages) {
    for (const row of page) read.set(row.key, row.quantity);
    if (doubled !== undefined && new Set(page.map(({ key }) => key)).size < page.length) addDoubled(page, doubled);
  }
  return read;
}

/** Pages may overlap; within one page a key that comes twice belongs to two products. */
function addDoubled(page: readonly QuantityRow[], doubled: Map<string, readonly (number | null)[]>): void {
  const told = new Map<string, (number | null)[]>();
  for (const { key, quantity } of page) told.set(key, [...(told.get(key) ?? []), quantity]);
  for (const [key, quantities] of told) if (quantities.length > 1) doubled.set(key, quantities);
}
