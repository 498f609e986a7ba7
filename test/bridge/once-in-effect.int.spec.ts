import { randomUUID } from 'node:crypto';

import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';

import { describeWithShopServers } from '../support/mariadb.js';
import { startShop, type Shop, type ShopKind } from '../support/shops.js';
import { until } from '../support/until.js';
import { askBridge, callBridge, Session, sql } from './shop-database.js';

interface Lines {
  readonly lines: readonly {
    readonly key: string;
    readonly status: string;
    readonly quantity?: number;
    readonly message?: string;
  }[];
}
const items = ['MUG', 'CAP', 'HAT'].map((key) => ({ key, title: key, quantity: 100 }));
const stockTable: Readonly<Record<string, string>> = { oscommerce: 'products', 'x-cart': 'xcart_products' };

/** Both families and both kinds of tables: with transactions, and without. */
const shops: readonly { name: string; kind: ShopKind; schema?: string; transactions: boolean }[] = [
  { name: 'osCommerce on InnoDB', kind: 'oscommerce', transactions: true },
  {
    name: 'osCommerce on MyISAM',
    kind: 'oscommerce',
    schema: 'ALTER TABLE products ENGINE=MyISAM; ALTER TABLE till_journal ENGINE=MyISAM;',
    transactions: false,
  },
  { name: 'X-Cart 4 on MyISAM', kind: 'x-cart', transactions: false },
];

