import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database.js';
import { callFor, type ReachableCart } from './cart-directory.js';
import { CartError, OutcomeUnknownError } from './connectors/cart-error.js';
import type { LineAnswer } from './connectors/connector.js';
import { behavioursThatFit, settleDoubt, type Behaviour } from './probe-explain.js';
import { soldSince } from './probe-orders.js';
import type { TouchedItem } from './probes.table.js';
import { readQuantities, type DoubledKeys } from './read-cart.js';
import { randomUUID } from 'node:crypto';

/** A reading that keeps moving belongs to an item that sells right now. */
const looksMax = 6;
const lookAgainMs = 500;
const putBackMax = 5;

/** The probe could not put an item back, and would have to guess: a person has to look. */
export class LeftOverError extends Error {
  override readonly name = 'LeftOverError';
}

export interface Look {
  readonly quantity: number;
  /** Pieces in its orders since the probe began; null: its orders cannot be read. */
  readonly sold: number | null;
}

export interface Change {
  readonly answer: LineAnswer;
  readonly before: number;
  readonly after: number;
  /** null: nothing was changed, by the cart's own words. */
  readonly behaviour: Behaviour | null;
}

/**
 * One item of a cart while it is probed. Before a change leaves, what is about to happen is in the database; so whoever
 * comes after a crash knows what there is to put back. What is put back is the sum of our own changes, never a number from
 * before: a piece that was sold meanwhile stays sold. Only a cart that sets is told a number, less what its orders tell.
 */
export class ProbedStock {
  private constructor(
    private readonly database: Database,
    private readonly cart: ReachableCart,
    private readonly probeId: string,
    private touched: TouchedItem,
  ) {}

  /** @throws CartError; Error where the item cannot be probed, with the reason */
  static async begin(database: Database, cart: ReachableCart, probeId: string, key: string, since: string | null) {
    const { updates } = cart.connection;
    const touched = { key, before: 0, sold: null, since, updates, net: 0, adds: false, sets: false, doubt: null };
    const stock = new ProbedStock(database, cart, probeId, touched);
    const { quantity, sold } = await stock.look();
    stock.touched = { ...touched, before: quantity, sold };
    return stock;
  }

  static resume(database: Database, cart: ReachableCart, probeId: string, touched: TouchedItem): ProbedStock {
    // What was found then is in no fact yet.
    const connection = { ...cart.connection, updates: touched.updates };
    return new ProbedStock(database, { ...cart, connection }, probeId, touched);
  }

  get before(): number {
    return this.touched.before;
  }

  /**
   * Two equal readings between two equal looks at the orders.
   * @throws LeftOverError where it does not come to rest
   */
  async look(): Promise<Look> {
    const { key, since } = this.touched;
    for (let look = 0; look < looksMax; look += 1) {
      if (look > 0) await sleep(lookAgainMs);
      const before = await soldSince(this.cart, key, since);
      const first = await this.read();
      const second = await this.read();
      const after = await soldSince(this.cart, key, since);
      if (first === null || second === null)
        throw new LeftOverError(
          `The cart shows no quantity of ${key}: it does not list it, or does not track its stock.`,
        );
      if (first === second && before === after) return { quantity: second, sold: after };
    }
    throw new LeftOverError(`${key} keeps changing while it is read; name an item that sells less often.`);
  }

  /**
   * Sends one change and looks at what it did.
   * @throws CartError where the cart gave no answer to believe; LeftOverError where nobody can say what happened
   */
  async change(delta: number): Promise<Change> {
    const before = await this.look();
    await this.save({ doubt: { delta, parts: 1, until: this.latestEffect() } });
    let answer: LineAnswer;
    try {
      answer = await this.send(delta);
    } catch (error) {
      // Where nothing left, nothing is in doubt; else it is settled once nothing can be under way any more.
      if (error instanceof CartError && !(error instanceof OutcomeUnknownError)) await this.save({ doubt: null });
      throw error;
    }
    if (answer.outcome === 'applied') return { answer, ...(await this.explained(before, delta)) };
    // A refusal is believed where the item says the same; it has ended, so nothing is waited for.
    if (answer.outcome !== 'unknown') await this.save({ doubt: { delta, parts: 1, until: new Date().toISOString() } });
    const netBefore = this.touched.net;
    await this.settle();
    const { quantity } = await this.look();
    const changed = this.touched.sets ? 'sets' : this.touched.net === netBefore ? null : 'adds';
    return { answer, before: before.quantity, after: quantity, behaviour: changed };
  }

  /** Sends the same change several times at once. @returns the sum that took effect, by what the item shows afterwards */
  async changeAtOnce(delta: number, parts: number): Promise<number> {
    await this.look();
    await this.save({ doubt: { delta: delta * parts, parts, until: this.latestEffect() } });
    const sent = await Promise.allSettled(Array.from({ length: parts }, () => this.send(delta)));
    const fault = sent.find((one) => one.status === 'rejected' && !(one.reason instanceof CartError));
    if (fault?.status === 'rejected') throw fault.reason;
    // What was answered has ended, whatever the answer; only silence has to be waited out.
    const { doubt, net } = this.touched;
    if (doubt !== null && sent.every(({ status }) => status === 'fulfilled'))
      await this.save({ doubt: { ...doubt, until: new Date().toISOString() } });
    await this.settle();
    return this.touched.net - net;
  }

  /** Takes back what was added to the item so far, at a cart that adds. */
  async balance(): Promise<void> {
    const { net, sets } = this.touched;
    if (net !== 0 && !sets) await this.change(-net);
  }

