import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { LaneOpenings } from '../../src/cart-workers/lane-openings.js';
import { Explanations } from '../../src/modules/explanations/explanations.js';
import { LedgerReads } from '../../src/modules/inventory/ledger-reads.js';
import { LatencyReads } from '../../src/modules/web-stack/latency.js';
import { WebStackReads } from '../../src/modules/web-stack/web-stack-reads.js';
import type { Cadence } from '../../src/events/facts.js';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';

const onDemand: Cadence = { kind: 'on-demand' };
/** Its last moment was long ago and its next one is far away, whenever this runs. */
const leapDays: Cadence = { kind: 'cron', pattern: '0 0 29 2 *', timeZone: 'UTC' };
const skus = Array.from({ length: 24 }, (_, n) => `SKU-${n + 1}`);

let hub: Harness;
let paced: Shop;
let prompt: Shop;
let used = 0;

beforeAll(async () => {
  hub = await createHarness({ backend: 'postgres' });
  const items = skus.map((key) => ({ key, title: key, quantity: 10 }));
  [paced, prompt] = await Promise.all([startShop('webhook', { items }), startShop('webhook', { items })]);
  await hub.stockUp(Object.fromEntries(skus.map((sku) => [sku, 10])));
  const calls = { requestTimeoutMs: 2_000, quietTimeMs: 300 };
  await hub.connect('paced', paced, calls);
  await hub.connect('prompt', prompt, calls);
  await hub.quiet();
});
afterAll(async () => {
  await hub.close();
  await Promise.all([paced.stop(), prompt.stop()]);
});
afterEach(async () => {
  await Promise.all([paced.faults({}), prompt.faults({})]);
  await told({ kind: 'real-time' });
  await hub.laneControl.resume('paced');
  await hub.quiet();
  await assertInvariants(hub.database);
  await assertShopsAgree(
    hub.database,
    new Map([
      ['paced', paced],
      ['prompt', prompt],
    ]),
  );
});

const sku = () => skus[used++]!;
const told = async (cadence: Cadence) => {
  await hub.ask({ type: 'ChangeCart', cartId: 'paced', cadence });
  await hub.projector.caughtUp(10_000);
};
const receive = (key: string, quantity: number) =>
  hub.ask({ type: 'ReceiveStock', sku: key, location: 'MAIN', quantity });
/** The other cart was told of everything by now, through the same controller, so that the paced one could have been. */
const otherCartTold = async () => {
  await hub.projector.caughtUp(10_000);
  const left = `SELECT count(*)::int AS n FROM web_stack WHERE cart_id = 'prompt' AND ended_at IS NULL`;
  await expect.poll(async () => (await hub.rows<{ n: number }>(left))[0]?.n, { timeout: 20_000 }).toBe(0);
};
const statesOf = async (key: string) =>
  (
    await hub.rows<{ state: string }>(
      `SELECT state FROM web_stack WHERE cart_id = 'paced' AND key = $1 ORDER BY id`,
      key,
    )
  ).map(({ state }) => state);
const deltasOf = async (key: string) =>
  (await paced.journal()).filter((change) => change.kind === 'delta' && change.key === key).map(({ delta }) => delta);
const lane = async () => (await hub.laneControl.status('paced'))!;

it('leaves the waiting for the cadence out of latency', async () => {
  const key = sku();
  await told(onDemand);
  await receive(key, 1);
  await hub.projector.caughtUp(10_000);
  const hour = `interval '1 hour'`;
  await hub.rows(
    `UPDATE web_stack SET accepted_at = accepted_at - ${hour}, paced_at = paced_at - ${hour} WHERE cart_id = 'paced' AND key = $1`,
    key,
  );
  await hub.laneControl.sendNow('paced');
  await hub.quiet();
  const { maxMs } = (await new LatencyReads(hub.database).perCart(60)).find(({ cartId }) => cartId === 'paced')!;
  expect(maxMs).toBeLessThan(60_000);
});

it('holds what comes for a cart told on demand, merges it, and sends it when somebody says so', async () => {
  const [merged, cancelled] = [sku(), sku()];
  await told(onDemand);
  await receive(merged, 5);
  await receive(cancelled, 3);
  await hub.projector.caughtUp(10_000);
  await hub.ask({ type: 'SellStock', sku: merged, location: 'MAIN', quantity: 2 });
  await hub.ask({ type: 'SellStock', sku: cancelled, location: 'MAIN', quantity: 3 });
  await otherCartTold();
  expect(await deltasOf(merged)).toEqual([]);
  const held = await lane();
  expect(held).toMatchObject({ light: 'green', paced: held.waiting, oldestWaitingAt: null, nextMomentAt: null });
  const reads = new WebStackReads(hub.database);
  const net = await reads.net('paced', { limit: 10 });
  expect(net.data).toMatchObject([
    { key: merged, delta: 3, target: 13 },
    { key: cancelled, delta: 0, target: 10 },
  ]);
  expect((await reads.first('paced')).heldBackBy).toMatch(/on demand/);

  await hub.laneControl.sendNow('paced');
  await hub.quiet();
  expect(await deltasOf(merged)).toEqual([3]);
  expect(await deltasOf(cancelled)).toEqual([]);
  expect(await lane()).toMatchObject({ waiting: 0, paced: 0 });
});

