import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { connectorFor } from '../../src/cart-workers/connectors/index.js';
import { connectionTo, readAll, sendLines, soon } from '../contract/connector-contract.js';
import { describeWithShopServers, testMariadb } from '../support/mariadb.js';
import { startShop, type Shop } from '../support/shops.js';
import { askBridge, databaseOf, sql } from './shop-database.js';

/**
 * The tables of stock and orders of X-Cart 5.3, with the columns that matter here, their types and their codes as its
 * installer makes them: amounts are unsigned, so nothing goes below zero.
 */
const tables = `
  CREATE TABLE xlite_products (
    product_id INT UNSIGNED NOT NULL AUTO_INCREMENT, sku VARCHAR(32), price DECIMAL(14,4) NOT NULL DEFAULT 10, enabled TINYINT(1) NOT NULL DEFAULT 1,
    inventoryEnabled TINYINT(1) NOT NULL DEFAULT 1, amount INT UNSIGNED NOT NULL, PRIMARY KEY (product_id), KEY sku (sku));
  CREATE TABLE xlite_product_variants (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT, product_id INT UNSIGNED NOT NULL, amount INT UNSIGNED NOT NULL, defaultAmount TINYINT(1) NOT NULL,
    sku VARCHAR(32), PRIMARY KEY (id), KEY product_id (product_id));
  CREATE TABLE xlite_order_payment_statuses (id INT UNSIGNED NOT NULL AUTO_INCREMENT, code CHAR(4), PRIMARY KEY (id), UNIQUE KEY code (code));
  INSERT INTO xlite_order_payment_statuses (id, code) VALUES (1, 'Q'), (2, 'A'), (3, 'PP'), (4, 'P'), (5, 'D'), (6, 'C'), (7, 'R');
  CREATE TABLE xlite_order_shipping_statuses (id INT UNSIGNED NOT NULL AUTO_INCREMENT, code CHAR(4), PRIMARY KEY (id), UNIQUE KEY code (code));
  INSERT INTO xlite_order_shipping_statuses (id, code) VALUES (1, 'N'), (2, 'P'), (3, 'S'), (4, 'D'), (5, 'WND'), (6, 'R');
  CREATE TABLE xlite_orders (
    order_id INT NOT NULL AUTO_INCREMENT, payment_status_id INT UNSIGNED, shipping_status_id INT UNSIGNED, \`date\` INT NOT NULL, orderNumber VARCHAR(255),
    subtotal DECIMAL(14,4) NOT NULL, is_order INT NOT NULL, PRIMARY KEY (order_id), KEY \`date\` (\`date\`));
  CREATE TABLE xlite_order_items (
    item_id INT NOT NULL AUTO_INCREMENT, object_id INT UNSIGNED, order_id INT, name VARCHAR(255) NOT NULL, sku VARCHAR(32) NOT NULL,
    price DECIMAL(14,4) NOT NULL, amount INT NOT NULL, PRIMARY KEY (item_id), KEY order_id (order_id));`;

const xCart = connectorFor('x-cart');

