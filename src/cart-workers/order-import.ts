import { inTransaction, type Database } from '../database.js';
import type { CommandBatcher } from '../events/command-batcher.js';
import type { CommandOutcome } from '../events/commands.js';
import type { OrderSighting } from '../events/facts.js';
import { orderStream, type StreamName } from '../events/streams.js';
import { callFor, type CartDirectory, type ReachableCart } from './cart-directory.js';
import type { CartOrder } from './connectors/connector.js';
import { databaseNow } from './database-clock.js';
import { markOverwritten } from './drifts/overwritten-lines.js';
import {
  beforeOf,
  isFromBefore,
  isNumber,
  laterMark,
  notSeenAt,
  overlapOf,
  recentAfter,
  startOf,
  type FeedState,
  type Overlap,
} from './order-overlap.js';
import { dayToAskFrom, newestDay, OldOrders, ToldBefore, wasAskedFor, type ToldOrder } from './order-days.js';
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

/** Pages of one poll; a feed that never ends is a fault of the cart's, not a reason to loop for ever. */
const pagesMax = 10_000;

export interface PollResult {
  readonly orders: number;
  /** Orders up to and including this one are imported now. */
  readonly mark: string | null;
  /** The cart's keys that the lines of these orders name. */
  readonly keys: ReadonlySet<string>;
  /** false: the cart said that a checkout may have taken pieces which no order shows yet. */
  readonly complete: boolean;
  /** Keys of orders whose pieces the cart may be taking at this moment, as it said. */
  readonly unsettled: ReadonlySet<string>;
}

/** Looks again at a cart in the middle of a checkout: a checkout takes parts of a second. */
export const checkoutPauseMs = 500;
const checkoutLooksMax = 12;

/** Brings carts' orders into the log: as whole states, any number of times, from polls and webhooks alike. */
export class OrderImport {
  constructor(
    private readonly database: Database,
    private readonly batcher: CommandBatcher,
    private readonly directory: CartDirectory,
  ) {}

  private readonly told = new ToldBefore();

  /**
   * One whole order as a cart told it. Its identity is the cart and its number; telling it again changes nothing.
   * @param idempotencyKey the webhook's id, so that a repeated delivery gets the same answer; null for polls
   */
  async importOrder(
    cartId: string,
    order: CartOrder,
    sighting: OrderSighting,
    idempotencyKey: string | null = null,
  ): Promise<CommandOutcome> {
    const cart = await this.directory.cart(cartId);
    const skus = await this.skusOf(
      cartId,
      order.lines.map((line) => line.key),
    );
    // A moment by the clock that readings are taken by, whatever the clock of the process that heard of it says.
    const by = (await databaseNow(this.database)).toISOString();
    const outcome = await this.submit(cart, order, { ...sighting, by }, skus, idempotencyKey);
    await this.keepRefusals(cartId, [{ order, outcome }]);
    await this.reopenVerdicts(cartId, [{ order, outcome }]);
    return outcome;
  }

