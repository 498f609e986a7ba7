import { callFor, type ReachableCart } from './cart-directory.js';
import { CartError } from './connectors/cart-error.js';
import type { CartOrder, OrdersReport } from './connectors/connector.js';
import { daysBefore } from './order-days.js';

const pagesMax = 10_000;
/** Orders are not always told in the order of their numbers: counting begins this many before the last one. */
const overlap = 20;
/** Where they are asked for by date, as far back: only its differences count, and the shop's days may be another zone's. */
const overlapDays = 7;

/**
 * The order from which on the pieces of an item are counted while it is probed.
 * @param known where the cart's orders have been read to already; null: nowhere yet
 * @param by how this cart is asked, as was found a moment ago
 * @param now by the database's clock
 * @returns null: from the first one
 */
export async function countOrdersFrom(
  cart: ReachableCart,
  known: string | null,
  by: OrdersReport['by'],
  now: Date,
): Promise<string | null> {
  if (by !== null && by !== 'unknown' && by.by === 'date')
    return cart.connector.markOfDay?.(by, daysBefore(now.toISOString().slice(0, 10), overlapDays)) ?? null;
  const last: string[] = [];
  try {
    for await (const page of orderPages(cart, known)) {
      last.push(...page.map(({ number }) => number));
      last.splice(0, last.length - overlap - 1);
    }
  } catch (error) {
    if (!(error instanceof CartError)) throw error;
  }
  return (last.length > overlap ? last[0] : undefined) ?? known;
}

/** @returns pieces of `key` that the cart took for its orders after `since`; null where they cannot be read */
export async function soldSince(cart: ReachableCart, key: string, since: string | null): Promise<number | null> {
  const { restocksOnCancel } = cart.connector.capabilities;
  const pieces = new Map<string, number>();
  try {
    for await (const page of orderPages(cart, since)) {
      for (const order of page) {
        if (order.unreadable !== undefined) return null;
        const given = order.state === 'cancelled' && restocksOnCancel;
        const own = order.lines.filter((line) => line.key === key).reduce((sum, line) => sum + line.quantity, 0);
        pieces.set(order.number, given ? 0 : own);
      }
    }
  } catch (error) {
    if (error instanceof CartError) return null;
    throw error;
  }
  return [...pieces.values()].reduce((sum, own) => sum + own, 0);
}

async function* orderPages(cart: ReachableCart, since: string | null): AsyncGenerator<readonly CartOrder[]> {
  let mark = since;
  const seen = new Set<string>();
  for (let page = 0; page < pagesMax; page += 1) {
    const told = await cart.connector.readOrders(cart.connection, mark, callFor(cart.connection.requestTimeoutMs));
    yield told.orders;
    const known = seen.size;
    for (const { number } of told.orders) seen.add(number);
    // Nothing new: the end, or a script that ignores paging.
    if (seen.size === known || told.mark === mark) return;
    mark = told.mark;
  }
}
