import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CartProbes } from '../../src/cart-workers/cart-probes.js';
import { OrderImport } from '../../src/cart-workers/order-import.js';
import { CommandBatcher } from '../../src/events/command-batcher.js';
import { EventStore } from '../../src/events/event-store.js';
import type { CartSettings } from '../../src/events/facts.js';
import { assertInvariants } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startOddScript, type Oddities, type OddScript } from '../support/odd-script.js';

const byDate = { ignoresNumbers: true, byDate: { separator: '-', besideAll: true } } as const;

let hub: Harness;
let probes: CartProbes;
let script: OddScript;
let carts = 0;
let cartId: string;
beforeAll(async () => {
  hub = await createHarness({ backend: 'postgres', workers: false });
  await hub.stockUp({ MUG: 100 });
  const { database, directory } = hub;
  probes = new CartProbes({ database, directory, batcher: new CommandBatcher(new EventStore(database.pool)) });
});
afterEach(async () => {
  await hub.projector.caughtUp(10_000);
  await script.stop();
  await assertInvariants(hub.database);
});
afterAll(() => hub.close());

type Sold = readonly (readonly [number: string, date: string])[];

/** A probed cart with these orders, before its first poll. */
async function cartWith(orders: Sold, odd: Oddities = byDate, settings: Partial<CartSettings> = {}): Promise<void> {
  script = await startOddScript({ MUG: 100 }, odd);
  for (const [number, date] of orders) script.sell('MUG', 1, number, date);
  cartId = `cart-${(carts += 1)}`;
  const shop = { kind: 'seti', url: script.url, secret: 'secret', user: 'u', storeCode: '' } as const;
  await hub.addCart(cartId, shop, settings);
  const { id } = await probes.ask(cartId, { key: 'MUG', belowZero: false, parallel: false }, 'test');
  await probes.run(id);
  await hub.projector.caughtUp(10_000);
}
const poll = (wanted = false) => hub.orderImport.poll(cartId, { wanted });
const imported = async () => {
  await hub.projector.caughtUp(10_000);
  const sql = 'SELECT number, state FROM orders WHERE source = $1 ORDER BY number';
  return (await hub.rows<{ number: string; state: string }>(sql, `cart:${cartId}`)).map(
    ({ number, state }) => `${number} ${state}`,
  );
};
const lastAsked = () => script.calls.findLast((call) => call.get('setifunction') === 'downloadorders');

