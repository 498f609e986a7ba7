import { describe, expect, it } from 'vitest';
import { recordOutcome } from '../../src/cart-workers/outcome.js';
import { startShop } from '../support/shops.js';
import { until } from '../support/until.js';
import { laneBench, type LaneBackend } from './lane-bench.js';

/** Carts that are away, slow, or answer nothing that can be believed. */
export function outageSuite(backendOf: () => LaneBackend): void {
  describe('outages', () => {
    const bench = laneBench(backendOf);
    const lane = async (cartId: string) =>
      (
        await bench.hub.rows<{ probes: number; down: boolean; wait_ms: number }>(
          `SELECT probes, down_since IS NOT NULL AS down, (extract(epoch FROM next_probe_at - clock_timestamp()) * 1000)::int AS wait_ms
             FROM lanes WHERE cart_id = $1`,
          cartId,
        )
      )[0];
    const deltasOf = async (shop: typeof bench.a, sku: string) =>
      (await shop.journal())
        .filter((change) => change.kind === 'delta' && change.key === sku)
        .map(({ delta }) => delta);

    for (const cartId of ['a', 'b'] as const) {
      it(`turns amber while ${cartId} is away, merges what comes, counts every probe, and is green again`, async () => {
        const sku = bench.sku();
        await bench[cartId].faults({ throttle: true, retryAfterSeconds: 0, scope: 'all' });
        await bench.receive(sku, 1);
        await until('the lane is amber', async () => (await bench.light(cartId)) === 'amber');
        await until('a few probes have failed', async () => ((await lane(cartId))?.probes ?? 0) >= 4);
        await bench.receive(sku, 2);
        await bench.hub.projector.caughtUp(5_000);
        const [first] = await bench.records(cartId, sku);
        expect(first).toMatchObject({ attempts_counted: 0 });
        expect(first?.attempts).toBeGreaterThanOrEqual(3);
        const [gaps] = await bench.hub.rows<{ first: number; third: number }>(
          `SELECT (max(ms) FILTER (WHERE n = 2))::int AS first, (max(ms) FILTER (WHERE n = 4))::int AS third
             FROM (SELECT row_number() OVER w AS n, extract(epoch FROM started_at - lag(ended_at) OVER w) * 1000 AS ms
                     FROM attempts WHERE cart_id = $1 AND outcome = 'cart-throttled' WINDOW w AS (ORDER BY started_at)) AS tries`,
          cartId,
        );
        expect(gaps?.third).toBeGreaterThan(gaps?.first ?? 0);
        await bench[cartId].faults({});
        await bench.hub.quiet();
        expect(await bench.light(cartId)).toBe('green');
        expect(await deltasOf(bench[cartId], sku)).toEqual([3]);
      });
    }

    // Each probe used to be a delta of another listing, and each put one more line in doubt.
    it('probes a cart without idempotency keys by reading, and puts nothing more in doubt', async () => {
      const skus = [bench.sku(), bench.sku(), bench.sku()];
      await bench.a.faults({ refuse: true });
      for (const sku of skus) await bench.receive(sku, 1);
      await until('a few probes have failed', async () => ((await lane('a'))?.probes ?? 0) >= 4);
      const doubts = await bench.hub.rows(`SELECT key FROM delivery_lines WHERE cart_id = 'a' AND state = 'in-doubt'`);
      // The window lets two deliveries leave before the first answer is known.
      expect(doubts.length).toBeLessThanOrEqual(2);
      await bench.a.faults({});
      await bench.hub.quiet();
      for (const sku of skus) expect(await deltasOf(bench.a, sku)).toEqual([1]);
    });

    it('does not wait out its pause once the cart answers an order poll again', async () => {
      const sku = bench.sku();
      await bench.b.faults({ throttle: true, retryAfterSeconds: 0, scope: 'all' });
      await bench.receive(sku, 1);
      await until('the lane is amber', async () => (await bench.light('b')) === 'amber');
      await expect(bench.hub.orderImport.poll('b')).rejects.toThrow('429');
      await until('the pause is long', async () => {
        await bench.hub.rows(
          `UPDATE lanes SET next_probe_at = clock_timestamp() + interval '1 hour' WHERE cart_id = 'b'`,
        );
        const [open] = await bench.hub.rows<{ open: string }>(
          `SELECT count(*) AS open FROM attempts WHERE cart_id = 'b' AND ended_at IS NULL`,
        );
        return open?.open === '0';
      });
      await bench.b.faults({});
      await bench.hub.orderImport.poll('b');
      await bench.hub.quiet();
      expect(await bench.light('b')).toBe('green');
    });

    it('leaves a cart alone for as long as it asked, whoever waits', async () => {
      // Another listing left as a probe half a second later: only the refused line had heard of Retry-After.
      const [asked, other] = [bench.sku(), bench.sku()];
      await bench.b.faults({ throttle: 1, retryAfterSeconds: 2 });
      await bench.receive(asked, 1);
      await until('the lane is amber', async () => (await bench.light('b')) === 'amber');
      const wait = (await lane('b'))?.wait_ms ?? 0;
      expect(wait).toBeGreaterThan(1_500);
      await bench.receive(other, 1);
      await bench.hub.quiet();
      const [gap] = await bench.hub.rows<{ ms: number }>(
        `SELECT (extract(epoch FROM (SELECT min(started_at) FROM attempts WHERE cart_id = 'b' AND started_at > t.ended_at) - t.ended_at) * 1000)::int AS ms
           FROM attempts t WHERE cart_id = 'b' AND outcome = 'cart-throttled'  AND response LIKE '%429%' ORDER BY started_at DESC LIMIT 1`,
      );
      expect(gap?.ms).toBeGreaterThan(1_900);
    });

    it('gives what met a closed door back uncounted, and sends it when the shop is back', async () => {
      const sku = bench.sku();
      const { dir } = bench.b;
      const port = Number(new URL(bench.b.url).port);
      await bench.b.kill();
      await bench.receive(sku, 6);
      await until('the lane is amber', async () => (await bench.light('b')) === 'amber');
      await bench.receive(sku, 1);
      await until('both are on the Web Stack', async () => {
        const waiting = await bench.records('b', sku);
        return waiting.reduce((sum, { delta }) => sum + delta, 0) === 7;
      });
      await until('it was tried twice', async () => ((await bench.records('b', sku))[0]?.attempts ?? 0) >= 2);
      expect((await bench.records('b', sku))[0]).toMatchObject({ attempts_counted: 0 });
      const back = await startShop('webhook', { dir, port });
      await bench.hub.quiet();
      const deltas = await deltasOf(back, sku);
      expect(deltas).toEqual([7]);
      bench.replaceB(back);
    });

    for (const fault of ['failAfterApply', 'dropAfterApply', 'dropBeforeApply'] as const) {
      it(`sends the same key again after ${fault}, and it is applied once`, async () => {
        const sku = bench.sku();
        await bench.b.faults({ [fault]: 2 });
        await bench.receive(sku, 7);
        await bench.hub.quiet();
        const [record] = await bench.records('b', sku);
        expect(record).toMatchObject({ state: 'delivered', attempts: 3, attempts_counted: 0 });
        expect(await deltasOf(bench.b, sku)).toEqual([7]);
        expect(
          await bench.hub.rows('SELECT id FROM deliveries d WHERE id = $1 AND resends = 2', record?.delivery_id),
        ).toHaveLength(1);
      });
    }

    it('backs off from a cart that answers nothing believable, and does not stay amber for one line', async () => {
      const [stuck, other] = [bench.sku(), bench.sku()];
      await bench.b.faults({ failAfterApply: true });
      await bench.receive(stuck, 1);
      await until('the lane is amber', async () => (await bench.light('b')) === 'amber');
      const deliveryId = (await bench.records('b', stuck))[0]?.delivery_id;
      await until('it was sent again three times', async () => {
        const [delivery] = await bench.hub.rows<{ resends: number }>(
          'SELECT resends FROM deliveries WHERE id = $1',
          deliveryId,
        );
        return (delivery?.resends ?? 0) >= 3;
      });
      await bench.b.faults({});
      await bench.receive(other, 1);
      await until('the lane is green', async () => (await bench.light('b')) === 'green');
      await bench.hub.quiet();
      expect(await deltasOf(bench.b, stuck)).toEqual([1]);
    });

    it('does not believe a late refusal of a try that was given up as lost', async () => {
      // Its "nothing was applied" returned the lines that a resend by the same key had just delivered: sent twice.
      const sku = bench.sku();
      await bench.b.faults({ delayAfterMs: 400 });
      await bench.receive(sku, 2);
      const attempt = await until('a call is under way', async () => {
        const [open] = await bench.hub.rows<{ id: string; delivery_id: string }>(
          `SELECT id, delivery_id FROM attempts WHERE cart_id = 'b' AND ended_at IS NULL`,
        );
        return open;
      });
      await bench.hub.rows(
        `UPDATE attempts SET ended_at = clock_timestamp(), outcome = 'lost' WHERE id = $1`,
        attempt.id,
      );
      await recordOutcome(bench.hub.database, {
        attemptId: attempt.id,
        deliveryId: attempt.delivery_id,
        cartId: 'b',
        outcome: 'cart-unreachable',
        response: 'no byte left',
        lines: [
          {
            key: sku,
            response: 'no byte left',
            end: 'returned',
            outcome: 'cart-unreachable',
            delayMs: 0,
            counted: false,
          },
        ],
        cart: 'down',
        probeInMs: 0,
      });
      expect((await bench.records('b', sku))[0]).toMatchObject({ state: 'in-flight' });
      expect(await bench.light('b')).toBe('green');
      await bench.hub.quiet();
      expect(await deltasOf(bench.b, sku)).toEqual([2]);
    });

    it('takes a success that comes after its worker was given up, and stops the resend', async () => {
      const sku = bench.sku();
      // The first answer comes after the time-out; by then the same key has been sent again.
      await bench.b.faults({ delayAfterMs: 800 });
      await bench.receive(sku, 2);
      await until('it was applied', async () => (await deltasOf(bench.b, sku)).length === 1);
      await bench.b.faults({});
      await bench.hub.quiet();
      expect(await deltasOf(bench.b, sku)).toEqual([2]);
    });
  });
}
