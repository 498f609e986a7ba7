import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { dumpDatabase, restoreDatabase, type Dump } from '../support/copy-database.js';
import type { TestDatabase } from '../support/database.js';
import { startPrivatePostgres, type PrivatePostgres } from '../support/private-postgres.js';
import { until } from '../support/until.js';
import { adjustment, callHub } from './call-hub.js';
import { tally } from './depth.js';
import { cartIds, faultBench, type FaultBench } from './fault-bench.js';
import { startHubProcess, type HubProcess } from './hub-process.js';

/**
 * A dump is restored into a new cluster, whose transaction ids begin anew, after the hub had gone on for a while: it has
 * forgotten movements that its clients sent and deltas that the shops have.
 */
const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const skus = ['KEPT', 'FORGOTTEN', 'SOLD', 'QUIET'];

let first: PrivatePostgres;
let second: PrivatePostgres;
let bench: FaultBench;
let dump: Dump;
let restored: TestDatabase;
let hub: HubProcess | undefined;

beforeAll(async () => {
  [first, second] = await Promise.all([startPrivatePostgres(), startPrivatePostgres()]);
  const database = await first.createDatabase();
  bench = await faultBench({ redisUrl: undefined, skus, database, env: { ONHAND_LOG_LEVEL: 'fatal' } });
});
afterAll(async () => {
  await hub?.stop();
  await bench?.close();
  await restored?.close();
  await Promise.all([first?.close(), second?.close()]);
});

const post = (to: HubProcess, sku: string, delta: number, key: string) =>
  callHub(to, bench.ownerKey, '/v1/movements', adjustment(sku, delta), key);

describe('a dump that is restored into a new cluster', () => {
  it('is not run on before somebody said so', async () => {
    const old = await bench.start();
    expect((await post(old, 'KEPT', 7, 'before the dump')).status).toBe(201);
    bench.moved('KEPT', 7);
    await bench.settle();
    // The dump has a job whose worker will never be heard of again.
    await bench.shops.get('settle')?.faults({ scope: 'all', delayBeforeMs: 900 });
    await until('a poll for orders is under way', async () => {
      const found = await bench.harness.database.pool.query(
        `SELECT FROM bullmq.job WHERE queue = 'order-polls' AND state = 'active' AND data->>'cartId' = 'settle'`,
      );
      return found.rowCount === 1;
    });
    dump = await dumpDatabase(bench.harness.database, first.home);
    await bench.shops.get('settle')?.faults({});
    expect((await post(old, 'FORGOTTEN', 9, 'after the dump')).status).toBe(201);
    bench.moved('FORGOTTEN', 9);
    await bench.buy('settle', 'SOLD', 2);
    await bench.buy('set', 'SOLD', 1);
    await bench.settle();
    expect(await old.stop()).toBe(0);

    restored = await second.createDatabase();
    await restoreDatabase(restored, dump);
    // As of the moment between taking that job and putting in the next one.
    await restored.pool.query(
      `DELETE FROM bullmq.job WHERE queue = 'order-polls' AND state = 'delayed' AND data->>'cartId' = 'settle'`,
    );
    const refused = await runMain([]);
    expect(refused.code).not.toBe(0);
    expect(refused.said).toContain('written in another PostgreSQL cluster');
    expect(refused.said).toContain('after-restore');
  });

  it('begins a new generation with every lane paused, and sends nothing before a comparison', async () => {
    const began = await runMain(['after-restore']);
    expect(began).toMatchObject({ code: 0 });
    hub = await startHubProcess({ ...bench.hubEnv, DATABASE_URL: restored.url });
    const shown = await stocks();
    for (const cartId of cartIds) {
      expect((await callHub(hub, bench.ownerKey, `/v1/carts/${cartId}`)).status).toBe(200);
      const [lane] = await rows<{ paused: boolean }>('SELECT paused FROM lanes WHERE cart_id = $1', cartId);
      expect(lane?.paused).toBe(true);
    }
    const again = await post(hub, 'KEPT', 7, 'before the dump');
    expect(again).toMatchObject({ status: 201, replayed: true });
    const forgotten = await post(hub, 'FORGOTTEN', 9, 'after the dump');
    expect(forgotten).toMatchObject({ status: 201, replayed: false });
    // The mark of the order polls went back, too; what was sold since is told once more.
    await until(
      'the sales since the dump are known',
      async () => {
        const [row] = await rows<{ on_hand: number }>(`SELECT on_hand::int FROM quantity_on_hand WHERE sku = 'SOLD'`);
        return row?.on_hand === 97;
      },
      30_000,
    );
    const [events] = await rows<{ generations: number[] }>(
      'SELECT array_agg(DISTINCT generation ORDER BY generation) AS generations FROM events',
    );
    expect(events?.generations).toEqual([1, 2]);
    expect(await stocks()).toEqual(shown);
  });

  it('is equal everywhere once each cart was compared and its lane resumed', async () => {
    const running = hub as HubProcess;
    for (const cartId of cartIds) {
      const asked = await callHub(running, bench.ownerKey, `/v1/carts/${cartId}/comparison`, { direction: 'send' });
      expect(asked.status).toBe(202);
    }
    await until(
      'every listing is baselined anew',
      async () => {
        const [row] = await rows<{ n: number }>(
          `SELECT count(*)::int AS n FROM listings
            WHERE baseline_at > (SELECT started_at FROM log_generation ORDER BY generation DESC LIMIT 1)`,
        );
        return row?.n === cartIds.length * skus.length;
      },
      30_000,
    );
    for (const cartId of cartIds) await callHub(running, bench.ownerKey, `/v1/carts/${cartId}/resume`, {});
    await until(
      'the hub and every shop have what the model has',
      async () => {
        const found = await stocks();
        return [...bench.model].every(([sku, quantity]) =>
          cartIds.every((cartId) => found[cartId]?.[sku] === quantity),
        );
      },
      30_000,
    );
    await until('nothing is under way', async () => {
      const [row] = await rows<{ n: number }>(
        `SELECT count(*)::int AS n FROM web_stack WHERE state IN ('waiting', 'in-flight', 'in-doubt', 'held', 'quarantined')`,
      );
      return row?.n === 0;
    });
    await assertInvariants(restored);
    await assertShopsAgree(restored, bench.shops);
    tally({ 'restores into a new cluster': 1 });
  });
});

async function rows<T>(sql: string, ...values: unknown[]): Promise<T[]> {
  return (await restored.pool.query(sql, values)).rows as T[];
}

async function stocks(): Promise<Record<string, Record<string, number>>> {
  const found: Record<string, Record<string, number>> = {};
  for (const [cartId, shop] of bench.shops) found[cartId] = Object.fromEntries(await shop.stock());
  return found;
}

/** The program itself, to its end. */
async function runMain(args: readonly string[]): Promise<{ code: number | null; said: string }> {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ONHAND_')));
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...inherited, ONHAND_PORT: '0', ...bench.hubEnv, DATABASE_URL: restored.url },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += String(chunk)));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, said };
}
