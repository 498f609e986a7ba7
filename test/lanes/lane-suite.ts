import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';

/** What every queue backend has to pass: from a movement to what the shop shows, whatever happens on the way. */
export function laneSuite(name: string, backendOf: () => Parameters<typeof createHarness>[0]['backend']): void {
  describe(`lanes on ${name}`, () => {
    let hub: Harness;
    let shopA: Shop;
    let shopB: Shop;

    beforeEach(async () => {
      hub = await createHarness({ backend: backendOf() });
      const items = [
        { key: 'TENT', title: 'Tent', quantity: 5 },
        { key: 'STOVE', title: 'Stove', quantity: 9 },
      ];
      shopA = await startShop('seti', { items });
      shopB = await startShop('webhook', { items });
      await hub.stockUp({ TENT: 10, STOVE: 9 });
      await hub.connect('a', shopA);
      await hub.connect('b', shopB);
      await hub.quiet();
    });

    afterEach(async () => {
      await hub.close();
      await Promise.all([shopA.stop(), shopB.stop()]);
    });

    it('makes both shops equal by the first comparison', async () => {
      expect([(await shopA.stock()).get('TENT'), (await shopB.stock()).get('TENT')]).toEqual([10, 10]);
    });

    it('tells both shops of a receipt, as a delta', async () => {
      await hub.ask({ type: 'ReceiveStock', sku: 'TENT', location: 'MAIN', quantity: 100 });
      await hub.quiet();
      expect([(await shopA.stock()).get('TENT'), (await shopB.stock()).get('TENT')]).toEqual([110, 110]);
      expect((await shopA.journal()).at(-1)).toMatchObject({ kind: 'delta', key: 'TENT', delta: 100 });
    });

    it('tells the other shop of a sale, and not the one that sold', async () => {
      await shopA.buy('TENT', 2);
      await hub.orderImport.poll('a');
      await hub.quiet();
      expect([(await shopA.stock()).get('TENT'), (await shopB.stock()).get('TENT')]).toEqual([8, 8]);
      expect((await shopA.journal()).at(-1)?.kind).toBe('sale');
    });
  });
}
