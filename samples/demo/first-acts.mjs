// The first minutes, one thing at a time, so that a person can follow what each of them leads to.
import { setTimeout as sleep } from 'node:timers/promises';
import { UNKNOWN_AT_B } from './catalogue.mjs';

/** Long enough for an order to be polled, imported and, were it to come back, to come back. */
const ECHO_WAIT_MS = 900;

/**
 * @param {{day: import('./trading-day.mjs').TradingDay, shops: Record<'A' | 'B', import('./shop.mjs').Shop>,
 *   screen: import('./screen.mjs').Screen, beside: import('./naive.mjs').NaiveWorld | null}} parts
 */
export async function playFirstActs({ day, shops, screen, beside }) {
  const both = Object.values(shops);
  const change = async (what, sku, delta, act, listing = both) => {
    const shown = listing.map((shop) => shop.stock.get(sku) ?? 0);
    const startedAt = performance.now();
    const arrivals = listing.map((shop, n) => shop.untilShows(sku, shown[n] + delta));
    await act();
    const answeredMs = performance.now() - startedAt;
    const reached = await Promise.all(arrivals);
    const parts = listing.map((shop, n) => `${shop.name} ${shown[n]} → ${shown[n] + delta} ${after(reached[n])}`);
    screen.event(`${what}: accepted after ${Math.round(answeredMs)} ms, ${parts.join(', ')}`);
  };

  await change('received 100 × 00417', '00417', 100, () => day.receive('00417', 100));
  await change('adjusted 100%WOOL by −3 (moths)', '100%WOOL', -3, () => day.adjust('100%WOOL', -3, 'moths'));
  await change('counted 007-SPORK in the store: 2 fewer than in the books', '007-SPORK', -2, () =>
    day.count('007-SPORK', -2),
  );
  await day.transfer('BOIL&GO', 5, 'T-MORNING');
  screen.event(
    'moved 5 × BOIL&GO from MAIN to STORE: both are sold in both shops, so neither shop shows another number',
  );

  for (const [from, to, sku, how] of [
    ['A', 'B', 'TARP 3/4', 'found by asking for orders'],
    ['B', 'A', 'A+B KIT', 'told by signed webhook'],
  ]) {
    const echoes = [];
    const listen = (heard) => heard.key === sku && heard.kind === 'delta' && echoes.push(heard);
    shops[from].on('change', listen);
    await change(
      `bought 1 × ${sku} in ${shops[from].name}, ${how}`,
      sku,
      -1,
      () => Promise.all([shops[from].buy([{ key: sku, quantity: 1 }]), beside?.buy(from, [{ key: sku, quantity: 1 }])]),
      [shops[to]],
    );
    await sleep(ECHO_WAIT_MS);
    shops[from].off('change', listen);
    screen.event(
      echoes.length === 0
        ? `it did not come back to ${shops[from].name}`
        : screen.paint('red', `it came back to ${shops[from].name}`),
    );
  }
  await change(
    `received 3 × ${UNKNOWN_AT_B}, which ${shops.B.name} does not list`,
    UNKNOWN_AT_B,
    3,
    () => day.receive(UNKNOWN_AT_B, 3),
    [shops.A],
  );
}

const after = (/** @type {number | undefined} */ ms) => (ms === undefined ? '(not yet)' : `after ${Math.round(ms)} ms`);
