import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommandBatcher } from '../../src/events/command-batcher.js';
import type { Command } from '../../src/events/commands.js';
import { Projector } from '../../src/projections/projector.js';
import { ownerKey, startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { runHere, type CliResult } from './run-cli.js';

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
  await onhand('locations', 'add', 'main', 'Main warehouse');
  await onhand('locations', 'add', 'shop', 'Shop');
});
afterAll(() => hub.close());

async function onhand(...args: string[]): Promise<CliResult> {
  await hub.hub.app.get(Projector).caughtUp(10_000);
  return runHere(args, { ONHAND_URL: hub.url, ONHAND_API_KEY: ownerKey });
}

describe('orders that no cart took', () => {
  it('are placed and edited by phone, wait for pieces, and are filled after a receipt', async () => {
    await onhand('items', 'create', 'BOWL', 'Bowl');
    const place = ['orders', 'place', 'B-1', 'BOWL=3', '-l', 'main'];
    expect((await onhand(...place, '--dry-run')).out).toContain('if the order is new');
    expect(await onhand(...place)).toMatchObject({ code: 0, out: expect.stringContaining('-3  on hand -3') });
    expect((await onhand('orders', 'place', 'B-1', 'BOWL=2', '-l', 'main', '--revision', '2')).out).toContain(
      'on hand -2',
    );
    await onhand('orders', 'place', 'B-1', 'BOWL=1', '-l', 'main', '--origin', 'store');
    const waiting = await onhand('orders', 'open-lines', '--state', 'waiting', '--sku', 'BOWL');
    expect(waiting.out).toMatch(/B-1 +\(phone\) +1 +BOWL +main .+ 2 +0 +2\nB-1 +\(store\) .+ 1 +0 +1\n/);
    expect((await onhand('orders', 'fill', 'B-1', '1=1')).err).toContain('0 of BOWL are at main, not 1');

    await onhand('receive', 'BOWL', '2', '-l', 'main', '--reference', 'purchase-order:PO-8:1');
    expect(
      JSON.parse((await onhand('orders', 'open-lines', '--state', 'fillable', '--sku', 'BOWL', '--json')).out).data,
    ).toMatchObject([{ number: 'B-1', origin: 'phone', open: 2, there: 2, missing: 0 }]);
    expect((await onhand('orders', 'fill', 'B-1')).out).toContain('OrderLineClosed  BOWL at main  0  on hand -1');
    expect((await onhand('orders', 'show', 'B-1')).out).toMatch(/State +shipped[^]*BOWL +2 +0\n/);
    expect((await onhand('orders', 'show', 'B-1', '--origin', 'store')).out).toMatch(/Cart +\(store\)/);
    expect((await onhand('movements', 'purchase-order:PO-8')).out).toMatch(/StockReceived +1 +BOWL +main +\+2/);
    expect((await onhand('movements', 'purchase-order:PO-8', '--totals')).out).toMatch(
      /BOWL +main +StockReceived +1 +2 +\+2/,
    );
  });
});

describe('an order that sold too much', () => {
  const record = (command: Command) =>
    hub.hub.app.get(CommandBatcher).submit({ client: 'test', idempotencyKey: null, bodyHash: null, command });

  it('is explained: which cart sold it, what it showed, and which change had not reached it', async () => {
    await onhand('items', 'create', 'VASE', 'Vase');
    await onhand('receive', 'VASE', '3', '-l', 'main');
    const cart = { id: 'shop', name: 'Shop', type: 'webhook', url: 'http://127.0.0.1:9/onhand', locations: ['main'] };
    await hub.call('POST', '/v1/carts', { ...cart, secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}` });
    await record({ type: 'MapListings', cartId: 'shop', rows: [{ key: 'VASE', sku: 'VASE' }] });
    await record({ type: 'SwitchCart', cartId: 'shop', on: true });
    const rows = [{ key: 'VASE', sku: 'VASE', quantity: 3 }];
    const at = new Date().toISOString();
    await record({ type: 'BaselineListings', cartId: 'shop', kind: 'write', at, mark: null, rows });
    await onhand('carts', 'pause', 'shop', '--reason', 'stocktaking');
    await onhand('sell', 'VASE', '2', '-l', 'main');
    const order: Command = {
      type: 'ImportOrder',
      source: 'cart:shop',
      number: '7001',
      revision: 1,
      state: 'open',
      lines: [{ line: '1', sku: 'VASE', key: 'VASE', location: 'main', quantity: 2 }],
      sighting: { after: null, by: new Date().toISOString() },
      cartMovesStock: { at: 'order', restocksOnCancel: true },
    };
    await hub.hub.app.get(Projector).caughtUp(10_000);
    await record(order);
    const told = await onhand('orders', 'post-mortem', '7001', '--cart', 'shop');
    expect([told.code, told.err]).toEqual([0, '']);
    expect(told.out).toMatch(
      /^Shop, order 7001, sold 2 of VASE in main when 1 was there: 1 too many\. It showed 3 then, and was to show 1\. A change of −2, accepted .*: it is waiting\.\n/,
    );
    const { lines } = JSON.parse((await onhand('orders', 'post-mortem', '7001', '--cart', 'shop', '--json')).out);
    expect(lines).toMatchObject([{ tooMany: 1, showed: 3, shouldHaveShown: 1, lateRecords: [{ delta: -2 }] }]);
    await onhand('receive', 'VASE', '5', '-l', 'main');
    await record({ ...order, number: '7002', lines: [{ ...order.lines[0]!, quantity: 1 }] });
    expect(await onhand('orders', 'post-mortem', '7002', '--cart', 'shop')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Order 7002 sold nothing that was not there\.\n/),
    });
    expect(await onhand('orders', 'post-mortem', '7003', '--cart', 'shop')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/no order "7003"/),
    });
  });
});