  /**
   * Asks the cart for every order since the stored mark and imports them, page by page; now and then, or where somebody
   * counts with them, also for the last ones again. The mark moves only when all of a page is in the log, so a crash asks
   * again for what is there already and never skips.
   *
   * The very first poll of a cart takes the mark and imports nothing: what was sold before the cart was connected is in
   * its first comparison already.
   * @param wanted the last orders are asked for again in any case
   */
  async poll(cartId: string, { wanted = false } = {}): Promise<PollResult> {
    const cart = await this.directory.cart(cartId);
    const state = await this.beginning(cart);
    const startedAt = await databaseNow(this.database);
    const { numbered, dayMark } = feedOf(cart);
    const overlap = state === null || !(numbered || dayMark) ? 'none' : overlapOf(state, startedAt, wanted);
    let since = dayMark
      ? dayMark(dayToAskFrom(state?.day ?? null, overlap))
      : state === null
        ? null
        : startOf(state, overlap);
    let mark = dayMark ? since : (state?.mark ?? null);
    let day = state?.day ?? null;
    let orders = 0;
    const keys = new Set<string>();
    const old = new OldOrders();
    const numbersTold = new Set<string>();
    const unsettled = new Set<string>();
    let firstTold: readonly string[] = [];
    let complete = true;
    try {
      for (let page = 0; page < pagesMax; page += 1) {
        const told = await cart.connector.readOrders(cart.connection, since, callFor(cart.connection.requestTimeoutMs));
        complete = told.complete !== false;
        for (const key of told.unsettledKeys ?? []) unsettled.add(key);
        // A script that ignores paging tells the same page for ever.
        if (told.orders.length === 0 || (dayMark && told.orders.every(({ number }) => numbersTold.has(number)))) break;
        if (dayMark) for (const { number } of told.orders) numbersTold.add(number);
        const fresh = state === null ? told.orders : await this.importPage(cart, told.orders, state);
        for (const key of await this.touchedKeys(cartId, fresh)) keys.add(key);
        orders += fresh.length;
        if (!dayMark) mark = numbered ? laterMark(mark, told.mark) : told.mark;
        if (dayMark) day = newestDay(day, told.orders, startedAt);
        if (state !== null) {
          await this.moveMark(cartId, mark ?? told.mark, { orders: fresh.length, told: numbered ? told.orders : null });
        } else if (dayMark) old.add(told.orders);
        else firstTold = beforeOf([...firstTold, ...namesOf(told.orders)]);
        if (told.mark === since) break;
        since = told.mark;
      }
      const before = dayMark ? old.remembered(day) : { numbers: numbered ? firstTold : [], beforeDay: null };
      await this.endPoll(cartId, mark, { startedAt, overlap, day, ...before });
      return { orders, mark, keys, complete, unsettled };
    } catch (error) {
      await this.database.pool.query('UPDATE order_polls SET last_error = $2 WHERE cart_id = $1', [
        cartId,
        error instanceof Error ? error.message : String(error),
      ]);
      throw error;
    }
  }

  /**
   * Asks until no checkout is under way that could make a reading of these items mean two things.
   * @returns false when one still is after some seconds
   */
  async pollSettled(cartId: string, keys: readonly string[]): Promise<boolean> {
    for (let look = 0; look < checkoutLooksMax; look += 1) {
      if (look > 0) await sleep(checkoutPauseMs);
      const { complete, unsettled } = await this.poll(cartId, { wanted: true });
      if (complete && !keys.some((key) => unsettled.has(key))) return true;
    }
    return false;
  }

  /** @returns those that were new, changed, or could not be imported */
  private async importPage(
    cart: ReachableCart,
    told: readonly CartOrder[],
    state: FeedState,
  ): Promise<readonly CartOrder[]> {
    const { numbered, dayMark } = feedOf(cart);
    const { cartId } = cart.settings;
    const known = told.filter((order) => !isFromBefore(state, order));
    const skus = await this.skusOf(
      cart.settings.cartId,
      known.flatMap((order) => order.lines.map((line) => line.key)),
    );
    const versions = dayMark ? await this.versionsOf(cartId, known) : new Map<string, string>();
    const asTold = (order: CartOrder): ToldOrder => ({
      order,
      skus: order.lines.map(({ key }) => skus.get(key) ?? key),
      version: versions.get(order.number) ?? '0',
    });
    const orders = known.filter((order) => !(dayMark && this.told.isSame(cartId, asTold(order))));
    const after = (order: CartOrder) =>
      numbered ? notSeenAt(state, order.number) : !dayMark || wasAskedFor(state.day, order) ? state.startedAt : null;
    if (cart.capabilities.checkoutOverwrites === true) {
      const keys = await this.touchedKeys(cartId, orders);
      await markOverwritten(this.database, cartId, keys, state.startedAt);
    }
    const by = (await databaseNow(this.database)).toISOString();
    const outcomes = await Promise.all(
      orders.map((order) =>
        order.unreadable === undefined
          ? this.submit(cart, order, { after: after(order)?.toISOString() ?? null, by }, skus, null)
          : Promise.resolve(unreadableOutcome(order.unreadable)),
      ),
    );
    const judged = orders.map((order, index) => ({ order, outcome: outcomes[index] }));
    await this.keepRefusals(cartId, judged);
    await this.reopenVerdicts(cartId, judged);
    for (const { order, outcome } of judged)
      if (dayMark && outcome?.kind === 'accepted' && outcome.facts.length === 0) this.told.known(cartId, asTold(order));
    return judged
      .filter(({ outcome }) => outcome?.kind !== 'accepted' || outcome.facts.length > 0)
      .map(({ order }) => order);
  }

