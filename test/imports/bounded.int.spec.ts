import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '../../src/database.js';
import { EventStore } from '../../src/events/event-store.js';
import { imports } from '../../src/modules/imports/imports.table.js';
import { ImportWork } from '../../src/modules/imports/import-work.js';
import { Projector } from '../../src/projections/projector.js';
import { receiveImport } from '../../src/modules/imports/receive-import.js';
import type { ResetPlan } from '../../src/modules/imports/reset-plan.js';
import { queriesThrough } from '../support/queries-through.js';
import { startHubUnderTest, type HubUnderTest } from '../api/hub-under-test.js';
import { onHand } from './send.js';

/** What holds for 12,000 rows, whatever their number is, holds for a million. */
const ROWS = 12_000;
const sku = (i: number) => `FLAT-${i}`;

let hub: HubUnderTest;
beforeAll(async () => {
  // No worker: it would take the import up as well, when it finds it lying.
  hub = await startHubUnderTest({ ONHAND_ROLES: 'api,projector' });
  await hub.call('POST', '/v1/locations', { location: 'main', name: 'Main' });
  for (let at = 0; at < ROWS; at += 1_000) {
    const items = Array.from({ length: 1_000 }, (_, i) => ({ sku: sku(at + i), title: `Item ${at + i}` }));
    const { status } = await hub.call('POST', '/v1/items/batch', { items });
    if (status >= 300) throw new Error(`The items were not taken: ${status}`);
  }
});
afterAll(() => hub.close());

const plan: ResetPlan = {
  sourceId: 'flat',
  complete: false,
  absent: 'leave',
  zeroInactive: false,
  includesOrders: 'all',
  ordersSince: '2026-01-01T00:00:00.000Z',
  idType: 'SKU',
  lastLine: 'must-end',
  holdAbovePercent: 100,
  timeZone: 'UTC',
  fileName: 'flat.csv',
  asOf: new Date(Date.now() - 1_000).toISOString(),
  momentColumn: null,
  knows: ['direct'],
  places: { main: 'main' },
  rowsBefore: null,
  notBefore: null,
  preview: false,
};

describe('a file of any length is never held whole', () => {
  const id = randomUUID();

  it('received: no more than a few thousand rows are read ahead of what is stored', async () => {
    await hub.database.orm.insert(imports).values({
      id,
      kind: 'reset',
      onError: 'skip',
      preview: false,
      cartId: null,
      client: 'flat',
      by: 'test',
      idempotencyKey: null,
      reset: plan,
    });
    let read = 0;
    let stored = 0;
    let aheadMax = 0;
    async function* bytes() {
      yield Buffer.from('facilityId,idValue,availableQty\n');
      for (let at = 0; at < ROWS; at += 100) {
        const lines = Array.from({ length: 100 }, (_, i) => `main,${sku(at + i)},${(at + i) % 50}\n`).join('');
        read += 100;
        aheadMax = Math.max(aheadMax, read - stored);
        yield Buffer.from(lines);
      }
    }
    const database = watched((name, values) => {
      if (name === 'stage-import-rows') stored += values[2] as number;
    });
    await receiveImport(database, { id, kind: 'reset', reset: plan }, bytes(), undefined);
    expect([read, stored]).toEqual([ROWS, ROWS]);
    // A batch of a thousand, a second one in the making, and what the parser's buffers take.
    expect(aheadMax).toBeLessThan(6_000);
  });

  it('checked and applied: no statement gives back more than a thousand rows', async () => {
    await hub.database.pool.query(`UPDATE imports SET state = 'validating' WHERE id = $1`, [id]);
    let rowsMax = 0;
    const database = watched((_name, _values, rows) => {
      rowsMax = Math.max(rowsMax, rows);
    });
    const work = new ImportWork(database, new EventStore(database.pool), hub.hub.app.get(Projector));
    expect(await work.run(id, () => false)).toBe('done');
    expect(rowsMax).toBeGreaterThan(0);
    // The streams of a chunk's items, and that of their location.
    expect(rowsMax).toBeLessThanOrEqual(1_001);
    expect((await hub.call('GET', `/v1/imports/${id}`)).body.rows).toMatchObject({ applied: ROWS, refused: 0 });
    for (const i of [0, 7_654, ROWS - 1]) expect(await onHand(hub, sku(i))).toBe(i % 50);
  });
});

/** The hub's database, and a look at each statement that has been answered. */
function watched(seen: (name: string | undefined, values: readonly unknown[], rows: number) => void): Database {
  const pool = queriesThrough(hub.database.pool, async ({ name, values }, send) => {
    const answer = (await send()) as { rows?: unknown[] };
    seen(name, values, answer.rows?.length ?? 0);
    return answer;
  });
  return { ...hub.database, pool };
}
