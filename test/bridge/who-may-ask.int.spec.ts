import { randomUUID } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { describeWithShopServers, testMariadb } from '../support/mariadb.js';
import { startShop, type Shop } from '../support/shops.js';
import { askBridge, callBridge, sql } from './shop-database.js';

const items = [{ key: 'MUG', title: 'Mug', quantity: 10 }];
const line = { lines: [{ key: 'MUG', delta: -1 }] };

describeWithShopServers('who asks a bridge', () => {
  let shop: Shop;
  beforeAll(async () => {
    shop = await startShop('oscommerce', { items });
  });
  afterAll(() => shop.stop());

  const left = async () => (await shop.stock()).get('MUG');

  it.each<[string, Parameters<typeof callBridge>[3], number, RegExp]>([
    [
      'with another body than the signed one',
      { body: '{"type":"stock.adjust","data":{"lines":[{"key":"MUG","delta":-9}]}}' },
      401,
      /signature does not fit/,
    ],
    ['with another id than the signed one', { headers: { 'webhook-id': 'other' } }, 401, /signature does not fit/],
    [
      'with another time than the signed one',
      { headers: { 'webhook-timestamp': String(Math.floor(Date.now() / 1000) - 1) } },
      401,
      /signature does not fit/,
    ],
    ['with a copy that is older than five minutes', { nowMs: Date.now() - 6 * 60_000 }, 401, /too old/],
    ['from a clock that is more than five minutes ahead', { nowMs: Date.now() + 6 * 60_000 }, 401, /too old/],
    ['without a signature', { headers: { 'webhook-signature': '' } }, 401, /not signed/],
    [
      'with a signature of another kind',
      { headers: { 'webhook-signature': 'v2,AAAA v1a,BBBB v1,' } },
      401,
      /signature does not fit/,
    ],
    ['with a time that is none', { headers: { 'webhook-timestamp': '1e9' } }, 401, /not signed/],
  ])('%s is refused, and nothing changes', async (_what, odd, status, words) => {
    const answered = await callBridge(shop, 'stock.adjust', line, odd);
    expect([answered.status, answered.text]).toEqual([status, expect.stringMatching(words)]);
    expect(await left()).toBe(10);
  });

  it.each<[string, unknown, RegExp]>([
    ['no lines', {}, /1 to 500/],
    ['too many lines', { lines: Array.from({ length: 501 }, (_, n) => ({ key: `K${n}`, delta: 1 })) }, /1 to 500/],
    ['a line without a key', { lines: [{ delta: 1 }] }, /needs the key/],
    ['a number in quotes', { lines: [{ key: 'MUG', delta: '-1' }] }, /whole number/],
    ['half a piece', { lines: [{ key: 'MUG', delta: 0.5 }] }, /whole number/],
    ['a number that no column holds', { lines: [{ key: 'MUG', delta: 3_000_000_000 }] }, /whole number/],
    [
      'an item twice',
      {
        lines: [
          { key: 'MUG', delta: 1 },
          { key: 'MUG', delta: 1 },
        ],
      },
      /named twice/,
    ],
    ['a state that is none', { lines: [{ key: 'MUG', delta: 1, visibility: 'gone' }] }, /visibility/],
  ])('%s is refused before anything is changed', async (_what, data, words) => {
    const answered = await callBridge(shop, 'stock.adjust', data);
    expect([answered.status, answered.text]).toEqual([400, expect.stringMatching(words)]);
    expect(await left()).toBe(10);
  });

  it('finds nothing by a key that is a piece of a statement, in any field', async () => {
    const evil = `x' OR '1'='1' -- `;
    expect(await askBridge(shop, 'stock.adjust', { lines: [{ key: evil, delta: -1 }] })).toEqual({
      lines: [{ key: evil, status: 'not-found' }],
    });
    expect(await askBridge(shop, 'stock.read', { keys: [evil, `MUG\\' OR 1=1#`] })).toEqual({
      rows: [],
      nextCursor: null,
    });
    for (const [type, data] of [
      ['stock.read', { cursor: '0:1 OR 1=1' }],
      ['stock.changed', { since: `1' OR '1` }],
      ['orders.list', { since: '0 UNION SELECT 1' }],
    ] as const)
      expect((await callBridge(shop, type, data)).status).toBe(400);
    await askBridge(shop, 'stock.adjust', { lines: [{ key: 'MUG', delta: -1 }] }, `id'; DROP TABLE products; --`);
    expect(await left()).toBe(9);
    await shop.load(items);
  });

  it('tells the opener of its page nothing of the shop, and no robot to come again', async () => {
    const response = await fetch(shop.url);
    const text = await response.text();
    expect([response.status, text]).toEqual([200, expect.stringContaining('Ready')]);
    expect(text).not.toContain('whsec_');
    expect(response.headers.get('x-powered-by')).toBeNull();
  });

  it('shows no password, path or statement when the database is away or a table is missing', async () => {
    const access = await testMariadb();
    const settings = path.join(shop.dir, 'www/includes/configure.php');
    const good = await fs.readFile(settings, 'utf8');
    try {
      await fs.writeFile(settings, good.replace(`:${access.port}'`, `:1'`));
      const away = await callBridge(shop, 'stock.adjust', line);
      await fs.writeFile(settings, good.replace(access.password, 'wr0ng-pass'));
      const denied = await callBridge(shop, 'stock.adjust', line);
      await fs.writeFile(settings, `<?php this is no PHP '${access.password}'`);
      const broken = await callBridge(shop, 'stock.adjust', line);
      await fs.writeFile(settings, good);
      await sql(shop, 'RENAME TABLE orders TO hidden_orders');
      const missing = await callBridge(shop, 'orders.list', { since: null });
      await sql(shop, 'RENAME TABLE hidden_orders TO orders');
      expect([away.status, denied.status, broken.status, missing.status]).toEqual([503, 503, 500, 500]);
      for (const { text } of [away, denied, broken, missing]) {
        expect(JSON.parse(text)).toHaveProperty('error');
        expect(text).not.toMatch(new RegExp(`${access.password}|wr0ng-pass|shops|SELECT|/www/|configure`, 'i'));
      }
      expect(missing.text).toMatch(/1146/);
    } finally {
      await fs.writeFile(settings, good);
    }
    expect(await left()).toBe(10);
  });

  it('answers in whole although the shop’s own files print, warn, redirect and set cookies', async () => {
    const settings = path.join(shop.dir, 'www/includes/configure.php');
    const good = await fs.readFile(settings, 'utf8');
    try {
      await fs.writeFile(
        settings,
        good.replace(
          '<?php',
          `\uFEFF\n<?php echo 'a line'; ini_set('display_errors', '1'); echo $nothing; header('Location: install/'); setcookie('a', 'b');`,
        ),
      );
      const { status, text, headers } = await callBridge(shop, 'stock.read', { keys: ['MUG'] });
      expect([status, JSON.parse(text)]).toEqual([200, { rows: [{ key: 'MUG', quantity: 10 }], nextCursor: null }]);
      expect([headers.get('location'), headers.get('set-cookie')]).toEqual([null, null]);
    } finally {
      await fs.writeFile(settings, good);
    }
  });

  describe('over http', () => {
    it('is refused unless that is allowed, and believed of a proxy only where the settings say so', async () => {
      const closed = await startShop('oscommerce', { settings: { allow_http: 'false' } });
      const proxied = await startShop('oscommerce', {
        settings: { allow_http: 'false', trust_forwarded_proto: 'true' },
      });
      try {
        const told = { headers: { 'x-forwarded-proto': 'https' } };
        expect((await callBridge(closed, 'ping', {})).text).toMatch(/https only/);
        expect((await callBridge(closed, 'ping', {}, told)).status).toBe(403);
        // Whoever opens it in a browser reads a page that says what to do.
        const page = await fetch(closed.url);
        expect([page.status, page.headers.get('content-type')]).toEqual([403, 'text/html; charset=utf-8']);
        expect(await page.text()).toMatch(
          /<p class="bad">This address answers over https only: put https:\/\/ before it/,
        );
        expect((await callBridge(proxied, 'ping', {})).status).toBe(403);
        expect((await callBridge(proxied, 'ping', {}, told)).status).toBe(200);
      } finally {
        await Promise.all([closed.stop(), proxied.stop()]);
      }
    });
  });

  describe('before it is set up, and when it is to go', () => {
    it('offers another code at each visit, keeps none, and answers nothing else', async () => {
      const fresh = await startShop('oscommerce', { settings: { secret: `''` } });
      try {
        const codes = await Promise.all(
          [0, 1].map(async () => /whsec_[A-Za-z0-9+/=]{44}/.exec(await (await fetch(fresh.url)).text())?.[0]),
        );
        expect(new Set(codes).size).toBe(2);
        expect(codes).not.toContain(undefined);
        expect((await callBridge(fresh, 'ping', {})).text).toMatch(/not set up/);
      } finally {
        await fresh.stop();
      }
    });

    it('takes a short secret for none', async () => {
      const weak = await startShop('oscommerce', { settings: { secret: `'whsec_YWJj'` } });
      try {
        expect((await callBridge(weak, 'ping', {})).status).toBe(403);
      } finally {
        await weak.stop();
      }
    });

    it('removes its own tables and leaves the shop’s as they are', async () => {
      const leaving = await startShop('x-cart', { items, settings: { uninstall: 'true' } });
      try {
        const tables = async () => (await sql(leaving, 'SHOW TABLES')).flat();
        await askBridge(leaving, 'stock.adjust', line, `id_${randomUUID()}`);
        expect((await tables()).filter((name) => name.includes('onhand'))).toHaveLength(5);
        expect(await (await fetch(leaving.url)).text()).toContain('Removed');
        expect((await tables()).filter((name) => name.includes('onhand'))).toEqual([]);
        expect((await leaving.stock()).get('MUG')).toBe(9);
      } finally {
        await leaving.stop();
      }
    });
  });
});
