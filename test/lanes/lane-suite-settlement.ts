import { describe, expect, it } from 'vitest';
import { claim } from '../../src/cart-workers/claim.js';
import { until } from '../support/until.js';
import { laneBench, type LaneBackend } from './lane-bench.js';

/** Lost answers of a cart without idempotency keys: found out by looking, or handed to a person with evidence. */
export function settlementSuite(backendOf: () => LaneBackend): void {
  describe('settlement', () => {
    const bench = laneBench(backendOf);
    const deltasOf = async (sku: string) =>
      (await bench.a.journal())
        .filter((change) => change.kind === 'delta' && change.key === sku)
        .map(({ delta }) => delta);
    const outcomeOf = async (sku: string) =>
      (
        await bench.hub.rows<{ outcome: string }>(
          `SELECT outcome FROM delivery_lines WHERE cart_id = 'a' AND key = $1 ORDER BY ended_at`,
          sku,
        )
      ).map((line) => line.outcome);

    for (const fault of ['dropAfterApply', 'failAfterApply'] as const) {
      it(`settles as applied what ${fault} made doubtful, and sends nothing again`, async () => {
        const sku = bench.sku();
        await bench.a.faults({ [fault]: 1 });
        await bench.receive(sku, 5);
        await bench.recordIn('a', sku, 'in-doubt');
        await bench.hub.quiet();
        expect(await outcomeOf(sku)).toEqual(['settled as applied']);
        expect(await deltasOf(sku)).toEqual([5]);
        expect((await bench.records('a', sku))[0]).toMatchObject({
          state: 'delivered',
          attempts: 1,
          attempts_counted: 0,
        });
      });
    }

    // Broken once: the next line left at once, and ran inside the cart beside the call whose connection had been cut.
    it('sends a serial cart nothing while a call that was cut may still run inside it', async () => {
      const [cut, next] = [bench.sku(), bench.sku()];
      await bench.a.faults({ dropBeforeApply: 1 });
      await bench.receive(cut, 5);
      await bench.recordIn('a', cut, 'in-doubt');
      await bench.receive(next, 3);
      await bench.recordIn('a', next, 'delivered');
      const tries = await bench.hub.rows<{ key: string; started_at: Date; deadline: Date }>(
        `SELECT d.key, a.started_at, a.deadline FROM attempts a JOIN delivery_lines d USING (delivery_id)
          WHERE a.kind = 'send' AND d.cart_id = 'a' AND d.key = ANY ($1) ORDER BY a.started_at`,
        [cut, next],
      );
      expect(tries.map(({ key }) => key).slice(0, 2)).toEqual([cut, next]);
      expect(tries[1]?.started_at.getTime()).toBeGreaterThanOrEqual(tries[0]?.deadline.getTime() ?? Infinity);
    });

    it('settles as not applied what never arrived, and sends it anew', async () => {
      const sku = bench.sku();
      await bench.a.faults({ dropBeforeApply: 1 });
      await bench.receive(sku, 5);
      await bench.recordIn('a', sku, 'in-doubt');
      await bench.hub.quiet();
      expect(await outcomeOf(sku)).toEqual(['settled as not applied', 'applied']);
      expect(await deltasOf(sku)).toEqual([5]);
    });

    it('tells a lost delta from sales that came in between', async () => {
      const [arrived, lost] = [bench.sku(), bench.sku()];
      await bench.a.faults({ dropAfterApply: 1 });
      await bench.receive(arrived, 5);
      await bench.recordIn('a', arrived, 'in-doubt');
      await bench.a.buy(arrived, 2);
      await bench.hub.quiet();
      await bench.a.faults({ dropBeforeApply: 1 });
      await bench.receive(lost, 5);
      await bench.recordIn('a', lost, 'in-doubt');
      await bench.a.buy(lost, 2);
      await bench.hub.quiet();
      expect([await outcomeOf(arrived), await outcomeOf(lost)]).toEqual([
        ['settled as applied'],
        ['settled as not applied', 'applied'],
      ]);
      expect([await bench.shown(arrived), await bench.shown(lost)]).toEqual([
        [13, 13],
        [13, 13],
      ]);
    });

    it('decides rightly on a sale as large as the delta, when it is known to have come after', async () => {
      const sku = bench.sku();
      await bench.hub.orderImport.poll('a');
      await bench.a.faults({ dropBeforeApply: 1 });
      await bench.sell(sku, 3);
      await bench.recordIn('a', sku, 'in-doubt');
      await bench.a.buy(sku, 3);
      await bench.hub.quiet();
      expect(await outcomeOf(sku)).toEqual(['settled as not applied', 'applied']);
      expect(await bench.shown(sku)).toEqual([4, 4]);
    });

    /** A sale that may have come before or after the last known quantity, as large as the delta that was lost. */
    async function quarantine(): Promise<string> {
      const sku = bench.sku();
      await bench.hub.orderImport.poll('a');
      await bench.receive(sku, 1);
      await bench.hub.quiet();
      await bench.a.faults({ dropBeforeApply: 1 });
      await bench.sell(sku, 3);
      await bench.recordIn('a', sku, 'in-doubt');
      await bench.a.buy(sku, 3);
      await bench.recordIn('a', sku, 'quarantined');
      return sku;
    }

    for (const action of ['was-not-applied', 'set-to-target'] as const) {
      it(`quarantines what two stories explain, with the evidence, until a person says ${action}`, async () => {
        const sku = await quarantine();
        const [line] = await bench.hub.deadLetters.listQuarantined({ cartId: 'a', limit: 10 });
        expect(line).toMatchObject({
          key: sku,
          delta: -3,
          evidence: { q0: 11, readings: [8, 8], changes: [{ delta: -3 }] },
        });
        // What comes later waits: one line per listing, until it is known what this one did.
        await bench.receive(sku, 2);
        await bench.hub.projector.caughtUp(5_000);
        expect((await bench.records('a', sku)).at(-1)).toMatchObject({ state: 'waiting' });
        expect(await bench.hub.deadLetters.resolveQuarantined({ cartId: 'a', key: sku, action, by: 'test' })).toBe(
          true,
        );
        await bench.hub.quiet();
        expect(await bench.shown(sku)).toEqual([7, 7]);
      });
    }

    it('takes a person at the word that it was applied', async () => {
      const sku = bench.sku();
      await bench.hub.orderImport.poll('a');
      await bench.receive(sku, 1);
      await bench.hub.quiet();
      await bench.a.faults({ dropAfterApply: 1 });
      await bench.receive(sku, 2);
      await bench.recordIn('a', sku, 'in-doubt');
      // Somebody edits the shop by hand: neither story fits any more.
      await bench.a.load([{ key: sku, title: sku, quantity: 40 }]);
      await bench.recordIn('a', sku, 'quarantined');
      await bench.a.load([{ key: sku, title: sku, quantity: 13 }]);
      await bench.hub.deadLetters.resolveQuarantined({ cartId: 'a', key: sku, action: 'was-applied', by: 'test' });
      await bench.hub.quiet();
      expect(await bench.shown(sku)).toEqual([13, 13]);
      expect(await deltasOf(sku)).toEqual([1, 2]);
    });

    it('looks no sooner than the deadline and the quiet time, even where the job comes twice', async () => {
      // A job that was run again settled at once, while the request could still take effect at the cart.
      const sku = bench.sku();
      await bench.a.faults({ dropAfterApply: 1 });
      await bench.receive(sku, 1);
      const record = await bench.recordIn('a', sku, 'in-doubt');
      const terms = {
        cartId: 'a',
        keyed: false,
        needsQ0: true,
        readsFirst: false,
        serial: true,
        requestTimeoutMs: 600,
        settleTimeoutMs: 600,
        quietTimeMs: 300,
        worker: 'x',
      };
      expect(await claim(bench.hub.database, { deliveryId: record.delivery_id ?? '', take: 1 }, terms)).toEqual({
        kind: 'gone',
      });
      await bench.hub.quiet();
      const [gap] = await bench.hub.rows<{ ms: number }>(
        `SELECT (extract(epoch FROM min(started_at) FILTER (WHERE kind = 'settle') - max(deadline) FILTER (WHERE kind = 'send')) * 1000)::int AS ms
           FROM attempts WHERE delivery_id = $1`,
        record.delivery_id,
      );
      expect(gap?.ms).toBeGreaterThanOrEqual(300);
    });

    it('waits with a doubt while the cart is away, asking ever more rarely', async () => {
      const sku = bench.sku();
      await bench.a.faults({ dropAfterApply: 1 });
      await bench.receive(sku, 1);
      await bench.recordIn('a', sku, 'in-doubt');
      await bench.a.faults({ throttle: true, retryAfterSeconds: 0, scope: 'all' });
      await until('two settlements failed', async () => {
        const [tries] = await bench.hub.rows<{ n: number }>(
          `SELECT count(*)::int AS n FROM attempts WHERE cart_id = 'a' AND kind = 'settle' AND outcome <> 'settled as applied' AND ended_at IS NOT NULL`,
        );
        return (tries?.n ?? 0) >= 2;
      });
      expect((await bench.records('a', sku))[0]).toMatchObject({ state: 'in-doubt', attempts: 1 });
      expect(await bench.light('a')).toBe('amber');
      await bench.a.faults({});
      await bench.hub.quiet();
      expect(await outcomeOf(sku)).toEqual(['settled as applied']);
    });

    it('looks again when an order turns up that is older than the verdict, and mends what the verdict got wrong', async () => {
      const sku = bench.sku();
      await bench.a.faults({ dropAfterApply: 1 });
      await bench.receive(sku, 5);
      await bench.recordIn('a', sku, 'in-doubt');
      // The shop sold as many pieces as were sent, in an order that its feed tells much too late.
      const placedAt = new Date().toISOString();
      await bench.a.load([{ key: sku, title: sku, quantity: 10 }]);
      await bench.hub.quiet();
      expect(await outcomeOf(sku)).toEqual(['settled as not applied', 'applied']);
      expect((await bench.shown(sku))[0]).toBe(15);
      const lines = [{ line: '1', key: sku, quantity: 5, title: '' }];
      await bench.hub.orderImport.importOrder(
        'a',
        { number: '900001', revision: 1, placedAt, state: 'open', lines },
        { after: null, by: new Date().toISOString() },
      );
      await until('the listing was compared again', async () => {
        const compared = await bench.hub.rows(
          'SELECT FROM delivery_lines WHERE key = $1 AND compared_at IS NOT NULL',
          sku,
        );
        return compared.length === 1;
      });
      await bench.hub.quiet();
      expect(await bench.shown(sku)).toEqual([10, 10]);
    });
  });
}
