import { spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { onServer } from '../support/database-server.js';
import { startPrivatePostgres, type PrivatePostgres } from '../support/private-postgres.js';
import { adjustment, callHub } from './call-hub.js';
import { tally } from './depth.js';
import { faultBench, type FaultBench } from './fault-bench.js';
import type { HubProcess } from './hub-process.js';
import { mountSmallDisk, type SmallDisk } from './small-disk.js';

/**
 * The disk under the hub's tables is full: a small file system of its own, made a tablespace. (The server's log of writes is
 * elsewhere; wal-full.e2e.spec.ts fills that.)
 */
const skus = Array.from({ length: 20 }, (_, index) => `S${index + 1}`);
const sizeMb = 160;

const disk = await mountSmallDisk(sizeMb);

describe.skipIf(disk === null)('a disk that is full', () => {
  const { folder, fill, makeRoom, unmount } = disk as SmallDisk;
  let postgres: PrivatePostgres;
  let bench: FaultBench;
  let hub: HubProcess;

  beforeAll(async () => {
    postgres = await startPrivatePostgres();
    const place = path.join(folder, 'tables');
    await mkdir(place);
    spawnSync('chown', ['postgres:postgres', place]);
    await onServer(postgres.serverUrl, `CREATE TABLESPACE small LOCATION '${place}'`);
    const database = await postgres.createDatabase({ tablespace: 'small' });
    bench = await faultBench({ redisUrl: undefined, skus, database, env: { ONHAND_LOG_LEVEL: 'fatal' } });
    hub = await bench.start();
  });
  afterAll(async () => {
    await bench?.close();
    await postgres?.close();
    await unmount();
  });

  const post = (key: string) => callHub(hub, bench.ownerKey, '/v1/movements/batch', { movements: batch }, key);
  /** Four hundred movements: more than what is left in the tables' last pages. */
  const batch = Array.from({ length: 400 }, (_, n) => adjustment(skus[n % skus.length] as string, 1, 'x'.repeat(400)));
  const count = async () => {
    const [row] = await bench.harness.rows<{ n: number }>(
      'SELECT count(*)::int AS n FROM events WHERE delta IS NOT NULL',
    );
    return row?.n ?? 0;
  };

  it('is answered with 503 and a sentence, nothing is half done, and everything goes on when there is room', async () => {
    const before = await count();
    await fill();
    let sent = 0;
    const accepted: string[] = [];
    for (;;) {
      const key = `full-${(sent += 1)}`;
      const answer = await post(key);
      if (answer.status === 503) {
        expect(answer.contentType).toContain('application/problem+json');
        expect(answer.body.type).toBe('urn:onhand:problem:unavailable');
        expect(answer.body.detail).toContain('disk of the database is full');
        break;
      }
      expect(answer.status).toBeLessThan(300);
      accepted.push(key);
      expect(sent).toBeLessThan(40);
    }
    // A batch is taken row by row, so of the refused one some rows may be in; of a row never a part.
    const during = await count();
    expect(during - before).toBeGreaterThanOrEqual(accepted.length * batch.length);
    await makeRoom();
    for (let n = 1; n <= sent; n += 1) {
      const again = await post(`full-${n}`);
      expect(new Set(again.body.outcomes?.map((row) => row.status))).toEqual(new Set([201]));
    }
    expect((await count()) - before).toBe(sent * batch.length);
    for (const sku of skus) bench.moved(sku, sent * (batch.length / skus.length));
    await bench.settle();
    tally({ 'faults injected': 1 });
  });
});
