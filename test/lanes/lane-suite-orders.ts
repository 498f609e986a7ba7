import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { holdLane } from '../../src/cart-workers/lane-hold.js';
import type { ShopOrder } from '../support/shops.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { laneBench, type LaneBackend } from './lane-bench.js';

/** What shops sell by themselves, and how both sides are made equal. */
export function orderSuite(backendOf: () => LaneBackend): void {
  describe('orders and comparisons', () => {
    const bench = laneBench(backendOf);
    const tell = (cartId: string, order: ShopOrder) =>
      bench.hub.orderImport.importOrder(cartId, order, { after: null, by: new Date().toISOString() });
    const onHand = async (sku: string) =>
      (await bench.hub.rows<{ on_hand: number }>('SELECT on_hand::int FROM quantity_on_hand WHERE sku = $1', sku))[0]
        ?.on_hand;
    const hubDeltas = async (shop: Shop, sku: string) =>
      (await shop.journal()).filter(({ key, kind }) => key === sku && kind === 'delta').map(({ delta }) => delta);

    it('tells the other shop of a sale, and not the one that sold, however often it is told', async () => {
      const sku = bench.sku();
      const order = await bench.b.buy(sku, 2);
      await tell('b', order);
      await tell('b', order);
      await bench.hub.orderImport.poll('b');
      await tell('b', { ...order, revision: order.revision - 1, lines: [] });
      await bench.hub.quiet();
      expect(await bench.shown(sku)).toEqual([8, 8]);
      expect([await hubDeltas(bench.a, sku), await hubDeltas(bench.b, sku)]).toEqual([[-2], []]);
      expect(await onHand(sku)).toBe(8);
    });

    it('applies a cancel that comes before its order', async () => {
      const sku = bench.sku();
      const order = await bench.b.buy(sku, 3);
      const cancelled = await bench.b.cancel(order.number);
      await tell('b', { ...cancelled, lines: [] });
      await tell('b', order);
      await bench.hub.quiet();
      expect([await onHand(sku), await bench.shown(sku)]).toEqual([10, [10, 10]]);
    });

    it('does not send the pieces of a cancelled order to the shop that restocked them, however old the order', async () => {
      // Its number was below the mark of a later comparison, so the shop's own restocking was sent to it once more.
      const sku = bench.sku();
      const order = await bench.b.buy(sku, 4);
      await bench.hub.orderImport.poll('b');
      await bench.hub.quiet();
      await bench.hub.qohTransfer.run({ cartId: 'b', direction: 'send' });
      await tell('b', await bench.b.cancel(order.number));
      await bench.hub.quiet();
      expect(await bench.shown(sku)).toEqual([10, 10]);
      expect(await hubDeltas(bench.b, sku)).toEqual([]);
    });

    it('moves stock for an order that a comparison had in its reading, and takes it from the cart', async () => {
      const sku = bench.sku();
      await bench.a.buy(bench.sku(), 1);
      await bench.hub.qohTransfer.run({ cartId: 'a', direction: 'send' });
      await bench.hub.quiet();
      const line = { line: '1', key: sku, quantity: 1, title: sku };
      await tell('a', { number: '1', revision: 0, placedAt: '2026-01-01T00:00:00.000Z', state: 'open', lines: [line] });
      await bench.hub.quiet();
      expect([await onHand(sku), await bench.shown(sku)]).toEqual([9, [9, 9]]);
      expect(await hubDeltas(bench.a, sku)).toEqual([-1]);
    });

    it('never re-arms what was oversold: at zero and below nothing is raised', async () => {
      const sku = bench.sku();
      await bench.a.buyLines([{ key: sku, quantity: 11 }], true);
      await bench.hub.orderImport.poll('a');
      await bench.hub.quiet();
      expect(await bench.shown(sku)).toEqual([-1, 0]);
      expect(await hubDeltas(bench.a, sku)).toEqual([]);
      await bench.receive(sku, 5);
      await bench.hub.quiet();
      expect(await bench.shown(sku)).toEqual([4, 4]);
    });

    it('supersedes what waits when a cart is switched off, and sends nothing before the next comparison', async () => {
      const sku = bench.sku();
      await bench.hub.laneControl.pause('b', 'test', null);
      await bench.receive(sku, 1);
      await bench.hub.projector.caughtUp(5_000);
      await bench.hub.ask({ type: 'SwitchCart', cartId: 'b', on: false });
      await bench.hub.projector.caughtUp(5_000);
      expect((await bench.records('b', sku))[0]).toMatchObject({ state: 'superseded' });
      expect(await bench.expected('b', sku)).toEqual({ expected: 10, owed: 0 });
      await bench.hub.ask({ type: 'SwitchCart', cartId: 'b', on: true });
      await bench.hub.laneControl.resume('b');
      await bench.receive(sku, 1);
      await bench.recordIn('a', sku, 'delivered');
      await bench.hub.quiet();
      expect(await bench.shown(sku)).toEqual([12, 10]);
      await bench.hub.qohTransfer.run({ cartId: 'b', direction: 'send' });
      await bench.hub.quiet();
      expect(await bench.shown(sku)).toEqual([12, 12]);
    });

    it('sends what a shop shows too little or too much, and says what it does not list', async () => {
      const [less, unknown] = [bench.sku(), bench.sku()];
      await bench.b.load([{ key: less, title: less, quantity: 3 }]);
      await bench.hub.ask({ type: 'CreateItem', sku: 'NOWHERE', title: 'Nowhere' });
      await bench.hub.ask({ type: 'MapListings', cartId: 'b', rows: [{ key: 'NOWHERE', sku: 'NOWHERE' }] });
      await bench.hub.projector.caughtUp(5_000);
      const report = await bench.hub.qohTransfer.run({ cartId: 'b', direction: 'send' });
      expect(report).toMatchObject({ differences: 1, notListed: ['NOWHERE'], unsettled: [] });
      await bench.hub.quiet();
      expect([await bench.shown(less), await bench.shown(unknown)]).toEqual([
        [10, 10],
        [10, 10],
      ]);
    });

    it('reads again what was sold while it was read', async () => {
      const sku = bench.sku();
      await bench.b.faults({ scope: 'all', delayBeforeMs: 150 });
      const polled = await pollEnds('b');
      const comparing = bench.hub.qohTransfer.run({ cartId: 'b', direction: 'send' });
      await until('the first look at the orders has ended', async () => (await pollEnds('b')) !== polled);
      await bench.b.buy(sku, 2);
      const report = await comparing;
      await bench.b.faults({});
      await bench.hub.orderImport.poll('b');
      await bench.hub.quiet();
      expect(report.unsettled).toEqual([]);
      expect([await onHand(sku), await bench.shown(sku)]).toEqual([8, [8, 8]]);
    });

    it('takes over what a shop shows beyond what it should, and neither more nor less while stock moves', async () => {
      // On hand was taken after the reading had begun: a receipt in between was counted off again.
      const sku = bench.sku();
      await bench.b.load([{ key: sku, title: sku, quantity: 25 }]);
      await bench.b.faults({ scope: 'all', delayBeforeMs: 150 });
      const polled = await pollEnds('b');
      const getting = bench.hub.qohTransfer.run({ cartId: 'b', direction: 'get', keys: [sku] });
      await until('the first look at the orders has ended', async () => (await pollEnds('b')) !== polled);
      await bench.receive(sku, 5);
      await getting;
      await bench.b.faults({});
      await bench.hub.quiet();
      expect([await onHand(sku), await bench.shown(sku)]).toEqual([30, [30, 30]]);
    });

    it('takes over a change by hand under a rule, and never the capped number itself', async () => {
      // A shop that showed by hand what was on hand looked equal; one that was never compared lost all beyond its cap.
      const sku = bench.sku();
      const scope = { sku, tag: null, locations: null, cart: null };
      const rule = { ruleId: 'capped', name: 'Capped', scope, order: 0, effect: { kind: 'cap', units: 5 } } as const;
      const there = (await onHand(sku)) ?? 0;
      expect(there).toBeGreaterThan(5);
      await bench.hub.ask({ type: 'SaveRule', rule, by: 'test' });
      await bench.hub.quiet();
      expect(await bench.shown(sku)).toEqual([5, 5]);
      await bench.hub.rows(
        'UPDATE listings SET expected = NULL, target = NULL WHERE cart_id = $1 AND key = $2',
        'b',
        sku,
      );
      await bench.hub.qohTransfer.run({ cartId: 'b', direction: 'get', keys: [sku] });
      await bench.hub.quiet();
      expect([await onHand(sku), await bench.shown(sku)]).toEqual([there, [5, 5]]);
      await bench.b.load([{ key: sku, title: sku, quantity: there }]);
      await bench.hub.qohTransfer.run({ cartId: 'b', direction: 'get', keys: [sku] });
      await bench.hub.quiet();
      expect([await onHand(sku), await bench.shown(sku)]).toEqual([there + there - 5, [5, 5]]);
      await bench.hub.ask({ type: 'RemoveRule', ruleId: 'capped', by: 'test' });
      await bench.hub.quiet();
      expect(await bench.shown(sku)).toEqual([there + there - 5, there + there - 5]);
    });

    it('lets a second comparison of a cart wait for the first, whose end does not open the lane under it', async () => {
      const sku = bench.sku();
      const order: string[] = [];
      const first = await holdLane(bench.hub.database, 'b');
      const waiting = holdLane(bench.hub.database, 'b').then((hold) => {
        order.push('second holds');
        return hold;
      });
      await bench.receive(sku, 3);
      await bench.recordIn('a', sku, 'delivered');
      expect((await bench.records('b', sku))[0]).toMatchObject({ state: 'waiting' });
      order.push('first ends');
      await first.release();
      const second = await waiting;
      await first.release();
      expect(await bench.light('b')).toBe('amber');
      expect(order).toEqual(['first ends', 'second holds']);
      await second.release();
      await bench.hub.quiet();
      expect(await bench.shown(sku)).toEqual([13, 13]);
    });

    it('tells a key that now means another item nothing of what was owed to the one before', async () => {
      // The old item's records went to the new one.
      const [before, after] = [bench.sku(), bench.sku()];
      await bench.hub.laneControl.pause('b', 'test', null);
      await bench.receive(before, 7);
      await bench.hub.projector.caughtUp(5_000);
      await bench.hub.ask({ type: 'MapListings', cartId: 'b', rows: [{ key: before, sku: after }] });
      await bench.hub.projector.caughtUp(5_000);
      await bench.hub.laneControl.resume('b');
      await bench.hub.quiet();
      expect((await bench.shown(before))[1]).toBe(10);
      expect((await bench.records('b', before))[0]).toMatchObject({ state: 'superseded' });
    });

    describe('a shop that clamps at zero', () => {
      let clamping: Shop;
      beforeAll(async () => {
        clamping = await startShop('seti', { items: [{ key: 'CLAMP', title: 'Clamp', quantity: 2 }] });
        await clamping.faults({ clampAtZero: true });
        await bench.hub.ask({ type: 'CreateItem', sku: 'CLAMP', title: 'Clamp' });
        await bench.hub.ask({ type: 'CountStock', sku: 'CLAMP', location: 'MAIN', quantity: 2 });
        await bench.hub.connect('d', clamping, { requestTimeoutMs: 600, quietTimeMs: 300, clampsAtZero: true });
        await bench.hub.quiet();
      });
      afterAll(() => clamping.stop());

      it('is expected at zero, not below it, after it sold more than it had', async () => {
        const line = { line: '1', key: 'CLAMP', quantity: 3, title: 'Clamp' };
        await tell('d', {
          number: '9001',
          revision: 0,
          placedAt: new Date().toISOString(),
          state: 'open',
          lines: [line],
        });
        await bench.hub.quiet();
        expect([await onHand('CLAMP'), await bench.expected('d', 'CLAMP')]).toEqual([-1, { expected: 0, owed: 0 }]);
      });
    });

    const pollEnds = async (cartId: string) =>
      (
        await bench.hub.rows<{ ended: string }>(
          'SELECT ended_at::text AS ended FROM order_polls WHERE cart_id = $1',
          cartId,
        )
      )[0]?.ended;
  });
}
