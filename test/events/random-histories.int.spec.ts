import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evolveStream } from '../../src/events/command-table.js';
import type { Command } from '../../src/events/commands.js';
import { EventStore } from '../../src/events/event-store.js';
import type { Fact } from '../../src/events/facts.js';
import type { HeldLine } from '../../src/events/order-lines.js';
import { stockStream } from '../../src/events/streams.js';
import { createTestDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';
import { shopCommands, unkeyed } from './given.js';

let database: TestDatabase;
let store: EventStore;

beforeAll(async () => {
  database = await createTestDatabase();
  store = new EventStore(database.pool);
  await store.append(shopCommands.map(unkeyed));
});
afterAll(() => database.close());

describe('random histories', () => {
  const sku = fc.constantFrom('R1', 'R2', 'R3');
  const number = fc.constantFrom('1', '2');
  const when = fc.option(
    fc.integer({ min: 0, max: 3600 }).map((s) => new Date(Date.UTC(2026, 0, 5) + s * 1000).toISOString()),
    { nil: undefined },
  );
  const command: fc.Arbitrary<Command> = fc.oneof(
    fc.record({
      type: fc.constant('AdjustStock' as const),
      sku,
      location: fc.constantFrom('shop', 'store'),
      delta: fc.integer({ min: -9, max: 9 }),
      occurredAt: when,
    }),
    fc.record({
      type: fc.constant('CountStock' as const),
      sku,
      location: fc.constant('shop'),
      quantity: fc.nat(20),
      asOf: when,
      includesOpenOrders: fc.boolean(),
    }),
    fc.record({
      type: fc.constant('ImportOrder' as const),
      source: fc.constantFrom('cart:web' as const, 'phone' as const),
      number,
      revision: fc.integer({ min: 1, max: 9 }),
      placedAt: when,
      state: fc.constantFrom('open' as const, 'shipped' as const, 'closed' as const, 'cancelled' as const),
      lines: fc.uniqueArray(
        fc.record({
          line: fc.constantFrom('1', '2'),
          sku,
          key: fc.constant('k'),
          location: fc.constant('shop'),
          quantity: fc.nat(5),
        }),
        { selector: (l) => l.line },
      ),
      sighting: fc.constant({ after: null, by: '2026-01-05T00:00:00.000Z' }),
      cartMovesStock: fc.record({
        at: fc.constantFrom('order' as const, 'fulfilment' as const, 'never' as const),
        restocksOnCancel: fc.boolean(),
      }),
    }),
    fc.record({
      type: fc.constantFrom('ShipOrder' as const, 'CloseOrder' as const),
      source: fc.constantFrom('cart:web' as const, 'phone' as const),
      number,
    }),
    fc.record({
      type: fc.constant('ShipTransfer' as const),
      transfer: fc.constantFrom('A', 'B'),
      from: fc.constant('shop'),
      to: fc.constant('store'),
      lines: fc.tuple(fc.record({ sku, quantity: fc.integer({ min: 1, max: 5 }) })),
    }),
    fc.record({
      type: fc.constant('ReceiveTransfer' as const),
      transfer: fc.constantFrom('A', 'B'),
      close: fc.boolean(),
    }),
    fc.record({ type: fc.constant('SwitchCart' as const), cartId: fc.constant('web'), on: fc.boolean() }),
  );

  it('leave every head at what folding its events gives, and every balance at the sum of the deltas', async () => {
    await store.append(['R1', 'R2', 'R3'].map((name) => unkeyed({ type: 'CreateItem', sku: name, title: name })));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(command, { minLength: 1, maxLength: 8 }), { maxLength: 6 }),
        async (batches) => {
          await Promise.all(batches.map((batch) => store.append(batch.map(unkeyed))));
        },
      ),
      { seed: 20260303, numRuns: 25 },
    );
    await expectHeadsFolded();
    await expectOpenPiecesOfOrders();
  });
});

/** Every open piece of a stock stream belongs to an open line of an order, whatever was changed, counted or cancelled between. */
async function expectOpenPiecesOfOrders(): Promise<void> {
  const { rows: heads } = await database.pool.query<{ stream: string; state: { lines: HeldLine[]; open: number } }>(
    `SELECT stream, state FROM stream_heads WHERE version > 0 AND (stream LIKE 'order:%' OR stream LIKE 'stock:%')`,
  );
  const open = new Map<string, number>();
  for (const line of heads.flatMap(({ stream, state }) => (stream.startsWith('order:') ? state.lines : []))) {
    const stream = stockStream(line.location, line.sku);
    open.set(stream, (open.get(stream) ?? 0) + line.open);
    expect(line.open).toBeGreaterThanOrEqual(0);
    expect(line.open).toBeLessThanOrEqual(line.held);
  }
  for (const { stream, state } of heads) {
    if (stream.startsWith('stock:')) expect([stream, state.open]).toEqual([stream, open.get(stream) ?? 0]);
  }
}

async function expectHeadsFolded(): Promise<void> {
  const { rows: heads } = await database.pool.query<{ stream: string; version: string; state: unknown }>(
    'SELECT * FROM stream_heads WHERE version > 0',
  );
  const { rows: events } = await database.pool.query<{
    stream: string;
    version: string;
    type: string;
    data: unknown;
    delta: string | null;
    balance: string | null;
  }>('SELECT * FROM events ORDER BY stream, version');
  const byStream = new Map<string, typeof events>();
  for (const event of events) byStream.set(event.stream, [...(byStream.get(event.stream) ?? []), event]);
  expect([...byStream.keys()].toSorted()).toEqual(heads.map(({ stream }) => stream).toSorted());
  for (const head of heads) {
    let state: unknown = null;
    let sum = 0;
    const own = byStream.get(head.stream) ?? [];
    for (const [i, event] of own.entries()) {
      expect(event.version).toBe(String(i + 1));
      state = evolveStream(head.stream, state, { type: event.type, data: event.data } as Fact, event.version);
      sum += Number(event.delta);
      if (event.balance !== null) expect(Number(event.balance)).toBe(sum);
    }
    expect(head.version).toBe(String(own.length));
    expect(head.state).toEqual(state);
  }
}
