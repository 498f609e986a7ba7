import { moveCheckpoint, readCheckpoint } from '../../src/projections/checkpoint.js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Command } from '../../src/events/commands.js';
import { CommandBatcher } from '../../src/events/command-batcher.js';
import { EventStore } from '../../src/events/event-store.js';
import { ensureLogGeneration } from '../../src/events/log-generation.js';
import { Presence } from '../../src/presence.js';
import { prepareProjections, Projector } from '../../src/projections/projector.js';
import { Wakeups } from '../../src/wakeups.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { until } from '../support/until.js';
import { assertInvariants } from './assert-invariants.js';

const skus = ['P1', 'P2', 'P3', 'P4', 'P5'];

interface World {
  readonly database: TestDatabase;
  readonly wakeups: Wakeups;
  readonly ask: (...commands: Command[]) => Promise<void>;
  readonly projector: (errors?: string[]) => Projector;
  close(): Promise<void>;
}

/** A log with items, a location and a synchronised cart, and as many projectors as a test wants. */
async function world(): Promise<World> {
  const database = await createTestDatabase({ poolMax: 20 });
  await ensureLogGeneration(database.pool);
  await prepareProjections(database);
  const wakeups = new Wakeups(database);
  await wakeups.start();
  const batcher = new CommandBatcher(new EventStore(database.pool, { onAppended: () => wakeups.signal('events') }));
  const running: Projector[] = [];
  const ask = async (...commands: Command[]) => {
    const outcomes = await Promise.all(
      commands.map((command) => batcher.submit({ client: 'test', idempotencyKey: null, bodyHash: null, command })),
    );
    const refused = outcomes.find((outcome) => outcome.kind === 'refused');
    if (refused?.kind === 'refused') throw new Error(refused.refusal.detail);
  };
  await ask({ type: 'AddLocation', location: 'MAIN', name: 'Main' });
  await ask(...skus.map((sku): Command => ({ type: 'CreateItem', sku, title: sku })));
  await ask({
    type: 'AddCart',
    cartId: 'a',
    name: 'A',
    connector: 'webhook',
    url: 'http://127.0.0.1:1/',
    username: '',
    storeCode: '',
    locations: ['MAIN'],
    orderLocation: 'MAIN',
    requestTimeoutMs: 1_000,
    quietTimeMs: 300,
    pollIntervalMs: 1_000,
    clampsAtZero: false,
  });
  await ask({ type: 'MapListings', cartId: 'a', rows: skus.map((sku) => ({ key: sku, sku })) });
  await ask({ type: 'SwitchCart', cartId: 'a', on: true });
  const at = new Date().toISOString();
  const rows = skus.map((sku) => ({ key: sku, sku, quantity: 0 }));
  await ask({ type: 'BaselineListings', cartId: 'a', kind: 'write', at, mark: null, rows });
  return {
    database,
    wakeups,
    ask,
    projector: (errors = []) => {
      const log = { info: () => undefined, error: (text: string) => void errors.push(text) };
      // Not connected, so each takes every other one for gone and its place from it: the worst they can do to each other.
      const presence = new Presence(database, { version: 'test', roles: ['projector'] });
      const projector = new Projector({ database, wakeups, presence, log });
      running.push(projector);
      return projector;
    },
    close: async () => {
      await Promise.all(running.map((projector) => projector.stop()));
      await batcher.idle();
      await wakeups.stop();
      await database.close();
    },
  };
}

const receive = (n: number): Command => ({
  type: 'AdjustStock',
  sku: skus[n % skus.length] as string,
  location: 'MAIN',
  delta: (n % 7) - 2 || 1,
});
const sale = (n: number): Command => ({
  type: 'ImportOrder',
  source: 'cart:a',
  number: String(n),
  revision: 1,
  state: 'open',
  lines: [
    {
      line: '1',
      sku: skus[n % skus.length] as string,
      key: skus[n % skus.length] as string,
      location: 'MAIN',
      quantity: 1,
    },
  ],
  sighting: { after: null, by: new Date().toISOString() },
  cartMovesStock: { at: 'order', restocksOnCancel: true },
});