  /**
   * Makes the item show what it would show had it never been probed, and forgets it.
   * @throws LeftOverError where that would take a guess; what is known stays written down
   */
  async putBack(): Promise<void> {
    if (this.touched.doubt !== null) await this.settle();
    for (let round = 0; round < putBackMax; round += 1) {
      const { key, net, sets, before } = this.touched;
      if (!sets && net === 0) return this.forget();
      if (!sets) {
        await this.balance();
        continue;
      }
      const { quantity, sold } = await this.look();
      if (sold === null)
        throw new LeftOverError(`${key} showed ${before} before it was probed; what was sold since is not known.`);
      const target = before - (sold - (this.touched.sold ?? 0));
      if (quantity === target) return this.forget();
      await this.set(target);
    }
    throw new LeftOverError(`${this.touched.key} does not come back to what it showed; look at it in the cart.`);
  }

  private async explained(before: Look, delta: number) {
    const { sets, adds } = this.touched;
    for (let look = 0; ; look += 1) {
      const after = await this.look();
      const sold = (after.sold ?? 0) - (before.sold ?? 0);
      const seen = { before: before.quantity, delta, sold, after: after.quantity };
      const [story, other] = behavioursThatFit(seen).filter((one) => one !== 'sets' || !adds);
      const change = { before: before.quantity, after: after.quantity };
      if (story !== undefined && other === undefined) {
        const effect = { adds: delta, clamps: -(before.quantity - sold), sets: 0, ignores: 0 }[story];
        const known = { adds: adds || story === 'adds', sets: sets || story === 'sets' };
        await this.save({ ...known, net: this.touched.net + effect, doubt: null });
        return { ...change, behaviour: story };
      }
      if (look === looksMax) {
        throw new LeftOverError(
          `${this.touched.key} showed ${before.quantity}, was changed by ${delta}, and shows ${after.quantity} now: ` +
            'something else has changed it, too. Look at it in the cart, and probe with an item that nobody buys.',
        );
      }
      // An order may be told a little later than its pieces are taken.
      await sleep(lookAgainMs);
    }
  }

  /** Waits until nothing can be under way any more, and lets what the item shows decide. */
  private async settle(): Promise<void> {
    const { key, before, net, doubt, sold: soldBefore } = this.touched;
    if (doubt === null) return;
    const waitMs = Math.max(0, Date.parse(doubt.until) - Date.now());
    await sleep(Math.min(waitMs, this.quietMs()));
    const { quantity, sold } = await this.look();
    const seen = {
      before: before + net,
      delta: doubt.delta,
      sold: (sold ?? 0) - (soldBefore ?? 0),
      after: quantity,
    };
    const effect = settleDoubt(seen, { parts: doubt.parts, maySet: !this.touched.adds });
    if (effect === null) {
      throw new LeftOverError(
        `${key} showed ${before + net}, ${doubt.delta} was sent without an answer, and it shows ${quantity} now ` +
          `(${seen.sold} sold since): nobody can say whether that was applied. Put it right in the cart.`,
      );
    }
    const sets = effect === 'sets';
    const adds = this.touched.adds || (doubt.parts === 1 && effect === doubt.delta);
    await this.save({ net: sets ? net : net + effect, adds, sets: this.touched.sets || sets, doubt: null });
  }

  private async set(target: number): Promise<void> {
    const { connector, connection } = this.cart;
    const { key } = this.touched;
    const request = { idempotencyKey: randomUUID(), createdAtMs: Date.now() };
    const call = callFor(connection.requestTimeoutMs);
    const rows = [{ key, quantity: target }];
    const [answer] = await connector.setQuantities(connection, { ...request, rows }, call).catch(unknownAnswer);
    // A script that sets where it should add needs no function of its own for it.
    if (answer?.outcome !== 'applied' && target !== 0) await this.send(target).catch(unknownAnswer);
  }

  private async send(delta: number): Promise<LineAnswer> {
    const { connector, connection } = this.cart;
    const lines = [{ key: this.touched.key, delta }];
    const request = { idempotencyKey: randomUUID(), createdAtMs: Date.now(), lines };
    const [answer] = await connector.sendDeltas(connection, request, callFor(connection.requestTimeoutMs));
    if (answer === undefined) throw new OutcomeUnknownError('the cart said nothing of the item');
    return answer;
  }

  private async read(): Promise<number | null> {
    const { key } = this.touched;
    const doubled: DoubledKeys = new Map();
    const { signal } = new AbortController();
    // Before the first change it is made sure that there is one item of that name.
    const options = { doubled, toTheEnd: this.isUntouched };
    const read = await readQuantities(this.cart, [key], Number.POSITIVE_INFINITY, signal, options);
    const shown = doubled.get(key);
    if (shown !== undefined)
      throw new LeftOverError(
        `${shown.length} products of the cart share ${key} (they show ${shown.map((quantity) => quantity ?? 'no quantity').join(', ')}); name an item that is one.`,
      );
    return read.get(key) ?? null;
  }

  private get isUntouched(): boolean {
    const { net, sets, doubt } = this.touched;
    return net === 0 && !sets && doubt === null;
  }

  private quietMs(): number {
    return this.cart.connection.requestTimeoutMs + this.cart.settings.quietTimeMs;
  }
  private latestEffect(): string {
    return new Date(Date.now() + this.quietMs()).toISOString();
  }

  private async save(change: Partial<TouchedItem>): Promise<void> {
    this.touched = { ...this.touched, ...change };
    await this.database.pool.query('UPDATE cart_probes SET touched = $2 WHERE id = $1', [this.probeId, this.touched]);
  }

  private async forget(): Promise<void> {
    await this.database.pool.query('UPDATE cart_probes SET touched = NULL WHERE id = $1', [this.probeId]);
  }
}

/** The next look tells what became of it. */
function unknownAnswer(error: unknown): readonly LineAnswer[] {
  if (error instanceof CartError) return [];
  throw error;
}
