import { afterAll, beforeAll, expect, it } from 'vitest';

import { connectorFor } from '../../src/cart-workers/connectors/index.js';
import { connectionTo, readAll, sendLines, soon } from '../contract/connector-contract.js';
import { describeWithShopServers } from '../support/mariadb.js';
import { startShop, type Shop } from '../support/shops.js';
import { askBridge, sql } from './shop-database.js';

const osCommerce = connectorFor('oscommerce');
const xCart = connectorFor('x-cart');

describeWithShopServers('SKUs that a shop has twice, or not at all', () => {
  let shop: Shop;
  beforeAll(async () => {
    shop = await startShop('oscommerce', {
      items: ['MUG', 'mug', 'CAP'].map((key) => ({ key, title: key, quantity: 5 })),
    });
    await sql(
      shop,
      `INSERT INTO products (products_quantity, products_model) VALUES (1, 'TWIN'), (2, 'TWIN'), (3, NULL), (4, ''), (5, ' BLANK'), (6, 'TAIL ')`,
    );
  });
  afterAll(() => shop.stop());

  it('are never guessed: neither changed nor read, and named in the answer', async () => {
    expect(
      await sendLines(osCommerce, connectionTo(shop), [
        { key: 'TWIN', delta: 1 },
        { key: 'CAP', delta: 1 },
      ]),
    ).toMatchObject([
      { outcome: 'rejected', response: '2 items of the shop have this SKU (product 4, product 5); give each its own' },
      { outcome: 'applied', quantity: 6 },
    ]);
    expect(await sql(shop, `SELECT products_quantity FROM products WHERE products_model = 'TWIN' ORDER BY 1`)).toEqual([
      ['1'],
      ['2'],
    ]);
    expect((await readAll(osCommerce, connectionTo(shop), ['TWIN'])).get('TWIN')).toBeNull();
  });

  it('are told once for each item where everything is listed, so that the hub keeps them in sight', async () => {
    const { rows } = await askBridge<{ rows: { key: string }[] }>(shop, 'stock.read', { keys: null, cursor: null });
    expect(rows.filter(({ key }) => key === 'TWIN')).toEqual([
      { key: 'TWIN', quantity: 1 },
      { key: 'TWIN', quantity: 2 },
    ]);
  });

  it('mean exactly their own letters, whatever the database takes for equal', async () => {
    expect(
      await sendLines(osCommerce, connectionTo(shop), [
        { key: 'mug', delta: -1 },
        { key: 'Mug', delta: -1 },
        { key: 'TAIL', delta: 1 },
      ]),
    ).toMatchObject([{ outcome: 'applied', quantity: 4 }, { outcome: 'not-found' }, { outcome: 'not-found' }]);
    expect([...(await readAll(osCommerce, connectionTo(shop), null))]).toEqual([
      ['MUG', 5],
      ['mug', 4],
      ['CAP', 6],
      ['TWIN', 2],
    ]);
  });

  it('are listed by the test of the connection', async () => {
    const { version, findings } = await osCommerce.testConnection(connectionTo(shop), soon());
    const text = findings.join('\n');
    expect(version).toBe('1.0');
    expect(text).toMatch(/9 items, on PHP \d+\.\d+/);
    expect(text).toMatch(/products \(InnoDB, utf8mb4_unicode_ci\)/);
    expect(text).toMatch(/1 SKU belongs to several items.*"TWIN" \(product 4, product 5\)/);
    expect(text).toMatch(/2 items have no SKU.*product 6; product 7/);
    expect(text).toMatch(/2 SKUs have blanks around them.*" BLANK".*"TAIL "/);
  });

  it('are listed page by page where there are many', async () => {
    await sql(
      shop,
      `INSERT INTO products (products_quantity, products_model) SELECT seq, CONCAT('D', LPAD(seq DIV 2, 5, '0')) FROM seq_2_to_1201`,
    );
    const first = await askBridge<{ problems: { key: string }[]; nextCursor: string }>(shop, 'stock.problems', {
      cursor: null,
    });
    const second = await askBridge<typeof first>(shop, 'stock.problems', { cursor: first.nextCursor });
    const keys = [...first.problems, ...second.problems].map(({ key }) => key).filter((key) => key.startsWith('D'));
    expect([first.problems.length, second.nextCursor, new Set(keys).size, keys.length]).toEqual([500, null, 600, 600]);
    expect((await osCommerce.testConnection(connectionTo(shop), soon())).findings.join()).toContain('and 591 more');
    await sql(shop, `DELETE FROM products WHERE products_model LIKE 'D0%'`);
  });

  it('a shop that takes nothing from its stock, or hides what is sold out, is told so', async () => {
    await sql(
      shop,
      `UPDATE configuration SET configuration_value = 'false'; UPDATE products SET products_status = 0 WHERE products_model = 'CAP'`,
    );
    const text = (await osCommerce.testConnection(connectionTo(shop), soon())).findings.join('\n');
    expect(text).toMatch(/does not take its own sales/);
    expect(text).toMatch(/hides a product that sells out/);
    expect(text).toMatch(/1 products are hidden although they have stock/);
  });
});