  /** One order that makes no sense must not keep every later one of its cart from being imported. */
  private async keepRefusals(
    cartId: string,
    told: readonly { readonly order: CartOrder; readonly outcome: CommandOutcome | undefined }[],
  ): Promise<void> {
    const refused = told.flatMap(({ order, outcome }) =>
      outcome?.kind === 'refused'
        ? [{ number: order.number, detail: outcome.refusal.detail, keys: order.lines.map((line) => line.key) }]
        : [],
    );
    await this.database.pool.query(
      `WITH mended AS (
         DELETE FROM order_refusals
          WHERE cart_id = $1 AND number = ANY ($2::text[]) AND number <> ALL (SELECT r.number FROM jsonb_to_recordset($3::jsonb) AS r (number text)))
       INSERT INTO order_refusals (cart_id, number, detail, keys)
       SELECT $1, r.number, r.detail, r.keys FROM jsonb_to_recordset($3::jsonb) AS r (number text, detail text, keys jsonb)
       ON CONFLICT (cart_id, number) DO UPDATE SET detail = excluded.detail, keys = excluded.keys`,
      [cartId, told.map(({ order }) => order.number), JSON.stringify(refused)],
    );
  }

  /**
   * A settlement counted with the orders that were known. One that is told later and is older than the verdict may
   * overturn it: the listing is compared with the cart once more (second-looks.ts). Carts that tell days instead of
   * times reopen more than they need to, which costs a reading.
   */
  private async reopenVerdicts(
    cartId: string,
    told: readonly { readonly order: CartOrder; readonly outcome: CommandOutcome | undefined }[],
  ): Promise<void> {
    const fresh = told.flatMap(({ order, outcome }) =>
      outcome?.kind === 'accepted' && outcome.facts.length > 0 && order.placedAt !== null
        ? order.lines.map(({ key }) => ({ key, placed_at: order.placedAt }))
        : [],
    );
    if (fresh.length === 0) return;
    const parts = await this.partKeys(
      cartId,
      fresh.map(({ key }) => key),
    );
    fresh.push(
      ...fresh.flatMap(({ key, placed_at }) => (parts.get(key) ?? []).map((part) => ({ key: part, placed_at }))),
    );
    await this.database.pool.query({
      name: 'reopen-verdicts',
      text: `UPDATE delivery_lines d SET reopened_at = clock_timestamp()
               FROM jsonb_to_recordset($2::jsonb) AS t (key text, placed_at timestamptz)
              WHERE d.cart_id = $1 AND d.key = t.key AND d.ended_at >= t.placed_at AND d.reopened_at IS NULL
                AND d.outcome IN ('settled as applied', 'settled as not applied')`,
      values: [cartId, JSON.stringify(fresh)],
    });
  }

  /** Keys whose quantity the cart may have lowered with these orders. */
  private async touchedKeys(cartId: string, orders: readonly CartOrder[]): Promise<string[]> {
    const keys = orders.flatMap(({ lines }) => lines.map(({ key }) => key));
    const parts = await this.partKeys(cartId, keys);
    return [...keys, ...[...parts.values()].flat()];
  }

  /** At a cart that lowers a kit's components itself: the keys of those, by the kit's key. */
  private async partKeys(cartId: string, keys: readonly string[]): Promise<Map<string, string[]>> {
    if (keys.length === 0) return new Map();
    const found = await this.database.pool.query<{ key: string; parts: string[] }>({
      name: 'keys-of-parts',
      text: `SELECT l.key, array_agg(o.key) AS parts
               FROM carts c JOIN listings l ON l.cart_id = c.cart_id
               JOIN kit_parts p ON p.kit = l.sku JOIN listings o ON o.cart_id = l.cart_id AND o.sku = p.sku
              WHERE c.cart_id = $1 AND c.settings->>'kits' = 'components' AND l.key = ANY ($2::text[])
              GROUP BY l.key`,
      values: [cartId, keys],
    });
    return new Map(found.rows.map(({ key, parts }) => [key, parts]));
  }

