import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { tally } from './depth.js';
import { cartIds, kinds, type CartId } from './fault-bench.js';
import { TradingDay } from './trading-day.js';
import { locations, orderLocation, sells, type Step } from './trading-steps.js';

const onHandAtFirst = 20;
const firstDay = '2020-01-01T00:00:00.000Z';
const itemsPerDay = 3;

/** A hub and one shop for each way of delivering, on which any number of days are lived, each with SKUs of its own. */
export interface TradingFloor {
  readonly hub: Harness;
  readonly shops: ReadonlyMap<CartId, Shop>;
  /** Lives one day to its end. @throws at the first promise that is broken, or difference to the model */
  live(steps: readonly Step[]): Promise<void>;
  close(): Promise<void>;
}

export async function openTradingFloor(
  backend: Parameters<typeof createHarness>[0]['backend'],
  days: number,
  farBehindFacts?: number,
): Promise<TradingFloor> {
  const skus = Array.from({ length: days * itemsPerDay }, (_, index) => `H${index + 1}`);
  const hub = await createHarness({ backend, ...(farBehindFacts !== undefined && { farBehindFacts }) });
  const items = skus.map((key) => ({ key, title: `Item ${key}`, quantity: onHandAtFirst }));
  for (const location of locations) await hub.ask({ type: 'AddLocation', location, name: location });
  for (const sku of skus) {
    await hub.ask({ type: 'CreateItem', sku, title: sku });
    await hub.ask({
      type: 'AdjustStock',
      sku,
      location: 'MAIN',
      delta: onHandAtFirst,
      occurredAt: firstDay,
    });
  }
  const shops = new Map<CartId, Shop>();
  for (const cartId of cartIds) {
    const shop = await startShop(kinds[cartId].kind, { items });
    shops.set(cartId, shop);
    await shop.faults(kinds[cartId].faults);
    await hub.connect(cartId, shop, {
      requestTimeoutMs: 800,
      quietTimeMs: 150,
      locations: [...(sells.get(cartId) ?? [])],
      orderLocation: orderLocation(cartId),
      ...kinds[cartId].settings,
    });
  }
  await hub.quiet();
  return {
    hub,
    shops,
    live: async (steps) => {
      const today = skus.splice(0, itemsPerDay);
      if (today.length < itemsPerDay) throw new Error('The floor was opened for fewer days');
      const day = new TradingDay(hub, shops, today, { onHand: onHandAtFirst, since: firstDay });
      for (const step of steps) await day.take(step);
      await day.comeToRest();
      tally({ 'random histories': 1, 'steps of histories': steps.length });
    },
    close: async () => {
      await hub.close();
      for (const shop of shops.values()) await shop.stop();
    },
  };
}
