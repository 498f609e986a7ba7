// When each lane was not running: its light was not green, its cart was down, or the hub was.
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_MS = 200;

/** @typedef {{cartId: string, key: string | null, from: number, to: number}} Gap key null: the whole lane, else one listing */

export class LaneWatch {
  /** @type {Gap[]} */ #gaps = [];
  /** @type {Map<string, Gap>} */ #open = new Map();
  #stopped = false;

  /** @param {import('./hub.mjs').Hub} hub @param {(lanes: any[]) => void} [onLook] sees what each look shows */
  constructor(hub, onLook = () => undefined) {
    this.hub = hub;
    this.onLook = onLook;
  }

  async run() {
    while (!this.#stopped) {
      const { data } = await this.hub.get('/v1/lanes');
      for (const lane of data) this.#look(lane, Date.now());
      if (!this.#stopped) this.onLook(data);
      await sleep(LOOK_MS);
    }
  }

  stop() {
    this.#stopped = true;
  }

  /** Adds what the driver itself knows better than any light. */
  add(/** @type {Gap} */ gap) {
    this.#gaps.push(gap);
  }

  /** Whether the lane of the record's cart was green from acceptance to delivery. */
  wasGreen(
    /** @type {{cartId: string, key: string, acceptedAt: string, endedAt: string}} */ {
      cartId,
      key,
      acceptedAt,
      endedAt,
    },
  ) {
    const [from, to] = [Date.parse(acceptedAt), Date.parse(endedAt)];
    return ![...this.#gaps, ...this.#open.values()].some(
      (gap) => gap.cartId === cartId && (gap.key === null || gap.key === key) && gap.from <= to && gap.to >= from,
    );
  }

  #look(lane, /** @type {number} */ now) {
    const open = this.#open.get(lane.cartId);
    if (lane.light === 'green') {
      if (open) this.#gaps.push({ ...open, to: now });
      this.#open.delete(lane.cartId);
    } else if (open === undefined) {
      const from = lane.downSince === null ? now - LOOK_MS : Date.parse(lane.downSince);
      this.#open.set(lane.cartId, { cartId: lane.cartId, key: null, from, to: Number.POSITIVE_INFINITY });
    }
  }
}
