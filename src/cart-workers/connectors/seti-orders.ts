import type { OrdersBy } from '../../events/facts.js';
import { steadyNow } from '../../steady-clock.js';
import { CartError, OutcomeUnknownError } from './cart-error.js';
import type { CallContext, CartConnection, CartOrder, OrderPage, OrdersReport } from './connector.js';
import { ask } from './seti-call.js';
import { dateAsks, ordersSinceFields, type DateAsk } from './seti-protocol.js';
import { parseOrders, type SetiPage } from './seti-xml.js';

const ORDERS_PER_PAGE = 100;
/** A script that ignores paging cannot keep a worker for ever. */
const PAGES_MAX = 10_000;

/** @param since the number of an order, a mark of `markOfDay`, or null: from the beginning */
export function readOrders(cart: CartConnection, since: string | null, call: CallContext): Promise<OrderPage> {
  const dated = since === null ? null : dayMark(since);
  return dated === null ? readOrdersAbove(cart, since, call) : readOrdersOfDays(cart, dated, call);
}

/** Orders of a day and later: how they are asked for stands in the mark, so that a mark means the same for ever. */
export function markOfDay({ ask: way }: OrdersBy & { readonly by: 'date' }, day: string | null, told = 0): string {
  return `day(${way}):${day ?? ''}${told === 0 ? '' : `+${told}`}`;
}

interface DayMark {
  readonly ask: DateAsk;
  readonly day: string | null;
  /** Rows of this asking that were told already. */
  readonly told: number;
}

function dayMark(mark: string): DayMark | null {
  const match = /^day\((All-|All\/|-|\/)\):(\d{4}-\d\d-\d\d)?(?:\+(\d+))?$/.exec(mark);
  return match && { ask: match[1] as DateAsk, day: match[2] ?? null, told: Number(match[3] ?? 0) };
}

/** One page of the orders of a day and later, in the script's order: whoever asks knows which of them are new. */
async function readOrdersOfDays(cart: CartConnection, mark: DayMark, call: CallContext): Promise<OrderPage> {
  const { rows, ended } = await download(cart, call, ordersSinceFields(mark.ask, mark.day), mark.told + 1);
  const told = ended ? mark.told : mark.told + rows.length;
  return { orders: rows, mark: markOfDay({ by: 'date', ask: mark.ask }, mark.day, told) };
}

async function download(
  cart: CartConnection,
  call: CallContext,
  selection: Readonly<Record<string, string>>,
  start: number,
): Promise<SetiPage<CartOrder>> {
  const fields = { ...selection, startnum: String(start), batchsize: String(ORDERS_PER_PAGE) };
  return parseOrders(await ask(cart, call, 'downloadorders', fields, 'read'));
}

const DAY_MS = 86_400_000;
/** Further ahead than any shop's clock and time zone: whoever reads the date tells nothing. */
const AHEAD_MS = 400 * DAY_MS;

/** How a script is asked for new orders: what does it tell above its own last number, and from which days on? */
export async function ordersReport(cart: CartConnection, call: () => CallContext): Promise<OrdersReport> {
  const told = async (selection: Readonly<Record<string, string>>) => {
    try {
      return (await download(cart, call(), selection, 1)).rows;
    } catch (error) {
      if (error instanceof CartError) return null;
      throw error;
    }
  };
  const first = await told({ lastorder: 'All', lastdate: 'All' });
  if (first === null || first.length === 0) return { by: 'unknown', numbersArePlain: true };
  const numbersArePlain = first.every(({ number }) => isPlain(number));
  const last = numbersArePlain
    ? first.reduce((high, { number }) => (compareOrderNumbers(number, high) > 0 ? number : high), '0')
    : (first.at(-1)?.number ?? '');
  const known = new Set(first.map(({ number }) => number));
  const above = await told({ lastorder: last, lastdate: 'All' });
  const byNumber = above !== null && above.every(({ number }) => !known.has(number));
  if (byNumber && numbersArePlain) return { by: { by: 'number' }, numbersArePlain };
  const days = first.flatMap(({ placedAt }) => (placedAt === null ? [] : [Date.parse(placedAt)]));
  for (const way of days.length === 0 ? [] : dateAsks) {
    const newest = Math.max(...days);
    const never = await told(ordersSinceFields(way, dayOf(Math.max(newest, Date.now()) + AHEAD_MS)));
    if (never === null || never.length > 0) continue;
    const since = await told(ordersSinceFields(way, dayOf(newest - 2 * DAY_MS)));
    if (since !== null && since.length > 0) return { by: { by: 'date', ask: way }, numbersArePlain };
  }
  return { by: byNumber ? { by: 'number' } : null, numbersArePlain };
}

const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10);

/**
 * Orders with a number above `since`. Usually one page; further ones are read in the same call where a page holds only
 * orders told before (a script that ignores `lastorder`) or comes newest first, as the mark may only pass orders told.
 */
async function readOrdersAbove(cart: CartConnection, since: string | null, call: CallContext): Promise<OrderPage> {
  const fresh = new Map<string, CartOrder>();
  const seen = new Set<string>();
  let start = 1;
  for (let number = 0; number < PAGES_MAX; number += 1) {
    // Each page may take as long as a call may: of all orders together nobody knows how many there are.
    const own = { ...call, deadlineMs: number === 0 ? call.deadlineMs : steadyNow() + cart.requestTimeoutMs };
    const page = await download(cart, own, { lastorder: since ?? 'All', lastdate: 'All' }, start);
    const seenBefore = seen.size;
    for (const order of page.rows) {
      seen.add(order.number);
      if (since === null || compareOrderNumbers(order.number, since) > 0) fresh.set(order.number, order);
    }
    const orders = [...fresh.values()];
    const rising = orders.every(
      (order, index) => index === 0 || compareOrderNumbers(order.number, orders[index - 1]?.number ?? '') > 0,
    );
    // A page whose orders were all skipped by the script says "data" and holds none; the next one may hold some.
    const skipped = page.rows.length === 0 && number === 0 && !page.ended;
    const ended = page.ended || (seen.size === seenBefore && !skipped);
    if (ended || (orders.length > 0 && rising)) {
      if (orders.every(({ number: name }) => /^\d+$/.test(name)))
        orders.sort((left, right) => compareOrderNumbers(left.number, right.number));
      return { orders, mark: orders.at(-1)?.number ?? since ?? '0' };
    }
    start += Math.max(page.rows.length, skipped ? ORDERS_PER_PAGE : 1);
  }
  throw new OutcomeUnknownError(`the cart told more than ${PAGES_MAX} pages of orders`);
}

const isPlain = (number: string) => /^\d+$/.test(number);

/** By number where both are numbers. Others keep the cart's order, which is the only one known, and equal ones are the same. */
function compareOrderNumbers(left: string, right: string): number {
  if (left === right) return 0;
  if (!/^\d+$/.test(left) || !/^\d+$/.test(right)) return 1;
  const difference = BigInt(left) - BigInt(right);
  return difference === 0n ? 0 : difference > 0n ? 1 : -1;
}
