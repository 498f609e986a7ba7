import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Moment } from '../../src/moments.js';
import { call } from '../api/hub-under-test.js';
import { startHubProcess, type HubProcess } from '../faults/hub-process.js';
import { assertInvariants } from '../projections/assert-invariants.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { until } from '../support/until.js';
import { header, rowsOf } from './given.js';

/** Enough rows for several batches of reading and several chunks of applying. */
const skus = Array.from({ length: 2_500 }, (_, at) => `K-${String(at).padStart(4, '0')}`);
const ownerKey = `ohk_${randomBytes(32).toString('base64url')}`;

let database: TestDatabase;
let base: string;
let hub: HubProcess;
let env: Readonly<Record<string, string>>;
beforeAll(async () => {
  database = await createTestDatabase();
  base = await temporaryDirectory();
  env = {
    DATABASE_URL: database.url,
    ONHAND_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    ONHAND_OWNER_KEY: ownerKey,
    ONHAND_DATA_DIR: await temporaryDirectory(),
    ONHAND_RESET_FOLDERS: base,
    ONHAND_LOG_LEVEL: 'error',
  };
  hub = await startHubProcess(env);
  await ask('POST', '/v1/locations', { location: 'main', name: 'Main' });
  for (let at = 0; at < skus.length; at += 500)
    await ask('POST', '/v1/items/batch', { items: skus.slice(at, at + 500).map((sku) => ({ sku, title: sku })) });
}, 120_000);
afterAll(async () => {
  await hub.stop();
  await database.close();
});

const ask = async (method: string, to: string, body?: unknown) => {
  const answer = await call(hub.url + to, method, body, { Authorization: `Bearer ${ownerKey}` });
  expect([to, answer.status < 300]).toEqual([to, true]);
  return answer.body;
};
const rows = async <T>(sql: string, ...values: unknown[]) => (await database.pool.query(sql, values)).rows as T[];

/** What nobody hears of for minutes is taken to be dead; here those minutes are over. */
const silent = `UPDATE imports SET updated_at = updated_at - interval '6 minutes' WHERE state = 'receiving'`;
const forgotten = `UPDATE reset_files SET taken_at = taken_at - interval '11 minutes', seen_at = seen_at - interval '11 minutes' WHERE state = 'taken'`;

interface Stage {
  readonly what: string;
  readonly moment: Moment;
  /** What the dead hub leaves behind: the state of the file, and that of its import. */
  readonly left: readonly [file: string, rows: string | null];
  readonly later?: string;
}
const stages: readonly Stage[] = [
  { what: 'before a file stands still', moment: 'reset:files-seen', left: ['seen', null] },
  { what: 'when it has noted a file as taken', moment: 'reset:file-taken', left: ['taken', null], later: forgotten },
  { what: 'while it reads the rows', moment: 'import:rows-stored', left: ['taken', 'receiving'], later: silent },
  { what: 'between two chunks of applying', moment: 'import:chunk-applied', left: ['taken', 'applying'] },
  { what: 'when all is applied, and the file lies in its folder', moment: 'import:applied', left: ['taken', 'done'] },
  { what: 'while the file goes into the archive', moment: 'reset:file-archived', left: ['applied', 'done'] },
];

describe('a hub that is killed in the middle of a daily reset', () => {
  it.each(stages.map((stage, at) => ({ ...stage, at })))(
    '$what applies the file exactly once when it is back, and archives it with its report',
    async ({ at, moment, left, later }) => {
      const id = `stage-${at}`;
      const quantity = 10 + at;
      const dir = path.join(base, id);
      await mkdir(dir);
      await ask('POST', '/v1/reset-sources', {
        id,
        from: { kind: 'folder', folder: id },
        schedule: { kind: 'by-hand' },
        settleSeconds: 1,
        includesOrders: 'all',
        holdAbovePercent: 100,
      });
      const name = `stock-${at}.csv`;
      await writeFile(path.join(dir, name), header + rowsOf(Object.fromEntries(skus.map((sku) => [sku, quantity]))));
      const written = new Date(Math.floor(Date.now() / 1_000) * 1_000);
      await utimes(path.join(dir, name), written, written);
      await until('its moment is over', () => Date.now() > written.getTime() + 1_000);
      await ask('POST', '/v1/movements', { kind: 'sold', sku: skus[0], location: 'main', quantity: 1 });

      await hub.arm({ moment, cartId: null, signal: 'SIGKILL' });
      await ask('POST', `/v1/reset-sources/${id}/look`);
      await hub.struck(60_000);
      const [dead] = await rows<{ file: string; rows: string | null; applied: number | null }>(
        'SELECT f.state AS file, i.state AS rows, i.applied FROM reset_files f LEFT JOIN imports i ON i.id = f.import_id WHERE f.source_id = $1',
        id,
      );
      expect([dead?.file, dead?.rows]).toEqual(left);
      if (dead?.rows === 'applying') expect([dead.applied! > 0, dead.applied! < skus.length]).toEqual([true, true]);
      if (later !== undefined) await database.pool.query(later);
      hub = await startHubProcess(env);
      await until(
        'it lies in the archive',
        async () => {
          const [file] = await rows<{ archived_as: string | null }>(
            'SELECT archived_as FROM reset_files WHERE source_id = $1',
            id,
          );
          // What was only seen is looked for by whoever looks: nothing but the first look was asked for.
          if (file === undefined) await ask('POST', `/v1/reset-sources/${id}/look`);
          return typeof file?.archived_as === 'string';
        },
        90_000,
      );

      const [file] = (await ask('GET', `/v1/reset-files?source=${id}`)).data;
      expect(file).toMatchObject({
        name,
        state: 'applied',
        asOf: written.toISOString(),
        import: { rows: { received: skus.length, applied: skus.length, refused: 0, waiting: 0 } },
      });
      // One fact per item, and what was sold after the file's moment on top.
      expect(
        await rows(
          `SELECT count(*)::int AS facts, count(DISTINCT sku)::int AS items FROM events WHERE type = 'StockReset' AND data->'reference'->>'number' = $1`,
          name,
        ),
      ).toEqual([{ facts: skus.length, items: skus.length }]);
      await until(
        'the projector has all of it',
        async () =>
          (await rows<{ sum: string }>('SELECT sum(on_hand) FROM quantity_on_hand'))[0]?.sum ===
          String(skus.length * quantity - 1),
        30_000,
      );
      expect(
        await rows('SELECT on_hand::int AS pieces, count(*)::int AS items FROM quantity_on_hand GROUP BY 1 ORDER BY 1'),
      ).toEqual([
        { pieces: quantity - 1, items: 1 },
        { pieces: quantity, items: skus.length - 1 },
      ]);
      const archived = String(file.archivedAs);
      expect([await readdir(dir), (await readdir(path.join(dir, 'archive'))).toSorted()]).toEqual([
        ['archive'],
        [archived, `${archived}.report.json`],
      ]);
      expect(JSON.parse(await readFile(path.join(dir, 'archive', `${archived}.report.json`), 'utf8'))).toMatchObject({
        file: name,
        state: 'applied',
        problem: null,
        import: { rows: { applied: skus.length }, check: { rows: skus.length } },
      });
      await assertInvariants(database);
    },
    180_000,
  );
});
