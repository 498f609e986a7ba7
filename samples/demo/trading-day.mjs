// The trading day: customers in both shops, the till in the store and the back office, all at the same time.
import { setTimeout as sleep } from 'node:timers/promises';
import { RefusedError } from './hub.mjs';
import { ORDER_LOCATION } from './model.mjs';

const STORE = 'STORE';
/** How long ago a change of an item still counts as "just now". */
const JUST_NOW_MS = 3_000;

/**
 * Keeps customers of shop A and everybody else off the same item while the hub is about to be killed. A customer who buys
 * one piece in the very moment in which the answer to "one less" is lost leaves the same number behind as the lost call:
 * nobody can tell the two apart from outside, and Onhand then asks a person (quarantine). The demo has to end by itself.
 */
export class CollisionGuard {
  active = false;
  /** @type {Map<string, number>} */ #boughtInA = new Map();
  /** @type {Map<string, number>} */ #changedElsewhere = new Map();

  /** Whether the item may be bought in A now; notes it if so. */
  mayBuyInA(/** @type {string} */ sku) {
    return this.#pass(sku, this.#boughtInA, this.#changedElsewhere);
  }
  /** Whether anything else may happen to the item now; notes it if so. */
  mayChange(/** @type {string} */ sku) {
    return this.#pass(sku, this.#changedElsewhere, this.#boughtInA);
  }

  #pass(sku, own, others) {
    if (this.active && Date.now() - (others.get(sku) ?? 0) < JUST_NOW_MS) return false;
    own.set(sku, Date.now());
    return true;
  }
}

export class TradingDay {
  /** What customers and staff met with. */
  tally = { bought: 0, soldOut: 0, closed: 0, refused: 0 };
  /** @type {Map<string, {sku: string, quantity: number}>} */ #underWay = new Map();
  /** @type {Map<string, Promise<unknown>>} the last call about each item */ #turns = new Map();
  startedAt = 0;

  /**
   * @param {{hub: import('./hub.mjs').Hub, shops: Record<'A' | 'B', import('./shop.mjs').Shop>,
   *   model: import('./model.mjs').Model, guard: CollisionGuard, beside: import('./naive.mjs').NaiveWorld | null}} parts
   */
  constructor({ hub, shops, model, guard, beside }) {
    Object.assign(this, { hub, shops, model, guard, beside });
  }

