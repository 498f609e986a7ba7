import fs from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { CartRejectedError } from '../../src/cart-workers/connectors/cart-error.js';
import { cartTypes, connectorFor } from '../../src/cart-workers/connectors/index.js';
import { parseOrderWebhook, verifyWebhook } from '../../src/cart-workers/connectors/webhook-protocol.js';
import { describeWithShopServers } from '../support/mariadb.js';
import { SAMPLE_SECRET, startShop, type Shop } from '../support/shops.js';
import { connectionTo, connectorContract, readAll, sendLines, soon, thrownBy } from './connector-contract.js';

connectorContract('seti', connectorFor('seti'));
connectorContract('webhook', connectorFor('webhook'));
describeWithShopServers('our bridges, on PHP and MariaDB', () => {
  connectorContract('oscommerce', connectorFor('oscommerce'), { oddStock: true });
  connectorContract('x-cart', connectorFor('x-cart'), { oddStock: true });
  // The same bridge, spoken to as Stone Edge Order Manager speaks to its scripts.
  connectorContract('oscommerce-seti', connectorFor('seti'), { oddStock: true });
});

describe('the table of cart types', () => {
  it('knows each type once and names the known ones for an unknown type', () => {
    expect(cartTypes().map(({ type }) => type)).toEqual(['seti', 'webhook', 'oscommerce', 'x-cart']);
    expect(() => connectorFor('abacus')).toThrow(/seti, webhook/);
  });
});

describe('a sample shop', () => {
  it('keeps what it has answered when it is killed, and cuts off a torn last line', async () => {
    const first = await startShop('seti', { items: [{ key: 'MUG', title: 'Mug', quantity: 10 }] });
    const { number } = await first.buy('MUG', 2);
    await first.kill();
    await fs.appendFile(path.join(first.dir, 'journal.jsonl'), '{"changes":[{"at":"2026');
    const second = await startShop('seti', { dir: first.dir });
    try {
      expect((await second.stock()).get('MUG')).toBe(8);
      expect(Number((await second.buy('MUG')).number)).toBe(Number(number) + 1);
      await second.kill();
      const third = await startShop('seti', { dir: first.dir });
      expect((await third.stock()).get('MUG')).toBe(7);
      await third.stop();
    } finally {
      await second.stop();
      await fs.rm(first.dir, { recursive: true, force: true });
    }
  });

  it('sells no more than it has, unless it takes back-orders', async () => {
    const shop = await startShop('webhook', { items: [{ key: 'MUG', title: 'Mug', quantity: 1 }] });
    try {
      await expect(shop.buy('MUG', 2)).rejects.toThrow(/sold out/);
      await shop.buyLines([{ key: 'MUG', quantity: 2 }], true);
      expect((await shop.stock()).get('MUG')).toBe(-1);
    } finally {
      await shop.stop();
    }
  });
});

describe('the seti connector alone', () => {
  const seti = connectorFor('seti');
  let shop: Shop;
  beforeAll(async () => void (shop = await startShop('seti', { items: [{ key: 'MUG', title: 'Mug', quantity: 10 }] })));
  afterAll(() => shop.stop());

  it('counts an OK that says "not found" as not found', async () => {
    await shop.faults({ okButNotFound: true });
    expect(await sendLines(seti, connectionTo(shop), [{ key: 'CAP', delta: -1 }])).toMatchObject([
      { outcome: 'not-found', response: expect.stringMatching(/OK;Note=SKU CAP was not found/) as string },
    ]);
  });

  it('says which SKU it cannot express, without a call', async () => {
    const before = (await shop.journal()).length;
    expect(
      await sendLines(seti, { ...connectionTo(shop), url: 'http://cart.invalid/' }, [{ key: 'A|B', delta: -1 }]),
    ).toMatchObject([{ outcome: 'rejected', response: expect.stringMatching(/"\|"/) as string }]);
    expect((await shop.journal()).length).toBe(before);
  });
});

describe('the webhook connector alone', () => {
  const webhook = connectorFor('webhook');
  let shop: Shop;
  beforeAll(
    async () =>
      void (shop = await startShop('webhook', {
        items: ['MUG', 'CAP'].map((key) => ({ key, title: key, quantity: 10 })),
      })),
  );
  afterAll(() => shop.stop());

  it('applies a resend with the same key once, across a cut answer and a killed shop', async () => {
    const cart = connectionTo(shop);
    const lines = [
      { key: 'MUG', delta: -1 },
      { key: 'CAP', delta: 2 },
      { key: 'HAT', delta: 1 },
    ];
    await shop.faults({ dropAfterApply: 1 });
    await thrownBy(sendLines(webhook, cart, lines, soon(), 'delivery-1'));
    const { dir } = shop;
    await shop.kill();
    shop = await startShop('webhook', { dir });
    const again = await sendLines(webhook, connectionTo(shop), lines, soon(), 'delivery-1');
    expect(again).toMatchObject([
      { outcome: 'applied', quantity: 9 },
      { outcome: 'applied', quantity: 12 },
      { outcome: 'not-found' },
    ]);
    expect(await readAll(webhook, connectionTo(shop), null)).toEqual(
      new Map([
        ['MUG', 9],
        ['CAP', 12],
      ]),
    );
    expect((await shop.journal()).filter(({ id }) => id === 'delivery-1')).toHaveLength(2);
  });

  it('is told when a key is used for another body', async () => {
    await sendLines(webhook, connectionTo(shop), [{ key: 'MUG', delta: -1 }], soon(), 'delivery-2');
    const error = await thrownBy(
      sendLines(webhook, connectionTo(shop), [{ key: 'MUG', delta: -2 }], soon(), 'delivery-2'),
    );
    expect(error).toBeInstanceOf(CartRejectedError);
    expect(error.response).toMatch(/409/);
  });

  it('hears of a sale, and of its cancel, although the hub failed at first', async () => {
    const heard: { number: string; revision: number; state: string }[] = [];
    let calls = 0;
    const hub = http.createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      calls += 1;
      const body = Buffer.concat(chunks);
      const parsed = parseOrderWebhook(body);
      const good = verifyWebhook(request.headers, body, SAMPLE_SECRET).valid && calls > 2 && 'order' in parsed;
      if (good) heard.push({ number: parsed.order.number, revision: parsed.order.revision, state: parsed.order.state });
      response.writeHead(good ? 204 : 500).end();
    });
    await new Promise<void>((resolve) => hub.listen(0, '127.0.0.1', resolve));
    try {
      const { number } = await shop.buy('CAP', 2);
      await shop.setHub(`http://127.0.0.1:${(hub.address() as AddressInfo).port}/orders`);
      await shop.cancel(number);
      await expect.poll(() => shop.outboxSize(), { timeout: 10_000 }).toBe(0);
      expect(heard).toEqual([
        { number, revision: 1, state: 'open' },
        { number, revision: 2, state: 'cancelled' },
      ]);
      expect((await shop.stock()).get('CAP')).toBe(12);
    } finally {
      hub.closeAllConnections();
      hub.close();
    }
  });
});
