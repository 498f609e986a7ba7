// The driver's own account of what there must be, kept from what it asked for and what the shops say they sold. It shares
// nothing with the hub, so the two can disagree.

/** The location from which both shops' orders take their pieces. */
export const ORDER_LOCATION = 'MAIN';

export class Model {
  /** @type {Map<string, Map<string, number>>} pieces by SKU and location */ #pieces = new Map();
  /** Changes of stock asked for through the API and accepted; sales in the shops are counted from their orders. */
  changes = 0;
  /** @type {(sku: string, delta: number) => void} */ onChange = () => {};

  /** @param {import('./catalogue.mjs').CatalogueItem[]} catalogue */
  constructor(catalogue) {
    for (const { sku, pieces } of catalogue) this.#pieces.set(sku, new Map(Object.entries(pieces)));
  }

  add(/** @type {string} */ sku, /** @type {string} */ location, /** @type {number} */ delta) {
    this.#set(sku, location, this.at(sku, location) + delta);
    this.changes += 1;
  }

  counted(/** @type {string} */ sku, /** @type {string} */ location, /** @type {number} */ quantity) {
    this.#set(sku, location, quantity);
    this.changes += 1;
  }

  at(/** @type {string} */ sku, /** @type {string} */ location) {
    return this.#pieces.get(sku)?.get(location) ?? 0;
  }

  skus() {
    return [...this.#pieces.keys()];
  }

  /** What must be on hand per SKU, once `orders` of the shops are taken off. */
  totals(/** @type {{lines: {key: string, quantity: number}[]}[]} */ orders) {
    const totals = new Map(this.skus().map((sku) => [sku, this.#sum(sku)]));
    for (const { lines } of orders) {
      for (const { key, quantity } of lines) totals.set(key, (totals.get(key) ?? 0) - quantity);
    }
    return totals;
  }

  #sum(/** @type {string} */ sku) {
    return [...(this.#pieces.get(sku)?.values() ?? [])].reduce((sum, pieces) => sum + pieces, 0);
  }

  #set(/** @type {string} */ sku, /** @type {string} */ location, /** @type {number} */ quantity) {
    this.onChange(sku, quantity - this.at(sku, location));
    this.#pieces.get(sku)?.set(location, quantity);
  }
}

/** A source of numbers that repeats itself for the same seed (mulberry32). */
export function randomOf(/** @type {number} */ seed) {
  let state = seed | 0;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    /** A whole number from `min` to `max`. */
    between: (/** @type {number} */ min, /** @type {number} */ max) => min + Math.floor(next() * (max - min + 1)),
    /** @template T @returns {T} */
    pick: (/** @type {readonly T[]} */ rows) => rows[Math.floor(next() * rows.length)],
  };
}
