// After the day: everything stays up, and each sale that somebody makes is told with what it led to.
import { plural } from './screen.mjs';

const REFLECT_TIMEOUT_MS = 20_000;

export function printAddresses(screen, hub, shops) {
  screen.heading('Everything stays up: buy in one shop, watch the other');
  screen.table([
    ...shops.map((shop) => [shop.name, `${shop.pageUrl}/`]),
    ['API', `${hub.url}/docs`],
    ['Queues (Bull Board)', `${hub.url}/queues`],
    ['API key', hub.key],
  ]);
  screen.line('  Ctrl-C ends everything and removes the demo’s data.');
}

/** Tells of each sale, and of when the other shop shows it. */
export function narrateSales(screen, /** @type {Record<'A' | 'B', import('./shop.mjs').Shop>} */ { A, B }) {
  for (const [shop, other] of [
    [A, B],
    [B, A],
  ]) {
    shop.on('change', ({ key, delta, kind, quantity }) => {
      if (kind !== 'sale') return;
      const boughtAt = performance.now();
      const what = `bought in ${shop.letter}: ${-delta} × ${key}, ${quantity} left`;
      if (!other.stock.has(key)) {
        screen.event(`${what}; ${other.letter} does not list it`);
        return;
      }
      // Sales that come together may reach the other shop as one number; the first change of the item tells of them.
      const finish = (text) => {
        clearTimeout(timer);
        other.off('change', look);
        screen.event(`${what} → ${text}`);
      };
      const look = (change) => {
        if (change.key !== key || change.kind === 'sale') return;
        finish(`${other.letter} shows ${change.quantity} after ${Math.round(performance.now() - boughtAt)} ms`);
      };
      const timer = setTimeout(
        finish,
        REFLECT_TIMEOUT_MS,
        screen.paint('red', `${other.letter} has not changed in ${plural(REFLECT_TIMEOUT_MS / 1000, 'second')}`),
      );
      other.on('change', look);
    });
  }
}
