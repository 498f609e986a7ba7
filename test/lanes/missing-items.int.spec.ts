import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { assertInvariants } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startOddScript, type OddScript } from '../support/odd-script.js';

const many = Array.from({ length: 120 }, (_, at) => `SKU-${at}`);

let hub: Harness;
let script: OddScript;
beforeAll(async () => {
  hub = await createHarness({ backend: 'postgres' });
  await hub.stockUp({ MUG: 5, ...Object.fromEntries(many.map((sku) => [sku, 2])) });
});
afterEach(async () => {
  await hub.quiet();
  await script.stop();
  await assertInvariants(hub.database);
});
afterAll(() => hub.close());

const connect = (cartId: string) =>
  hub.connect(cartId, { kind: 'seti', url: script.url, secret: 'secret', user: 'u', storeCode: '' });
const changed = () => script.calls.flatMap((call) => call.get('update') ?? []);
const deadLetters = (cartId: string) =>
  hub.rows<{ key: string; attempts: number; last_response: string }>(
    `SELECT key, attempts, last_response FROM web_stack WHERE cart_id = $1 AND state = 'dead-lettered' ORDER BY key`,
    cartId,
  );

// Broken once: a shop with three items was called once for each of the other hundred thousand.
describe('a large catalogue at a small shop', () => {
  it('is compared without a call for what the shop does not list, and reaches it once it is there', async () => {
    script = await startOddScript({ MUG: 3 });
    await connect('small');
    await hub.quiet();
    expect([changed(), script.stock.get('MUG')]).toEqual([['MUG~2'], 5]);
    const letters = await deadLetters('small');
    expect(letters).toHaveLength(many.length);
    expect(letters[0]).toEqual({
      key: 'SKU-0',
      attempts: 0,
      last_response: 'The cart does not list this item (not-found)',
    });
    script.stock.set('SKU-7', 0);
    await hub.qohTransfer.run({ cartId: 'small', direction: 'send' });
    await hub.quiet();
    expect([script.stock.get('SKU-7'), (await deadLetters('small')).length]).toEqual([2, many.length - 1]);
    await hub.ask({ type: 'SwitchCart', cartId: 'small', on: false });
  });

  it('finds all that is there although the pages have no fixed order', async () => {
    script = await startOddScript(Object.fromEntries(many.map((sku) => [sku, 2])), { unstable: true, pageMax: 25 });
    await connect('shuffled');
    await hub.quiet();
    expect((await deadLetters('shuffled')).map(({ key }) => key)).toEqual(['MUG']);
    expect(changed()).toEqual([]);
    await hub.ask({ type: 'SwitchCart', cartId: 'shuffled', on: false });
  });
});

describe('a SKU that two products of a shop share', () => {
  it('is told, not compared, and never set to what the first or the last of them shows', async () => {
    script = await startOddScript({ MUG: 3, 'SKU-1': 2 });
    script.doubles.push({ key: 'MUG', quantity: 40 });
    await hub.addCart('doubled', { kind: 'seti', url: script.url, secret: 'secret', user: 'u', storeCode: '' });
    await hub.ask({ type: 'MapListings', cartId: 'doubled', rows: ['MUG', 'SKU-1'].map((sku) => ({ key: sku, sku })) });
    const report = await hub.qohTransfer.run({ cartId: 'doubled', direction: 'send' });
    expect(report).toMatchObject({ doubled: ['MUG'], listings: 1, unsettled: [] });
    await hub.ask({ type: 'SwitchCart', cartId: 'doubled', on: true });
    await hub.ask({ type: 'ReceiveStock', sku: 'MUG', location: 'MAIN', quantity: 1 });
    await hub.quiet();
    expect([changed(), script.stock.get('MUG')]).toEqual([[], 3]);
    expect(await hub.rows('SELECT key, quantities FROM doubled_keys')).toEqual([{ key: 'MUG', quantities: [3, 40] }]);
    script.doubles.length = 0;
    await hub.qohTransfer.run({ cartId: 'doubled', direction: 'send' });
    await hub.quiet();
    expect([script.stock.get('MUG'), await hub.rows('SELECT key FROM doubled_keys')]).toEqual([6, []]);
    await hub.ask({ type: 'SwitchCart', cartId: 'doubled', on: false });
  });
});
