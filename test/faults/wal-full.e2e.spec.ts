import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { onServer } from '../support/database-server.js';
import { startPrivatePostgres, type PrivatePostgres } from '../support/private-postgres.js';
import { until } from '../support/until.js';
import { adjustment, callHub } from './call-hub.js';
import { tally } from './depth.js';
import { faultBench, type FaultBench } from './fault-bench.js';
import type { HubProcess } from './hub-process.js';
import { mountSmallDisk, type SmallDisk } from './small-disk.js';

/**
 * PostgreSQL's log of writes has no room: a small file system of its own. PostgreSQL then ends in the middle of whatever
 * is being written, tries to recover, and ends for good where there is no room for that either.
 */
const skus = Array.from({ length: 20 }, (_, index) => `S${index + 1}`);
const sizeMb = 256;
const callsMax = 300;

const disk = await mountSmallDisk(sizeMb);

describe.skipIf(disk === null)('a log of writes without room', () => {
  const { folder, fill, makeRoom, unmount } = disk as SmallDisk;
  let postgres: PrivatePostgres;
  let bench: FaultBench;
  let hub: HubProcess;

  beforeAll(async () => {
    postgres = await startPrivatePostgres();
    // The server keeps no more of its log than it must, so that what it has is soon used up.
    for (const setting of ["max_wal_size = '48MB'", "min_wal_size = '32MB'", "wal_recycle = 'off'"])
      await onServer(postgres.serverUrl, `ALTER SYSTEM SET ${setting}`);
    await postgres.stop('fast');
    const log = path.join(postgres.home, 'data', 'pg_wal');
    for (const command of [
      ['cp', '-a', log, path.join(folder, 'pg_wal')],
      ['rm', '-r', log],
      ['ln', '-s', path.join(folder, 'pg_wal'), log],
    ] as const) {
      const { status } = spawnSync(command[0], command.slice(1));
      if (status !== 0) throw new Error(`${command.join(' ')} ended with ${status}`);
    }
    await postgres.start();
    const database = await postgres.createDatabase();
    bench = await faultBench({ redisUrl: undefined, skus, database, env: { ONHAND_LOG_LEVEL: 'fatal' } });
    hub = await bench.start();
  });
  afterAll(async () => {
    await bench?.close();
    await postgres?.close();
    await unmount();
  });

  const batch = Array.from({ length: 400 }, (_, n) => adjustment(skus[n % skus.length] as string, 1, 'x'.repeat(400)));
  const post = (n: number) => callHub(hub, bench.ownerKey, '/v1/movements/batch', { movements: batch }, `full-${n}`);

  it('is answered with 503; when PostgreSQL runs again nothing accepted is lost, and what is asked again counts once', async () => {
    await fill();
    let sent = 1;
    for (; ; sent += 1) {
      const answer = await post(sent);
      const refused = answer.body.outcomes?.some(({ status }) => status === 503) ?? false;
      if (answer.status === 503 || refused) break;
      expect(new Set(answer.body.outcomes?.map(({ status }) => status))).toEqual(new Set([201]));
      expect(sent).toBeLessThan(callsMax);
    }
    await makeRoom();
    await postgresRunsAgain();
    for (let n = 1; n <= sent; n += 1) {
      const statuses = await until('the hub accepts again', async () => {
        const again = await post(n);
        return again.status < 500 ? again.body.outcomes?.map(({ status }) => status) : undefined;
      });
      expect(new Set(statuses)).toEqual(new Set([201]));
    }
    for (const sku of skus) bench.moved(sku, sent * (batch.length / skus.length));
    await bench.settle();
    tally({ 'faults injected': 1 });
  });

  /** By itself, where there was room again before its recovery began; else whoever runs it starts it. */
  async function postgresRunsAgain(): Promise<void> {
    await until('PostgreSQL runs, or has ended', async () => {
      if (await runs()) return true;
      if (await isGone()) await postgres.start();
      return runs();
    });
  }
  const runs = () =>
    onServer(postgres.serverUrl, 'SELECT 1').then(
      () => true,
      () => false,
    );
  const isGone = async () => {
    const pid = await readFile(path.join(postgres.home, 'data', 'postmaster.pid'), 'utf8').catch(() => null);
    return pid === null;
  };
});
