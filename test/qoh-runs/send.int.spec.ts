import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { qohRunsOf } from './given.js';

const listings = 3_000;
const skus = Array.from({ length: listings }, (_, index) => `S-${String(index).padStart(4, '0')}`);

describe('a Send QOH of a whole cart', () => {
  let hub: Harness;
  let shop: Shop;
  let runs: ReturnType<typeof qohRunsOf>;

  beforeAll(async () => {
    hub = await createHarness({ backend: 'postgres', workers: false });
    shop = await startShop('webhook', { items: skus.map((key) => ({ key, title: key, quantity: 15 })) });
    await hub.ask({ type: 'AddLocation', location: 'MAIN', name: 'Main warehouse' });
    await Promise.all(skus.map((sku) => hub.ask({ type: 'CreateItem', sku, title: sku })));
    await Promise.all(skus.map((sku) => hub.ask({ type: 'CountStock', sku, location: 'MAIN', quantity: 20 })));
    await hub.addCart('shop', shop);
    await hub.ask({ type: 'SwitchCart', cartId: 'shop', on: true });
    for (let at = 0; at < skus.length; at += 1_000)
      await hub.ask({
        type: 'MapListings',
        cartId: 'shop',
        rows: skus.slice(at, at + 1_000).map((sku) => ({ key: sku, sku })),
      });
    await hub.projector.caughtUp(20_000);
    runs = qohRunsOf(hub);
  }, 60_000);
  afterAll(async () => {
    await hub.close();
    await shop.stop();
  });
  const agreed = async () => {
    await hub.orderImport.poll('shop');
    await hub.quiet(60_000);
    await assertInvariants(hub.database);
    await assertShopsAgree(hub.database, new Map([['shop', shop]]));
  };
  const told = async () => {
    const sums = new Map<string, number>();
    for (const { kind, key, delta } of await shop.journal())
      if (kind === 'delta') sums.set(key, (sums.get(key) ?? 0) + delta);
    return sums;
  };

  it('shows before what it would change, and changes nothing', async () => {
    const run = await runs.run('shop', 'send', { preview: true });
    expect(run).toMatchObject({ state: 'done', phase: 'looking', looked: listings, differing: listings, zeroed: 0 });
    expect((await runs.differences(run.id))[0]).toEqual({ key: 'S-0000', shown: 15, should: 20, direction: 'send' });
    expect(await hub.rows('SELECT key FROM listings WHERE baseline_at IS NOT NULL')).toEqual([]);
  });

  it('goes on where its killed process was, tells each listing what it lacks once, and beside it every sale and receipt ends right', async () => {
    const id = await runs.begin('shop', 'send');
    const worker = await hub.startWorkerProcess(id);
    const sold = new Set<string>();
    const trade = async (from: number) => {
      for (let n = from; n < from + 12; n += 1) {
        const sku = skus[(n * 247) % listings] as string;
        await shop.buy(sku, 2);
        sold.add(sku);
        await hub.ask({
          type: 'ReceiveStock',
          sku: skus[(n * 91) % listings] as string,
          location: 'MAIN',
          quantity: 3,
        });
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
    await runs.work(id);
    await trade(80);
    const done = await runs.found(id);
    expect(done).toMatchObject({ state: 'done', equal: listings, total: listings, notes: { unsettled: [] } });
    await agreed();
    // Five pieces each, and what was received beside: nothing was told twice.
    const received = new Map<string, number>();
    for (const n of [0, 40, 80].flatMap((from) => Array.from({ length: 12 }, (_, index) => from + index))) {
      const sku = skus[(n * 91) % listings] as string;
      received.set(sku, (received.get(sku) ?? 0) + 3);
    }
    const sums = await told();
    for (const sku of skus) expect([sku, sums.get(sku)]).toEqual([sku, 5 + (received.get(sku) ?? 0)]);
    expect(sold.size).toBeGreaterThan(30);
  }, 180_000);

  it('lets what changes meanwhile go first', async () => {
    await hub.startWorkerProcess();
    await hub.laneControl.pause('shop', 'test', null);
    await shop.load(skus.slice(0, 1_500).map((key) => ({ key, title: key, quantity: 12 })));
    const id = await runs.begin('shop', 'send');
    await runs.work(id);
    expect(await runs.found(id)).toMatchObject({ state: 'done' });
    const late = skus.at(-1) as string;
    await hub.ask({ type: 'AdjustStock', sku: late, location: 'MAIN', delta: 4, reason: 'found' });
    await hub.projector.caughtUp(20_000);
    await hub.laneControl.resume('shop');
    await agreed();
    const order = await hub.rows<{ key: string }>(
      `SELECT w.key FROM web_stack w JOIN deliveries d ON d.id = w.delivery_id
        WHERE w.ended_at IS NOT NULL AND w.created_at > (SELECT created_at FROM qoh_runs WHERE id = $1) ORDER BY d.created_at, w.behind, w.id LIMIT 1`,
      id,
    );
    expect(order).toEqual([{ key: late }]);
  }, 120_000);

  it('supersedes what waits for its listings, and only for those of its scope', async () => {
    const [one, two] = skus as [string, string, ...string[]];
    await hub.laneControl.pause('shop', 'test', null);
    for (const sku of [one, two])
      await hub.ask({ type: 'AdjustStock', sku, location: 'MAIN', delta: 7, reason: 'found' });
    await hub.projector.caughtUp(20_000);
    const run = await runs.run('shop', 'send', { skus: [one] });
    expect(run).toMatchObject({ state: 'done', total: 1, equal: 1 });
    const states = await hub.rows<{ key: string; state: string; delta: number; behind: boolean }>(
      `SELECT key, state, delta::int, behind FROM web_stack WHERE key = ANY ($1::text[]) AND (ended_at IS NULL OR state = 'superseded') ORDER BY key, id`,
      [one, two],
    );
    expect(states).toEqual([
      { key: one, state: 'superseded', delta: 7, behind: false },
      { key: one, state: 'waiting', delta: 7, behind: true },
      { key: two, state: 'waiting', delta: 7, behind: false },
    ]);
    await hub.laneControl.resume('shop');
    await agreed();
  });

  it('is held by the guard as a whole, changes nothing until it is let through, and leaves the way open for the rest', async () => {
    await shop.load(skus.slice(0, 1_200).map((key) => ({ key, title: key, quantity: 1 })));
    // Broken once: somebody's open transaction held the log back, and the run was judged by the guard from before.
    const holder = await hub.database.pool.connect();
    await holder.query('BEGIN; SELECT pg_current_xact_id()');
    await hub.ask({ type: 'ChangeCart', cartId: 'shop', guard: { listingsMax: 5_000, sharePercent: 30 } });
    const id = await runs.begin('shop', 'send');
    const working = runs.work(id);
    for (let turn = 0; turn < 20; turn += 1) await hub.directory.cart('shop');
    await holder.query('COMMIT');
    holder.release();
    expect(await working).toBe('held');
    const held = await runs.found(id);
    expect(held).toMatchObject({
      differing: 1_200,
      inflated: 1_200,
      zeroed: 0,
      equal: 0,
      why: '1200 of 3000 listings would be brought to zero or at least doubled; the guard lets 30 % pass',
    });
    const [push] = await hub.rows<{ push: string; state: string; kind: string }>(
      `SELECT push, state, kind FROM pushes WHERE state = 'held'`,
    );
    expect(push).toEqual({ push: `qoh-run:${id}/1`, state: 'held', kind: 'send' });
    const beside = skus.at(-2) as string;
    const before = (await shop.stock()).get(beside) as number;
    await hub.ask({ type: 'ReceiveStock', sku: beside, location: 'MAIN', quantity: 3 });
    await until('the receipt has gone', async () => (await shop.stock()).get(beside) === before + 3);
    expect((await shop.stock()).get('S-0000')).toBe(1);
    const decision = { cartId: 'shop', by: 'test', reason: 'they were edited' } as const;
    await hub.ask({ type: 'DecidePush', push: push!.push, verdict: 'let-through', ...decision });
    await hub.projector.caughtUp(20_000);
    expect(await runs.work(id)).toBe('done');
    await agreed();
  }, 120_000);

  it('rejected, nothing of it has happened', async () => {
    await shop.load(skus.slice(0, 1_200).map((key) => ({ key, title: key, quantity: 1 })));
    const id = await runs.begin('shop', 'send');
    expect(await runs.work(id)).toBe('held');
    const decision = { cartId: 'shop', by: 'test', reason: 'ask the shop first' } as const;
    await hub.ask({ type: 'DecidePush', push: `qoh-run:${id}/1`, verdict: 'rejected', ...decision });
    await hub.projector.caughtUp(20_000);
    expect(await runs.work(id)).toBe('cancelled');
    expect(await runs.found(id)).toMatchObject({ equal: 0, why: 'Rejected by test: ask the shop first' });
    expect(await hub.rows(`SELECT id FROM web_stack WHERE ended_at IS NULL`)).toEqual([]);
    expect((await shop.stock()).get('S-0000')).toBe(1);
  });

  it('cancelled, it begins nothing more; gone on with, it sends only what is left', async () => {
    await hub.ask({ type: 'ChangeCart', cartId: 'shop', guard: { listingsMax: 5_000, sharePercent: 100 } });
    await hub.projector.caughtUp(20_000);
    const id = await runs.begin('shop', 'send');
    const working = runs.work(id);
    await until('a part is equal', async () => (await runs.found(id)).equal >= 500, 60_000);
    await hub.rows(`UPDATE qoh_runs SET state = 'cancelled', ended_at = clock_timestamp() WHERE id = $1`, id);
    expect(await working).toBe('cancelled');
    const { equal } = await runs.found(id);
    expect(equal).toBeLessThan(listings);
    await hub.rows(`UPDATE qoh_runs SET state = 'running', ended_at = NULL WHERE id = $1`, id);
    expect(await runs.work(id)).toBe('done');
    await agreed();
    const again = await hub.rows<{ key: string }>(
      `SELECT key FROM web_stack WHERE cause->>'type' = 'ListingsBaselined' AND created_at > (SELECT created_at FROM qoh_runs WHERE id = $1)
        GROUP BY key HAVING count(*) > 1`,
      id,
    );
    expect(again).toEqual([]);
  }, 120_000);
});
