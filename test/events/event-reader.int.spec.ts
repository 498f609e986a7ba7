import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PoolClient } from 'pg';
import { readAfter, startOfLog } from '../../src/events/event-reader.js';
import type { Checkpoint, RecordedFact } from '../../src/events/event-reader.js';
import { EventStore } from '../../src/events/event-store.js';
import { ensureLogGeneration, LogWentBackError, startNewGeneration } from '../../src/events/log-generation.js';
import { upcast } from '../../src/events/upcasters.js';
import type { Upcasters } from '../../src/events/upcasters.js';
import { createTestDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';
import { shopCommands, unkeyed } from './given.js';

let database: TestDatabase;
let store: EventStore;

beforeAll(async () => {
  database = await createTestDatabase();
  await ensureLogGeneration(database.pool);
  store = new EventStore(database.pool);
  await store.append(shopCommands.map(unkeyed));
});
afterAll(() => database.close());

const skuOf = (i: number) => `SKU-${i}`;
const create = (...skus: string[]) => store.append(skus.map((sku) => unkeyed({ type: 'CreateItem', sku, title: sku })));

async function transaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await database.pool.connect();
  try {
    await client.query('BEGIN');
    return await work(client);
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
}

/** Other databases of the server run at the same time and may hold the horizon back for a moment; so it reads until `stream` is seen. */
async function readUntil(stream: string, from: Checkpoint, limit = 100): Promise<RecordedFact[]> {
  const seen: RecordedFact[] = [];
  let checkpoint = from;
  await expect
    .poll(
      async () => {
        const batch = await transaction((client) => readAfter(client, checkpoint, limit));
        seen.push(...batch);
        checkpoint = batch.at(-1) ?? checkpoint;
        return seen.some((event) => event.stream === stream);
      },
      { timeout: 20_000, interval: 10 },
    )
    .toBe(true);
  return seen;
}

async function endOfLog(): Promise<Checkpoint> {
  const marker = `MARK-${Math.random()}`;
  await create(marker);
  return (await readUntil(`item:${marker}`, startOfLog)).at(-1) ?? startOfLog;
}

describe('reading the log', () => {
  it('returns typed facts in order', async () => {
    const [first] = await readUntil('location:shop', startOfLog);
    expect(first).toMatchObject({
      generation: 1,
      stream: 'location:shop',
      version: '1',
      fact: { type: 'LocationAdded' },
      delta: null,
    });
    expect(first?.recordedAt).toBeInstanceOf(Date);
  });

  it('does not skip a transaction that commits late, where remembering positions does', async () => {
    const from = await endOfLog();
    const late = await database.pool.connect();
    let naive: string[] = [];
    let seen: RecordedFact[] = [];
    try {
      await late.query('BEGIN');
      await late.query(
        `INSERT INTO events (generation, stream, version, type, data, occurred_at, recorded_at, causation_id)
         VALUES (1, 'item:LATE', 1, 'ItemCreated', '{"sku": "LATE", "title": "", "barcode": null, "tags": [], "active": true}', now(), now(), 'late')`,
      );
      await create('EARLY');
      naive = await readByPosition(naive);
      seen = await transaction((client) => readAfter(client, from, 100));
      expect(naive.includes('item:EARLY')).toBe(true);
      expect(seen).toEqual([]);
      await late.query('COMMIT');
    } finally {
      late.release();
    }
    expect((await readByPosition(naive)).includes('item:LATE')).toBe(false);
    seen = await readUntil('item:EARLY', from);
    expect(seen.map(({ stream }) => stream)).toEqual(['item:LATE', 'item:EARLY']);
  });

  let lastPosition = '0';
  /** The reader that most projects begin with: everything above the highest position seen. */
  async function readByPosition(before: string[]): Promise<string[]> {
    const { rows } = await database.pool.query<{ stream: string; position: string }>(
      'SELECT stream, position FROM events WHERE position > $1 ORDER BY position',
      [lastPosition],
    );
    lastPosition = rows.at(-1)?.position ?? lastPosition;
    return [...before, ...rows.map(({ stream }) => stream)];
  }

  it('ends a batch only where a transaction ends, and returns a larger one whole', async () => {
    const from = await endOfLog();
    await create(skuOf(1), skuOf(2));
    await create(skuOf(3), skuOf(4), skuOf(5), skuOf(6));
    await create(skuOf(7));
    await readUntil(`item:${skuOf(7)}`, from);
    const sizes: number[] = [];
    let checkpoint = from;
    for (;;) {
      const batch = await transaction((client) => readAfter(client, checkpoint, 3));
      const last = batch.at(-1);
      if (last === undefined) break;
      sizes.push(batch.length);
      checkpoint = last;
    }
    expect(sizes).toEqual([2, 4, 1]);
  });

  it('misses nothing and repeats nothing while many write', async () => {
    const from = await endOfLog();
    let writing = true;
    const writers = Promise.all(
      Array.from({ length: 8 }, async (_, writer) => {
        for (let i = 0; i < 30; i++) await create(`W-${writer}-${i}-a`, `W-${writer}-${i}-b`);
      }),
    ).finally(() => (writing = false));
    const seen: string[] = [];
    let checkpoint = from;
    while (writing) {
      const batch = await transaction((client) => readAfter(client, checkpoint, 7));
      seen.push(...batch.map(({ stream }) => stream));
      checkpoint = batch.at(-1) ?? checkpoint;
    }
    await writers;
    await create('W-END');
    seen.push(...(await readUntil('item:W-END', checkpoint)).map(({ stream }) => stream));
    expect(seen).toHaveLength(8 * 30 * 2 + 1);
    expect(new Set(seen).size).toBe(seen.length);
  });

  it('finds its rows by the primary key, not by sorting the log', async () => {
    const plan = await transaction(async (client) => {
      await client.query('SET LOCAL enable_seqscan = off');
      await client.query('SET LOCAL enable_bitmapscan = off');
      const { rows } = await client.query<{ 'QUERY PLAN': string }>(
        `EXPLAIN SELECT * FROM events WHERE (generation, transaction_id, position) > (1, '5'::xid8, 5)
         AND (generation, transaction_id) < (1, pg_snapshot_xmin(pg_current_snapshot())) ORDER BY generation, transaction_id, position LIMIT 100`,
      );
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    });
    expect(plan).toMatch(
      /Index Cond: .*ROW\(generation, transaction_id, "position"\) > .*ROW\(generation, transaction_id\) </,
    );
    expect(plan).not.toContain('Sort');
  });
});

describe('upcasting', () => {
  it('brings a stored shape forward step by step, and leaves the newest one alone', () => {
    const table: Upcasters = new Map<string, (data: object) => Readonly<Record<string, unknown>>>([
      ['SystemSwitched/1', (data) => ({ ...data, on: true })],
      ['SystemSwitched/2', (data) => ({ ...data, by: 'somebody' })],
    ]);
    expect(upcast('SystemSwitched', 1, {}, table)).toEqual({
      type: 'SystemSwitched',
      data: { on: true, by: 'somebody' },
    });
    expect(upcast('SystemSwitched', 2, { on: false }, table).data).toEqual({ on: false, by: 'somebody' });
    expect(upcast('SystemSwitched', 3, { on: false }, table).data).toEqual({ on: false });
  });
});

describe('the generation of the log', () => {
  it('goes on in the same cluster and refuses when transaction ids went back or the cluster is another one', async () => {
    const own = await createTestDatabase();
    try {
      expect(await ensureLogGeneration(own.pool)).toMatchObject({ generation: 1 });
      expect(await ensureLogGeneration(own.pool)).toMatchObject({ generation: 1 });
      await own.pool.query(
        `INSERT INTO events (generation, transaction_id, stream, version, type, data, occurred_at, recorded_at, causation_id)
         VALUES (1, '9000000000', 'system', 1, 'SystemSwitched', '{"on": true}', now(), now(), 'restored')`,
      );
      await expect(ensureLogGeneration(own.pool)).rejects.toThrow('main.js after-restore');
      expect(await startNewGeneration(own.pool)).toMatchObject({ generation: 2 });
      expect(await ensureLogGeneration(own.pool)).toMatchObject({ generation: 2 });
      const again = new EventStore(own.pool);
      await again.append([unkeyed({ type: 'CreateItem', sku: 'NEW', title: 'New' })]);
      const { rows } = await own.pool.query('SELECT stream FROM events ORDER BY generation, transaction_id, position');
      expect(rows.map((row: { stream: string }) => row.stream)).toEqual(['system', 'item:NEW']);
      await own.pool.query(`UPDATE log_generation SET system_identifier = '1'`);
      await expect(ensureLogGeneration(own.pool)).rejects.toBeInstanceOf(LogWentBackError);
    } finally {
      await own.close();
    }
  });
});