describeWithShopServers('numbers that a column cannot hold', () => {
  let shop: Shop;
  beforeAll(async () => {
    shop = await startShop('oscommerce', {
      items: ['MUG', 'FINE', 'HALF'].map((key) => ({ key, title: key, quantity: 5 })),
      // As Zen Cart declares it.
      schema: 'ALTER TABLE products MODIFY products_quantity FLOAT NOT NULL DEFAULT 0;',
    });
    await sql(shop, `UPDATE products SET products_quantity = 2.5 WHERE products_model = 'HALF'`);
  });
  afterAll(() => shop.stop());

  it('are refused line by line: fractions are not rounded, and nothing is cut to what fits', async () => {
    const told = await sendLines(osCommerce, connectionTo(shop), [
      { key: 'HALF', delta: 1 },
      { key: 'MUG', delta: 2_000_000_000 },
      { key: 'FINE', delta: -2 },
    ]);
    expect(told).toMatchObject([
      { outcome: 'rejected', response: 'the shop shows 2.5 pieces; only whole ones can be counted' },
      { outcome: 'rejected', response: 'the shop cannot hold 2000000005 pieces' },
      { outcome: 'applied', quantity: 3 },
    ]);
    expect(Object.fromEntries(await readAll(osCommerce, connectionTo(shop), null))).toEqual({
      MUG: 5,
      FINE: 3,
      HALF: null,
    });
    expect((await osCommerce.testConnection(connectionTo(shop), soon())).findings.join()).toMatch(
      /1 item holds a fraction.*HALF/,
    );
  });

  it('may be below zero, as a shop that takes back-orders shows them', async () => {
    expect(await sendLines(osCommerce, connectionTo(shop), [{ key: 'MUG', delta: -8 }])).toMatchObject([
      { outcome: 'applied', quantity: -3 },
    ]);
  });
});

describeWithShopServers('old tables in Latin letters', () => {
  it('are read and changed by SKUs with accents, and know none that they cannot hold', async () => {
    const shop = await startShop('oscommerce', {
      schema:
        'ALTER TABLE products CONVERT TO CHARACTER SET latin1; ALTER TABLE products_description CONVERT TO CHARACTER SET latin1;',
      items: [{ key: 'CAFÉ ß', title: 'Café', quantity: 5 }],
    });
    try {
      expect(
        await sendLines(osCommerce, connectionTo(shop), [
          { key: 'CAFÉ ß', delta: 2 },
          { key: 'CAFE ß', delta: 1 },
          { key: '№ 5 😀', delta: 1 },
        ]),
      ).toMatchObject([{ outcome: 'applied', quantity: 7 }, { outcome: 'not-found' }, { outcome: 'not-found' }]);
      expect([...(await readAll(osCommerce, connectionTo(shop), null))]).toEqual([['CAFÉ ß', 7]]);
      expect((await osCommerce.testConnection(connectionTo(shop), soon())).findings.join()).toMatch(/latin1/);
    } finally {
      await shop.stop();
    }
  });
});

describeWithShopServers('variants of X-Cart', () => {
  let shop: Shop;
  beforeAll(async () => {
    shop = await startShop('x-cart', {
      items: [
        { key: 'SHIRT', title: 'Shirt', quantity: 50 },
        { key: 'MUG', title: 'Mug', quantity: 5 },
      ],
    });
    await sql(
      shop,
      `INSERT INTO xcart_variants (productid, avail, productcode) VALUES (1, 10, 'SHIRT-S'), (1, 20, 'SHIRT-L'), (1, 7, 'MUG')`,
    );
  });
  afterAll(() => shop.stop());

  it('hold the stock of their product, which has none of its own then', async () => {
    expect(
      await sendLines(xCart, connectionTo(shop), [
        { key: 'SHIRT-L', delta: -2 },
        { key: 'SHIRT', delta: -2 },
      ]),
    ).toMatchObject([{ outcome: 'applied', quantity: 18 }, { outcome: 'not-found' }]);
    expect(Object.fromEntries(await readAll(xCart, connectionTo(shop), null))).toEqual({
      'SHIRT-S': 10,
      'SHIRT-L': 18,
      MUG: 7,
    });
  });

  it('are told apart from a product of the same SKU', async () => {
    expect(await sendLines(xCart, connectionTo(shop), [{ key: 'MUG', delta: -1 }])).toMatchObject([
      { outcome: 'rejected', response: expect.stringMatching(/product 2, variant 3/) as string },
    ]);
  });

  it('are sold and counted by their own SKU', async () => {
    const { number } = await shop.buy('SHIRT-S', 3);
    expect((await shop.stock()).get('SHIRT-S')).toBe(7);
    const { orders } = await xCart.readOrders(connectionTo(shop), null, soon());
    expect(orders).toMatchObject([{ number, lines: [{ key: 'SHIRT-S', quantity: 3 }] }]);
  });

  it('cannot be hidden one by one', async () => {
    const rows = [{ key: 'SHIRT-S', visibility: 'hidden' as const }];
    const request = { idempotencyKey: 'hide-1', createdAtMs: 0, rows };
    expect(await xCart.setVisibility?.(connectionTo(shop), request, soon())).toMatchObject([
      { outcome: 'rejected', response: expect.stringMatching(/cannot be hidden by itself/) as string },
    ]);
  });
});