describeWithShopServers('the bridge on the tables of X-Cart 5', () => {
  let shop: Shop;
  beforeAll(async () => {
    shop = await startShop('x-cart');
    const { host, port, user, password } = await testMariadb();
    const www = path.join(shop.dir, 'www');
    await rm(path.join(www, 'config.php'));
    await mkdir(path.join(www, 'etc'));
    const settings = {
      hostspec: host,
      port,
      database: databaseOf(shop),
      username: user,
      password,
      table_prefix: 'xlite_',
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name} = "${value}"`);
    await writeFile(path.join(www, 'etc', 'config.php'), ['; <?php /*', '[database_details]', ...lines, ''].join('\n'));
    await sql(shop, tables);
  });
  beforeEach(() =>
    sql(
      shop,
      `DELETE FROM xlite_products; DELETE FROM xlite_product_variants;
       INSERT INTO xlite_products (product_id, sku, inventoryEnabled, amount)
       VALUES (1, 'MUG', 1, 20), (2, 'CAP', 1, 5), (3, 'EBOOK', 0, 7), (4, 'TWIN', 1, 1), (5, 'TWIN', 1, 2), (6, NULL, 1, 3);
       INSERT INTO xlite_product_variants (id, product_id, amount, defaultAmount, sku)
       VALUES (1, 2, 4, 0, 'CAP-RED'), (2, 2, 9, 1, 'CAP-BLUE')`,
    ),
  );
  afterAll(() => shop.stop());

  const amount = async (sku: string) =>
    Number((await sql(shop, `SELECT amount FROM xlite_products WHERE sku = '${sku}'`))[0]?.[0]);

  it('is found by its own settings, with its prefix and its transactions', async () => {
    const told = await askBridge<{ shopVersion: string; transactions: boolean; tables: { name: string }[] }>(
      shop,
      'ping',
      {},
    );
    expect(told).toMatchObject({ shopVersion: 'X-Cart 5', transactions: true });
    expect(told.tables.map(({ name }) => name)).toContain('xlite_products');
    const { findings } = await xCart.testConnection(connectionTo(shop), soon());
    expect(findings.join(' ')).toMatch(/"TWIN".*lowers a quantity to 0 at most/);
  });

  it('tells products and variants with an amount of their own, and what it does not track', async () => {
    const read = await readAll(xCart, connectionTo(shop), ['MUG', 'CAP', 'CAP-RED', 'CAP-BLUE', 'EBOOK', 'TWIN']);
    expect(Object.fromEntries(read)).toMatchObject({ MUG: 20, CAP: 5, 'CAP-RED': 4, EBOOK: null });
    expect([read.has('CAP-BLUE'), read.get('TWIN') ?? null]).toEqual([false, null]);
  });

  it('is changed by addition, once under one key, and never below what its column holds', async () => {
    const cart = connectionTo(shop);
    const lines = [
      { key: 'MUG', delta: -3 },
      { key: 'CAP-RED', delta: 2 },
      { key: 'CAP', delta: -6 },
      { key: 'EBOOK', delta: 1 },
      { key: 'TWIN', delta: 1 },
    ];
    const answers = await sendLines(xCart, cart, lines, soon(), 'delivery-5');
    expect(answers).toMatchObject([
      { outcome: 'applied', quantity: 17 },
      { outcome: 'applied', quantity: 6 },
      { outcome: 'rejected' },
      { outcome: 'not-tracked' },
      { outcome: 'rejected' },
    ]);
    expect(await sendLines(xCart, cart, lines, soon(), 'delivery-5')).toEqual(answers);
    expect([await amount('MUG'), await amount('CAP')]).toEqual([17, 5]);
    expect(await sendLines(xCart, cart, [{ key: 'MUG', delta: 1, from: 20 }])).toMatchObject([
      { outcome: 'stale', quantity: 17 },
    ]);
  });

  it('hides and shows a product', async () => {
    const request = { idempotencyKey: 'flag-5', createdAtMs: 0, rows: [{ key: 'MUG', visibility: 'hidden' as const }] };
    await xCart.setVisibility?.(connectionTo(shop), request, soon());
    expect(await sql(shop, `SELECT enabled FROM xlite_products WHERE sku = 'MUG'`)).toEqual([['0']]);
  });

  it('tells placed orders with their lines, cancelled and shipped ones as such, and no carts', async () => {
    await sql(
      shop,
      `INSERT INTO xlite_orders (order_id, payment_status_id, shipping_status_id, \`date\`, orderNumber, subtotal, is_order) VALUES
         (1, 4, 1, UNIX_TIMESTAMP() - 60, '00001', 30, 1), (2, 6, 1, UNIX_TIMESTAMP() - 60, '00002', 10, 1),
         (3, 4, 3, UNIX_TIMESTAMP() - 60, '00003', 10, 1), (4, NULL, NULL, UNIX_TIMESTAMP() - 60, NULL, 10, 0);
       INSERT INTO xlite_order_items (object_id, order_id, name, sku, price, amount) VALUES
         (1, 1, 'Mug', 'MUG', 10, 2), (2, 1, 'Cap, red', 'CAP-RED', 10, 1), (1, 2, 'Mug', 'MUG', 10, 1), (1, 3, 'Mug', 'MUG', 10, 1),
         (1, 4, 'Mug', 'MUG', 10, 1)`,
    );
    const page = await xCart.readOrders(connectionTo(shop), null, soon());
    expect(page.orders.map(({ number, state, lines }) => [number, state, lines.map(({ key, quantity }) => [key, quantity])])).toEqual([
      ['00001', 'open', [['MUG', 2], ['CAP-RED', 1]]],
      ['00002', 'cancelled', [['MUG', 1]]],
      ['00003', 'shipped', [['MUG', 1]]],
    ]); // prettier-ignore
    await sql(shop, 'UPDATE xlite_orders SET payment_status_id = 5 WHERE order_id = 1');
    expect((await xCart.readOrders(connectionTo(shop), page.mark, soon())).orders).toMatchObject([
      { number: '00001', state: 'cancelled' },
    ]);
  });
});
