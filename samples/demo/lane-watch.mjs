// When each lane was not running: its light was not green, its cart was down, or the hub was.
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_MS = 100;

/** @typedef {{cart: string | null, from: number, to: number, why: string}} Gap cart null: every cart */

export class LaneWatch {
  /** @type {Gap[]} */ #gaps = [];
  /** @type {Map<string, Gap>} */ #open = new Map();
  #stopped = false;

  constructor(/** @type {import('./hub.mjs').Hub} */ hub) {
    this.hub = hub;
  }

  async run() {
    while (!this.#stopped) {
      const { data } = await this.hub.get('/v1/lanes');
      for (const lane of data) this.#look(lane, Date.now());
      await sleep(LOOK_MS);
    }
  }

  stop() {
    this.#stopped = true;
  }

  /** Adds what the driver itself knows better than any light. */
  add(/** @type {string | null} */ cart, /** @type {number} */ from, /** @type {number} */ to, /** @type {string} */ why) {
    this.#gaps.push({ cart, from, to, why });
  }

  /** Whether the lane of the record's cart was green from acceptance to delivery. */
  wasGreen(/** @type {{cart: string, acceptedAt: string, endedAt: string}} */ { cart, acceptedAt, endedAt }) {
    const [from, to] = [Date.parse(acceptedAt), Date.parse(endedAt)];
    return ![...this.#gaps, ...this.#open.values()].some(
      (gap) => (gap.cart === null || gap.cart === cart) && gap.from <= to && gap.to >= from,
    );
  }

  #look(lane, /** @type {number} */ now) {
    const open = this.#open.get(lane.cartId);
    if (lane.light === 'green') {
      if (open) this.#gaps.push({ ...open, to: now });
      this.#open.delete(lane.cartId);
    } else if (open === undefined) {
      const from = lane.downSince === null ? now - LOOK_MS : Date.parse(lane.downSince);
      this.#open.set(lane.cartId, { cart: lane.cartId, from, to: Number.POSITIVE_INFINITY, why: lane.light });
    }
  }
}
