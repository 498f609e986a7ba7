import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Projector } from '../../src/projections/projector.js';
import { startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { ago } from '../daily-reset/given.js';
import { given, onHand } from '../imports/send.js';
import { assertInvariants } from '../projections/assert-invariants.js';
import { until } from '../support/until.js';

let hub: HubUnderTest;
beforeAll(async () => {
  hub = await startHubUnderTest();
  await given(hub, 'WITHIN', 'OFF', 'WRONG', 'SHELF', 'GONE');
  for (const sku of ['WITHIN', 'OFF', 'WRONG', 'SHELF'])
    await hub.call('POST', '/v1/movements', {
      kind: 'received',
      sku,
      location: 'main',
      quantity: 20,
      occurredAt: ago(3600),
    });
});
afterAll(async () => {
  await hub.hub.app.get(Projector).caughtUp(20_000);
  await assertInvariants(hub.database);
  await hub.close();
});

const open = async (fields: object = {}) => {
  const { status, body } = await hub.call('POST', '/v1/count-sessions', {
    location: 'main',
    includesOpenOrders: false,
    ...fields,
  });
  expect([status, body.state]).toEqual([201, 'open']);
  return `/v1/count-sessions/${body.id as string}`;
};
const count = (session: string, quantities: Record<string, number>, fields: object = {}, round = 1) =>
  hub.call('PUT', `${session}/entries`, {
    round,
    entries: Object.entries(quantities).map(([sku, quantity]) => ({ sku, quantity, ...fields })),
  });

describe('a count session', () => {
  it('needs a second count where the first is out of tolerance, and moves nothing before it is approved', async () => {
    const session = await open({ toleranceUnits: 1, tolerancePercent: 5 });
    await count(session, { WITHIN: 19, OFF: 15, WRONG: 3, GONE: 0 });
    const again = await count(session, { WITHIN: 19, OFF: 15, WRONG: 3, GONE: 0 });
    expect(again.body.lines).toEqual({ counted: 4, within: 2, confirmed: 0, toRecount: 2 });
    const refused = await hub.call('POST', `${session}/approve`, {});
    expect([refused.status, refused.body.detail]).toEqual([
      409,
      expect.stringContaining('2 lines are out of tolerance'),
    ]);
    await count(session, { OFF: 15, WRONG: 20 }, {}, 2);
    const { body } = await hub.call('GET', `${session}/lines`);
    expect(body.data).toMatchObject([
      { sku: 'GONE', state: 'within', difference: 0 },
      { sku: 'OFF', state: 'confirmed', difference: -5, rounds: 2 },
      { sku: 'WITHIN', state: 'within', difference: -1 },
      { sku: 'WRONG', state: 'within', difference: 0 },
    ]);
    expect(await onHand(hub, 'OFF')).toBe(20);
    const approved = await hub.call('POST', `${session}/approve`, {});
    expect(approved.body).toMatchObject({ state: 'approved', endedBy: expect.any(String) });
    expect((await hub.call('POST', `${session}/approve`, {})).body.state).toBe('approved');
    expect([await onHand(hub, 'OFF'), await onHand(hub, 'WITHIN'), await onHand(hub, 'WRONG')]).toEqual([15, 19, 20]);
    const movements = await hub.call('GET', `/v1/movements?reference=count:${session.split('/').at(-1)}`);
    expect(movements.body.data).toHaveLength(4);
    expect((await count(session, { OFF: 1 })).status).toBe(409);
  });

  it('speaks of the moment of counting: what is sold after it stays sold, and orders on the shelf are told apart', async () => {
    await hub.call('POST', '/v1/orders', {
      number: 'C-1',
      placedAt: ago(1800),
      lines: [{ sku: 'SHELF', location: 'main', quantity: 4 }],
    });
    expect(await onHand(hub, 'SHELF')).toBe(16);
    const session = await open({ includesOpenOrders: true });
    await count(session, { SHELF: 20 }, { countedAt: ago(60) });
    await hub.call('POST', '/v1/movements', { kind: 'sold', sku: 'SHELF', location: 'main', quantity: 3 });
    const { body } = await hub.call('GET', `${session}/lines`);
    expect(body.data).toMatchObject([{ expected: 20, difference: 0, state: 'within' }]);
    await hub.call('POST', `${session}/approve`, {});
    expect(await onHand(hub, 'SHELF')).toBe(13);
    const other = await open({ includesOpenOrders: false });
    await count(other, { SHELF: 10 });
    const forced = { anyway: true, reason: 'seen twice' };
    expect((await hub.call('POST', `${other}/approve`, { anyway: true })).status).toBe(400);
    expect((await hub.call('POST', `${other}/approve`, forced)).body).toMatchObject({
      state: 'approved',
      reason: 'seen twice',
    });
    expect(await onHand(hub, 'SHELF')).toBe(10);
  });

  it('may be given up, and refuses what is wrong', async () => {
    const session = await open();
    expect((await count(session, { NOPE: 1 })).body.type).toBe('urn:onhand:problem:unknown-item');
    expect((await count(session, { OFF: 1 }, {}, 2)).status).toBe(409);
    expect((await count(session, { OFF: -1 })).status).toBe(400);
    expect((await count(session, { OFF: 1 }, { countedAt: '2999-01-01T00:00:00Z' })).body.fields).toMatchObject([
      { field: 'entries.0.countedAt' },
    ]);
    expect((await hub.call('POST', `${session}/approve`, {})).body.detail).toMatch(/Nothing has been counted/);
    expect((await hub.call('POST', `${session}/cancel`, { reason: 'rain' })).body.state).toBe('cancelled');
    expect((await count(session, { OFF: 1 })).status).toBe(409);
    expect((await hub.call('POST', '/v1/count-sessions', { location: 'moon', includesOpenOrders: true })).status).toBe(
      404,
    );
    expect((await hub.call('POST', '/v1/count-sessions', { location: 'main' })).body.fields).toMatchObject([
      { field: 'includesOpenOrders' },
    ]);
    const unknown = '/v1/count-sessions/6a1f0a6e-2f0b-4f65-9a37-4b0a3d1a2b3c';
    expect((await hub.call('GET', unknown)).body.type).toBe('urn:onhand:problem:unknown-count');
    expect(await onHand(hub, 'OFF')).toBe(15);
  });
});

describe('an approval', () => {
  // Broken once: the lines were read before the session was closed to counters, so a recount that came in between was
  // answered with success and left out.
  it('takes every count that was answered, also one that comes at the very moment', async () => {
    await given(hub, 'RACE');
    await hub.call('POST', '/v1/movements', { kind: 'received', sku: 'RACE', location: 'main', quantity: 9 });
    const session = await open({ toleranceUnits: 10 });
    const id = session.split('/').at(-1);
    await count(session, { RACE: 9 });
    const counter = await hub.database.pool.connect();
    try {
      await counter.query('BEGIN');
      await counter.query('SELECT FROM count_sessions WHERE id = $1 FOR SHARE', [id]);
      await counter.query('UPDATE count_entries SET quantity = 6 WHERE session_id = $1', [id]);
      const approving = hub.call('POST', `${session}/approve`, {});
      await until('the approval waits for the counter', async () => {
        const { rowCount } = await hub.database.pool.query(
          `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%count_sessions SET state%'`,
        );
        return rowCount === 1;
      });
      await counter.query('COMMIT');
      expect((await approving).body.state).toBe('approved');
    } finally {
      counter.release();
    }
    expect(await onHand(hub, 'RACE')).toBe(6);
  });

  // Broken once: one line that nobody could apply left the session approving for ever, and the lines behind it undone.
  it('goes to its end where an item has become a kit since it was counted, and says so; a kit is not counted', async () => {
    await given(hub, 'AFTER-SET', 'BEFORE-SET', 'BECOMES-SET', 'PART');
    const session = await open({ toleranceUnits: 10 });
    await count(session, { 'AFTER-SET': 3, 'BEFORE-SET': 4, 'BECOMES-SET': 0 });
    await hub.call('PUT', '/v1/kits/BECOMES-SET', { components: [{ sku: 'PART', quantity: 2 }] });
    await hub.hub.app.get(Projector).caughtUp(20_000);
    const approved = await hub.call('POST', `${session}/approve`, {});
    expect(approved.body).toMatchObject({
      state: 'approved',
      reason: expect.stringMatching(/^Not applied: BECOMES-SET is a kit/),
    });
    expect([await onHand(hub, 'AFTER-SET'), await onHand(hub, 'BEFORE-SET')]).toEqual([3, 4]);
    const other = await open();
    const refused = await count(other, { 'BECOMES-SET': 1 });
    expect([refused.status, refused.body.type]).toEqual([409, 'urn:onhand:problem:item-is-kit']);
  });
});