describeWithShopServers('what changed since a mark', () => {
  it('is told once, whoever changed it, page by page', async () => {
    const items = Array.from({ length: 620 }, (_, n) => ({ key: `K${n}`, title: 'k', quantity: n }));
    const shop = await startShop('oscommerce', { items });
    try {
      type Changed = { rows: { key: string; quantity: number }[]; mark: string; more: boolean };
      const first = await askBridge<Changed>(shop, 'stock.changed', { since: null });
      const second = await askBridge<Changed>(shop, 'stock.changed', { since: first.mark });
      expect([first.rows.length, first.more, second.rows.length, second.more]).toEqual([500, true, 120, false]);
      expect(new Set([...first.rows, ...second.rows].map(({ key }) => key)).size).toBe(620);
      await shop.buy('K7', 2);
      await sendLines(osCommerce, connectionTo(shop), [{ key: 'K9', delta: 1 }]);
      const third = await askBridge<Changed>(shop, 'stock.changed', { since: second.mark });
      expect(third.rows).toEqual([
        { key: 'K7', quantity: 5 },
        { key: 'K9', quantity: 10 },
      ]);
      expect((await askBridge<Changed>(shop, 'stock.changed', { since: third.mark })).rows).toEqual([]);
    } finally {
      await shop.stop();
    }
  });
});

describeWithShopServers('Order Manager at the bridge', () => {
  it('reads products, customers and whole orders, and moves an order’s status', async () => {
    const shop = await startShop('oscommerce-seti', { items: [{ key: 'M&M', title: '<Mug>', quantity: 9 }] });
    const seti = async (setifunction: string, fields: Record<string, string> = {}) =>
      await (
        await fetch(shop.url, {
          method: 'POST',
          body: new URLSearchParams({
            setifunction,
            setiuser: shop.user,
            password: shop.secret,
            code: '',
            omversion: '5.000',
            ...fields,
          }),
        })
      ).text();
    try {
      const { number } = await shop.buy('M&M', 2);
      expect(await seti('sendversion', { password: '' })).toBe('SETIResponse: version=1.0');
      expect(await seti('getproductscount')).toBe('SETIResponse: itemcount=1');
      expect(await seti('getcustomerscount')).toBe('SETIResponse: itemcount=1');
      expect(await seti('ordercount', { lastorder: 'All', lastdate: 'All' })).toBe('SETIResponse: ordercount=1');
      expect(await seti('ordercount', { lastorder: number, lastdate: 'All' })).toBe('SETIResponse: ordercount=0');
      expect(await seti('ordercount', { lastorder: 'All', lastdate: '01-Jan-2099' })).toBe(
        'SETIResponse: ordercount=0',
      );
      expect(await seti('downloadprods', { startnum: '1', batchsize: '10' })).toMatch(
        /<Product><Code>M&amp;M<\/Code><WebID>1<\/WebID><Name>&lt;Mug&gt;<\/Name><Price>10<\/Price>.*<QOH>7<\/QOH>/,
      );
      expect(await seti('downloadcustomers', { startnum: '1', batchsize: '10' })).toMatch(
        /<FullName>Ada Sample<\/FullName>/,
      );
      const order = await seti('downloadorders', { lastorder: 'All', lastdate: 'All', startnum: '1', batchsize: '10' });
      expect(order).toMatch(
        new RegExp(
          `<OrderNumber>${number}</OrderNumber>.*<SKU>M&amp;M</SKU>.*<Quantity>2</Quantity><ItemPrice>10</ItemPrice>.*<GrandTotal>20</GrandTotal>`,
        ),
      );
      expect(await seti('updatestatus', { ordernumber: number, orderstatus: 'delivered' })).toBe(
        'SETIResponse: update=OK;Notes=',
      );
      expect((await shop.orders()).map(({ state }) => state)).toEqual(['shipped']);
      expect(await seti('updatestatus', { ordernumber: number, orderstatus: 'lost' })).toMatch(
        /^SETIError: The shop has no/,
      );
      expect(await seti('qohreplace', { count: '2', update: 'M&M~3|x~1|y|' })).toBe(
        'SETIResponse\r\nM&M=OK\r\nx=NF\r\ny=Err\r\nSETIEndOfData\r\n',
      );
      for (const wrong of [{ password: 'x' }, { setiuser: 'x' }, { code: 'x' }, { password: '' }])
        expect(await seti('ordercount', wrong)).toMatch(/^SETIError: Access denied/);
    } finally {
      await shop.stop();
    }
  });
});
