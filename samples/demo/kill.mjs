// The hub is killed while deliveries are under way, started again, and asked what became of them.
import { setTimeout as sleep } from 'node:timers/promises';
import { DemoError } from './child.mjs';
import { tellShopOfHub } from './opening.mjs';
import { showLanes } from './outage.mjs';
import { clock, plural, seconds } from './screen.mjs';

/** Calls before the kill from which on the shops answer slowly, so that there is something under way to be killed. */
const SLOW_CALLS_BEFORE = 8;
const SLOW = { delayBeforeMs: 50, delayAfterMs: 50 };
const MOMENTS = /** @type {const} */ (['arrived', 'applied', 'answered']);
const WORDS = {
  arrived: 'before it was applied',
  applied: 'after it was applied, before the answer',
  answered: 'right after the answer',
};

const LOSE_MS = 200;

/**
 * Counts the calls by which the hub changes stock in the shops, and kills the hub during the n-th: by n modulo 3 before
 * the shop applies it, after that, or right after it has answered.
 */
export class Kill {
  killedAt = 0;
  backAt = 0;
  calls = 0;
  /** @type {Map<string, string>} the delivery of each record that was under way when the hub came back */ inFlight =
    new Map();
  #watching = false;
  #slow = false;
  /** @type {{shop: object, call: number} | undefined} */ #victim;
  /** @type {() => void} */ #resolve = () => {};
  /** @type {(error: Error) => void} */ #reject = () => {};
  done = new Promise((resolve, reject) => {
    this.#resolve = resolve;
    this.#reject = reject;
  });

  /**
   * @param {{hub: import('./hub.mjs').Hub, shops: Record<'A' | 'B', import('./shop.mjs').Shop>, screen: import('./screen.mjs').Screen,
   *   guard: import('./trading-day.mjs').CollisionGuard, beside: import('./naive.mjs').NaiveWorld | null, killAt: number, rush: () => void}} parts
   *   rush: something that makes many deliveries at once
   */
  constructor(parts) {
    Object.assign(this, parts);
    this.done.catch(() => undefined);
    for (const shop of Object.values(parts.shops)) shop.on('call', (call) => this.#hear(call));
  }

  /** From here on calls count. */
  watch() {
    this.#watching = true;
    this.#slowDownIfNear();
  }

  #hear(/** @type {{shop: import('./shop.mjs').Shop, call: number, moment: string}} */ { shop, call, moment }) {
    if (!this.#watching) return;
    if (moment === 'arrived') {
      this.calls += 1;
      this.#slowDownIfNear();
      if (this.calls === this.killAt) this.#victim = { shop, call };
    }
    if (this.killedAt > 0) return;
    if (this.#victim?.shop === shop && this.#victim.call === call && moment === MOMENTS[this.killAt % 3]) {
      this.#strike(shop, moment).catch((error) => this.#reject(error));
    }
  }

  #slowDownIfNear() {
    if (this.#slow || this.calls < this.killAt - SLOW_CALLS_BEFORE) return;
    this.#slow = true;
    this.guard.active = true;
    for (const shop of Object.values(this.shops)) shop.faults(SLOW).catch(() => undefined); // it may be down just now
    this.rush();
  }

  async #strike(shop, /** @type {keyof typeof WORDS} */ moment) {
    this.hub.kill();
    this.killedAt = Date.now();
    this.beside?.crash();
    const { screen } = this;
    screen.event(
      `${screen.paint('red', 'hub killed')} (SIGKILL) during delivery ${this.killAt} of the day, at ${shop.name}, ${WORDS[moment]}${this.#losesCall ? '; the call is lost on its way' : ''}`,
      this.killedAt,
    );
    await Promise.all([this.#mendShops(shop), this.#startAgain()]);
    this.backAt = Date.now();
    await this.#lookAround();
    const open = new Set(this.inFlight.values()).size;
    screen.event(
      `${screen.paint('green', 'hub back')} after ${seconds(this.backAt - this.killedAt)}, on the same data; ${plural(open, 'delivery is', 'deliveries are')} open`,
      this.backAt,
    );
    await showLanes(this.hub, screen);
    this.#resolve();
  }

  /** Every other kill before the shop applies its call takes the call along, so that both stories are told. */
  get #losesCall() {
    return this.killAt % 6 === 0;
  }

  async #mendShops(victim) {
    if (this.#losesCall) {
      await victim.faults({ dropBeforeApply: true }).catch(() => undefined);
      await sleep(LOSE_MS);
    }
    for (const shop of Object.values(this.shops)) await shop.faults({}).catch(() => undefined); // it may be down just now
  }

