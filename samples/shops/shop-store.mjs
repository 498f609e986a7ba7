// The stock of a sample shop, kept durably in one append-only file.
//
// Every change is one line of JSON: the pieces moved, the order that moved them and, for the signed webhook, the answer
// stored under its idempotency key. One line is written with one call, so a killed process leaves a change whole or not
// at all; a torn last line (power cut) is cut off at the next start. What a reader sees has therefore been written.

import fs from 'node:fs';
import path from 'node:path';

/**
 * @typedef {{key: string, title: string, quantity: number, visibility?: 'shown'|'hidden'|'backorder'}} Item
 * @typedef {{at: string, kind: 'sale'|'cancel'|'delta'|'set'|'load', key: string, delta: number, quantity: number, id: string}} Change
 * @typedef {{line: string, key: string, quantity: number, title: string}} OrderLine
 * @typedef {{number: string, revision: number, placedAt: string, state: 'open'|'shipped'|'cancelled', lines: OrderLine[]}} Order
 * @typedef {{id: string, bodyHash: string, status: number, body: string}} StoredAnswer
 * @typedef {{changes?: Change[], titles?: Record<string, string>, order?: Order, answer?: StoredAnswer,
 *   visibility?: Record<string, 'shown'|'hidden'|'backorder'>, outboxDone?: string, hubUrl?: string}} Entry
 */

const FIRST_ORDER_NUMBER = 1001;

export class ShopStore {
  /** @type {Map<string, Item>} */ #items = new Map();
  /** @type {Map<string, Order>} */ #orders = new Map();
  /** @type {Map<string, StoredAnswer>} */ #answers = new Map();
  /** @type {Change[]} */ #journal = [];
  /** @type {Map<string, Order>} orders the hub has not confirmed yet, by message id */ #outbox = new Map();
  #hubUrl = '';
  #file;
  /** @type {Promise<void> | null} */ #syncing = null;
  /** @type {Promise<void> | null} */ #syncNext = null;
  /** @type {(changes: Change[]) => void} told of every change once it is visible, in order */ onChanges = () =>
    undefined;

