import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { assertInvariants } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startOddScript, type Oddities, type OddScript } from '../support/odd-script.js';
import { qohRunsOf } from './given.js';

const items = Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`O-${String(at).padStart(2, '0')}`, 12]));
const skus = Object.keys(items);

let hub: Harness;
let script: OddScript;
let runs: ReturnType<typeof qohRunsOf>;
let carts = 0;
beforeAll(async () => {
  hub = await createHarness({ backend: 'postgres' });
  await hub.stockUp(items);
  runs = qohRunsOf(hub);
});
afterEach(async () => {
  await assertInvariants(hub.database);
  await script.stop();
});
afterAll(() => hub.close());

/** A cart at a script that shows ten of everything, where twelve are on hand. */
async function cartAt(odd: Oddities, { listingStable = true } = {}): Promise<string> {
  script = await startOddScript(Object.fromEntries(skus.map((sku) => [sku, 10])), { pageMax: 7, ...odd });
  const cartId = `odd-${(carts += 1)}`;
  await hub.addCart(cartId, { kind: 'seti', url: script.url, secret: 'secret', user: 'u', storeCode: '' });
  await hub.ask({ type: 'MapListings', cartId, rows: skus.map((sku) => ({ key: sku, sku })) });
  const found = {
    delivery: null,
    clampsAtZero: null,
    tildeInKeys: null,
    listingStable,
    unknownAnsweredOk: null,
    losesParallelChanges: null,
    functionsMissing: [],
    unusable: null,
  };
  const at = { probeId: 'test', at: new Date().toISOString(), scriptVersion: '5.900', url: script.url, storeCode: '' };
  const probe = { ...at, cartId, key: 'O-00', found, findings: [], evidence: [], by: 'test' };
  await hub.ask({ type: 'RecordProbe', probe });
  await hub.ask({ type: 'SwitchCart', cartId, on: true });
  await hub.projector.caughtUp(10_000);
  return cartId;
}
const off = (cartId: string) => hub.ask({ type: 'SwitchCart', cartId, on: false });

describe('a cart of which two products share a SKU', () => {
  it('has it left out and named by a look, a Send and a Get, and everything else made equal', async () => {
    const cartId = await cartAt({});
    script.doubles.push({ key: 'O-07', quantity: 33 });
    const preview = await runs.run(cartId, 'send', { preview: true });
    expect(preview).toMatchObject({ state: 'done', differing: 39, notes: { doubled: ['O-07'] } });
    const sent = await runs.run(cartId, 'send');
    expect(sent).toMatchObject({
      state: 'done',
      equal: 39,
      notes: { doubled: ['O-07'], unsettled: [], notListed: [] },
    });
    await hub.quiet();
    expect(Object.fromEntries(script.stock)).toEqual({ ...items, 'O-07': 10 });
    // Somebody counts two more of everything there.
    for (const sku of skus) script.stock.set(sku, 14);
    const got = await runs.run(cartId, 'get');
    expect(got).toMatchObject({ state: 'done', notes: { doubled: ['O-07'], unsettled: [] } });
    await hub.quiet();
    const onHand = await hub.rows<{ sku: string; pieces: number }>(
      'SELECT sku, on_hand::int AS pieces FROM quantity_on_hand ORDER BY sku',
    );
    expect(onHand.map(({ pieces }) => pieces)).toEqual(skus.map((sku) => (sku === 'O-07' ? 12 : 14)));
    await off(cartId);
    await Promise.all(skus.map((sku) => hub.ask({ type: 'CountStock', sku, location: 'MAIN', quantity: 12 })));
  });
});

describe('a cart whose listing leaves items out', () => {
  // Broken once: what no reading had shown was taken to show nothing, and told all there is on top of what it had.
  it('has what it shows made equal, and what it does not show named and left as it is', async () => {
    const cartId = await cartAt({ hides: ['O-03', 'O-31'] }, { listingStable: false });
    const sent = await runs.run(cartId, 'send');
    expect(sent).toMatchObject({ state: 'done', equal: 38, notes: { unsettled: ['O-03', 'O-31'], notListed: [] } });
    await hub.quiet();
    expect(Object.fromEntries(script.stock)).toEqual({ ...items, 'O-03': 10, 'O-31': 10 });
    expect(
      script.calls.flatMap((call) => call.get('update') ?? []).filter((update) => /^O-(03|31)~/.test(update)),
    ).toEqual([]);
    await off(cartId);
  });

  it('has all of it made equal once every item was seen, in whatever order its pages come', async () => {
    const cartId = await cartAt({ unstable: true }, { listingStable: false });
    for (let sends = 0; sends < 8; sends += 1) {
      const sent = await runs.run(cartId, 'send');
      expect(sent).toMatchObject({ state: 'done' });
      await hub.quiet();
      for (const sku of skus) expect([10, 12]).toContain(script.stock.get(sku));
      if (sent.notes.unsettled.length === 0) break;
    }
    expect(Object.fromEntries(script.stock)).toEqual(items);
    await off(cartId);
  });
});