  private submit(
    cart: ReachableCart,
    order: CartOrder,
    sighting: OrderSighting,
    skus: ReadonlyMap<string, string>,
    idempotencyKey: string | null,
  ): Promise<CommandOutcome> {
    const { settings, connector } = cart;
    return this.batcher.submit({
      client: `order-import:${settings.cartId}`,
      idempotencyKey,
      bodyHash: idempotencyKey === null ? null : createHash('sha256').update(JSON.stringify(order)).digest(),
      command: {
        type: 'ImportOrder',
        source: `cart:${settings.cartId}`,
        number: order.number,
        revision: order.revision,
        ...(order.placedAt === null ? {} : { placedAt: order.placedAt }),
        state: order.state,
        lines: order.lines.map((line) => ({
          line: line.line,
          key: line.key,
          sku: skus.get(line.key) ?? line.key,
          location: settings.orderLocation,
          quantity: line.quantity,
          title: line.title,
        })),
        sighting,
        cartMovesStock: {
          at: connector.capabilities.stockMovesAt,
          restocksOnCancel: connector.capabilities.restocksOnCancel,
          kits: settings.kits,
        },
      },
    });
  }

  private async skusOf(cartId: string, keys: readonly string[]): Promise<Map<string, string>> {
    const found = await this.database.pool.query<{ key: string; sku: string }>({
      name: 'skus-of-keys',
      text: 'SELECT key, sku FROM listings WHERE cart_id = $1 AND key = ANY ($2::text[])',
      values: [cartId, keys],
    });
    return new Map(found.rows.map((row) => [row.key, row.sku]));
  }

  /** How far the log is with each of these orders, by number. */
  private async versionsOf(cartId: string, orders: readonly CartOrder[]): Promise<Map<string, string>> {
    const streams = new Map(orders.map(({ number }) => [orderStream(`cart:${cartId}`, number), number]));
    const found = await this.database.pool.query<{ stream: StreamName; version: string }>({
      name: 'versions-of-orders',
      text: 'SELECT stream, version::text AS version FROM stream_heads WHERE stream = ANY ($1::text[])',
      values: [[...streams.keys()]],
    });
    return new Map(found.rows.map(({ stream, version }) => [streams.get(stream) ?? '', version]));
  }

  private async feedState(cartId: string): Promise<FeedState | null> {
    const found = await this.database.pool.query<FeedState>(
      `SELECT mark, recent, before, started_at AS "startedAt", overlapped_at AS "overlappedAt", deep_at AS "deepAt",
              day, before_day AS "beforeDay"
         FROM order_polls WHERE cart_id = $1`,
      [cartId],
    );
    return found.rows[0] ?? null;
  }

  /**
   * Where the cart is asked from. A cart that is to tell older orders begins there, as if all before were told; any other
   * one has no state before its first poll, which takes the mark and imports nothing.
   */
  private async beginning(cart: ReachableCart): Promise<FeedState | null> {
    const { settings, connector, capabilities } = cart;
    const { cartId, ordersFrom = null } = settings;
    const state = await this.feedState(cartId);
    if (state !== null) return this.afterSwitch(cart, state);
    if (ordersFrom === null) return null;
    const number = 'number' in ordersFrom ? ordersFrom.number : null;
    if (number !== null && capabilities.ordersBy?.by === 'date' && !isNumber(number))
      throw new Error(`${connector.label}: this one is asked by date; say from which day on its orders count`);
    const date = 'date' in ordersFrom ? ordersFrom.date : null;
    await this.database.pool.query(
      `INSERT INTO order_polls (cart_id, mark, before, day, before_day) VALUES ($1, $2, $3, $4, $4)
       ON CONFLICT (cart_id) DO NOTHING`,
      [cartId, number, JSON.stringify(number === null ? [] : [number]), date],
    );
    return this.feedState(cartId);
  }

  /** A probe may have found that a cart which was asked by number is asked by date, or the other way round. */
  private async afterSwitch(cart: ReachableCart, state: FeedState): Promise<FeedState | null> {
    const { dayMark } = feedOf(cart);
    if (state.mark === null || !cart.connector.markOfDay || isDayMark(state.mark) === (dayMark !== null)) return state;
    const lastPoll = state.startedAt?.toISOString().slice(0, 10) ?? null;
    const changed = dayMark
      ? // All until then is told. Where numbers do not say what is old, the day has to.
        { mark: dayMark(lastPoll), day: lastPoll, beforeDay: isNumber(state.mark) ? state.beforeDay : lastPoll }
      : { mark: null, day: state.day, beforeDay: state.beforeDay };
    await this.database.pool.query(
      'UPDATE order_polls SET mark = $2, day = $3, before_day = $4 WHERE cart_id = $1 AND mark = $5',
      [cart.settings.cartId, changed.mark, changed.day, changed.beforeDay, state.mark],
    );
    return this.feedState(cart.settings.cartId);
  }