it('sends nothing a second time when it is asked to send now again, and holds what comes after it', async () => {
  const [first, second] = [sku(), sku()];
  await told(onDemand);
  await receive(first, 1);
  await hub.projector.caughtUp(10_000);
  await Promise.all([hub.laneControl.sendNow('paced'), hub.laneControl.sendNow('paced')]);
  await hub.quiet();
  await receive(second, 1);
  await otherCartTold();
  expect(await deltasOf(first)).toEqual([1]);
  expect(await statesOf(second)).toEqual(['waiting']);
});

it('lets go at a moment of its pattern, missed while the hub was down, what was accepted before it, and nothing after', async () => {
  const [before, after] = [sku(), sku()];
  await told(leapDays);
  await receive(before, 4);
  await otherCartTold();
  expect(await statesOf(before)).toEqual(['waiting']);
  expect((await lane()).nextMomentAt).toMatch(/-02-29T00:00:00/);
  await hub.stopWorkers();
  // The clock goes on by years: for every process the last moment is one that nobody was there to see.
  await hub.rows(
    `UPDATE web_stack SET paced_at = '2019-01-01', accepted_at = '2019-01-01' WHERE cart_id = 'paced' AND key = $1`,
    before,
  );
  await hub.rows(`UPDATE lanes SET opened_at = '2017-01-01' WHERE cart_id = 'paced'`);
  await receive(after, 1);
  await hub.restartWorkers();
  await expect.poll(() => statesOf(before), { timeout: 20_000 }).toEqual(['delivered']);
  await otherCartTold();
  expect(await statesOf(after)).toEqual(['waiting']);
  expect((await lane()).openedAt).toMatch(/-02-29T00:00:00/);
});

it('never moves a lane’s opening back', async () => {
  await told(leapDays);
  await hub.laneControl.sendNow('paced');
  const { openedAt } = await lane();
  await new LaneOpenings(hub.database).open();
  expect((await lane()).openedAt).toBe(openedAt);
});

it('lets what came since go along with a listing that may leave, so that a cart never sees half of it', async () => {
  const key = sku();
  await told(onDemand);
  await hub.laneControl.pause('paced', 'test', null);
  await receive(key, 5);
  await hub.projector.caughtUp(10_000);
  await hub.laneControl.sendNow('paced');
  await hub.ask({ type: 'SellStock', sku: key, location: 'MAIN', quantity: 4 });
  await hub.projector.caughtUp(10_000);
  expect(await lane()).toMatchObject({ light: 'red', waiting: 2, paced: 1 });
  await hub.laneControl.resume('paced');
  await hub.quiet();
  expect(await deltasOf(key)).toEqual([1]);
});

it('does not hold a change that was sent and refused once, or what was accepted before the cadence', async () => {
  const [refused, early] = [sku(), sku()];
  await hub.laneControl.pause('paced', 'test', null);
  await receive(early, 2);
  await hub.projector.caughtUp(10_000);
  await told(onDemand);
  await hub.laneControl.resume('paced');
  await expect.poll(() => statesOf(early), { timeout: 20_000 }).toEqual(['delivered']);

  await receive(refused, 1);
  await hub.projector.caughtUp(10_000);
  await paced.faults({ throttle: 1 });
  await hub.laneControl.sendNow('paced');
  await hub.quiet();
  expect(await deltasOf(refused)).toEqual([1]);
});

it('does not hold a Send: it is a person’s word, and ends what waited', async () => {
  const key = sku();
  await told(onDemand);
  await receive(key, 7);
  await otherCartTold();
  await hub.qohTransfer.run({ cartId: 'paced', direction: 'send', keys: [key] });
  await hub.quiet();
  expect((await paced.stock()).get(key)).toBe(17);
  expect((await statesOf(key))[0]).toBe('superseded');
});

it('lets everything go when the cart is told at once again', async () => {
  const key = sku();
  await told(onDemand);
  await receive(key, 1);
  await otherCartTold();
  expect(await statesOf(key)).toEqual(['waiting']);
  await told({ kind: 'real-time' });
  await hub.quiet();
  expect(await deltasOf(key)).toEqual([1]);
});

it('still tells latencies when a change waited for years', async () => {
  // As an integer of milliseconds, 25 days were too much, and the page showed nothing of any cart.
  const key = sku();
  await hub.laneControl.pause('prompt', 'test', null);
  await receive(key, 1);
  await hub.projector.caughtUp(10_000);
  await hub.rows(`UPDATE web_stack SET accepted_at = '2020-01-01' WHERE cart_id = 'prompt' AND key = $1`, key);
  await hub.laneControl.resume('prompt');
  await hub.quiet();
  const { maxMs } = (await new LatencyReads(hub.database).perCart(60)).find(({ cartId }) => cartId === 'prompt')!;
  expect(maxMs).toBeGreaterThan(365 * 86_400_000);
});

it('is what an explanation names where a change waits for it', async () => {
  const explanations = new Explanations(hub.database, new LedgerReads(hub.database));
  const sentence = async (of: string) =>
    (await explanations.of(of, { cart: 'paced', at: null, movements: 1 })).carts[0]?.sentence;
  const key = sku();
  await told(leapDays);
  await receive(key, 2);
  await otherCartTold();
  expect(await sentence(key)).toMatch(
    /is owed to it\): .* is told at the moments of "0 0 29 2 \*" \(UTC\): the change waits for the next opening at \d{4}-02-29T00:00:00\.000Z\.$/,
  );
  await told(onDemand);
  expect(await sentence(key)).toMatch(/is told on demand: the change waits for `onhand carts send-now`\.$/);
  await hub.laneControl.sendNow('paced');
  await hub.quiet();
  expect(await sentence(key)).not.toMatch(/waits/);
});
