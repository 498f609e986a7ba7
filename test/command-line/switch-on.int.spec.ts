import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { ownerKey, startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { runHere, type CliResult } from './run-cli.js';

/** Twelve items, of which the hub has fifteen each, but none of the last five; the shop shows ten of each. */
const skus = Array.from({ length: 12 }, (_, at) => `S-${String(at).padStart(2, '0')}`);
const gone = skus.slice(7);

let hub: HubUnderTest;
let shop: Shop;
beforeAll(async () => {
  hub = await startHubUnderTest();
  shop = await startShop('webhook', { items: skus.map((key) => ({ key, title: key, quantity: 10 })) });
  await hub.call('POST', '/v1/locations', { location: 'main', name: 'Main' });
  await hub.call('POST', '/v1/items/batch', { items: skus.map((sku) => ({ sku, title: sku })) });
  for (const sku of skus.slice(0, 7))
    await hub.call('POST', '/v1/movements', { kind: 'received', sku, location: 'main', quantity: 15 });
  const { url, secret } = shop;
  await hub.call('POST', '/v1/carts', { id: 'shop', name: 'Shop', type: 'webhook', url, secret, locations: ['main'] });
  await hub.call('PUT', '/v1/carts/shop/listings', { allItems: true });
});
afterAll(async () => {
  await hub.close();
  await shop.stop();
});

async function onhand(...args: string[]): Promise<CliResult> {
  await hub.hub.app.get(Projector).caughtUp(10_000);
  return runHere(args, { ONHAND_URL: hub.url, ONHAND_API_KEY: ownerKey });
}
const shown = async () => Object.fromEntries(await shop.stock());
const all = (of: readonly string[], quantity: number) => Object.fromEntries(of.map((sku) => [sku, quantity]));
const shows = (wanted: Readonly<Record<string, number>>) =>
  until(`the shop shows ${JSON.stringify(wanted)}`, async () => {
    const stock = await shop.stock();
    return Object.entries(wanted).every(([sku, quantity]) => stock.get(sku) === quantity);
  });
const cart = async () => {
  const { switches, synchronised } = (await hub.call('GET', '/v1/carts/shop')).body;
  return { on: switches.cartSwitch === 'on', synchronised: synchronised as number };
};

describe('onhand carts switch-on', () => {
  it('tests, compares and says how to go on, and changes nothing before somebody has said who is right', async () => {
    const { code, out, err } = await onhand('carts', 'switch-on', 'shop');
    expect([code, out]).toEqual([
      0,
      expect.stringMatching(/^12 listings looked at; 12 would change, 5 of them to zero/),
    ]);
    expect(err).toContain('onhand carts switch-on shop --right hub');
    expect(err).toContain('onhand carts switch-on shop --right cart');
    expect(await cart()).toEqual({ on: false, synchronised: 0 });
    expect(await shown()).toEqual(all(skus, 10));
  });

  it('stops where the guard holds it, with the command that lets it through, and leaves the cart off', async () => {
    const { code, out } = await onhand('carts', 'switch-on', 'shop', '--right', 'hub');
    expect(code).not.toBe(0);
    const [, push] = /onhand pushes let-through "([^"]+)" shop/.exec(out) ?? [];
    expect(push).toMatch(/^qoh-run:/);
    expect([(await cart()).on, await shown()]).toEqual([false, all(skus, 10)]);
    const reject = await onhand('pushes', 'reject', push!, 'shop', '--reason', 'those are in the shop', '--yes');
    expect(reject.code).toBe(0);
  });

  it('applies what was chosen, in all and per item, and switches it on; only then it is told', async () => {
    const { code, err } = await onhand('carts', 'switch-on', 'shop', '--right', 'hub', '--otherwise', ...gone);
    expect([code, err]).toEqual([0, expect.stringContaining('shop is switched on')]);
    await shows({ ...all(skus, 15), ...all(gone, 10) });
    expect(await cart()).toEqual({ on: true, synchronised: 12 });
    expect((await hub.call('GET', `/v1/items/${gone[0]}`)).body.onHand).toBe(10);
  });

  it('after off ends what waits, and leads through a comparison again', async () => {
    await onhand('carts', 'pause', 'shop', '--reason', 'a test');
    await onhand('receive', 'S-00', '4', '-l', 'main');
    const waiting = async () => (await hub.call('GET', '/v1/web-stack?cart=shop&state=waiting')).body.data.length;
    await until('it waits', async () => (await waiting()) === 1);
    expect((await onhand('carts', 'off', 'shop', '--yes')).code).toBe(0);
    await until('nothing waits', async () => (await waiting()) === 0);
    expect((await onhand('carts', 'resume', 'shop')).code).toBe(0);
    const again = await onhand('carts', 'switch-on', 'shop', '--right', 'hub');
    expect([again.code, await cart()]).toMatchObject([0, { on: true, synchronised: 12 }]);
    await shows({ ...all(skus, 15), ...all(gone, 10), 'S-00': 19 });
  });

  it('says what is wrong with a shop that does not answer, and switches nothing on', async () => {
    await onhand('carts', 'off', 'shop', '--yes');
    await shop.faults({ refuse: true, scope: 'all' });
    const { code, err } = await onhand('carts', 'switch-on', 'shop', '--right', 'hub');
    expect([code === 0, (await cart()).on]).toEqual([false, false]);
    expect(err).toMatch(/503|closed for maintenance/);
    await shop.faults({});
  });
});
