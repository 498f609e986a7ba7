import type { CartOrder } from './connectors/connector.js';
import type { Overlap } from './order-overlap.js';

/**
 * Orders that are asked for by date. A script knows whole days only, in a time zone that nobody tells; some take "since"
 * as "after"; and orders come up late. So each poll asks for whole days again, and what is told twice is imported once.
 * Days are text like 2026-06-10, as the cart writes them. Pure.
 */

const dayMs = 86_400_000;
/** One day for a script that means "after this day", one for its days being another zone's than those it tells. */
const overlapDays = 2;
/** Asked for every five minutes: so long are edits and cancels heard. */
const deepDays = 7;
/** Orders of the first poll are remembered by their numbers as far back as any later poll asks. */
const rememberedDays = deepDays + overlapDays;

/** @param newest the newest day told; null: none yet, so everything is asked for */
export function dayToAskFrom(newest: string | null, overlap: Overlap): string | null {
  return newest === null ? null : daysBefore(newest, overlap === 'deep' ? deepDays : overlapDays);
}

/** The newest day told. An order that is dated in the future must not make later polls leave out the days until then. */
export function newestDay(known: string | null, told: readonly CartOrder[], now: Date): string | null {
  const latest = new Date(now.getTime() + dayMs).toISOString().slice(0, 10);
  const days = told.flatMap(({ placedAt }) => (placedAt === null ? [] : [placedAt.slice(0, 10)]));
  const inTime = days.map((day) => (day > latest ? latest : day));
  return [known ?? '', ...inTime].toSorted().at(-1) || null;
}

/** Whether a poll before has asked for the day of this order, so that it would have been told had it been there. */
export function wasAskedFor(newest: string | null, { placedAt }: CartOrder): boolean {
  if (newest === null) return true;
  // One day less than was asked for, for a script that means "after".
  return placedAt !== null && placedAt.slice(0, 10) > daysBefore(newest, overlapDays - 1);
}

/** What the first poll remembers: the numbers of the days that are asked for again, and before which day all is old. */
export class OldOrders {
  private readonly days = new Map<string, string | null>();

  add(orders: readonly CartOrder[]): void {
    for (const { number, placedAt } of orders) this.days.set(number, placedAt?.slice(0, 10) ?? null);
  }

  /** @param newest the newest day among them */
  remembered(newest: string | null): { readonly numbers: readonly string[]; readonly beforeDay: string | null } {
    const beforeDay = newest === null ? null : daysBefore(newest, rememberedDays);
    const isRecent = (day: string | null) => day === null || beforeDay === null || day >= beforeDay;
    return { numbers: [...this.days].filter(([, day]) => isRecent(day)).map(([number]) => number), beforeDay };
  }
}

export function daysBefore(day: string, days: number): string {
  return new Date(Date.parse(day) - days * dayMs).toISOString().slice(0, 10);
}

const rememberedMax = 20_000;

/** An order as a cart tells it now, what its lines are here, and how often the log knew it otherwise when it was asked. */
export interface ToldOrder {
  readonly order: CartOrder;
  readonly skus: readonly string[];
  readonly version: string;
}

/**
 * Orders that are known as they are told again now: each poll tells some days of them. Forgetting one costs a command. Other
 * processes import orders, too, so what is known here is worth nothing once the log has gone on.
 */
export class ToldBefore {
  private readonly states = new Map<string, string>();

  isSame(cartId: string, told: ToldOrder): boolean {
    return this.states.get(keyOf(cartId, told.order)) === stateOf(told);
  }

  /** The log had nothing to add to it. */
  known(cartId: string, told: ToldOrder): void {
    const key = keyOf(cartId, told.order);
    this.states.delete(key);
    this.states.set(key, stateOf(told));
    const [oldest] = this.states.keys();
    if (this.states.size > rememberedMax && oldest !== undefined) this.states.delete(oldest);
  }
}

const keyOf = (cartId: string, { number }: CartOrder) => `${cartId} ${number}`;
const stateOf = ({ order, skus, version }: ToldOrder) => JSON.stringify([order, skus, version]);
