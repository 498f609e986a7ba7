/**
 * What a change through a bridge costs: lines a second and milliseconds a call, one line and a hundred lines a call, alone
 * and four at once, for osCommerce (with transactions) and X-Cart (without). The baseline is the shop's own till on the same
 * PHP and MariaDB: a sale of one line, as the shop writes it.
 */
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { osCommerceConnector, xCartConnector } from '../dist/cart-workers/connectors/bridge.connector.js';
import { steadyNow } from '../dist/steady-clock.js';
import { Shop } from '../samples/demo/shop.mjs';
import { startMariadb } from '../samples/shop-servers.mjs';
import { median, quantile } from './numbers.mjs';

const CALLS = 60;
const KEYS = Array.from({ length: 400 }, (_, n) => `BENCH-${n}`);
const secret = 'whsec_c2FtcGxlLXNob3Atc2VjcmV0LTMyLWJ5dGVzLWxvbmc=';

export async function run({ rounds, dataDir, log }) {
  const stops = [];
  const ratios = {};
  const figures = {};
  try {
    const { stop, keeperPid: _pid, ...database } = await startMariadb({ dir: path.join(dataDir, 'mariadb') });
    stops.push(stop);
    for (const connector of [osCommerceConnector, xCartConnector]) {
      const kind = connector.type;
      const shop = new Shop({
        kind,
        letter: 'A',
        name: kind,
        cartId: kind,
        dir: path.join(dataDir, kind),
        secret,
        database,
      });
      stops.push(() => shop.stop());
      await shop.start();
      await shop.load(KEYS.map((key) => ({ key, title: key, quantity: 1_000_000 })));
      const cart = {
        cartId: kind,
        url: shop.url,
        username: '',
        secret,
        storeCode: '',
        requestTimeoutMs: 30_000,
        allowPrivateAddress: true,
      };
      const send = (lineCount) => async (n) => {
        const lines = Array.from({ length: lineCount }, (_, line) => ({
          key: KEYS[(n * lineCount + line) % KEYS.length],
          delta: -1,
        }));
        const request = { idempotencyKey: randomUUID(), createdAtMs: Date.now(), lines };
        const answers = await connector.sendDeltas(cart, request, { deadlineMs: steadyNow() + 30_000 });
        if (answers.some(({ outcome }) => outcome !== 'applied')) throw new Error(JSON.stringify(answers));
      };
      const sale = async (n) => {
        if ((await shop.buy([{ key: KEYS[n % KEYS.length], quantity: 1 }])) !== 'bought') throw new Error('not bought');
      };
      await measure(send(1), 1);
      const times = { one: [], hundred: [], oneOfFour: [], sale: [] };
      for (let round = 0; round < rounds; round += 1) {
        times.sale.push(...(await measure(sale, 1)).times);
        times.one.push(...(await measure(send(1), 1)).times);
        times.hundred.push(...(await measure(send(100), 1)).times);
        times.oneOfFour.push((await measure(send(1), 4)).perSecond);
      }
      const shown = (values) => `p50 ${median(values).toFixed(1)} ms, p99 ${quantile(values, 0.99).toFixed(1)} ms`;
      log(
        `${kind}: one line ${shown(times.one)}; a hundred lines ${shown(times.hundred)}; four at once ${median(times.oneOfFour).toFixed(0)} calls a second; a sale at the till ${shown(times.sale)}`,
      );
      ratios[kind] = Number((median(times.sale) / median(times.one)).toFixed(2));
      figures[kind] = {
        oneMs: median(times.one),
        hundredMs: median(times.hundred),
        callsPerSecond: median(times.oneOfFour),
        saleMs: median(times.sale),
      };
    }
    return { ratios, ...figures };
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}

/** @returns how long each call took, and how many there were a second */
async function measure(call, atOnce) {
  const times = [];
  const startedAt = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let n = next++; n < CALLS; n = next++) {
        const began = performance.now();
        await call(n);
        times.push(performance.now() - began);
      }
    }),
  );
  return { times, perSecond: (CALLS / (performance.now() - startedAt)) * 1000 };
}