describe('the projector', () => {
  let hub: World;
  beforeEach(async () => {
    hub = await world();
  });
  afterEach(() => hub.close());

  const stateOf = async ({ database }: World) => ({
    onHand: (
      await database.pool.query('SELECT sku, location, on_hand, open, movements FROM quantity_on_hand ORDER BY 1, 2')
    ).rows as unknown[],
    listings: (await database.pool.query('SELECT key, expected, target FROM listings ORDER BY 1')).rows as unknown[],
    owed: (await database.pool.query('SELECT key, sum(delta) FROM web_stack GROUP BY 1 ORDER BY 1')).rows as unknown[],
  });

  const applyAll = (projector: Projector) =>
    // Somebody else's transaction in the same cluster may hold the horizon for a moment.
    until('everything is applied', async () => {
      await projector.step();
      return projector.caughtUp(0);
    });

  // The lock that keeps projectors apart only saves work: one that lost its connection may be at a batch all the same.
  it('moves its checkpoint on only from where it was read', async () => {
    await hub.ask(receive(1));
    const client = await hub.database.pool.connect();
    try {
      const from = await readCheckpoint(client, 'main', 'somebody');
      // Somebody else's transaction in the same cluster may hold the horizon for a moment.
      await until('the fact is applied', () => hub.projector().step());
      const to = { ...from, position: '1', recordedAt: new Date() };
      expect(await moveCheckpoint(client, 'main', from, to)).toBe(false);
    } finally {
      client.release();
    }
  });

  it('applies nothing of a batch of which a change does not get onto the Web Stack', async () => {
    const projector = hub.projector();
    await applyAll(projector);
    const before = await stateOf(hub);
    await hub.database.pool.query(`
      CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
      CREATE TRIGGER swallow BEFORE INSERT ON web_stack FOR EACH ROW WHEN (NEW.key = 'P2') EXECUTE FUNCTION swallow()`);
    await hub.ask(
      ...['P1', 'P2', 'P3'].map((sku): Command => ({ type: 'AdjustStock', sku, location: 'MAIN', delta: 5 })),
    );
    const why = await until('the batch fails', () =>
      projector.step().then(
        () => '',
        (error: unknown) => String((error as Error).cause),
      ),
    );
    expect(why).toContain('2 of 3 changes were put on the Web Stack');
    expect(await stateOf(hub)).toEqual(before);
    await hub.database.pool.query('DROP TRIGGER swallow ON web_stack');
    await applyAll(projector);
    expect((await stateOf(hub)).owed).toEqual(['P1', 'P2', 'P3'].map((key) => ({ key, sum: '5' })));
    await assertInvariants(hub.database);
  });

  it('goes on from where the checkpoint stands when another one has moved it meanwhile', async () => {
    const [one, other] = [hub.projector(), hub.projector()];
    for (const projector of [one, other, one, one, other]) {
      await hub.ask(receive(3), receive(4));
      await applyAll(projector);
    }
    await assertInvariants(hub.database);
  });

  it('applies every fact once when two of it run at the same time', async () => {
    await Promise.all([hub.projector().start(), hub.projector().start()]);
    for (let round = 0; round < 20; round += 1) {
      await hub.ask(
        ...Array.from({ length: 20 }, (_, n) => (n % 4 === 0 ? sale(round * 20 + n + 1) : receive(round * 20 + n))),
      );
    }
    expect(await hub.projector().caughtUp(20_000)).toBe(true);
    await assertInvariants(hub.database);
  });

  it('comes to the same result in one batch as fact by fact', async () => {
    const other = await world();
    const commands = Array.from({ length: 120 }, (_, n) => (n % 3 === 0 ? sale(n + 1) : receive(n)));
    for (const command of commands) {
      await hub.ask(command);
      await other.ask(command);
    }
    const [batch, single] = [hub.projector(), other.projector()];
    // Nothing to read is no sign of the end: other databases of the server may hold the horizon back for a moment.
    const stepUntilDone = (projector: typeof batch, factsMax: number) => async () => {
      await projector.step(factsMax);
      return projector.caughtUp(0);
    };
    await until('all is applied in batches', stepUntilDone(batch, 500));
    await until('all is applied one by one', stepUntilDone(single, 1));
    expect(await stateOf(other)).toEqual(await stateOf(hub));
    await assertInvariants(hub.database);
    await assertInvariants(other.database);
    await other.close();
  });

  it('stops loudly at a fact that cannot be applied, names it, skips nothing, and goes on once it is mended', async () => {
    // It named the first fact of the transaction, and crept towards the poison with one failed batch for each fact.
    await hub.ask(...Array.from({ length: 40 }, (_, n) => receive(n)));
    await hub.ask(receive(1), receive(2), receive(3));
    const { pool } = hub.database;
    const [poison] = (
      await pool.query<{ stream: string; version: string; delta: string }>(
        `SELECT stream, version::text, delta FROM events WHERE stream = 'stock:MAIN/P4' ORDER BY version DESC LIMIT 1`,
      )
    ).rows;
    await pool.query(`UPDATE events SET delta = 9223372036854775807 WHERE stream = $1 AND version = $2`, [
      poison?.stream,
      poison?.version,
    ]);
    const errors: string[] = [];
    const projector = hub.projector(errors);
    await projector.start();
    const stopped = await until('it has stopped', async () => (await projector.status()).stopped);
    expect(stopped).toMatchObject({ stream: poison?.stream, version: poison?.version, type: 'StockAdjusted' });
    expect(errors.at(-1)).toContain('STOPPED at StockAdjusted (stock:MAIN/P4');
    expect(errors).toHaveLength(1);
    const before = await stateOf(hub);
    await hub.ask(receive(4));
    expect(await projector.caughtUp(300)).toBe(false);
    expect(await stateOf(hub)).toEqual(before);
    await pool.query(`UPDATE events SET delta = $3 WHERE stream = $1 AND version = $2`, [
      poison?.stream,
      poison?.version,
      poison?.delta,
    ]);
    await projector.resume();
    expect(await projector.caughtUp(10_000)).toBe(true);
    await assertInvariants(hub.database);
  });

  it('leaves a listing alone whose line ended, or which sold, after a baseline was read', async () => {
    // The projector may be far behind: what left meanwhile was owed a second time, what was sold was forgotten.
    const projector = hub.projector();
    await hub.ask(receive(5), receive(6));
    await projector.start();
    await projector.caughtUp(5_000);
    const { pool } = hub.database;
    const at = new Date(Date.now() - 1_000).toISOString();
    await pool.query(
      `WITH d AS (INSERT INTO deliveries (id, cart_id, generation, state) VALUES (gen_random_uuid(), 'a', 1, 'closed') RETURNING id)
       INSERT INTO delivery_lines (delivery_id, line_no, cart_id, key, delta, state, outcome, ended_at)
       SELECT id, 1, 'a', 'P1', 3, 'done', 'applied', clock_timestamp() FROM d`,
    );
    await hub.ask(sale(2));
    const rows = ['P1', 'P3', 'P4'].map((sku) => ({ key: sku, sku, quantity: 77 }));
    await hub.ask({ type: 'BaselineListings', cartId: 'a', kind: 'write', at, mark: null, rows });
    await projector.caughtUp(5_000);
    const baselined = await pool.query('SELECT key FROM listings WHERE last_quantity = 77');
    expect(baselined.rows).toEqual([{ key: 'P4' }]);
  });
});
