import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { QohTransfer } from '../../src/cart-workers/qoh-transfer.js';
import type { CommandEnvelope } from '../../src/events/commands.js';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';

/**
 * Get takes over what a shop shows beyond what it should show. Between its looking and its fact others go on: what they
 * record then was once undone by it, or taken over twice.
 */
describe('Get QOH while others record', () => {
  let hub: Harness;
  let shop: Shop;
  const skus = ['LATE', 'OWN', 'SOLD'];
  const onHandAtFirst = 20;
  const changedByHand = 1_000;

  beforeAll(async () => {
    const redisUrl = inject('redisUrl');
    hub = await createHarness({ backend: redisUrl === '' ? 'postgres' : { redisUrl } });
    await hub.stockUp(Object.fromEntries(skus.map((sku) => [sku, onHandAtFirst])));
    shop = await startShop('webhook', {
      items: skus.map((key) => ({ key, title: key, quantity: onHandAtFirst })),
    });
    await hub.connect('web', shop);
    await hub.quiet();
  });
  afterEach(async () => {
    await hub.orderImport.poll('web');
    await hub.quiet();
    await assertInvariants(hub.database);
    await assertShopsAgree(hub.database, new Map([['web', shop]]));
  });
  afterAll(async () => {
    await hub.close();
    await shop.stop();
  });

  /**
   * @param meanwhile happens once, when the command of the first baseline is ready and before it is decided
   * @param afterwards happens once, when it is in the log
   */
  async function get(
    sku: string,
    meanwhile: () => Promise<unknown>,
    afterwards: () => Promise<unknown> = () => Promise.resolve(),
  ): Promise<void> {
    await shop.load([{ key: sku, title: sku, quantity: onHandAtFirst + changedByHand }]);
    let done = false;
    const submit = async ({ command }: CommandEnvelope) => {
      if (command.type !== 'BaselineListings' || done) return hub.ask(command);
      done = true;
      await meanwhile();
      const outcome = await hub.ask(command);
      await afterwards();
      return outcome;
    };
    const transfer = new QohTransfer({
      database: hub.database,
      batcher: { submit } as ConstructorParameters<typeof QohTransfer>[0]['batcher'],
      directory: hub.directory,
      orderImport: hub.orderImport,
      caughtUp: (timeoutMs) => hub.projector.caughtUp(timeoutMs),
    });
    expect(await transfer.run({ cartId: 'web', direction: 'get', keys: [sku] })).toMatchObject({ unsettled: [] });
  }
  const onHand = async (sku: string) => {
    await hub.projector.caughtUp(10_000);
    const [row] = await hub.rows<{ n: number }>('SELECT on_hand::int AS n FROM quantity_on_hand WHERE sku = $1', sku);
    return row?.n;
  };
  const told = async (sku: string) => {
    const order = await shop.buy(sku, 3);
    await hub.orderImport.importOrder('web', order, { after: null, by: '' });
  };

  it('keeps a movement of earlier that is recorded at that moment', async () => {
    // After the count that the hub began with, before the reading.
    const occurredAt = new Date().toISOString();
    await get('LATE', () => hub.ask({ type: 'AdjustStock', sku: 'LATE', location: 'MAIN', delta: 7, occurredAt }));
    expect(await onHand('LATE')).toBe(onHandAtFirst + changedByHand + 7);
  });

  it('takes a sale of the shop, told at that moment, once', async () => {
    await get('OWN', () => told('OWN'));
    expect(await onHand('OWN')).toBe(onHandAtFirst + changedByHand - 3);
  });

  it('takes over once what it cannot make a baseline of, because something was sold after the fact', async () => {
    // What an order leaves that was told before the fact and sighted after the reading.
    const sightOfASale = async () => {
      const { rows } = await hub.database.pool.query<{ at: Date }>('SELECT clock_timestamp() AS at');
      await hub.rows(
        `INSERT INTO echoes (cart_id, key, delta, order_number, line, seen_after, seen_by, applied, expected_delta)
         VALUES ('web', 'SOLD', 0, 'x', '1', NULL, $1, true, 0)`,
        rows[0]?.at,
      );
    };
    await get('SOLD', sightOfASale, () =>
      hub.ask({ type: 'ReceiveStock', sku: 'SOLD', location: 'MAIN', quantity: 7 }),
    );
    expect(await onHand('SOLD')).toBe(onHandAtFirst + changedByHand + 7);
  });
});
