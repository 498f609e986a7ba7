import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CommandBatcher } from '../../src/events/command-batcher.js';
import { EventStore } from '../../src/events/event-store.js';
import { ensureLogGeneration } from '../../src/events/log-generation.js';
import { livingProcesses, Presence } from '../../src/presence.js';
import { prepareProjections, Projector } from '../../src/projections/projector.js';
import { Standby } from '../../src/projections/standby.js';
import { Wakeups } from '../../src/wakeups.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { until } from '../support/until.js';
import { assertInvariants } from './assert-invariants.js';

interface Running {
  readonly name: string;
  readonly log: string[];
  readonly projector: Projector;
  /** Ends its loop and its presence, politely. */
  end(): Promise<void>;
  /** Its process is gone, as far as others can see; its loop is not, as in one whose connection was cut. */
  vanish(): Promise<void>;
}

describe('of several projectors', () => {
  let database: TestDatabase;
  let wakeups: Wakeups;
  let batcher: CommandBatcher;
  let running: Running[] = [];

  beforeEach(async () => {
    database = await createTestDatabase({ poolMax: 20 });
    await ensureLogGeneration(database.pool);
    await prepareProjections(database);
    wakeups = new Wakeups(database);
    await wakeups.start();
    batcher = new CommandBatcher(new EventStore(database.pool, { onAppended: () => wakeups.signal('events') }));
    await ask({ type: 'AddLocation', location: 'MAIN', name: 'Main' });
    await ask({ type: 'CreateItem', sku: 'TENT', title: 'Tent' });
  });
  afterEach(async () => {
    await Promise.all(running.map((one) => one.end()));
    running = [];
    await wakeups.stop();
    await database.close();
  });

  async function ask(command: Parameters<CommandBatcher['submit']>[0]['command']): Promise<void> {
    const outcome = await batcher.submit({ client: 'test', idempotencyKey: null, bodyHash: null, command });
    if (outcome.kind === 'refused') throw new Error(outcome.refusal.detail);
  }
  const receive = () => ask({ type: 'AdjustStock', sku: 'TENT', location: 'MAIN', delta: 1 });

  async function start(): Promise<Running> {
    const log: string[] = [];
    const presence = new Presence(database, { version: '1.2.3', roles: ['projector'] });
    await presence.start();
    const write = (text: string) => void log.push(text);
    const projector = new Projector({ database, wakeups, presence, log: { info: write, error: write } });
    await projector.start();
    const end = async () => {
      await projector.stop();
      await presence.stop();
    };
    const one = { name: presence.name, log, projector, end, vanish: () => presence.stop() };
    running.push(one);
    return one;
  }
  const effective = async () => (await running[0]?.projector.status())?.effective?.name;
  const caughtUp = () => running[0]?.projector.caughtUp(10_000);

  it('one is effective and named, and the others leave every fact to it', async () => {
    const first = await start();
    await expect.poll(effective).toBe(first.name);
    const second = await start();
    for (let n = 0; n < 30; n += 1) await receive();
    expect(await caughtUp()).toBe(true);
    expect(await effective()).toBe(first.name);
    expect(second.log).toEqual([]);
    // Nothing of its own accord, and nothing when it is asked either.
    await receive();
    expect(await second.projector.step()).toBeNull();
    expect(await caughtUp()).toBe(true);
    await assertInvariants(database);
  });

  it('another takes over when the effective one stops, and when its process is gone', async () => {
    const [first, second] = [await start(), await start()];
    await expect.poll(effective).toBe(first.name);
    await first.projector.stop();
    await expect.poll(effective).toBe(second.name);
    expect(second.log).toEqual(['This projector is effective now.']);
    const third = await start();
    await second.vanish();
    await expect.poll(effective).toBe(third.name);
    expect(third.log).toEqual([`This projector is effective now, because ${second.name} is gone.`]);
    await receive();
    expect(await caughtUp()).toBe(true);
    await expect.poll(() => second.log.at(-1)).toBe('Another projector is effective; this one stands by.');
    await assertInvariants(database);
  });

  it('a batch keeps its projector in place for as long as it takes', async () => {
    const first = await start();
    await expect.poll(effective).toBe(first.name);
    // What the batch writes is locked, so that it cannot come to its end.
    const blocker = await database.pool.connect();
    await blocker.query('BEGIN');
    await blocker.query('LOCK TABLE items IN EXCLUSIVE MODE');
    await ask({ type: 'CreateItem', sku: 'ROPE', title: 'Rope' });
    await until('the batch is under way', async () => {
      const waiting = await database.pool.query(
        `SELECT FROM pg_locks WHERE NOT granted AND relation = 'items'::regclass`,
      );
      return waiting.rowCount === 1;
    });
    const watch = new Standby(database, 'main', 'onhand/1.2.3 projector other');
    for (let look = 0; look < 20; look += 1) expect(await watch.takeOver()).toBeNull();
    await blocker.query('ROLLBACK');
    blocker.release();
    expect(await caughtUp()).toBe(true);
    expect(await effective()).toBe(first.name);
  });

  it('one that is connected and leaves facts lying is replaced, one that has nothing to do is not', async () => {
    const frozen = new Presence(database, { version: '1.2.3', roles: ['projector'] });
    await frozen.start();
    // It took its place, and its loop does not run: what a frozen process looks like from outside.
    expect(await new Standby(database, 'main', frozen.name).takeOver()).toEqual({ why: 'vacant' });
    const projector = new Projector({ database, wakeups, presence: frozen, log: { info: () => {}, error: () => {} } });
    await until('all is applied', async () => {
      await projector.step();
      return projector.caughtUp(0);
    });
    const watch = new Standby(database, 'main', 'onhand/1.2.3 projector other');
    for (let look = 0; look < 20; look += 1) expect(await watch.takeOver()).toBeNull();
    await receive();
    let looks = 0;
    const taken = await until('the other one takes over', () => {
      looks += 1;
      return watch.takeOver();
    });
    expect(taken).toEqual({ why: 'idle', from: frozen.name });
    // More where another database of the server held the horizon back meanwhile.
    expect(looks).toBeGreaterThanOrEqual(4);
    expect(await projector.step()).toBeNull();
    await frozen.stop();
  });

  it('one that is connected and leaves only a recompute run lying is replaced', async () => {
    // Looked at were facts alone: with all of them applied, a frozen process kept a change of rules from its listings.
    const frozen = new Presence(database, { version: '1.2.3', roles: ['projector'] });
    await frozen.start();
    expect(await new Standby(database, 'main', frozen.name).takeOver()).toEqual({ why: 'vacant' });
    const projector = new Projector({ database, wakeups, presence: frozen, log: { info: () => {}, error: () => {} } });
    await until('all is applied', async () => {
      await projector.step();
      return projector.caughtUp(0);
    });
    await database.pool.query(
      `INSERT INTO recompute_runs (id, cause, scopes, accepted_at, created_at)
       VALUES (gen_random_uuid(), '{"type":"RuleSaved","stream":"rules","version":"1","facts":1}', '[{"sku":null,"tag":null,"locations":null,"cart":null}]', now(), now())`,
    );
    const watch = new Standby(database, 'main', 'onhand/1.2.3 projector other');
    expect(await until('the other one takes over', () => watch.takeOver())).toEqual({ why: 'idle', from: frozen.name });
    await frozen.stop();
    const successor = await start();
    expect(await successor.projector.caughtUp(10_000)).toBe(true);
    await assertInvariants(database);
  });

  it('every process is listed with its version, roles and when it was last awake', async () => {
    const one = await start();
    const processes = await livingProcesses(database);
    expect(processes).toEqual([
      {
        name: one.name,
        version: '1.2.3',
        roles: ['projector'],
        since: expect.any(Date),
        lastSeenAt: expect.any(Date),
        silentMs: expect.any(Number),
      },
    ]);
    expect(one.name).toMatch(new RegExp(String.raw`^onhand/1\.2\.3 projector \S+-${process.pid}-[0-9a-f]{8}$`));
    const seen = processes[0]?.lastSeenAt.getTime() ?? 0;
    await expect.poll(async () => (await livingProcesses(database))[0]?.lastSeenAt.getTime()).toBeGreaterThan(seen);
  });
});