  async #startAgain() {
    const before = this.hub.url;
    try {
      await this.hub.start();
    } catch (error) {
      if (!(error instanceof DemoError) || !error.message.includes('is taken')) throw error;
      // Somebody took the port in between. Any other will do, once shop B knows of it.
      await this.hub.start({ anyPort: true });
    }
    if (this.hub.url !== before) await tellShopOfHub(this.hub, this.shops.B);
  }

  /** Which delivery each open record belongs to now; a settlement may send it on in another one. */
  async #lookAround() {
    for (const state of ['in-flight', 'in-doubt']) {
      for (const record of await this.hub.list(`/v1/web-stack?state=${state}`))
        this.inFlight.set(record.id, record.deliveryId);
    }
  }

  /**
   * What became of the deliveries that were open at the kill.
   * @param {any[]} records all records of the day
   */
  async aftermath(records) {
    const killed = new Date(this.killedAt).toISOString();
    const candidates = records.filter(
      (record) => record.acceptedAt <= killed && (record.endedAt === null || record.endedAt > killed),
    );
    /** @type {Map<string, string>} */
    const fates = new Map();
    let lines = 0;
    for (const { id } of candidates) {
      const record = await this.hub.get(`/v1/web-stack/${id}`);
      const before = this.inFlight.get(id) ?? record.deliveryId;
      if (before === null || record.delivery === null) continue;
      const moved = before !== record.deliveryId;
      if (!moved && record.delivery.createdAt > killed) continue;
      lines += 1;
      fates.set(before, fateOf(record, { moved, killed, settles: record.cartId === this.shops.A.cartId }));
    }
    const counts = new Map();
    for (const fate of fates.values()) counts.set(fate, (counts.get(fate) ?? 0) + 1);
    return { deliveries: fates.size, lines, counts };
  }

  /** "12:03:41 hub killed with 7 deliveries open; back in 1.4 s: 6 delivered, 1 settled; 0 lost, 0 doubled" */
  sentence(/** @type {{deliveries: number, counts: Map<string, number>}} */ { deliveries, counts }, { lost, doubled }) {
    const fates = [...counts].map(([fate, count]) => `${count} ${fate}`).join(', ');
    return (
      `${clock(this.killedAt)} hub killed with ${plural(deliveries, 'delivery', 'deliveries')} open, back in ` +
      `${seconds(this.backAt - this.killedAt)}${fates === '' ? '' : `: ${fates}`}; ${lost} lost, ${doubled} doubled`
    );
  }
}

function fateOf(/** @type {any} */ record, { moved, killed, settles }) {
  const { delivery, attemptsMade, state } = record;
  if (record.endedAt === null) return `still ${state}`;
  // Sent before and again, to the cart that knows no keys: it was settled first. Any other was handed back and went later.
  if (moved) return settles && record.attempts > 1 ? 'settled (not applied, sent anew)' : state;
  if (delivery.line?.outcome?.startsWith('settled')) return 'settled (had been applied)';
  const underWay = attemptsMade.some((attempt) => attempt.kind === 'send' && attempt.startedAt <= killed);
  const sentAgain = attemptsMade.some((attempt) => attempt.kind === 'send' && attempt.startedAt > killed);
  return underWay && sentAgain ? 'sent again under the same key' : state;
}
