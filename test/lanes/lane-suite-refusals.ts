import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/until.js';
import { laneBench, type LaneBackend } from './lane-bench.js';
import { startProgrammedCart, type ProgrammedCart } from './programmed-cart.js';

/** What carts refuse for good, and what becomes of it. */
export function refusalSuite(backendOf: () => LaneBackend): void {
  describe('refusals', () => {
    const bench = laneBench(backendOf);
    let cart: ProgrammedCart;

    beforeAll(async () => {
      cart = await startProgrammedCart(await bench.b.stock());
      await bench.hub.connect('c', cart.shop, { requestTimeoutMs: 600, quietTimeMs: 300 });
    });
    afterAll(() => cart.stop());

    /** Backing off takes seconds by design; a test sets the clock of the waiting record back instead. */
    const skipBackoff = (sku: string) =>
      bench.hub.rows(
        `UPDATE web_stack SET not_before = NULL WHERE cart_id = 'c' AND key = $1 AND state = 'waiting'`,
        sku,
      );
    const untilDead = (sku: string) =>
      until(`${sku} is a dead letter`, async () => {
        await skipBackoff(sku);
        return (await bench.records('c', sku)).find((record) => record.state === 'dead-lettered');
      });

    it('returns a refused line with its counter, and gives it up after the fifth time', async () => {
      const sku = bench.sku();
      cart.answer = ({ lines }) => ({
        status: 200,
        body: { lines: lines.map(({ key }) => ({ key, status: 'rejected', quantity: 10, message: 'not today' })) },
      });
      await bench.receive(sku, 3);
      const dead = await untilDead(sku);
      expect(dead).toMatchObject({ attempts: 5, attempts_counted: 5, last_response: 'not today' });
      expect(await bench.expected('c', sku)).toEqual({ expected: 13, owed: 3 });
      // A refused line does not hold back what comes later: it goes on beside the dead letter.
      cart.answer = cart.apply;
      await bench.receive(sku, 2);
      await bench.recordIn('c', sku, 'delivered');
      expect(cart.quantities.get(sku)).toBe(12);
      expect(await bench.hub.deadLetters.redrive({ cartId: 'c', key: sku })).toEqual({ records: 1 });
      await bench.hub.quiet();
      expect(cart.quantities.get(sku)).toBe(15);
    });

    it('never lets one poisonous line dead-letter the others of its batch', async () => {
      // A refused batch came back together and left together, until all of its lines were dead letters.
      const [good, bad] = [bench.sku(), bench.sku()];
      cart.answer = (call) =>
        call.lines.some(({ key }) => key === bad) ? { status: 422, body: {} } : cart.apply(call);
      await bench.hub.laneControl.pause('c', 'test', null);
      await bench.receive(good, 1);
      await bench.receive(bad, 1);
      await bench.hub.projector.caughtUp(5_000);
      await bench.hub.laneControl.resume('c');
      // Both are always due together, so that only the rule can part them.
      await until('one of them is a dead letter', async () => {
        await bench.hub.rows(
          `UPDATE web_stack SET not_before = NULL WHERE cart_id = 'c' AND state = 'waiting' AND key = ANY ($1)`,
          [good, bad],
        );
        return (await bench.records('c', bad)).some(({ state }) => state === 'dead-lettered');
      });
      await bench.recordIn('c', good, 'delivered');
      expect(cart.calls.some(({ lines }) => lines.length === 2)).toBe(true);
      expect((await bench.records('c', good))[0]).toMatchObject({ attempts_counted: 1, attempts: 2 });
      cart.answer = cart.apply;
      await bench.hub.deadLetters.redrive({ cartId: 'c' });
      await bench.hub.quiet();
    });

    it('repeats the whole body under the same key when an answer leaves a line out', async () => {
      // A resend carried only the open lines: another body under the same key, which carts refuse as a conflict.
      const [told, untold] = [bench.sku(), bench.sku()];
      let first = true;
      const applied = new Map<string, unknown>();
      cart.answer = (call) => {
        const answer = applied.get(call.id) ?? cart.apply(call);
        applied.set(call.id, answer);
        const { body } = answer as { body: { lines: { key: string }[] } };
        if (!first) return { status: 200, body };
        first = false;
        return { status: 200, body: { lines: body.lines.filter(({ key }) => key !== untold) } };
      };
      const before = cart.calls.length;
      await bench.hub.laneControl.pause('c', 'test', null);
      await bench.receive(told, 1);
      await bench.receive(untold, 2);
      await bench.hub.projector.caughtUp(5_000);
      await bench.hub.laneControl.resume('c');
      await bench.hub.quiet();
      const calls = cart.calls.slice(before);
      expect(calls).toHaveLength(2);
      expect(calls[1]).toEqual(calls[0]);
      expect([cart.quantities.get(told), cart.quantities.get(untold)]).toEqual([11, 12]);
      cart.answer = cart.apply;
    });

    it('never sends a key again that the cart may have forgotten; a person decides, with evidence', async () => {
      // After the key's life the same bytes went out once more, and only then was it noticed.
      const sku = bench.sku();
      cart.answer = (call) => {
        cart.apply(call);
        return null;
      };
      await bench.receive(sku, 4);
      await until('the delivery is ambiguous', async () => {
        const [delivery] = await openDeliveries();
        return delivery?.ambiguous;
      });
      await bench.hub.rows(
        `UPDATE deliveries SET created_at = created_at - interval '25 hours' WHERE state <> 'closed' AND cart_id = 'c'`,
      );
      const calls = cart.calls.filter(({ lines }) => lines.some(({ key }) => key === sku)).length;
      await bench.recordIn('c', sku, 'quarantined');
      expect(cart.calls.filter(({ lines }) => lines.some(({ key }) => key === sku)).length).toBeLessThanOrEqual(
        calls + 1,
      );
      const [line] = await bench.hub.deadLetters.listQuarantined({ cartId: 'c', limit: 10 });
      expect(line).toMatchObject({ key: sku, delta: 4, evidence: { readings: [14, 14] } });
      cart.answer = cart.apply;
      expect(
        await bench.hub.deadLetters.resolveQuarantined({ cartId: 'c', key: sku, action: 'was-applied', by: 'test' }),
      ).toBe(true);
      await bench.hub.quiet();
      expect(cart.quantities.get(sku)).toBe(14);
    });

    it('keeps an item that a shop does not know as one dead letter, and sends the sum once it is listed', async () => {
      const sku = bench.sku();
      await bench.b.faults({ unknownKeys: [sku] });
      await bench.receive(sku, 3);
      await bench.recordIn('b', sku, 'dead-lettered');
      await bench.receive(sku, 4);
      await bench.hub.quiet();
      expect((await bench.records('b', sku)).map((record) => record.state)).toEqual(['dead-lettered', 'dead-lettered']);
      expect(await bench.hub.deadLetters.list({ cartId: 'b', limit: 10 })).toMatchObject([
        { key: sku, delta: 7, records: 2, unlisted: 'not-found' },
      ]);
      expect(await bench.expected('b', sku)).toEqual({ expected: 17, owed: 7 });
      await bench.b.faults({});
      await bench.hub.deadLetters.redrive({ cartId: 'b', key: sku });
      await bench.hub.quiet();
      expect((await bench.shown(sku))[1]).toBe(17);
    });

    it('accepts what the cart shows when a dead letter is discarded, and does not send it again', async () => {
      // The listing stayed unlisted: what followed from the discard became the next dead letter at once.
      const sku = bench.sku();
      await bench.b.faults({ unknownKeys: [sku] });
      await bench.receive(sku, 3);
      await bench.recordIn('b', sku, 'dead-lettered');
      await bench.b.faults({});
      await bench.b.load([{ key: sku, title: sku, quantity: 13 }]);
      expect(await bench.hub.deadLetters.discard({ cartId: 'b', key: sku, reason: 'set by hand', by: 'test' })).toEqual(
        { records: 1 },
      );
      await bench.hub.quiet();
      expect(await bench.expected('b', sku)).toEqual({ expected: 13, owed: 0 });
      expect((await bench.shown(sku))[1]).toBe(13);
      expect((await bench.records('b', sku))[0]?.state).toBe('discarded');
    });

    it('leaves a discarded listing alone where the cart cannot be read, until it is compared again', async () => {
      const sku = bench.sku();
      await bench.b.faults({ unknownKeys: [sku] });
      await bench.receive(sku, 3);
      await bench.recordIn('b', sku, 'dead-lettered');
      await bench.b.faults({ refuse: true });
      await bench.hub.deadLetters.discard({ cartId: 'b', key: sku, reason: 'gone', by: 'test' });
      await bench.hub.projector.caughtUp(5_000);
      await bench.receive(sku, 5);
      await bench.hub.projector.caughtUp(5_000);
      expect(await bench.expected('b', sku)).toEqual({ expected: 10, owed: 0 });
      await bench.b.faults({});
      await bench.hub.qohTransfer.run({ cartId: 'b', direction: 'send', keys: [sku] });
      await bench.hub.quiet();
      expect((await bench.shown(sku))[1]).toBe(18);
    });

    const openDeliveries = () =>
      bench.hub.rows<{ ambiguous: boolean }>(
        `SELECT ambiguous FROM deliveries WHERE cart_id = 'c' AND state <> 'closed'`,
      );

    // One order that made no sense kept every later one of its cart from being imported, and settlements waited for ever.
    it('imports the other orders when one makes no sense, and keeps that one in sight until it is mended', async () => {
      const [senseless, sound] = [bench.sku(), bench.sku()];
      const line = (name: string, key: string, quantity = 1) => ({ line: name, key, quantity, title: '' });
      const order = (number: string, revision: number, lines: unknown[]) => ({
        number,
        revision,
        placedAt: new Date().toISOString(),
        state: 'open',
        lines,
      });
      const unreadable = order('4', 1, [line('1', senseless), line('1', senseless)]);
      const refused = order('5', 1, [line('1', senseless, 2_000_000_000)]);
      const sale = order('6', 1, [line('1', sound)]);
      // Its own sale: the cart shows one piece less already.
      cart.quantities.set(sound, 9);
      cart.orderPages.push({ orders: [unreadable, refused, sale], mark: '6' });
      await bench.hub.orderImport.poll('c');
      await bench.hub.quiet();
      expect(await bench.shown(sound)).toEqual([9, 9]);
      const inSight = () => bench.hub.rows('SELECT number, keys FROM order_refusals ORDER BY number');
      expect(await inSight()).toEqual([
        { number: '4', keys: [] },
        { number: '5', keys: [senseless] },
      ]);
      cart.orderPages.push({ orders: [order('4', 2, []), order('5', 2, [])], mark: '6' });
      await bench.hub.orderImport.poll('c');
      expect(await inSight()).toEqual([]);
    });
  });
}
