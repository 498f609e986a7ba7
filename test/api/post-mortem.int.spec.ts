import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Explanations } from '../../src/modules/explanations/explanations.js';
import { PostMortems } from '../../src/modules/explanations/post-mortems.js';
import { LedgerReads } from '../../src/modules/inventory/ledger-reads.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { assertInvariants } from '../projections/assert-invariants.js';

describe('the post-mortem of an order', () => {
  let hub: Harness;
  let shop: Shop;
  let postMortems: PostMortems;

  beforeAll(async () => {
    hub = await createHarness({ backend: 'postgres' });
    shop = await startShop('webhook', { items: [{ key: 'P', title: 'P', quantity: 3 }] });
    await hub.stockUp({ P: 3 });
    await hub.connect('a', shop);
    await hub.quiet();
    postMortems = new PostMortems(hub.database, new Explanations(hub.database, new LedgerReads(hub.database)));
  });
  afterAll(async () => {
    await hub.close();
    await shop.stop();
  });

  const order = async (number: string, quantity: number, sku = 'P') => {
    await hub.ask({
      type: 'ImportOrder',
      source: 'cart:a',
      number,
      revision: 1,
      state: 'open',
      lines: [{ line: '1', sku, key: sku, location: 'MAIN', quantity }],
      sighting: { after: null, by: new Date().toISOString() },
      cartMovesStock: { at: 'order', restocksOnCancel: true },
    });
    expect(await hub.projector.caughtUp(20_000)).toBe(true);
  };

  it('names what the cart showed, and the change that a paused lane kept from it', async () => {
    await hub.laneControl.pause('a', 'Ann', 'stocktaking');
    await hub.ask({ type: 'SellStock', sku: 'P', location: 'MAIN', quantity: 2 });
    await hub.projector.caughtUp(20_000);
    await order('7', 2);
    const told = await postMortems.of('cart:a', '7');
    expect(told?.lines).toMatchObject([
      {
        quantity: 2,
        onHandAfter: -1,
        tooMany: 1,
        showed: 3,
        shouldHaveShown: 1,
        lateRecords: [{ delta: -2, state: 'waiting' }],
      },
    ]);
    expect(told?.sentence).toMatch(
      /^Shop a, order 7, sold 2 of P in MAIN when 1 was there: 1 too many\. It showed 3 then, and was to show 1\. A change of −2, accepted .* before, has not reached it yet: it is waiting\.$/,
    );
    await hub.laneControl.resume('a');
    await hub.quiet();
    expect((await postMortems.of('cart:a', '7'))?.sentence).toMatch(/reached it .* after the sale\.$/);
    await assertInvariants(hub.database);
  });

  it('tells a change as it was at the sale, though the record took in more while it waited', async () => {
    // Received again while the change still waited, it was no decrease any more, and nothing was late.
    await hub.ask({ type: 'CountStock', sku: 'P', location: 'MAIN', quantity: 3 });
    await hub.quiet();
    await hub.laneControl.pause('a', 'Ann', 'stocktaking');
    await hub.ask({ type: 'SellStock', sku: 'P', location: 'MAIN', quantity: 2 });
    await hub.projector.caughtUp(20_000);
    await order('71', 2);
    const late = async () => (await postMortems.of('cart:a', '71'))?.lines[0];
    const before = await late();
    expect(before).toMatchObject({ showed: 3, shouldHaveShown: 1, lateRecords: [{ delta: -2, state: 'waiting' }] });
    await hub.ask({ type: 'ReceiveStock', sku: 'P', location: 'MAIN', quantity: 9 });
    await hub.projector.caughtUp(20_000);
    expect(await late()).toMatchObject({ sentence: before?.sentence, showed: 3, lateRecords: [{ delta: -2 }] });
    await hub.laneControl.resume('a');
    await hub.quiet();
    expect(await late()).toMatchObject({ showed: 3, lateRecords: [{ delta: -2, state: 'delivered' }] });
    await assertInvariants(hub.database);
  });

  it('knows what the cart showed while a change was accepted and not on the Web Stack yet', async () => {
    await hub.ask({ type: 'CountStock', sku: 'P', location: 'MAIN', quantity: 3 });
    await hub.quiet();
    const explanations = new Explanations(hub.database, new LedgerReads(hub.database));
    const client = await hub.database.pool.connect();
    let between: Date;
    try {
      // As a projector that is behind: the change stands in the log, and its record is not made.
      await client.query('BEGIN');
      await client.query(`SELECT FROM listings WHERE cart_id = 'a' AND key = 'P' FOR UPDATE`);
      await hub.ask({ type: 'SellStock', sku: 'P', location: 'MAIN', quantity: 2 });
      const { rows } = await client.query<{ now: Date }>('SELECT clock_timestamp() AS now');
      between = new Date((rows[0]?.now.getTime() ?? 0) + 1);
      await until('it is later', async () => Date.now() > between.getTime() + 5);
    } finally {
      await client.query('COMMIT');
      client.release();
    }
    await hub.quiet();
    const { carts } = await explanations.of('P', { cart: 'a', at: between, movements: 1 });
    expect(carts).toMatchObject([{ shows: 3, owed: -2, target: 1 }]);
  });

  it('says of an order that oversold nothing that it did not, and knows no order that was never told', async () => {
    await hub.ask({ type: 'ReceiveStock', sku: 'P', location: 'MAIN', quantity: 5 });
    await order('8', 1);
    expect((await postMortems.of('cart:a', '8'))?.sentence).toBe('Order 8 sold nothing that was not there.');
    expect(await postMortems.of('cart:a', '9')).toBeNull();
  });

  it('goes by all places that the cart sells together, and by what was missing of a kit', async () => {
    await hub.ask({ type: 'AddLocation', location: 'STORE', name: 'Store' });
    for (const sku of ['BOLT', 'SET']) await hub.ask({ type: 'CreateItem', sku, title: sku });
    await hub.ask({ type: 'ReceiveStock', sku: 'P', location: 'STORE', quantity: 2 });
    await hub.ask({ type: 'SetKit', sku: 'SET', components: [{ sku: 'BOLT', quantity: 3 }], by: 'Ann' });
    await hub.ask({ type: 'ReceiveStock', sku: 'BOLT', location: 'MAIN', quantity: 4 });
    await hub.ask({ type: 'ChangeCart', cartId: 'a', locations: ['MAIN', 'STORE'] });
    await hub.projector.caughtUp(20_000);
    const [main] = await hub.rows<{ n: number }>(
      `SELECT on_hand::int AS n FROM quantity_on_hand WHERE sku = 'P' AND location = 'MAIN'`,
    );
    const left = main?.n ?? 0;
    // More than MAIN has, and no more than MAIN and STORE have together.
    await order('20', left + 2);
    expect((await postMortems.of('cart:a', '20'))?.sentence).toBe('Order 20 sold nothing that was not there.');
    await order('21', 1);
    const oversold = await postMortems.of('cart:a', '21');
    expect(oversold?.lines).toMatchObject([{ onHandAfter: -1, tooMany: 1 }]);
    expect(oversold?.sentence).toMatch(/sold 1 of P in MAIN and STORE when 0 were there: 1 too many/);

    await order('22', 2, 'SET');
    const kit = await postMortems.of('cart:a', '22');
    expect(kit?.lines).toMatchObject([{ sku: 'SET', quantity: 2, onHandAfter: -2, tooMany: 1 }]);
    expect(kit?.sentence).toMatch(
      /^Order 22 sold 2 of SET in MAIN when 4 of BOLT, of which each takes 3, were there: 1/,
    );
  });
});
