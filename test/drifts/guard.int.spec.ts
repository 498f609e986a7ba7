import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startProgrammedCart, type ProgrammedCart } from '../lanes/programmed-cart.js';
import { assertInvariants } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { until } from '../support/until.js';

const skus = Array.from({ length: 12 }, (_, index) => `G-${String(index).padStart(2, '0')}`);

describe('the guard', () => {
  let hub: Harness;
  let shop: ProgrammedCart;

  beforeAll(async () => {
    hub = await createHarness({ backend: 'postgres' });
    shop = await startProgrammedCart(new Map(skus.map((sku) => [sku, 10])));
    await hub.stockUp(Object.fromEntries(skus.map((sku) => [sku, 10])));
    await hub.ask({ type: 'AddLocation', location: 'EMPTY', name: 'An empty warehouse' });
    await hub.connect('shop', shop.shop);
    await hub.quiet();
  });
  afterAll(async () => {
    await hub.close();
    await shop.stop();
  });
  afterEach(() => assertInvariants(hub.database));

  const pushes = () =>
    hub.rows<{
      push: string;
      state: string;
      kind: string;
      changed: number;
      zeroed: number;
      inflated: number;
      why: string;
    }>('SELECT push, state, kind, changed, zeroed, inflated, why FROM pushes ORDER BY opened_at');
  const held = () => until('a push is held', async () => (await pushes()).findLast(({ state }) => state === 'held'));
  const at = (location: string) =>
    hub.ask({ type: 'ChangeCart', cartId: 'shop', locations: [location], orderLocation: location });
  const decide = async (push: string, verdict: 'let-through' | 'rejected') => {
    await hub.ask({ type: 'DecidePush', push, cartId: 'shop', verdict, by: 'test', reason: 'because' });
    await hub.projector.caughtUp(10_000);
  };
  const shown = () => [...shop.quantities.values()];

  it('holds a change as a whole that would empty too much of a cart, while everything else goes on', async () => {
    await at('EMPTY');
    const push = await held();
    expect(push).toMatchObject({
      kind: 'settings',
      changed: 12,
      zeroed: 12,
      inflated: 0,
      why: '12 of 12 listings would be brought to zero or at least doubled; the guard lets 30 % pass',
    });
    await hub.ask({ type: 'ReceiveStock', sku: 'G-00', location: 'EMPTY', quantity: 3 });
    await until('the receipt has gone', () => shop.quantities.get('G-00') === 13);
    expect(shown().filter((quantity) => quantity === 10)).toHaveLength(11);
    await decide(push.push, 'let-through');
    await hub.quiet();
    expect(shown()).toEqual([3, ...skus.slice(1).map(() => 0)]);
  });

  it('rejects it by telling its listings nothing more until they are compared', async () => {
    await at('MAIN');
    const push = await held();
    expect(push).toMatchObject({ changed: 12, inflated: 12 });
    await decide(push.push, 'rejected');
    await hub.ask({ type: 'ReceiveStock', sku: 'G-01', location: 'MAIN', quantity: 1 });
    await hub.quiet();
    expect(shown()).toEqual([3, ...skus.slice(1).map(() => 0)]);
    await hub.qohTransfer.run({ cartId: 'shop', direction: 'send' });
    await hub.quiet();
    expect(shown()).toEqual([10, 11, ...skus.slice(2).map(() => 10)]);
  });

  it('lets pass what the cart’s guard allows', async () => {
    await hub.ask({ type: 'ChangeCart', cartId: 'shop', guard: { listingsMax: 1_000, sharePercent: 100 } });
    await at('EMPTY');
    await hub.projector.caughtUp(10_000);
    await until('it went', () => shown().every((quantity) => quantity <= 3));
    expect((await pushes()).at(-1)).toMatchObject({ state: 'passed', why: null });
    await hub.quiet();
  });

  it('holds by the number of listings, too', async () => {
    await hub.ask({ type: 'ChangeCart', cartId: 'shop', guard: { listingsMax: 5, sharePercent: 100 } });
    await at('MAIN');
    const push = await held();
    expect(push.why).toBe('12 listings would be brought to zero or at least doubled; the guard lets 5 pass');
    await decide(push.push, 'let-through');
    await hub.quiet();
    expect(shown()).toEqual([10, 11, ...skus.slice(2).map(() => 10)]);
  });
});