describe('a script that is asked for its orders by date', () => {
  it('tells its new ones, however their numbers look, and what was there before stays out', async () => {
    await cartWith([['W-1', '01-Jun-2026'], ['W-3', '10-Jun-2026']]); // prettier-ignore
    await poll();
    expect(await imported()).toEqual([]);
    script.sell('MUG', 2, 'W-2', '10-Jun-2026');
    script.sell('MUG', 1, 'X-9', '11-Jun-2026');
    expect((await poll()).orders).toBe(2);
    expect(lastAsked()?.get('lastdate')).toBe('08-Jun-2026');
    expect((await poll()).orders).toBe(0);
    expect(lastAsked()?.get('lastdate')).toBe('09-Jun-2026');
    expect(await imported()).toEqual(['W-2 open', 'X-9 open']);
  });

  it('tells one that came up late, an edit and a cancel of the days before, each once', async () => {
    await cartWith([['A', '10-Jun-2026']]);
    await poll();
    script.sell('MUG', 3, 'C', '12-Jun-2026');
    await poll();
    script.sell('MUG', 1, 'B', '11-Jun-2026');
    expect((await poll()).orders).toBe(1);
    script.orders[1] = { ...script.orders[1]!, status: 'cancelled' };
    script.orders[2] = { ...script.orders[2]!, lines: [{ key: 'MUG', quantity: 5 }] };
    expect(await poll()).toMatchObject({ orders: 2, keys: new Set(['MUG']) });
    expect((await poll()).orders).toBe(0);
    expect(await imported()).toEqual(['B open', 'C cancelled']);
  });

  it('skips none of a script that means "after that day", nor after an order that is dated in the future', async () => {
    await cartWith([['A', '10-Jun-2026']], { ignoresNumbers: true, byDate: { separator: '/', besideAll: false, after: true } });
    await poll();
    script.sell('MUG', 1, 'B', '10-Jun-2026');
    await poll();
    script.sell('MUG', 1, 'C', '10-Jun-2099');
    await poll();
    const today = new Date().toUTCString().slice(5, 16);
    script.sell('MUG', 1, 'D', today);
    await poll();
    expect(await imported()).toEqual(['B open', 'C open', 'D open']);
  }); // prettier-ignore

  // Broken once: a process that had heard the first edit took the order for known when it was edited back.
  it('is heard as it is now, whichever process heard of it before', async () => {
    await cartWith([['A', '10-Jun-2026']]);
    const { database, directory } = hub;
    const another = new OrderImport(database, new CommandBatcher(new EventStore(database.pool)), directory);
    await poll();
    script.sell('MUG', 2, 'B', '11-Jun-2026');
    const edit = (quantity: number) => {
      script.orders[1] = { ...script.orders[1]!, lines: [{ key: 'MUG', quantity }] };
    };
    await poll();
    await poll();
    edit(5);
    await another.poll(cartId);
    edit(2);
    await poll();
    await poll();
    await hub.projector.caughtUp(10_000);
    expect(
      await hub.rows(
        `SELECT state->'lines'->0->'quantity' AS quantity FROM stream_heads WHERE stream = $1`,
        `order:cart:${cartId}/B`,
      ),
    ).toEqual([{ quantity: 2 }]);
  });

  it('tells many pages, and one that breaks off begins again without a gap', async () => {
    await cartWith([['A', '10-Jun-2026']]);
    await poll();
    for (let at = 0; at < 230; at += 1) script.sell('MUG', 1, `N-${at}`, '11-Jun-2026');
    let calls = 0;
    script.beforeCall = (name) => {
      if (name === 'downloadorders' && (calls += 1) === 2) script.odd = { ...script.odd, lacks: ['downloadorders'] };
    };
    await expect(poll()).rejects.toMatchObject({ response: expect.stringMatching(/downloadorders/) });
    script.odd = byDate;
    script.beforeCall = () => undefined;
    await poll();
    expect(await imported()).toHaveLength(230);
  });

  it('that was asked by number before goes on without a gap or an old order', async () => {
    await cartWith([['A', '10-Jun-2026'], ['B', '11-Jun-2026']], { looksOrderUp: true }); // prettier-ignore
    await poll();
    script.odd = byDate;
    const { id } = await probes.ask(cartId, { key: 'MUG', belowZero: false, parallel: false }, 'test');
    await probes.run(id);
    script.sell('MUG', 1, 'C', new Date().toUTCString().slice(5, 16).replaceAll(' ', '-'));
    await hub.projector.caughtUp(10_000);
    await poll();
    expect(await imported()).toEqual(['C open']);
  });
});

describe('older orders that a cart is to tell at its first poll', () => {
  const four: Sold = [['1', '01-Jun-2026'], ['2', '02-Jun-2026'], ['3', '03-Jun-2026'], ['4', '04-Jun-2026']]; // prettier-ignore
  it.each([
    ['above a number, asked by number', {}, { number: '2' }],
    ['above a number, asked by date', byDate, { number: '2' }],
    ['since a day, asked by number', {}, { date: '2026-06-03' }],
    ['since a day, asked by date', byDate, { date: '2026-06-03' }],
  ] as const)('%s', async (_how, odd, ordersFrom) => {
    await cartWith(four, odd, { ordersFrom });
    expect((await poll()).orders).toBe(2);
    script.sell('MUG', 1, '5', '05-Jun-2026');
    await poll();
    await poll(true);
    expect(await imported()).toEqual(['3 open', '4 open', '5 open']);
  });
});
