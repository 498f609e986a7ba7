import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/embedded-postgres.js';
import { createDatabase, type Database } from '../../src/database.js';
import { assertInvariants } from '../projections/assert-invariants.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { until } from '../support/until.js';
import { endAll, startProcess, type HubProcess } from './processes.js';

/**
 * Whole processes on a PostgreSQL of their own, whose settings are PostgreSQL's own: what bounds a frozen projector must
 * come from the hub's sessions. Of their own also because a frozen transaction holds back every reader of a server.
 */
describe('a projector that stands by takes over', () => {
  let dir: string;
  let server: EmbeddedPostgres;
  let database: Database;
  let api: HubProcess;
  let url: string;
  const projectors = new Set<HubProcess>();
  const ownerKey = `ohk_${randomBytes(32).toString('base64url')}`;
  let env: Record<string, string>;

  beforeAll(async () => {
    dir = await temporaryDirectory('onhand-standby-');
    server = await startEmbeddedPostgres({ dataDir: dir, maxConnections: 150, log: () => undefined });
    env = {
      DATABASE_URL: server.url,
      ONHAND_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      ONHAND_OWNER_KEY: ownerKey,
      ONHAND_DATA_DIR: dir,
      ONHAND_PORT: '0',
      ONHAND_LOG_JSON: 'true',
      ONHAND_LANES_MAX: '4',
    };
    api = startProcess(['node', 'dist/main.js'], { ...env, ONHAND_ROLES: 'api' });
    url = (await api.started()).url ?? '';
    database = createDatabase({ url: server.url, poolMax: 8, applicationName: 'onhand-test' });
    await call('POST', '/v1/locations', { location: 'MAIN', name: 'Main' });
    await call('POST', '/v1/items', { sku: 'TENT', title: 'Tent' });
    await makeGates();
  });
  afterAll(async () => {
    await endAll([...projectors, ...(api === undefined ? [] : [api])]);
    await database?.close();
    await server?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  async function call(method: string, path: string, body?: unknown) {
    const response = await fetch(url + path, {
      method,
      headers: { Authorization: `Bearer ${ownerKey}`, 'Content-Type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as Record<string, unknown>;
    expect([response.status < 300, answer]).toEqual([true, answer]);
    return answer;
  }
  const receive = () => call('POST', '/v1/movements', { kind: 'received', sku: 'TENT', location: 'MAIN', quantity: 1 });
  const onHand = async () =>
    Number(
      (await database.pool.query(`SELECT on_hand FROM quantity_on_hand WHERE sku = 'TENT'`)).rows[0]?.on_hand ?? 0,
    );
  const inTheLog = async () =>
    Number((await database.pool.query(`SELECT count(*) FROM events WHERE delta IS NOT NULL`)).rows[0]?.count);

  /**
   * A statement that writes one of these tables stops at a gate that the test holds shut: so the test knows that a
   * projector is inside its transaction, and between which of its statements, without a switch in the program.
   */
  const gates = { quantity_on_hand: 4711, projection_checkpoints: 4712 } as const;
  type Gate = keyof typeof gates;
  async function makeGates() {
    for (const [table, gate] of Object.entries(gates)) {
      await database.pool.query(`
        CREATE FUNCTION gate_${gate}() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock_shared(${gate}); RETURN NULL; END';
        CREATE TRIGGER gate AFTER INSERT OR UPDATE ON ${table} FOR EACH STATEMENT EXECUTE FUNCTION gate_${gate}()`);
    }
  }
  async function shut(gate: Gate) {
    const keeper = new pg.Client({ connectionString: server.url });
    await keeper.connect();
    await keeper.query('SELECT pg_advisory_lock($1)', [gates[gate]]);
    return {
      untilSomebodyWaits: () =>
        until(`a projector waits at ${gate}`, async () => {
          const waiting = await keeper.query(
            `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = $1`,
            [gates[gate]],
          );
          return (waiting.rowCount ?? 0) > 0;
        }),
      open: () => keeper.end(),
    };
  }

  async function startProjector(): Promise<HubProcess> {
    const one = startProcess(['node', 'dist/main.js'], { ...env, ONHAND_ROLES: 'projector' });
    projectors.add(one);
    void one.ended.then(() => projectors.delete(one));
    await one.started();
    return one;
  }
  const effectivePid = async () => {
    const { effective } = (await call('GET', '/v1/projector')) as {
      effective: { name: string; lives: boolean } | null;
    };
    return effective?.lives === true ? Number(effective.name.split('-').at(-2)) : null;
  };
  /** Two projectors, with those that the last test left; the first is effective and has applied everything. */
  async function startTwo(): Promise<[HubProcess, HubProcess]> {
    while (projectors.size < 2) await startProjector();
    const pid = await until('one is effective', effectivePid);
    await untilAllApplied();
    const [first, second] = [...projectors].sort((a, b) => Number(b.pid === pid) - Number(a.pid === pid));
    if (first?.pid !== pid || second === undefined) throw new Error(`Process ${pid} is none of this test`);
    return [first, second];
  }
  const untilStandsBy = (one: HubProcess) =>
    until('it has noticed that it was replaced', () => one.output().includes('this one stands by'));
  const untilAllApplied = () =>
    until('everything is applied', async () => (await onHand()) === (await inTheLog()), 20_000);

  it('within about a second when the effective one is killed', async () => {
    const [first, second] = await startTwo();
    first.child.kill('SIGKILL');
    const killedAt = performance.now();
    await receive();
    await untilAllApplied();
    const tookMs = Math.round(performance.now() - killedAt);
    console.log(`killed: taken over, and its first fact applied, after ${tookMs} ms`);
    expect(tookMs).toBeLessThan(5_000);
    expect(await effectivePid()).toBe(second.pid);
  });

  it('at once when the effective one is asked to end', async () => {
    const [first, second] = await startTwo();
    first.child.kill('SIGTERM');
    await receive();
    await untilAllApplied();
    expect(await first.ended).toBe(0);
    await expect.poll(effectivePid).toBe(second.pid);
  });

  it('within two seconds or so when the effective one is frozen between two batches', async () => {
    const [first, second] = await startTwo();
    first.child.kill('SIGSTOP');
    const frozenAt = performance.now();
    await receive();
    await untilAllApplied();
    const tookMs = Math.round(performance.now() - frozenAt);
    console.log(`frozen between two batches: the first fact applied after ${tookMs} ms`);
    expect(tookMs).toBeLessThan(10_000);
    expect(await effectivePid()).toBe(second.pid);
    const { processes } = (await call('GET', '/v1/status')) as {
      processes: { name: string; roles: string[]; effectiveProjector: boolean; version: string }[];
    };
    const told = new Map(processes.map((one) => [Number(one.name.split('-').at(-2)), one]));
    expect(told.get(first.pid)).toMatchObject({ roles: ['projector'], effectiveProjector: false });
    expect(told.get(second.pid)).toMatchObject({ roles: ['projector'], effectiveProjector: true });
    expect(told.get(api.pid)).toMatchObject({ roles: ['api'], effectiveProjector: false, version: '0.1.0' });
    first.child.kill('SIGCONT');
    await untilStandsBy(first);
    await assertInvariants(database);
  });

  // It held its locks and the horizon until PostgreSQL's own settings ended it, which by default is never.
  for (const gate of ['quantity_on_hand', 'projection_checkpoints'] as const) {
    it(`in less than ten seconds when the effective one is frozen after it wrote ${gate} and before it commits`, async () => {
      const [first, second] = await startTwo();
      const keeper = await shut(gate);
      await receive();
      await keeper.untilSomebodyWaits();
      first.child.kill('SIGSTOP');
      const frozenAt = performance.now();
      await keeper.open();
      await receive();
      await untilAllApplied();
      const tookMs = Math.round(performance.now() - frozenAt);
      console.log(`frozen after it wrote ${gate}: taken over after ${tookMs} ms`);
      expect(tookMs).toBeLessThan(10_000);
      expect(await effectivePid()).toBe(second.pid);
      const before = await onHand();
      first.child.kill('SIGCONT');
      await untilStandsBy(first);
      expect(await onHand()).toBe(before);
      await receive();
      await untilAllApplied();
      await assertInvariants(database);
    });
  }

  // Stuck in writing, its server process met none of the other time-outs and kept its locks for as long as the freeze.
  it.runIf(process.platform === 'linux')(
    'and one that froze while it read a large answer loses its transaction too',
    async () => {
      const reader = startProcess(
        [
          'node',
          '--input-type=module',
          '--eval',
          `import { createDatabase } from './dist/database.js';
         const { pool } = createDatabase({ url: process.env.DATABASE_URL, poolMax: 1, applicationName: 'frozen reader' });
         const client = await pool.connect();
         await client.query('BEGIN');
         await client.query("UPDATE items SET title = title || '!'");
         const answer = client.query("SELECT repeat('x', 1000) FROM generate_series(1, 500000)");
         process.kill(process.pid, 'SIGSTOP');
         await answer.catch((error) => console.log(error.message));`,
        ],
        env,
      );
      projectors.add(reader);
      const session = async () =>
        (await database.pool.query(`SELECT wait_event FROM pg_stat_activity WHERE application_name = 'frozen reader'`))
          .rows;
      await until(
        'its server process is stuck in writing',
        async () => (await session())[0]?.wait_event === 'ClientWrite',
      );
      await until('its transaction is ended', async () => (await session()).length === 0, 20_000);
      await database.pool.query(`UPDATE items SET title = 'Tent'`);
      await endAll([reader]);
      projectors.delete(reader);
    },
  );

  it('and a batch counts once when the frozen one wakes before its transaction was ended', async () => {
    const [first] = await startTwo();
    const keeper = await shut('projection_checkpoints');
    await receive();
    await keeper.untilSomebodyWaits();
    first.child.kill('SIGSTOP');
    await keeper.open();
    first.child.kill('SIGCONT');
    await receive();
    await untilAllApplied();
    await assertInvariants(database);
  });
});
