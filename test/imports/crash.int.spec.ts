import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes, randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { getQueueToken } from '@nestjs/bullmq';
import type { Queue } from 'bullmq';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppModule } from '../../src/app.module.js';
import { loadConfig } from '../../src/config.js';
import { EventStore } from '../../src/events/event-store.js';
import { cleanUpImports, endBrokenUploads } from '../../src/modules/imports/clean-up-imports.js';
import { IMPORTS } from '../../src/modules/imports/import-jobs.js';
import { ImportWork } from '../../src/modules/imports/import-work.js';
import { Projector } from '../../src/projections/projector.js';
import type { Database } from '../../src/database.js';
import { startHub, type Hub } from '../../src/modules/start/hub.js';
import { startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { queriesThrough } from '../support/queries-through.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { until } from '../support/until.js';
import { given, onHand, send } from './send.js';

const ROWS = 2_000;
const file = `kind,sku,location,quantity\n${'received,MUG,main,1\n'.repeat(ROWS)}`;
const never = () => false;

/** A hub that takes files in and has nobody who works on them. */
let hub: HubUnderTest;
beforeEach(async () => {
  hub = await startHubUnderTest({ ONHAND_ROLES: 'api,projector' });
  await given(hub, 'MUG');
});
afterEach(() => hub.close());

const sent = async (query = 'kind=movements', content = file) => (await send(hub, query, content)).body.id as string;
const status = async (id: string) => (await hub.call('GET', `/v1/imports/${id}`)).body;
const workOn = (database: Database, store = new EventStore(database.pool)) =>
  new ImportWork(database, store, hub.hub.app.get(Projector));

/** An event store whose n-th statement of that name or text never reaches the server, or reaches it and gets no answer. */
function failingStore(at: string, nth: number, how: 'not-sent' | 'answer-lost'): EventStore {
  let seen = 0;
  const pool = queriesThrough(hub.database.pool, ({ name, text }, send) => {
    const meant = (name ?? text) === at && (seen += 1) === nth;
    if (!meant) return send();
    if (how === 'not-sent') return Promise.reject(new Error('The process died here'));
    return send().then(() => Promise.reject(new Error('Connection terminated unexpectedly')));
  });
  return new EventStore(pool);
}

describe('an import that was cut off', () => {
  it.each(['not-sent', 'answer-lost'] as const)(
    'where nobody knows what became of a commit (%s) learns it from itself, and goes on',
    async (how) => {
      const id = await sent();
      const work = workOn(hub.database, failingStore('COMMIT', 2, how));
      expect(await work.run(id, never)).toBe('done');
      expect(await status(id)).toMatchObject({ state: 'done', fault: null, rows: { applied: ROWS, refused: 0 } });
      expect(await onHand(hub, 'MUG')).toBe(ROWS);
    },
  );

  it('at a row that nobody can append has all rows before it, and names none that is not in', async () => {
    const id = await sent();
    const { pool } = hub.database;
    // What a fault of a single command looks like.
    await pool.query(
      `CREATE FUNCTION refuse_reason() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
         IF NEW.causation_id = 'import/import:${id}:1501' THEN RAISE EXCEPTION 'nobody can append this'; END IF; RETURN NEW; END $f$`,
    );
    await pool.query(
      'CREATE TRIGGER refuse_reason BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse_reason()',
    );
    await expect(workOn(hub.database).run(id, never)).rejects.toThrow('nobody can append this');
    expect(await status(id)).toMatchObject({
      state: 'applying',
      fault: 'nobody can append this',
      rows: { applied: 1_499 },
    });
    expect(await onHand(hub, 'MUG')).toBe(1_499);
    await pool.query('DROP TRIGGER refuse_reason ON events');
    expect(await workOn(hub.database).run(id, never)).toBe('done');
    expect(await onHand(hub, 'MUG')).toBe(ROWS);
  });

  it('stopped between two chunks goes on where it stood', async () => {
    const id = await sent();
    let asked = 0;
    expect(await workOn(hub.database).run(id, () => (asked += 1) > 14)).toBe('applying');
    const { rows, progress } = await status(id);
    expect(rows.applied).toBeGreaterThan(0);
    expect(rows.applied).toBeLessThan(ROWS);
    expect(progress.total).toBe(ROWS + 1);
    expect((await hub.call('POST', `/v1/imports/${id}/cancel`)).status).toBe(409);
    expect(await workOn(hub.database).run(id, never)).toBe('done');
    expect(await onHand(hub, 'MUG')).toBe(ROWS);
  });

  it('two workers on one import count it once', async () => {
    const id = await sent();
    const states = await Promise.all([1, 2].map(() => workOn(hub.database).run(id, never)));
    expect(states).toContain('done');
    expect((await status(id)).rows).toMatchObject({ applied: ROWS, waiting: 0 });
    expect(await onHand(hub, 'MUG')).toBe(ROWS);
  });

  it('by kill -9 in the middle is taken up by the next worker, orders and mappings too', async () => {
    const orders = Array.from({ length: 900 }, (_, at) => `O-${Math.floor(at / 3)},MUG,main,1\n`).join('');
    const ids = [await sent(), await sent('kind=orders', `number,sku,location,quantity\n${orders}`)];
    for (const id of ids) {
      const worker = startWorker(id);
      await until('some of it is applied', async () => (await status(id)).rows.applied > 0);
      worker.kill('SIGKILL');
      await once(worker, 'exit');
      expect(await workOn(hub.database).run(id, never)).toBe('done');
    }
    expect((await status(ids[0]!)).rows).toMatchObject({ applied: ROWS, refused: 0 });
    expect((await status(ids[1]!)).rows).toMatchObject({ applied: 900, refused: 0 });
    expect(await onHand(hub, 'MUG')).toBe(ROWS - 900);
  });

  it('is put back by the next worker process where the queue has forgotten it, and a graceful end is quick', async () => {
    const ids = [await sent(), await sent()];
    await hub.hub.app.get<Queue>(getQueueToken(IMPORTS)).obliterate({ force: true });
    const first = await startWorkerHub();
    await until('some of it is applied', async () => (await status(ids[0]!)).rows.applied > 0);
    await first.stop();
    const second = await startWorkerHub();
    for (const id of ids) await until('it is done', async () => (await status(id)).state === 'done');
    await second.stop();
    expect(await onHand(hub, 'MUG')).toBe(2 * ROWS);
  });

  it('cancelled while it is checked is left alone', async () => {
    const id = await sent();
    expect((await hub.call('POST', `/v1/imports/${id}/cancel`)).body.state).toBe('cancelled');
    expect(await workOn(hub.database).run(id, never)).toBe('cancelled');
    expect(await onHand(hub, 'MUG')).toBe(0);
  });

  it('a row that meanwhile became impossible is refused by itself, and the rest goes to its end', async () => {
    const id = await sent(
      'kind=movements&preview=true',
      'kind,sku,location,quantity,key\nreceived,MUG,main,1,k1\nreceived,MUG,main,1,k2\n',
    );
    await workOn(hub.database).run(id, never);
    const quicker = { kind: 'received', sku: 'MUG', location: 'main', quantity: 5, idempotencyKey: 'k1' };
    await hub.call('POST', '/v1/movements/batch', { movements: [quicker] });
    await hub.call('POST', `/v1/imports/${id}/apply`);
    expect(await workOn(hub.database).run(id, never)).toBe('done');
    expect(await status(id)).toMatchObject({ rows: { applied: 1, refused: 1 }, problems: [{ row: 2 }] });
    expect(await onHand(hub, 'MUG')).toBe(6);
  });
});

describe('what nobody needs any more', () => {
  it('an upload that lost its process is ended, and old imports are removed with their rows', async () => {
    const done = await sent();
    await workOn(hub.database).run(done, never);
    const ready = await sent('kind=movements&preview=true');
    await workOn(hub.database).run(ready, never);
    const broken = randomUUID();
    const { pool } = hub.database;
    await pool.query(
      `INSERT INTO imports (id, kind, on_error, preview, client, by, idempotency_key) VALUES ($1, 'counts', 'stop', false, 'x', 'x', 'k')`,
      [broken],
    );
    expect(await endBrokenUploads(hub.database)).toBe(0);
    await pool.query(`UPDATE imports SET updated_at = now() - interval '31 days'`);
    expect(await endBrokenUploads(hub.database)).toBe(1);
    expect(await status(broken)).toMatchObject({ state: 'refused', problem: expect.stringContaining('broke off') });
    expect(await cleanUpImports(hub.database, 30)).toEqual({ imports: 2 });
    expect((await hub.call('GET', `/v1/imports/${done}`)).status).toBe(404);
    expect((await pool.query('SELECT FROM import_rows')).rowCount).toBe(0);
    expect(await onHand(hub, 'MUG')).toBe(ROWS);
  });
});

/** A hub process with the role `worker` only, on the same database. */
async function startWorkerHub(): Promise<Hub> {
  const config = loadConfig({
    DATABASE_URL: hub.database.url,
    ONHAND_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    ONHAND_ROLES: 'worker',
    ONHAND_DATA_DIR: await temporaryDirectory(),
    ONHAND_LOG_LEVEL: 'error',
    ONHAND_LANES_MAX: '8',
  });
  return startHub(config, AppModule.for, (error) => {
    throw error;
  });
}

function startWorker(importId: string) {
  const program = fileURLToPath(new URL('import-process.mjs', import.meta.url));
  const given = JSON.stringify({ databaseUrl: hub.database.url, importId });
  return spawn(process.execPath, [program], { env: { ...process.env, IMPORT_PROCESS: given }, stdio: 'inherit' });
}