  /** @param {import('./plan.mjs').Plan} plan */
  async run(plan) {
    this.startedAt = Date.now();
    await Promise.all(Object.values(plan).map((wishes) => this.#actor(wishes)));
  }

  /** One thing after the other. Whoever had to wait, for a hub that was down, goes on at the same pace, only later. */
  async #actor(/** @type {import('./plan.mjs').Wish[]} */ wishes) {
    let lateMs = 0;
    for (const wish of wishes) {
      const waitMs = this.startedAt + wish.atMs + lateMs - Date.now();
      if (waitMs > 0) await sleep(waitMs);
      else lateMs -= waitMs;
      await this.#fulfil(wish);
    }
  }

  async #fulfil(/** @type {import('./plan.mjs').Wish} */ wish) {
    switch (wish.kind) {
      case 'buy':
        return this.#buy(wish);
      case 'sold':
        return this.sell(wish.skus, wish.quantity);
      case 'returned':
        return this.#withItem(wish.skus, (sku) =>
          this.#move({ kind: 'returned', sku, location: STORE, quantity: wish.quantity }, wish.quantity),
        );
      case 'received':
        return this.#withItem(wish.skus, (sku) => this.receive(sku, wish.quantity));
      case 'adjusted':
        return this.#withItem(wish.skus, (sku) => this.adjust(sku, wish.delta, wish.reason));
      case 'count':
        return this.#withItem(wish.skus, (sku) => this.#count(sku, wish.difference));
      case 'ship':
        return this.#withItem(wish.skus, (sku) => this.#ship(sku, wish));
      case 'receive':
        return this.#receiveTransfer(wish.transfer);
      case 'supplier':
        return this.receiveMany(wish.lines);
      default:
        throw new Error(`Nobody knows how to fulfil ${JSON.stringify(wish)}`);
    }
  }

  async #buy({ shop, baskets }) {
    const allowed = (sku) => (shop === 'A' ? this.guard.mayBuyInA(sku) : this.guard.mayChange(sku));
    const basket = baskets.find((lines) => lines.every(({ key }) => allowed(key)));
    if (basket === undefined) return;
    const [outcome] = await Promise.all([this.shops[shop].buy(basket), this.beside?.buy(shop, basket)]);
    if (outcome === 'bought') this.tally.bought += 1;
    else if (outcome === 'closed') this.tally.closed += 1;
    else this.tally.soldOut += 1;
  }

  /** A sale at the till of the store, of the first of `skus` of which there is enough. */
  async sell(/** @type {string[]} */ skus, /** @type {number} */ quantity) {
    const enough = skus.filter((sku) => this.model.at(sku, STORE) >= quantity);
    await this.#withItem(enough, (sku) => this.#move({ kind: 'sold', sku, location: STORE, quantity }, -quantity));
  }

  receive(/** @type {string} */ sku, /** @type {number} */ quantity) {
    const reference = { kind: 'purchase-order', number: `PO-${this.model.changes + 1}` };
    return this.#move({ kind: 'received', sku, location: ORDER_LOCATION, quantity, reference }, quantity);
  }

  /** A supplier's whole delivery note in one call. */
  async receiveMany(/** @type {{sku: string, quantity: number}[]} */ lines) {
    const free = lines.filter(({ sku }) => this.guard.mayChange(sku));
    const movements = free.map(({ sku, quantity }) => ({ kind: 'received', sku, location: ORDER_LOCATION, quantity }));
    if (movements.length === 0) return;
    const [answer] = await Promise.all([
      this.hub.change('POST', '/v1/movements/batch', { movements }),
      ...free.map(({ sku, quantity }) => this.beside?.move(sku, quantity)),
    ]);
    for (const [row, outcome] of answer.outcomes.entries()) {
      if (outcome.status === 201) this.model.add(movements[row].sku, ORDER_LOCATION, movements[row].quantity);
      else this.tally.refused += 1;
    }
  }

  #move(movement, delta) {
    const { sku, location } = movement;
    return this.#inTurn(sku, () =>
      this.#ask(
        '/v1/movements',
        movement,
        () => this.model.add(sku, location, delta),
        () => this.beside?.move(sku, delta),
      ),
    );
  }

  /** Somebody counts the shelf and finds a few pieces more or less than the books say. */
  #count(sku, difference) {
    return this.#inTurn(sku, () => {
      const quantity = Math.max(0, this.model.at(sku, STORE) + difference);
      const delta = quantity - this.model.at(sku, STORE);
      const apply = () => this.model.counted(sku, STORE, quantity);
      return this.#ask('/v1/counts', { sku, location: STORE, quantity }, apply, () => this.beside?.move(sku, delta));
    });
  }

  adjust(/** @type {string} */ sku, /** @type {number} */ delta, /** @type {string} */ reason) {
    return this.#move({ kind: 'adjusted', sku, location: ORDER_LOCATION, delta, reason }, delta);
  }

  count(/** @type {string} */ sku, /** @type {number} */ difference) {
    return this.#count(sku, difference);
  }

  /** Ships and receives at once: the pieces are in the other place already. */
  transfer(/** @type {string} */ sku, /** @type {number} */ quantity, /** @type {string} */ number) {
    const body = { transfer: number, from: ORDER_LOCATION, to: STORE, lines: [{ sku, quantity }], receive: true };
    const apply = () => {
      this.model.add(sku, ORDER_LOCATION, -quantity);
      this.model.add(sku, STORE, quantity);
    };
    return this.#inTurn(sku, () => this.#ask('/v1/transfers', body, apply, () => undefined));
  }

  async #ship(sku, { transfer, quantity }) {
    const body = { transfer, from: ORDER_LOCATION, to: STORE, lines: [{ sku, quantity }] };
    const apply = () => {
      this.model.add(sku, ORDER_LOCATION, -quantity);
      this.#underWay.set(transfer, { sku, quantity });
    };
    await this.#inTurn(sku, () => this.#ask('/v1/transfers', body, apply, () => this.beside?.move(sku, -quantity)));
  }

  async #receiveTransfer(transfer) {
    const line = this.#underWay.get(transfer);
    if (line === undefined) return;
    const { sku, quantity } = line;
    while (!this.guard.mayChange(sku)) await sleep(100);
    const apply = () => this.model.add(sku, STORE, quantity);
    await this.#inTurn(sku, () =>
      this.#ask(`/v1/transfers/${transfer}/receive`, {}, apply, () => this.beside?.move(sku, quantity)),
    );
  }

  /** One call about an item after the other, so that the model knows what a shelf held when it was counted. */
  #inTurn(/** @type {string} */ sku, /** @type {() => Promise<void>} */ act) {
    const turn = (this.#turns.get(sku) ?? Promise.resolve()).then(act);
    this.#turns.set(
      sku,
      turn.catch(() => undefined),
    );
    return turn;
  }

  /** The model follows only what was accepted. */
  async #ask(route, body, apply, beside) {
    try {
      await Promise.all([this.hub.change('POST', route, body).then(apply), beside()]);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      this.tally.refused += 1;
    }
  }

  async #withItem(/** @type {string[]} */ skus, /** @type {(sku: string) => Promise<unknown>} */ act) {
    const sku = skus.find((candidate) => this.guard.mayChange(candidate));
    if (sku !== undefined) await act(sku);
  }
}
