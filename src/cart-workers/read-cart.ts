import { steadyNow } from '../steady-clock.js';
import type { ReachableCart } from './cart-directory.js';
import type { QuantityRow } from './connectors/connector.js';

/** Keys that several products of a cart share, with what each of them shows. */
export type DoubledKeys = Map<string, readonly (number | null)[]>;

/**
 * What the cart shows for these keys now; null where it does not track, or where several of its products share the key;
 * absent where it does not list.
 * @param doubled is given every key of several products
 * @param toTheEnd a cart that is read page by page is read to its end, as a second product may stand there
 */
export async function readQuantities(
  cart: ReachableCart,
  keys: readonly string[] | null,
  deadlineMs: number,
  signal: AbortSignal,
  { doubled = new Map(), toTheEnd = false }: { readonly doubled?: DoubledKeys; readonly toTheEnd?: boolean } = {},
): Promise<Map<string, number | null>> {
  const read = new Map<string, number | null>();
  const timeoutMs = cart.connection.requestTimeoutMs;
  const call = () => ({ deadlineMs: Math.min(deadlineMs, steadyNow() + timeoutMs), signal });
  for await (const page of cart.connector.readQuantities(cart.connection, keys, call, toTheEnd)) {
    for (const row of page) read.set(row.key, row.quantity);
    addDoubled(page, doubled);
  }
  for (const key of doubled.keys()) if (read.has(key)) read.set(key, null);
  return read;
}

/** Within one page a key that comes twice belongs to two products, unless their numbers say that it is one. */
export function addDoubled(page: readonly QuantityRow[], doubled: DoubledKeys): void {
  if (new Set(page.map(({ key }) => key)).size === page.length) return;
  const told = new Map<string, QuantityRow[]>();
  for (const row of page) told.set(row.key, [...(told.get(row.key) ?? []), row]);
  for (const [key, rows] of told) {
    const [first] = rows;
    const isOne = first?.productId !== undefined && rows.every(({ productId }) => productId === first.productId);
    if (rows.length > 1 && !isOne)
      doubled.set(
        key,
        rows.map(({ quantity }) => quantity),
      );
  }
}
