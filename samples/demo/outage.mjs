// Shop B goes down for some seconds while trading goes on, and comes back.
import { setTimeout as sleep } from 'node:timers/promises';
import { clock, plural, seconds } from './screen.mjs';

const CATCH_UP_TIMEOUT_MS = 60_000;
const LOOK_MS = 100;

export class Outage {
  downAt = 0;
  upAt = 0;
  caughtUpAt = 0;

  /** @param {{hub: import('./hub.mjs').Hub, shop: import('./shop.mjs').Shop, screen: import('./screen.mjs').Screen, beside: import('./naive.mjs').NaiveWorld | null, kill: import('./kill.mjs').Kill}} parts */
  constructor(parts) {
    Object.assign(this, parts);
  }

  async run(/** @type {number} */ lengthMs) {
    const { hub, shop, screen } = this;
    await Promise.all([shop.kill(), this.beside?.shopDown()]);
    this.downAt = Date.now();
    screen.event(`${screen.paint('red', `${shop.name} is down`)} (its process was ended); trading goes on`);
    await sleep(lengthMs / 2);
    await showLanes(hub, screen);
    await this.#showFirstWaiting(this.downAt + lengthMs - 200);
    await sleep(Math.max(0, this.downAt + lengthMs - Date.now()));
    await Promise.all([shop.start(), this.beside?.shopUp()]);
    this.upAt = Date.now();
    screen.event(`${screen.paint('green', `${shop.name} is back`)} after ${seconds(this.upAt - this.downAt)}`);
    await this.#catchUp();
  }

  /** The record that goes next, once a probe has been tried with it. */
  async #showFirstWaiting(/** @type {number} */ deadline) {
    const { hub, shop, screen } = this;
    let shown = null;
    while (Date.now() < deadline && (shown === null || shown.first.attempts === 0)) {
      const answer = await hub.get(`/v1/carts/${shop.cartId}/web-stack/first`);
      if (answer.first !== null) shown = answer;
      await sleep(LOOK_MS);
    }
    if (shown === null) return;
    const { first, waiting } = shown;
    const lane = (await hub.get('/v1/lanes')).data.find((row) => row.cartId === shop.cartId);
    screen.line(
      `          first of ${waiting} waiting for ${shop.name}: ${signed(first.delta)} × ${first.sku} (${first.cause.type}), it shall show ${first.target}`,
    );
    const next = lane?.nextProbeAt ? `; next try at ${clock(Date.parse(lane.nextProbeAt))}` : '';
    screen.line(
      `          ${plural(first.attempts, 'attempt')}, last response: ${first.lastResponse ?? 'none yet'}${next}`,
    );
  }

  /** Until all that had waited for the shop has reached it. */
  async #catchUp() {
    const { hub, shop, screen } = this;
    const until = Date.now() + CATCH_UP_TIMEOUT_MS;
    const up = new Date(this.upAt).toISOString();
    while (Date.now() < until) {
      const waits = await hub.list(`/v1/web-stack?cart=${shop.cartId}&state=waits`);
      if (!waits.some((record) => record.acceptedAt < up && record.state !== 'dead-lettered')) break;
      await sleep(LOOK_MS);
    }
    this.caughtUpAt = Date.now();
    screen.event(`${shop.name} has caught up ${seconds(this.caughtUpAt - this.upAt)} later`);
  }
}

export async function showLanes(hub, /** @type {import('./screen.mjs').Screen} */ screen) {
  const { data } = await hub.get('/v1/lanes');
  const colours = { green: 'green', amber: 'yellow', red: 'red', off: 'dim' };
  const rows = data.map((lane) => [
    lane.name,
    screen.paint(colours[lane.light], `● ${lane.light}`),
    lane.waiting,
    lane.inFlight,
    lane.inDoubt,
    lane.deadLettered,
    lane.why ?? '',
  ]);
  screen.table([['lane', 'light', 'waiting', 'in flight', 'in doubt', 'dead letters', ''], ...rows], '          ');
}

/** One lane in a progress line. */
export const laneInShort = (lane) => `${lane.name} ● ${lane.light}, ${lane.waiting} waiting`;

export const signed = (/** @type {number} */ delta) => (delta > 0 ? `+${delta}` : String(delta).replace('-', '−'));
