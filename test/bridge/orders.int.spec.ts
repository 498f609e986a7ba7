import { randomUUID } from 'node:crypto';

import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';

import { connectorFor } from '../../src/cart-workers/connectors/index.js';
import type { OrderPage } from '../../src/cart-workers/connectors/connector.js';
import { connectionTo, soon } from '../contract/connector-contract.js';
import { describeWithShopServers } from '../support/mariadb.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { Session, sql } from './shop-database.js';

const items = ['MUG', 'CAP'].map((key) => ({ key, title: key, quantity: 100 }));

for (const kind of ['oscommerce', 'x-cart'] as const) {
  describeWithShopServers(`orders of ${kind}`, () => {
    let shop: Shop;
    const orders = (since: string | null): Promise<OrderPage> =>
      connectorFor(kind).readOrders(connectionTo(shop), since, soon());
    /** Behind everything that was told so far. */
    const caughtUp = async (): Promise<string> => {
      let page = await orders(null);
      while (page.orders.length > 0) page = await orders(page.mark);
      return page.mark;
    };
    const age = () =>
      sql(
        shop,
        kind === 'x-cart'
          ? 'UPDATE xcart_orders SET `date` = `date` - 60'
          : 'UPDATE orders SET date_purchased = date_purchased - INTERVAL 60 SECOND',
      );

    beforeAll(async () => {
      shop = await startShop(kind, { items });
    });
    beforeEach(() => shop.load(items));
    afterAll(() => shop.stop());

    it('are told again under a higher revision when their state or a line changes, and else not', async () => {
      const { number } = await shop.buyLines([{ key: 'MUG', quantity: 2 }]);
      const first = await orders(null);
      const mark = await caughtUp();
      expect((await orders(mark)).orders).toEqual([]);
      await shop.ship(number);
      const shipped = await orders(mark);
      expect(shipped.orders).toMatchObject([{ number, state: 'shipped', lines: [{ key: 'MUG', quantity: 2 }] }]);
      expect(shipped.orders[0]?.revision).toBeGreaterThan(first.orders.at(-1)?.revision ?? Number.NaN);
      await sql(
        shop,
        kind === 'x-cart'
          ? 'UPDATE xcart_order_details SET amount = 1'
          : 'UPDATE orders_products SET products_quantity = 1',
      );
      expect((await orders(shipped.mark)).orders).toMatchObject([{ number, lines: [{ key: 'MUG', quantity: 1 }] }]);
    });

    it('are cancelled as the shop cancels them', async () => {
      const mark = await caughtUp();
      const { number } = await shop.buy('CAP', 3);
      await shop.cancel(number);
      expect((await orders(mark)).orders).toMatchObject([{ number, state: 'cancelled' }]);
      // X-Cart takes the pieces back itself, osCommerce does not: the connector says so.
      expect((await shop.stock()).get('CAP')).toBe(connectorFor(kind).capabilities.restocksOnCancel ? 100 : 97);
    });

    it('name the items whose pieces the shop may be taking at this moment, for some seconds', async () => {
      await caughtUp();
      await age();
      expect(await orders(null)).toMatchObject({ complete: true, unsettledKeys: [] });
      await shop.buy('MUG');
      expect(await orders(null)).toMatchObject({ complete: true, unsettledKeys: ['MUG'] });
      await age();
      expect(await orders(null)).toMatchObject({ complete: true, unsettledKeys: [] });
    });

    // Broken once: a young order passed for one of hours ago, so nothing of it was told as unsettled.
    it.skipIf(kind === 'x-cart').each([5, -5])(
      'name them, too, where the shop writes its times %i hours away from its database',
      async (hours) => {
        await age();
        await caughtUp();
        const placed = async () => {
          await shop.buy('MUG');
          await sql(
            shop,
            `UPDATE orders SET date_purchased = date_purchased + INTERVAL ${hours} HOUR ORDER BY orders_id DESC LIMIT 1`,
          );
          return orders(null);
        };
        expect(await placed()).toMatchObject({ unsettledKeys: ['MUG'] });
        expect(await orders(null)).toMatchObject({ unsettledKeys: ['MUG'] });
        const grow = () => sql(shop, 'UPDATE onhand_bridge_orders SET born = born - 60 WHERE born > 0');
        await grow();
        expect(await orders(null)).toMatchObject({ complete: true, unsettledKeys: [] });
        await placed();
        await grow();
        const { findings } = await connectorFor(kind).testConnection(connectionTo(shop), soon());
        expect(findings.join(' ')).toMatch(/in another time zone than its database has: fill in time_zone/);
      },
    );

    // Broken once: MySQL cuts a list after 1,024 letters, and the items behind it were told as settled.
    it('name every item of a long order that may be unsettled', async () => {
      const long = Array.from({ length: 60 }, (_, at) => `A-LONG-NAME-OF-AN-ITEM-THAT-IS-ONE-OF-MANY-${at}`);
      await shop.load(long.map((key) => ({ key, title: key, quantity: 5 })));
      await age();
      await caughtUp();
      await shop.buyLines(long.map((key) => ({ key, quantity: 1 })));
      expect((await orders(null)).unsettledKeys?.toSorted()).toEqual(long.toSorted());
    });

    it('are told whole in the end, although they are seen in the middle of a checkout', async () => {
      await age();
      const mark = await caughtUp();
      const lock = `lock_${randomUUID()}`;
      const holder = await Session.open(shop);
      await holder.run(`SELECT GET_LOCK('${lock}', 5)`);
      const place = kind === 'x-cart' ? 'before stock' : 'before the line';
      const buying = shop.buyLines(
        [
          { key: 'MUG', quantity: 1 },
          { key: 'CAP', quantity: 1 },
        ],
        false,
        { [place]: lock },
      );
      await until(
        'the checkout waits',
        async () => (await sql(shop, `SELECT 1 FROM till_waits WHERE name = '${lock}'`)).length > 0,
      );
      const half = await orders(mark);
      const shown = (await shop.stock()).get('MUG');
      if (kind === 'x-cart') {
        // The order is there and its pieces are not taken yet: both items may show the one or the other.
        expect([shown, half.unsettledKeys?.toSorted(), half.orders[0]?.lines.length]).toEqual([100, ['CAP', 'MUG'], 2]);
      } else {
        // The first pieces are taken and no line shows it: nothing that is read now can be explained.
        expect([shown, half.complete, half.orders[0]?.lines]).toEqual([99, false, []]);
      }
      await holder.run(`DO RELEASE_LOCK('${lock}')`);
      await buying;
      await holder.close();
      const told = [...half.orders, ...(await orders(half.mark)).orders];
      expect(told.at(-1)?.lines.map(({ key, quantity }) => [key, quantity])).toEqual([
        ['MUG', 1],
        ['CAP', 1],
      ]);
      await age();
      expect(await orders(half.mark)).toMatchObject({ complete: true, unsettledKeys: [] });
    });

    it('keep lines whose product has no SKU, under a name that tells the product', async () => {
      const mark = await caughtUp();
      await shop.buy('CAP');
      await sql(
        shop,
        kind === 'x-cart'
          ? `UPDATE xcart_order_details SET productcode = '' ORDER BY itemid DESC LIMIT 1`
          : `UPDATE orders_products SET products_model = NULL ORDER BY orders_products_id DESC LIMIT 1`,
      );
      expect((await orders(mark)).orders).toMatchObject([{ lines: [{ key: 'product 2 (no SKU)', quantity: 1 }] }]);
    });

    it('are still known by their marks and revisions after the bridge was removed and came again', async () => {
      const mark = await caughtUp();
      await sql(shop, `DROP TABLE ${kind === 'x-cart' ? 'xcart_' : ''}onhand_bridge_orders`);
      const { number } = await shop.buy('CAP');
      const again = await until('the bridge makes its tables anew', async () => {
        await sql(shop, `DROP TABLE IF EXISTS ${kind === 'x-cart' ? 'xcart_' : ''}onhand_bridge_keys`);
        return await orders(mark).catch(() => null);
      });
      expect(again.orders.map((order) => order.number)).toContain(number);
    });
  });
}