describeWithShopServers('a change through the bridge', () => {
  for (const { name, kind, schema, transactions } of shops) {
    let shop: Shop;
    const deltasOf = async (key: string) =>
      (await shop.journal()).filter((change) => change.kind === 'delta' && change.key === key);

    // oxlint-disable-next-line vitest/require-top-level-describe
    describeWithShopServers(name, () => {
      beforeAll(async () => {
        shop = await startShop(kind, schema === undefined ? {} : { schema });
      });
      beforeEach(() => shop.load(items));
      afterAll(() => shop.stop());

      it('says which kind of tables it met', async () => {
        const told = await askBridge<{ transactions: boolean; tables: { engine: string }[] }>(shop, 'ping', {});
        expect(told.transactions).toBe(transactions);
        expect(told.tables.map(({ engine }) => engine)).toContain(transactions ? 'InnoDB' : 'MyISAM');
      });

      it('is made once by two hundred requests under one key, most of them at once, and each gets the same answer', async () => {
        const id = `same_${randomUUID()}`;
        const data = {
          lines: [
            { key: 'MUG', delta: -3 },
            { key: 'CAP', delta: 2 },
            { key: 'none', delta: 1 },
          ],
        };
        const first = await Promise.all(
          Array.from({ length: 20 }, () => callBridge(shop, 'stock.adjust', data, { id })),
        );
        const more: typeof first = [];
        for (let round = 0; round < 9; round += 1)
          more.push(
            ...(await Promise.all(Array.from({ length: 20 }, () => callBridge(shop, 'stock.adjust', data, { id })))),
          );
        const answers = [...first, ...more];
        expect(new Set(answers.map(({ status, text }) => `${status} ${text}`))).toEqual(
          new Set([
            '200 {"lines":[{"key":"MUG","status":"applied","quantity":97},{"key":"CAP","status":"applied","quantity":102},{"key":"none","status":"not-found"}]}',
          ]),
        );
        expect(Object.fromEntries(await shop.stock())).toMatchObject({ MUG: 97, CAP: 102, HAT: 100 });
      });

      it('is refused under a key that was used for another one', async () => {
        const id = `key_${randomUUID()}`;
        await askBridge(shop, 'stock.adjust', { lines: [{ key: 'MUG', delta: -1 }] }, id);
        const other = await callBridge(shop, 'stock.adjust', { lines: [{ key: 'MUG', delta: -2 }] }, { id });
        expect(other.status).toBe(409);
        expect((await shop.stock()).get('MUG')).toBe(99);
      });

      it('is compared and set in one step', async () => {
        const told = await askBridge<Lines>(shop, 'stock.adjust', {
          lines: [
            { key: 'MUG', delta: -1, from: 100 },
            { key: 'CAP', delta: -1, from: 7 },
          ],
        });
        expect(told.lines).toEqual([
          { key: 'MUG', status: 'applied', quantity: 99 },
          { key: 'CAP', status: 'stale', quantity: 100 },
        ]);
        expect(Object.fromEntries(await shop.stock())).toMatchObject({ MUG: 99, CAP: 100 });
      });

      it('adds up with all others that come at the same time, in whatever order they name their items', async () => {
        const before = (await deltasOf('MUG')).length;
        const keys = ['MUG', 'CAP', 'HAT'];
        const answers = await Promise.all(
          Array.from({ length: 60 }, (_, number) => {
            const order = number % 2 === 0 ? keys : keys.toReversed();
            return askBridge<Lines>(shop, 'stock.adjust', {
              lines: order.map((key) => ({ key, delta: number % 3 === 0 ? 2 : -1 })),
            });
          }),
        );
        expect(answers.flatMap(({ lines }) => lines).every(({ status }) => status === 'applied')).toBe(true);
        // 20 × +2 and 40 × −1.
        expect(Object.fromEntries(await shop.stock())).toEqual({ MUG: 100, CAP: 100, HAT: 100 });
        expect((await deltasOf('MUG')).length - before).toBe(60);
      });

      it('hides and shows an item with or without a change of its stock, and leaves other states alone', async () => {
        const [column, shown, hidden] = kind === 'x-cart' ? ['forsale', 'Y', 'N'] : ['products_status', '1', '0'];
        const state = async () =>
          (await sql(shop, `SELECT ${column} FROM ${stockTable[kind] ?? ''} ORDER BY 1`)).flat();
        await askBridge(shop, 'stock.visibility', { lines: [{ key: 'MUG', visibility: 'hidden' }] });
        expect((await state()).toSorted()).toEqual([hidden, shown, shown].toSorted());
        const told = await askBridge<Lines>(shop, 'stock.adjust', {
          lines: [{ key: 'MUG', delta: 4, visibility: 'shown' }],
        });
        expect(told.lines).toEqual([{ key: 'MUG', status: 'applied', quantity: 104 }]);
        expect(await state()).toEqual([shown, shown, shown]);
        if (kind !== 'x-cart') return;
        await sql(shop, `UPDATE xcart_products SET forsale = 'H' WHERE productcode = 'CAP'`);
        await askBridge(shop, 'stock.visibility', { lines: [{ key: 'CAP', visibility: 'shown' }] });
        expect((await state()).toSorted()).toEqual(['H', 'Y', 'Y']);
        await sql(shop, `UPDATE xcart_products SET forsale = 'Y'`);
      });

      it('that was cut before its end leaves nothing behind, and is made when it comes again', async () => {
        const id = `cut_${randomUUID()}`;
        const data = {
          lines: [
            { key: 'CAP', delta: -5 },
            { key: 'MUG', delta: -5 },
          ],
        };
        const holder = await Session.open(shop);
        // The second line runs into a lock, so the request hangs with its first line behind it.
        await holder.run(
          transactions
            ? `START TRANSACTION; SELECT * FROM products WHERE products_model = 'CAP' FOR UPDATE`
            : `SELECT GET_LOCK('hold', 5); LOCK TABLES ${stockTable[kind] ?? ''} READ`,
        );
        const lost = callBridge(shop, 'stock.adjust', data, { id }).catch(() => null);
        const [connection] = await until('the request hangs in the database', async () => {
          const rows = await sql(
            shop,
            `SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND INFO LIKE '${transactions ? '%FOR UPDATE%' : 'UPDATE%'}' AND ID <> CONNECTION_ID() AND COMMAND = 'Query' AND TIME_MS > 50`,
          );
          return rows[0];
        });
        await sql(shop, `KILL ${connection ?? ''}`);
        await lost;
        await holder.run(transactions ? 'ROLLBACK' : 'UNLOCK TABLES');
        await holder.close();
        expect(Object.fromEntries(await shop.stock())).toMatchObject({ MUG: 100, CAP: 100 });
        const again = await askBridge<Lines>(shop, 'stock.adjust', data, id);
        expect(again.lines.map(({ status, quantity }) => [status, quantity])).toEqual([
          ['applied', 95],
          ['applied', 95],
        ]);
        expect(await askBridge<Lines>(shop, 'stock.adjust', data, id)).toEqual(again);
      });

      it('whose answer was cut after its end is not made again', async () => {
        const id = `late_${randomUUID()}`;
        const data = { lines: [{ key: 'HAT', delta: -5 }] };
        await shop.faults({ dropAfterApply: 1 });
        await expect(callBridge(shop, 'stock.adjust', data, { id })).rejects.toThrow(/fetch failed/);
        expect(await askBridge<Lines>(shop, 'stock.adjust', data, id)).toEqual({
          lines: [{ key: 'HAT', status: 'applied', quantity: 95 }],
        });
        expect((await shop.stock()).get('HAT')).toBe(95);
      });

      it.runIf(!transactions)(
        'goes on behind the lines that were done when its program died between two of them',
        async () => {
          const id = `half_${randomUUID()}`;
          const data = {
            lines: [
              { key: 'MUG', delta: -1 },
              { key: 'HAT', delta: -1 },
            ],
          };
          const whole = await askBridge<Lines>(shop, 'stock.adjust', data, id);
          const own = `${kind === 'x-cart' ? 'xcart_' : ''}onhand_bridge_`;
          // What such a death leaves: the first line done and marked, the second one written down, no answer.
          await sql(
            shop,
            `UPDATE ${own}keys SET answer = NULL WHERE id = SHA2('${id}', 256); UPDATE ${own}changes SET done = 0 WHERE id = SHA2('${id}', 256) AND line = 1`,
          );
          expect(whole.lines.map(({ quantity }) => quantity)).toEqual([99, 99]);
          const again = await askBridge<Lines>(shop, 'stock.adjust', data, id);
          expect(again.lines.map(({ quantity }) => quantity)).toEqual([99, 98]);
        },
      );
    });
  }
});
