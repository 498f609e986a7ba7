import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { qohRunsOf } from './given.js';

const listings = 2_500;
const edited = 1_800;
const skus = Array.from({ length: listings }, (_, index) => `T-${String(index).padStart(4, '0')}`);

describe('a Get QOH of a whole cart', () => {
  let hub: Harness;
  let shop: Shop;
  let other: Shop;
  let runs: ReturnType<typeof qohRunsOf>;

  beforeAll(async () => {
    hub = await createHarness({ backend: 'postgres', workers: false });
    const items = skus.map((key) => ({ key, title: key, quantity: 20 }));
    [shop, other] = [await startShop('webhook', { items }), await startShop('webhook', { items })];
    await hub.ask({ type: 'AddLocation', location: 'MAIN', name: 'Main warehouse' });
    await Promise.all(skus.map((sku) => hub.ask({ type: 'CreateItem', sku, title: sku })));
    await Promise.all(skus.map((sku) => hub.ask({ type: 'CountStock', sku, location: 'MAIN', quantity: 20 })));
    await hub.connect('shop', shop);
    await hub.connect('other', other);
    await hub.projector.caughtUp(30_000);
    runs = qohRunsOf(hub);
  }, 120_000);
  afterAll(async () => {
    await hub.close();
    await Promise.all([shop.stop(), other.stop()]);
  });

  it('goes on where its killed process was, takes nothing over twice, and every other cart hears of it', async () => {
    // Three pieces more than there should be; somebody has counted there.
    await shop.load(skus.slice(0, edited).map((key) => ({ key, title: key, quantity: 23 })));
    const id = await runs.begin('shop', 'get');
    const worker = await hub.startWorkerProcess(id);
    const sold = new Map<string, number>();
    const trade = async (from: number) => {
      for (let n = from; n < from + 10; n += 1) {
        const sku = skus[(n * 149) % listings] as string;
        await (n % 2 === 0 ? shop : other).buy(sku, 2);
        sold.set(sku, (sold.get(sku) ?? 0) + 2);
      }
    };
    await trade(0);
    await until('a part is equal', async () => (await runs.found(id)).equal >= 500, 60_000);
    worker.kill('SIGKILL');
    const left = await runs.found(id);
    expect(left).toMatchObject({ state: 'running', phase: 'equalising' });
    expect(left.equal).toBeLessThan(listings);
    await trade(40);
    await hub.startWorkerProcess();
    expect(await runs.work(id)).toBe('done');
    expect(await runs.found(id)).toMatchObject({ equal: listings, total: listings, notes: { unsettled: [] } });
    await trade(80);
    for (const cartId of ['shop', 'other']) await hub.orderImport.poll(cartId);
    await hub.quiet(60_000);
    await assertInvariants(hub.database);
    await assertShopsAgree(
      hub.database,
      new Map([
        ['shop', shop],
        ['other', other],
      ]),
    );
    const onHand = await hub.rows<{ sku: string; pieces: number }>(
      'SELECT sku, on_hand::int AS pieces FROM quantity_on_hand ORDER BY sku',
    );
    expect(onHand.map(({ sku, pieces }) => [sku, pieces])).toEqual(
      skus.map((sku, at) => [sku, (at < edited ? 23 : 20) - (sold.get(sku) ?? 0)]),
    );
    const taken = await hub.rows<{ sku: string }>(
      `SELECT sku FROM events WHERE type = 'StockReset' AND delta <> 0 GROUP BY sku HAVING sum(delta) <> 3 OR count(*) <> 1`,
    );
    expect(taken).toEqual([]);
  }, 240_000);
});
