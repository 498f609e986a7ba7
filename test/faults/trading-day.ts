import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import type { Harness } from '../support/hub-harness.js';
import type { Shop, ShopOrder } from '../support/shops.js';
import { until } from '../support/until.js';
import { tally } from './depth.js';
import { whyUndecidable, type Evidence } from './evidence.js';
import { cartIds, kinds, type CartId } from './fault-bench.js';
import { PhoneOrders } from './phone-orders.js';
import { TradingModel, type Moved } from './trading-model.js';
import { locations, orderLocation, sells, type Location, type Step } from './trading-steps.js';

const minuteMs = 60_000;
const everyCart = cartIds.map((cartId) => `cart:${cartId}` as const);

const now = () => new Date().toISOString();

interface ToldOrder {
  readonly first: ShopOrder;
  now: ShopOrder;
}

/** One day of a hub and its shops, with SKUs of its own, and the model of it. */
export class TradingDay {
  readonly #model = new TradingModel(sells);
  readonly #began = Date.now();
  readonly #orders = new Map<CartId, ToldOrder[]>(cartIds.map((cartId) => [cartId, []]));
  readonly #phone: PhoneOrders;
  #transfers = 0;
  readonly #onTheWay: {
    readonly transfer: string;
    readonly sku: string;
    readonly to: Location;
    readonly quantity: number;
  }[] = [];
  /** When each listing was last changed by hand, by the database's clock. */
  readonly #editedAt = new Map<string, Date>();

  constructor(
    private readonly hub: Harness,
    private readonly shops: ReadonlyMap<CartId, Shop>,
    private readonly skus: readonly string[],
    { onHand, since }: { readonly onHand: number; readonly since: string },
  ) {
    this.#phone = new PhoneOrders(hub, this.#model, skus, (minutesAgo) => this.#moment(minutesAgo));
    for (const sku of skus)
      this.#model.moved({ sku, location: 'MAIN', delta: onHand, at: since, stated: true, source: 'direct' });
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case 'move':
        return this.#move(step);
      case 'count':
        return this.#count(step);
      case 'buy':
        return this.#buy(step);
      case 'cancel':
      case 'ship':
        return this.#change(step);
      case 'phone':
        return this.#phone.take(step);
      case 'cancel-phone':
      case 'ship-phone':
        return this.#phone.change(step);
      case 'ship-transfer':
        return this.#shipTransfer(step);
      case 'receive-transfers':
        return this.#receiveTransfers();
      case 'tell':
        return this.#tell(step);
      case 'edit':
        return this.#edit(step);
      case 'fault':
        return this.#fault(step.cart, step.faults);
      case 'forget':
        return this.#fault(step.cart, { unknownKeys: [this.#sku(step.item)] });
      case 'discard':
        return this.#discard(step);
      case 'poll':
        // A shop that refuses calls may refuse this one too.
        await this.hub.orderImport.poll(step.cart).catch(() => undefined);
        return;
      case 'pause':
        await this.hub.laneControl.pause(step.cart, 'test', null);
        return;
      case 'resume':
        await this.hub.laneControl.resume(step.cart);
        return;
      case 'off':
        await this.hub.ask({ type: 'SwitchCart', cartId: step.cart, on: false });
        return;
      case 'on':
        return this.#switchOn(step.cart);
      case 'redrive':
        await this.hub.deadLetters.redrive({ cartId: step.cart });
        return;
      case 'send':
        return this.#send(step.cart);
      case 'get':
        return this.#get(step.cart);
      case 'system-off':
      case 'system-on':
        await this.hub.ask({ type: 'SwitchSystem', on: step.do === 'system-on' });
        return;
      case 'restart':
        return this.hub.restartWorkers();
      case 'quiet':
        return this.comeToRest();
      default:
        step satisfies never;
    }
  }

  /** Everything works again, is told and delivered; then every promise, every shop and the model are compared. */
  async comeToRest(): Promise<void> {
    await this.hub.ask({ type: 'SwitchSystem', on: true });
    for (const cartId of cartIds) {
      await this.#fault(cartId, {});
      await this.hub.laneControl.resume(cartId);
      await this.#switchOn(cartId);
      await this.hub.orderImport.poll(cartId);
      for (const { first, now } of this.#orders.get(cartId) ?? [])
        for (const order of [now, first])
          await this.hub.orderImport.importOrder(cartId, order, { after: null, by: '' });
      await this.hub.deadLetters.redrive({ cartId });
    }
    await this.#untilQuiet();
    for (const line of await this.hub.deadLetters.listQuarantined({ limit: 100 })) {
      const { cartId, key, evidence } = line;
      const why = whyUndecidable(JSON.parse(JSON.stringify(evidence)) as Evidence);
      if (why === null) throw new Error(`Quarantined, though one story fits: ${JSON.stringify(evidence)}`);
      tally({ quarantined: 1 });
      await this.hub.deadLetters.resolveQuarantined({ cartId, key, action: 'set-to-target', by: 'test' });
      await this.#untilQuiet();
    }
    await this.#compare();
  }

  async #move({ item, location, delta, minutesAgo }: Extract<Step, { do: 'move' }>): Promise<void> {
    const sku = this.#sku(item);
    const stated = minutesAgo !== null;
    const at = this.#moment(minutesAgo);
    await this.hub.ask({ type: 'AdjustStock', sku, location, delta, ...(stated ? { occurredAt: at } : {}) });
    this.#model.moved({ sku, location, delta, at: stated ? at : now(), stated, source: 'direct' });
  }

  /** Whoever counts the shelf now has heard of every order, as the count says. */
  async #count({
    item,
    location,
    quantity,
    minutesAgo,
    as,
    includesOpen,
  }: Extract<Step, { do: 'count' }>): Promise<void> {
    const sku = this.#sku(item);
    if (minutesAgo === null) for (const cartId of cartIds) await this.#tellAll(cartId);
    const knows = ['direct' as const, 'phone' as const, ...(minutesAgo === null ? everyCart : [])];
    const outcome = await this.hub.ask({
      type: as === 'count' ? 'CountStock' : 'ResetStock',
      sku,
      location,
      quantity,
      knows,
      includesOpenOrders: includesOpen,
      ...(minutesAgo === null ? {} : { asOf: this.#moment(minutesAgo) }),
    });
    const asOf = outcome.kind === 'accepted' ? outcome.facts[0]?.occurredAt : undefined;
    if (asOf === undefined) throw new Error('A count is a fact');
    this.#model.counted(sku, location, quantity, { asOf: new Date(asOf).toISOString(), knows, includesOpen });
  }

  async #buy({ cart, lines }: Extract<Step, { do: 'buy' }>): Promise<void> {
    const wanted = lines.map(({ item, quantity }) => ({ key: this.#sku(item), quantity }));
    const order = await this.#shop(cart).buyLines(wanted, true);
    this.#orders.get(cart)?.push({ first: order, now: order });
    const when = { at: order.placedAt, stated: true, source: `cart:${cart}` };
    for (const { key, quantity } of order.lines)
      this.#model.moved({ sku: key, location: orderLocation(cart), delta: -quantity, open: quantity, ...when });
  }

  async #change({ do: what, cart, nth }: Extract<Step, { do: 'cancel' | 'ship' }>): Promise<void> {
    const order = this.#order(cart, nth);
    if (order === undefined || order.now.state !== 'open') return;
    order.now = await this.#shop(cart)[what](order.now.number);
    for (const { key, quantity } of order.now.lines) {
      const delta = what === 'ship' ? 0 : quantity;
      this.#happensNow({ sku: key, location: orderLocation(cart), delta, open: -quantity, source: `cart:${cart}` });
    }
  }

  async #shipTransfer({ item, from, quantity }: Extract<Step, { do: 'ship-transfer' }>): Promise<void> {
    const sku = this.#sku(item);
    const to = locations.find((location) => location !== from) as Location;
    const transfer = `${sku}-${(this.#transfers += 1)}`;
    await this.hub.ask({ type: 'ShipTransfer', transfer, from, to, lines: [{ sku, quantity }] });
    this.#onTheWay.push({ transfer, sku, to, quantity });
    this.#happensNow({ sku, location: from, delta: -quantity, source: 'direct' });
    this.#happensNow({ sku, location: 'in-transit', delta: quantity, source: 'direct' });
  }

  async #receiveTransfers(): Promise<void> {
    for (const { transfer, sku, to, quantity } of this.#onTheWay.splice(0)) {
      await this.hub.ask({ type: 'ReceiveTransfer', transfer, close: true });
      this.#happensNow({ sku, location: 'in-transit', delta: -quantity, source: 'direct' });
      this.#happensNow({ sku, location: to, delta: quantity, source: 'direct' });
    }
  }

  #happensNow(moved: Omit<Moved, 'at' | 'stated'>): void {
    this.#model.moved({ ...moved, at: now(), stated: false });
  }

  async #tell({ cart, nth, as }: Extract<Step, { do: 'tell' }>): Promise<void> {
    const order = this.#order(cart, nth);
    if (order === undefined) return;
    const told = as === 'first' ? order.first : order.now;
    const bare = as === 'bare' && told.state === 'cancelled';
    await this.hub.orderImport.importOrder(cart, bare ? { ...told, lines: [] } : told, { after: null, by: '' });
  }

  /** At rest, because a change by hand sets a quantity, and would itself overwrite what is just arriving. */
  async #edit({ cart, item, by }: Extract<Step, { do: 'edit' }>): Promise<void> {
    await this.comeToRest();
    const key = this.#sku(item);
    const [clock] = await this.hub.rows<{ now: Date }>('SELECT clock_timestamp() AS now');
    const quantity = ((await this.#shop(cart).stock()).get(key) ?? 0) + by;
    await this.#shop(cart).load([{ key, title: key, quantity }]);
    this.#model.edited(cart, key, by);
    this.#editedAt.set(`${cart}/${key}`, clock?.now ?? new Date());
  }

  async #discard({ cart, item }: Extract<Step, { do: 'discard' }>): Promise<void> {
    await this.hub.ask({ type: 'SwitchSystem', on: true });
    await this.hub.laneControl.resume(cart);
    const key = this.#sku(item);
    await this.#whileReachable(cart, () =>
      this.hub.deadLetters.discard({ cartId: cart, key, reason: 'test', by: 'test' }),
    );
  }

  /** A cart that was off is compared whole: until then none of its listings is told anything. */
  async #switchOn(cartId: CartId): Promise<void> {
    const outcome = await this.hub.ask({ type: 'SwitchCart', cartId, on: true });
    if (outcome.kind === 'accepted' && outcome.facts.length > 0) await this.#send(cartId, null);
  }

  async #send(cartId: CartId, keys: readonly string[] | null = this.skus): Promise<void> {
    await this.hub.ask({ type: 'SwitchSystem', on: true });
    await this.hub.laneControl.resume(cartId);
    const report = await this.#whileReachable(cartId, () =>
      this.hub.qohTransfer.run({ cartId, direction: 'send', keys }),
    );
    refuseUnsettled(report);
    this.#model.sent(cartId, this.skus);
  }

  async #get(cartId: CartId): Promise<void> {
    await this.comeToRest();
    const stock = await this.#shop(cartId).stock();
    const shown = new Map(this.skus.map((sku) => [sku, stock.get(sku) ?? 0]));
    const report = await this.hub.qohTransfer.run({ cartId, direction: 'get', keys: this.skus });
    refuseUnsettled(report);
    const [row] = await this.hub.rows<{ at: Date }>(
      'SELECT min(baseline_at) AS at FROM listings WHERE cart_id = $1 AND key = ANY ($2)',
      cartId,
      this.skus,
    );
    this.#model.got(cartId, shown, row?.at.toISOString() ?? '');
  }

  /** Comparisons read the shop; one that refuses is asked again by a person, not by us. */
  async #whileReachable<T>(cartId: CartId, ask: () => Promise<T>): Promise<T> {
    await this.#fault(cartId, {});
    return ask();
  }

  async #tellAll(cartId: CartId): Promise<void> {
    for (const { now } of this.#orders.get(cartId) ?? [])
      await this.hub.orderImport.importOrder(cartId, now, { after: null, by: '' });
  }

  #fault(cartId: CartId, faults: Parameters<Shop['faults']>[0]): Promise<void> {
    return this.#shop(cartId).faults({ ...kinds[cartId].faults, ...faults });
  }

  /**
   * Until nothing is under way but what waits behind a quarantined line, and every verdict that an older order reopened has
   * been looked at again.
   */
  async #untilQuiet(): Promise<void> {
    await until(
      'nothing is under way',
      async () => {
        await this.hub.projector.caughtUp(10_000);
        const left = await this.hub.rows(
          `SELECT FROM web_stack w WHERE state IN ('waiting', 'in-flight', 'in-doubt', 'held')
              AND NOT EXISTS (SELECT FROM delivery_lines d WHERE d.cart_id = w.cart_id AND d.key = w.key AND d.state = 'quarantined')
           UNION ALL
           SELECT FROM delivery_lines WHERE reopened_at IS NOT NULL AND compared_at IS NULL LIMIT 1`,
        );
        return left.length === 0;
      },
      60_000,
    );
  }

  async #compare(): Promise<void> {
    await this.#forgetMendedEdits();
    await assertInvariants(this.hub.database);
    const untouched = new Map<string, Pick<Shop, 'stock'>>();
    const wrong: string[] = [];
    const onHand = await this.hub.rows<{ sku: string; location: string; on_hand: number }>(
      `SELECT sku, l.location, coalesce(on_hand, 0)::int AS on_hand
         FROM unnest($1::text[]) AS t (sku) CROSS JOIN unnest($2::text[]) AS l (location)
         LEFT JOIN quantity_on_hand q USING (sku, location)`,
      this.skus,
      [...locations, 'in-transit'],
    );
    for (const { sku, location, on_hand: quantity } of onHand)
      if (quantity !== this.#model.onHand(sku, location))
        wrong.push(`on hand of ${sku} at ${location} is ${quantity}, not ${this.#model.onHand(sku, location)}`);
    for (const [cartId, shop] of this.shops) {
      const stock = await shop.stock();
      const shown = new Map(this.skus.map((sku) => [sku, stock.get(sku) ?? 0]));
      for (const [sku, quantity] of shown)
        if (!this.#model.mayShow(cartId, sku, quantity))
          wrong.push(
            `${cartId} shows ${quantity} of ${sku}; available is ${this.#model.available(cartId, sku)}, changed by hand ${this.#model.edit(cartId, sku)}`,
          );
      const asExpected = new Map([...shown].map(([sku, quantity]) => [sku, quantity - this.#model.edit(cartId, sku)]));
      untouched.set(cartId, { stock: () => Promise.resolve(asExpected) });
    }
    if (wrong.length > 0) throw new Error(wrong.join('\n'));
    await assertShopsAgree(this.hub.database, untouched);
  }

  /** A cart that can only be set, and a verdict that was reopened, make a listing equal without being asked to. */
  async #forgetMendedEdits(): Promise<void> {
    for (const [listing, editedAt] of this.#editedAt) {
      const [cartId, key] = listing.split('/') as [CartId, string];
      const mended = await this.hub.rows(
        'SELECT FROM listings WHERE cart_id = $1 AND key = $2 AND baseline_at > $3',
        cartId,
        key,
        editedAt,
      );
      if (mended.length > 0) this.#model.sent(cartId, [key]);
    }
  }

  #sku(item: number): string {
    return this.skus[item] as string;
  }

  #shop(cartId: CartId): Shop {
    return this.shops.get(cartId) as Shop;
  }

  #order(cartId: CartId, nth: number): ToldOrder | undefined {
    const orders = this.#orders.get(cartId) ?? [];
    return orders[nth % Math.max(orders.length, 1)];
  }

  #moment(minutesAgo: number | null): string {
    return new Date(this.#began - (minutesAgo ?? 0) * minuteMs).toISOString();
  }
}

/** Nobody buys while a comparison runs here, so nothing can have kept it from reading. */
function refuseUnsettled({ unsettled }: { readonly unsettled: readonly string[] }): void {
  if (unsettled.length > 0) throw new Error(`Not compared, though nothing was sold: ${unsettled.join(', ')}`);
}
