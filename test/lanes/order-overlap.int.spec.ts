import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { assertInvariants } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startOddScript, type OddScript } from '../support/odd-script.js';

let hub: Harness;
let script: OddScript;
let carts = 0;
let cartId: string;
beforeAll(async () => {
  hub = await createHarness({ backend: 'postgres', workers: false });
  await hub.stockUp({ MUG: 100 });
});
afterEach(async () => {
  await hub.projector.caughtUp(10_000);
  await script.stop();
  await assertInvariants(hub.database);
});
afterAll(() => hub.close());

async function cartWithOrders(numbers: readonly string[], odd = {}): Promise<void> {
  script = await startOddScript({ MUG: 100 }, odd);
  for (const number of numbers) script.sell('MUG', 1, number);
  cartId = `cart-${(carts += 1)}`;
  await hub.addCart(cartId, { kind: 'seti', url: script.url, secret: 'secret', user: 'u', storeCode: '' });
  await hub.orderImport.poll(cartId);
}
const poll = (wanted = false) => hub.orderImport.poll(cartId, { wanted });
const imported = async () =>
  (
    await hub.rows<{ number: string }>('SELECT number FROM orders WHERE source = $1 ORDER BY number', `cart:${cartId}`)
  ).map(({ number }) => number);
const asked = () =>
  script.calls.filter((call) => call.get('setifunction') === 'downloadorders').map((call) => call.get('lastorder'));

describe('the orders of a script', () => {
  it('an order that comes up behind the mark is not skipped', async () => {
    await cartWithOrders(['1001', '1002']);
    script.sell('MUG', 1, '1004');
    expect(await poll()).toMatchObject({ orders: 1, mark: '1004' });
    script.sell('MUG', 2, '1003');
    expect(await poll()).toMatchObject({ orders: 0, mark: '1004' });
    const late = await poll(true);
    expect([late.orders, late.mark, [...late.keys]]).toEqual([1, '1004', ['MUG']]);
    await hub.projector.caughtUp(10_000);
    expect(await imported()).toEqual(['1003', '1004']);
  });

  it('orders that are told again count once, and nothing of them is new', async () => {
    await cartWithOrders(['1001']);
    for (let number = 1002; number < 1030; number += 1) script.sell('MUG', 1, String(number));
    expect((await poll()).orders).toBe(28);
    expect(await poll(true)).toMatchObject({ orders: 0, keys: new Set() });
    expect(asked().at(-2)).toBe('1019');
    await hub.projector.caughtUp(10_000);
    expect(await imported()).toHaveLength(28);
  });

  it('a cancel that the script tells by telling the order again is heard', async () => {
    await cartWithOrders(['1001']);
    script.sell('MUG', 3, '1002');
    await poll();
    script.orders[1] = { ...script.orders[1]!, status: 'cancelled' };
    expect((await poll(true)).orders).toBe(1);
    await hub.projector.caughtUp(10_000);
    const states = await hub.rows('SELECT number, state FROM orders WHERE source = $1', `cart:${cartId}`);
    expect(states).toEqual([{ number: '1002', state: 'cancelled' }]);
  });

  it('what was sold before the cart was connected stays out, also where a script that lost its place tells everything', async () => {
    await cartWithOrders(['1001', '1002', '1003'], { looksOrderUp: true });
    script.sell('MUG', 1, '1004');
    await poll();
    // The order that the next poll asks behind is deleted in the shop.
    script.orders.splice(3, 1);
    script.sell('MUG', 1, '1005');
    await poll();
    await hub.projector.caughtUp(10_000);
    expect(await imported()).toEqual(['1004', '1005']);
  });
});