  /** @param {string} directory where `journal.jsonl` lives; made when missing */
  constructor(directory) {
    fs.mkdirSync(directory, { recursive: true });
    const file = path.join(directory, 'journal.jsonl');
    const length = this.#replay(file);
    this.#file = fs.openSync(file, 'a');
    fs.ftruncateSync(this.#file, length);
  }

  /** Writes one change; it is visible at once and safe from a killed process. Await the answer before telling anybody. */
  append(/** @type {Entry} */ entry) {
    fs.writeSync(this.#file, `${JSON.stringify(entry)}\n`);
    this.#apply(entry);
    if (entry.changes?.length) this.onChanges(entry.changes);
    return this.#sync();
  }

  /** @returns {Item | undefined} */
  item(/** @type {string} */ key) {
    return this.#items.get(key);
  }
  items() {
    return [...this.#items.values()];
  }
  order(/** @type {string} */ number) {
    return this.#orders.get(number);
  }
  orders() {
    return [...this.#orders.values()];
  }
  journal() {
    return this.#journal;
  }
  answer(/** @type {string} */ id) {
    return this.#answers.get(id);
  }
  /** @returns {[string, Order] | undefined} the oldest message that the hub has not confirmed */
  nextMessage() {
    return this.#outbox.entries().next().value;
  }
  outboxSize() {
    return this.#outbox.size;
  }
  get hubUrl() {
    return this.#hubUrl;
  }

  /** Takes items with their quantities, as the shop's owner enters them. */
  async load(/** @type {Item[]} */ items) {
    await this.append({
      changes: items.map(({ key, quantity }) => this.change('load', key, quantity, 'load')),
      titles: Object.fromEntries(items.map(({ key, title }) => [key, title ?? key])),
    });
  }

  /** One change of one item, ready for `append`. */
  change(
    /** @type {Change['kind']} */ kind,
    /** @type {string} */ key,
    /** @type {number} */ quantity,
    /** @type {string} */ id,
  ) {
    const before = this.#items.get(key)?.quantity ?? 0;
    return { at: new Date().toISOString(), kind, key, delta: quantity - before, quantity, id };
  }

  /** Sells pieces: the stock goes down in the same write that makes the order. */
  async sell(/** @type {{key: string, quantity: number}[]} */ wanted) {
    const number = String(FIRST_ORDER_NUMBER + this.#orders.size);
    const changes = [];
    const lines = [];
    const left = new Map();
    for (const [index, { key, quantity }] of wanted.entries()) {
      const item = this.#items.get(key);
      if (!item) throw new RangeError(`unknown item ${key}`);
      const before = left.get(key) ?? item.quantity;
      left.set(key, before - quantity);
      changes.push({
        at: new Date().toISOString(),
        kind: 'sale',
        key,
        delta: -quantity,
        quantity: before - quantity,
        id: number,
      });
      lines.push({ line: String(index + 1), key, quantity, title: item.title });
    }
    /** @type {Order} */
    const order = { number, revision: 1, placedAt: new Date().toISOString(), state: 'open', lines };
    await this.append({ changes: /** @type {Change[]} */ (changes), order });
    return order;
  }

  /** Cancels or ships an order; a shop that restocks puts the pieces of a cancelled one back in the same write. */
  async moveOrder(
    /** @type {string} */ number,
    /** @type {'cancelled'|'shipped'} */ state,
    /** @type {boolean} */ restocks,
  ) {
    const order = this.#orders.get(number);
    if (!order || order.state !== 'open') return order;
    const moved = { ...order, state, revision: order.revision + 1 };
    const back = new Map();
    if (state === 'cancelled' && restocks) {
      for (const { key, quantity } of order.lines) back.set(key, (back.get(key) ?? 0) + quantity);
    }
    const changes = [...back].map(([key, pieces]) =>
      this.change('cancel', key, (this.#items.get(key)?.quantity ?? 0) + pieces, number),
    );
    await this.append({ changes, order: moved });
    return moved;
  }

  async close() {
    await this.#sync();
    fs.closeSync(this.#file);
  }

  /** Concurrent changes share one fsync; a change that comes while one runs waits for the next. */
  #sync() {
    if (!this.#syncing) {
      this.#syncing = new Promise((resolve, reject) =>
        fs.fdatasync(this.#file, (error) => {
          this.#syncing = null;
          if (error) reject(error);
          else resolve();
        }),
      );
      return this.#syncing;
    }
    this.#syncNext ??= this.#syncing.then(() => {
      this.#syncNext = null;
      return this.#sync();
    });
    return this.#syncNext;
  }

  /** @returns {number} the length of the readable part of the file */
  #replay(/** @type {string} */ file) {
    if (!fs.existsSync(file)) return 0;
    const bytes = fs.readFileSync(file);
    const length = bytes.lastIndexOf(0x0a) + 1;
    for (const line of bytes.subarray(0, length).toString('utf8').split('\n')) {
      if (line !== '') this.#apply(JSON.parse(line));
    }
    return length;
  }

  #apply(/** @type {Entry} */ entry) {
    for (const change of entry.changes ?? []) {
      const title = entry.titles?.[change.key] ?? this.#items.get(change.key)?.title ?? change.key;
      this.#items.set(change.key, {
        ...this.#items.get(change.key),
        key: change.key,
        title,
        quantity: change.quantity,
      });
      this.#journal.push(change);
    }
    for (const [key, visibility] of Object.entries(entry.visibility ?? {})) {
      const item = this.#items.get(key);
      if (item) this.#items.set(key, { ...item, visibility });
    }
    if (entry.order) {
      this.#orders.set(entry.order.number, entry.order);
      this.#outbox.set(`order_${entry.order.number}_${entry.order.revision}`, entry.order);
    }
    if (entry.answer) this.#answers.set(entry.answer.id, entry.answer);
    if (entry.outboxDone !== undefined) this.#outbox.delete(entry.outboxDone);
    if (entry.hubUrl !== undefined) this.#hubUrl = entry.hubUrl;
  }
}
