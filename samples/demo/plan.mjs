// What people do on the trading day: the same seed gives the same wishes, whatever the hub makes of them.
import { UNKNOWN_AT_B } from './catalogue.mjs';
import { ORDER_LOCATION, randomOf } from './model.mjs';

export const DAY_MS = 22_000;
export const OUTAGE = { atMs: 6_000, lengthMs: 4_000 };
const TRANSFER_TAKES_MS = 1_200;
const COUNTS = {
  buyers: 95,
  tillSales: 70,
  counts: 8,
  returns: 6,
  receipts: 20,
  adjustments: 36,
  transfers: 8,
  supplierLines: 12,
};
/** Of so many purchases one goes for the few pieces that everybody wants. */
const SCARCE_SHARE = 0.35;
const ALTERNATIVES = 4;
/** Twice a day a newsletter goes out, and customers of both shops want the same few pieces at the same time. */
const NEWSLETTERS = [
  { atMs: 1_500, forMs: 3_500 },
  { atMs: 12_500, forMs: 3_500 },
];
const NEWSLETTER = { items: 3, buyersPerShop: 14 };

/**
 * @typedef {{atMs: number} & (
 *   | {kind: 'buy', shop: 'A' | 'B', baskets: {key: string, quantity: number}[][]}
 *   | {kind: 'sold' | 'returned', skus: string[], quantity: number}
 *   | {kind: 'count', skus: string[], difference: number}
 *   | {kind: 'received', skus: string[], quantity: number}
 *   | {kind: 'adjusted', skus: string[], delta: number, reason: string}
 *   | {kind: 'ship', skus: string[], quantity: number, transfer: string}
 *   | {kind: 'receive', transfer: string}
 *   | {kind: 'supplier', lines: {sku: string, quantity: number}[]}
 * )} Wish
 * @typedef {{buyersA: Wish[], buyersB: Wish[], till: Wish[], office: Wish[]}} Plan
 */

/** @returns {Plan} each list in the order of its times */
export function planDay(
  /** @type {import('./catalogue.mjs').CatalogueItem[]} */ catalogue,
  /** @type {number} */ seed,
) {
  const random = randomOf(seed);
  const skus = catalogue.map((item) => item.sku);
  const main = (item) => item.pieces[ORDER_LOCATION] ?? 0;
  const scarce = catalogue.filter((item) => main(item) <= 4).map((item) => item.sku);
  const plenty = catalogue.filter((item) => main(item) >= 20).map((item) => item.sku);
  const inStore = catalogue.filter((item) => (item.pieces['STORE'] ?? 0) >= 6).map((item) => item.sku);
  const some = (from) => Array.from({ length: ALTERNATIVES }, () => random.pick(from));
  const spread = (count, make) =>
    Array.from({ length: count }, (_, n) => ({ atMs: Math.round(((n + random.next()) / count) * DAY_MS), ...make(n) }));

  const praised = NEWSLETTERS.map(() => Array.from({ length: NEWSLETTER.items }, () => random.pick(scarce)));

  const buyers = (/** @type {'A' | 'B'} */ shop) => {
    const wanted = skus.filter((sku) => shop === 'A' || sku !== UNKNOWN_AT_B);
    const basket = () => {
      const first = {
        key: random.pick(random.next() < SCARCE_SHARE ? scarce : wanted),
        quantity: random.next() < 0.8 ? 1 : 2,
      };
      const second = { key: random.pick(wanted), quantity: 1 };
      return random.next() < 0.15 && second.key !== first.key ? [first, second] : [first];
    };
    const buy = (atMs, baskets) => ({ atMs, kind: /** @type {const} */ ('buy'), shop, baskets });
    return [
      ...spread(COUNTS.buyers, () => ({ kind: 'buy', shop, baskets: Array.from({ length: ALTERNATIVES }, basket) })),
      ...NEWSLETTERS.flatMap(({ atMs, forMs }, n) =>
        Array.from({ length: NEWSLETTER.buyersPerShop }, () =>
          buy(Math.round(atMs + random.next() * forMs), [[{ key: random.pick(praised[n] ?? scarce), quantity: 1 }]]),
        ),
      ),
    ];
  };

  const till = [
    ...spread(COUNTS.tillSales, () => ({ kind: 'sold', skus: some(inStore), quantity: random.between(1, 2) })),
    ...spread(COUNTS.counts, () => ({ kind: 'count', skus: some(inStore), difference: random.pick([-2, -1, 1]) })),
    ...spread(COUNTS.returns, () => ({ kind: 'returned', skus: some(inStore), quantity: 1 })),
  ];
  const office = [
    ...spread(COUNTS.receipts, (n) => ({
      kind: 'received',
      skus: some(n % 3 === 0 ? scarce : skus),
      quantity: random.between(4, 40),
    })),
    ...spread(COUNTS.adjustments, () => {
      const found = random.next() < 0.4;
      return {
        kind: 'adjusted',
        skus: some(plenty),
        delta: found ? random.between(1, 4) : -random.between(1, 3),
        reason: found ? 'found' : 'damaged',
      };
    }),
    ...spread(COUNTS.transfers, (n) => ({
      kind: 'ship',
      skus: some(plenty),
      quantity: random.between(2, 6),
      transfer: `T-${n + 1}`,
    })).flatMap((ship) => [ship, { kind: 'receive', atMs: ship.atMs + TRANSFER_TAKES_MS, transfer: ship.transfer }]),
    {
      kind: 'supplier',
      atMs: DAY_MS * 0.72,
      lines: Array.from({ length: COUNTS.supplierLines }, () => ({
        sku: random.pick(skus),
        quantity: random.between(6, 24),
      })),
    },
  ];
  const byTime = (/** @type {any[]} */ wishes) => wishes.sort((a, b) => a.atMs - b.atMs);
  return { buyersA: byTime(buyers('A')), buyersB: byTime(buyers('B')), till: byTime(till), office: byTime(office) };
}
