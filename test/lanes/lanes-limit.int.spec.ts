import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';

describe('one lane too many on PostgreSQL', () => {
  let hub: Harness;
  let a: Shop;
  let b: Shop;
  const noLane = {
    light: 'off',
    why: expect.stringMatching(/^No lane is left for this cart: 1 lane is open.*Set REDIS_URL.*ONHAND_LANES_MAX/),
  };

  beforeAll(async () => {
    hub = await createHarness({ backend: 'postgres', lanesMax: 1 });
    const items = [{ key: 'CUP', title: 'Cup', quantity: 10 }];
    [a, b] = await Promise.all([startShop('webhook', { items }), startShop('webhook', { items })]);
    await hub.stockUp({ CUP: 10 });
    await hub.connect('a', a);
    await until('the first cart has the lane', () => hub.runtime().laneQueues().length === 1);
    await hub.connect('b', b);
  });
  afterAll(async () => {
    await hub?.close();
    await Promise.all([a, b].map((shop) => shop?.stop()));
  });

  const receiveOne = () => hub.ask({ type: 'ReceiveStock', sku: 'CUP', location: 'MAIN', quantity: 1 });
  const shows = (shop: Shop, quantity: number) =>
    until(`${shop.url} shows ${quantity}`, async () => (await shop.stock()).get('CUP') === quantity);

  it('is refused in the log and in the status of the lane, with a sentence that names REDIS_URL', async () => {
    await expect.poll(() => hub.laneControl.status('b')).toMatchObject(noLane);
    expect(await hub.laneControl.status('a')).toMatchObject({ light: 'green', why: null });
    expect(hub.errors()).toEqual([expect.stringMatching(/^Cart b gets no lane in this process: .*Set REDIS_URL/)]);
    expect(
      hub
        .runtime()
        .laneQueues()
        .map(({ name }) => name),
    ).toEqual(['lane-a']);
  });

  it('keeps what is owed to it, and holds up nobody else', async () => {
    await receiveOne();
    await shows(a, 11);
    expect(await hub.laneControl.status('b')).toMatchObject({ ...noLane, waiting: 1, inFlight: 0 });
    expect((await b.stock()).get('CUP')).toBe(10);
  });

  it('is not refused any more once another worker has a lane for it, and again when that one is gone', async () => {
    // This one has room for eight.
    const other = await hub.startWorkerProcess();
    await shows(b, 11);
    expect(await hub.laneControl.status('b')).toMatchObject({ light: 'green', why: null, waiting: 0 });
    other.kill('SIGKILL');
    await expect.poll(() => hub.laneControl.status('b')).toMatchObject(noLane);
  });
});
