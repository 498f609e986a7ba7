import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
