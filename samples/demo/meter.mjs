// How well a pair of shops follows what there really is, measured the same way for Onhand and for the naive hub.

export class Meter {
  /** Pieces sold that did not exist. */
  oversold = 0;
  /** How often a shop was told a larger number than there was, so that it offered what was sold already. */
  toldTooMany = 0;
  #samples = 0;
  #wrong = 0;
  worst = 0;
  /** @type {Map<string, number>} */ #truth;

  /** @param {Map<string, number>} opening @param {import('./shop.mjs').Shop[]} shops */
  constructor(opening, shops) {
    this.#truth = new Map(opening);
    this.shops = shops;
    for (const shop of shops) {
      shop.on('change', ({ key, kind, delta, quantity }) => {
        if (kind === 'sale') this.#sold(key, -delta);
        else if (delta > 0 && quantity > Math.max(0, this.#truth.get(key) ?? 0)) this.toldTooMany += 1;
      });
    }
  }

  move(/** @type {string} */ sku, /** @type {number} */ delta) {
    this.#truth.set(sku, (this.#truth.get(sku) ?? 0) + delta);
  }

  /** Looks once at all numbers that the shops show. */
  sample() {
    const wrong = this.wrongItems().length;
    this.#samples += 1;
    this.#wrong += wrong;
    this.worst = Math.max(this.worst, wrong);
  }

  figures() {
    return {
      oversold: this.oversold,
      toldTooMany: this.toldTooMany,
      wrongAverage: this.#average,
      wrongWorst: this.worst,
      wrongAtClose: this.wrongItems().length,
    };
  }

  get #average() {
    return Number((this.#wrong / Math.max(1, this.#samples)).toFixed(1));
  }

  /** Items of which some shop shows something other than what there is; below zero there is nothing to show. */
  wrongItems() {
    return [...this.#truth].filter(([sku, pieces]) =>
      this.shops.some((shop) => shop.stock.has(sku) && Math.max(0, shop.stock.get(sku) ?? 0) !== Math.max(0, pieces)),
    );
  }

  #sold(/** @type {string} */ sku, /** @type {number} */ quantity) {
    const before = this.#truth.get(sku) ?? 0;
    this.oversold += Math.min(quantity, Math.max(0, quantity - Math.max(0, before)));
    this.#truth.set(sku, before - quantity);
  }
}