describeWithShopServers('a checkout of osCommerce beside a change', () => {
  let shop: Shop;
  beforeAll(async () => {
    shop = await startShop('oscommerce', { items });
  });
  afterAll(() => shop.stop());

  it('swallows it when it read before and writes after, and the reading shows that', async () => {
    const lock = `lock_${randomUUID()}`;
    const holder = await Session.open(shop);
    await holder.run(`SELECT GET_LOCK('${lock}', 5)`);
    const buying = shop.buyLines([{ key: 'MUG', quantity: 1 }], false, { 'between reading and writing': lock });
    await until(
      'the checkout has read',
      async () => (await sql(shop, `SELECT 1 FROM till_waits WHERE name = '${lock}'`)).length > 0,
    );
    const connector = connectorFor('oscommerce');
    const request = {
      idempotencyKey: `d_${randomUUID()}`,
      createdAtMs: Date.now(),
      lines: [{ key: 'MUG', delta: 10 }],
    };
    expect(await connector.sendDeltas(connectionTo(shop), request, soon())).toMatchObject([
      { outcome: 'applied', quantity: 110 },
    ]);
    await holder.run(`DO RELEASE_LOCK('${lock}')`);
    await buying;
    await holder.close();
    // 109 would be right. Nobody was told a lie, and the shop shows 99: a comparison finds the ten that are missing.
    expect((await shop.stock()).get('MUG')).toBe(99);
  });
});
