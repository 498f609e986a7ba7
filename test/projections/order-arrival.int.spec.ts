import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CartOrder } from '../../src/cart-workers/connectors/connector.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { assertInvariants } from './assert-invariants.js';

const skus = ['A', 'B'] as const;
const seed = 20260306;

/** Webhook and poll tell the same orders at the same time, each of them in an order and with sightings of its own. */
describe('orders told by webhook and by poll at once', () => {
  let hub: Harness;
  let shop: Shop;
  let run = 0;

  beforeAll(async () => {
    hub = await createHarness({ backend: 'postgres' });
    shop = await startShop('webhook', { items: skus.map((key) => ({ key, title: key, quantity: 50 })) });
    await hub.stockUp({ A: 50, B: 50 });
    await hub.connect('a', shop);
    await hub.quiet();
  });
  afterAll(async () => {
    await hub.close();
    await shop.stop();
  });

  const quantities = fc.array(fc.tuple(fc.nat({ max: 4 }), fc.nat({ max: 4 })), { minLength: 1, maxLength: 3 });
  const lives = fc.array(fc.record({ quantities, cancelled: fc.boolean() }), { minLength: 2, maxLength: 3 });
  const history = lives.chain((all) => {
    const revisions = all.flatMap((life, order) => revisionsOf(life, order));
    const shuffled = fc.shuffledSubarray(revisions, { minLength: revisions.length });
    return fc.record({ lives: fc.constant(all), webhook: shuffled, poll: shuffled });
  });

  it('move stock once, leave the open lines of their last revision, and nothing of it is sent back', async () => {
    console.log(`order arrival: seed ${seed}`);
    await fc.assert(
      fc.asyncProperty(history, async ({ lives: all, webhook, poll }) => {
        const before = await state();
        const prefix = `R${(run += 1)}-`;
        const tell = async (orders: readonly CartOrder[], by: 'webhook' | 'poll') => {
          for (const order of orders) {
            const number = `${prefix}${order.number}`;
            const sighting = { after: by === 'poll' ? '2026-01-01T00:00:00.000Z' : null, by: '' };
            const key = by === 'webhook' ? `${number}-${order.revision}` : null;
            await hub.orderImport.importOrder('a', { ...order, number }, sighting, key);
          }
        };
        await Promise.all([tell(webhook, 'webhook'), tell(poll, 'poll'), tell(poll, 'webhook')]);
        await hub.projector.caughtUp(10_000);

        const ends = all.filter(({ cancelled }) => !cancelled).map((life) => life.quantities.at(-1)!);
        const sold = skus.map((_, at) => ends.reduce((sum, end) => sum + end[at]!, 0));
        const after = await state();
        expect(after.onHand).toEqual(before.onHand.map((was, at) => was - sold[at]!));
        expect(after.expected).toEqual(before.expected.map((was, at) => was - sold[at]!));
        expect(after.records).toBe(before.records);
        const open = await hub.rows<{ pieces: string }>(
          `SELECT coalesce(sum(open), 0) AS pieces FROM open_order_lines WHERE number LIKE $1`,
          `${prefix}%`,
        );
        expect(Number(open[0]!.pieces)).toBe(sold[0]! + sold[1]!);
        await assertInvariants(hub.database);
        // The next history begins with full shelves, here and in the shop's own mind.
        for (const [at, sku] of skus.entries()) {
          if (sold[at]! > 0) await hub.ask({ type: 'AdjustStock', sku, location: 'MAIN', delta: sold[at]! });
        }
        await hub.quiet();
      }),
      { seed, numRuns: 12 },
    );
  }, 120_000);

  async function state() {
    const rows = await hub.rows<{ on_hand: string; expected: string }>(
      `SELECT q.on_hand, l.expected FROM quantity_on_hand q JOIN listings l ON l.sku = q.sku AND l.cart_id = 'a'
        WHERE q.location = 'MAIN' ORDER BY q.sku`,
    );
    const [records] = await hub.rows<{ count: string }>('SELECT count(*) FROM web_stack');
    return {
      onHand: rows.map((row) => Number(row.on_hand)),
      expected: rows.map((row) => Number(row.expected)),
      records: records!.count,
    };
  }
});

function revisionsOf(life: { quantities: [number, number][]; cancelled: boolean }, order: number): CartOrder[] {
  const revisions = life.quantities.map((quantity, at) => ({
    number: String(order),
    revision: at + 1,
    placedAt: new Date().toISOString(),
    state: 'open' as CartOrder['state'],
    lines: skus.map((key, line) => ({ line: String(line + 1), key, quantity: quantity[line]!, title: key })),
  }));
  const last = revisions.at(-1)!;
  if (life.cancelled) revisions.push({ ...last, revision: last.revision + 1, state: 'cancelled' });
  return revisions;
}