  /** Two polls may run side by side: where marks are numbers, neither takes the mark back, or forgets what the other was told. */
  private async moveMark(
    cartId: string,
    mark: string,
    { orders, told }: { readonly orders: number; readonly told: readonly CartOrder[] | null },
  ): Promise<void> {
    if (told === null) {
      await this.database.pool.query(
        'UPDATE order_polls SET mark = $2, orders_seen = orders_seen + $3 WHERE cart_id = $1',
        [cartId, mark, orders],
      );
      return;
    }
    await inTransaction(this.database, async (client) => {
      const found = await client.query<Pick<FeedState, 'mark' | 'recent' | 'before' | 'beforeDay'>>(
        'SELECT mark, recent, before, before_day AS "beforeDay" FROM order_polls WHERE cart_id = $1 FOR UPDATE',
        [cartId],
      );
      const state = found.rows[0];
      if (state === undefined) return;
      const news = namesOf(told.filter((order) => !isFromBefore(state, order)));
      await client.query(
        'UPDATE order_polls SET mark = $2, orders_seen = orders_seen + $3, recent = $4 WHERE cart_id = $1',
        [cartId, laterMark(state.mark, mark), orders, JSON.stringify(recentAfter(state.recent, news))],
      );
    });
  }

  /**
   * A poll that is answered after one that was not is a sign of life: a lane that backs off need not wait out its pause.
   * Only the first one, or polls would undo the growing pauses of a cart that tells orders and takes no stock.
   */
  private async endPoll(
    cartId: string,
    mark: string | null,
    ended: {
      readonly startedAt: Date;
      readonly overlap: Overlap;
      readonly numbers: readonly string[];
      readonly day: string | null;
      readonly beforeDay: string | null;
    },
  ): Promise<void> {
    await this.database.pool.query(
      `WITH back AS (
         UPDATE lanes l SET next_probe_at = clock_timestamp()
           FROM order_polls p
          WHERE p.cart_id = $1 AND p.last_error IS NOT NULL AND l.cart_id = p.cart_id AND l.down_since IS NOT NULL)
       INSERT INTO order_polls AS p (cart_id, mark, started_at, ended_at, before, overlapped_at, deep_at, day, before_day)
       VALUES ($1, $2, $3, clock_timestamp(), $4, $3, $3, $6, $7)
       ON CONFLICT (cart_id) DO UPDATE
          SET mark = coalesce(p.mark, excluded.mark), started_at = greatest(p.started_at, excluded.started_at), ended_at = excluded.ended_at, last_error = NULL, day = greatest(p.day, excluded.day),
              overlapped_at = CASE WHEN $5 <> 'none' THEN greatest(p.overlapped_at, excluded.overlapped_at) ELSE p.overlapped_at END,
              deep_at = CASE WHEN $5 = 'deep' THEN greatest(p.deep_at, excluded.deep_at) ELSE p.deep_at END`,
      [cartId, mark, ended.startedAt, JSON.stringify(ended.numbers), ended.overlap, ended.day, ended.beforeDay],
    );
  }
}

/** How a cart's feed is followed: by order numbers, by days, or by marks that only the cart understands. */
function feedOf({ connector, capabilities: { ordersBy } }: ReachableCart) {
  const { markOfDay } = connector;
  const dayMark = ordersBy?.by === 'date' && markOfDay ? (day: string | null) => markOfDay(ordersBy, day) : null;
  return { numbered: connector.marksAreOrderNumbers === true && dayMark === null, dayMark };
}

const isDayMark = (mark: string) => mark.startsWith('day(');

const namesOf = (orders: readonly CartOrder[]) => orders.map(({ number }) => number);

/** An order whose lines make no sense is refused before anybody decides on it. */
const unreadableOutcome = (detail: string): CommandOutcome => ({
  kind: 'refused',
  refusal: { code: 'quantity-out-of-range', detail, field: 'lines' },
  replayed: false,
});
