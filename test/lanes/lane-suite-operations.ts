import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { laneJobId } from '../../src/cart-workers/lane-job.js';
import { until } from '../support/until.js';
import { laneBench, type LaneBackend } from './lane-bench.js';

/** People, queues and machines that interfere: pause, restart, lost jobs, killed workers. */
export function operationsSuite(backendOf: () => LaneBackend): void {
  describe('operations', () => {
    // A call that is looked at while it is under way takes long enough for a busy machine, and is not given up meanwhile.
    const slowMs = 2_000;
    const bench = laneBench(backendOf, { requestTimeoutMs: 10_000 });
    const callUnderWay = (cartId: string) =>
      until(`a call to ${cartId} is under way`, async () => {
        const [open] = await bench.hub.rows<{ delivery_id: string }>(
          `SELECT delivery_id FROM attempts WHERE cart_id = $1 AND ended_at IS NULL AND kind = 'send'`,
          cartId,
        );
        return open;
      });

    it('hands back what was not sent yet when a lane is paused, and stays paused through a restart', async () => {
      const skus = [bench.sku(), bench.sku(), bench.sku()];
      await bench.a.faults({ delayBeforeMs: slowMs });
      for (const sku of skus) await bench.receive(sku, 1);
      await callUnderWay('a');
      await bench.hub.laneControl.pause('a', 'test', 'stocktaking');
      await until('the rest waits again', async () => {
        const [open] = await bench.hub.rows<{ n: number }>(
          `SELECT count(*)::int AS n FROM web_stack WHERE cart_id = 'a' AND state = 'in-flight'`,
        );
        return open?.n === 0;
      });
      await bench.a.faults({});
      await bench.hub.restartWorkers();
      await bench.receive(skus[2] as string, 1);
      await bench.recordIn('b', skus[2] as string, 'delivered');
      expect(await bench.light('a')).toBe('red');
      const changed = (await bench.a.journal()).filter(({ key, kind }) => kind === 'delta' && skus.includes(key));
      expect(changed.length).toBeLessThanOrEqual(1);
      await bench.hub.laneControl.resume('a');
      await bench.hub.quiet();
      expect(await Promise.all(skus.map((sku) => bench.shown(sku)))).toEqual([
        [11, 11],
        [11, 11],
        [12, 12],
      ]);
    });

    it('puts a delivery whose job was removed into the lane again', async () => {
      const [first, second] = [bench.sku(), bench.sku()];
      await bench.a.faults({ delayBeforeMs: slowMs });
      await bench.receive(first, 1);
      await callUnderWay('a');
      await bench.receive(second, 1);
      const record = await bench.recordIn('a', second, 'in-flight');
      const queue = bench.hub
        .runtime()
        .laneQueues()
        .find(({ name }) => name === 'lane-a');
      await until(
        'the job was removed',
        async () => (await queue?.remove(laneJobId({ deliveryId: record.delivery_id ?? '', take: 1 }))) === 1,
      );
      await bench.a.faults({});
      await bench.hub.quiet();
      expect(await bench.shown(second)).toEqual([11, 11]);
      expect(
        await bench.hub.rows('SELECT take FROM deliveries WHERE id = $1 AND take > 1', record.delivery_id),
      ).toHaveLength(1);
    });
  });

  describe('a worker that dies in the middle of its calls', () => {
    const requestTimeoutMs = 4_000;
    const bench = laneBench(backendOf, { requestTimeoutMs });

    it('loses its lane in under ten seconds; its key is sent again at once, its doubt is settled', async () => {
      const [dying, other] = [bench.sku(), bench.sku()];
      await bench.hub.stopWorkers();
      const worker = await bench.hub.startWorkerProcess();
      await Promise.all([bench.a.faults({ delayBeforeMs: 700 }), bench.b.faults({ delayBeforeMs: 700 })]);
      await bench.receive(dying, 5);
      for (const cartId of ['a', 'b']) {
        await until(`a call to ${cartId} is under way`, async () => {
          const open = await bench.hub.rows('SELECT id FROM attempts WHERE cart_id = $1 AND ended_at IS NULL', cartId);
          return open.length === 1;
        });
      }
      worker.kill('SIGKILL');
      await once(worker, 'exit');
      await Promise.all([bench.a.faults({}), bench.b.faults({})]);
      await bench.hub.restartWorkers();
      const killed = Date.now();
      await bench.receive(other, 1);
      await bench.recordIn('b', other, 'delivered');
      // By its key the same call may go again at once, whatever became of the first.
      expect(Date.now() - killed).toBeLessThan(requestTimeoutMs);
      await bench.recordIn('a', other, 'delivered');
      expect(Date.now() - killed).toBeLessThan(10_000);
      const [lost] = await bench.hub.rows<{ deadline: Date }>(
        `SELECT deadline FROM attempts WHERE cart_id = 'a' AND outcome = 'lost'`,
      );
      const [after] = await bench.hub.rows<{ started_at: Date }>(
        `SELECT a.started_at FROM attempts a JOIN delivery_lines d USING (delivery_id) WHERE a.cart_id = 'a' AND d.key = $1`,
        other,
      );
      expect(after?.started_at.getTime()).toBeGreaterThanOrEqual(lost?.deadline.getTime() ?? Infinity);
      await bench.hub.quiet(30_000);
      const deltas = async (shop: typeof bench.a) =>
        (await shop.journal()).filter(({ key, kind }) => key === dying && kind === 'delta').map(({ delta }) => delta);
      expect([await deltas(bench.a), await deltas(bench.b)]).toEqual([[5], [5]]);
      // Killed before or after the bytes had left: the one line is settled by looking, the other one is simply sent again.
      const ends = await bench.hub.rows<{ cart_id: string; outcome: string }>(
        'SELECT cart_id, outcome FROM delivery_lines WHERE key = $1 ORDER BY cart_id, ended_at',
        dying,
      );
      expect(ends[0]).toMatchObject({ cart_id: 'a', outcome: expect.stringMatching(/^settled as/) });
      expect(ends.at(-1)).toEqual({ cart_id: 'b', outcome: 'applied' });
    });
  });
}
