import { randomUUID } from 'node:crypto';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '../../src/database.js';
import { readAfter, startOfLog, type Checkpoint, type RecordedFact } from '../../src/events/event-reader.js';
import { EventStore } from '../../src/events/event-store.js';
import { ensureLogGeneration } from '../../src/events/log-generation.js';
import { Projector } from '../../src/projections/projector.js';
import { compare } from '../../src/projections/rebuild.js';
import { verifyAll } from '../../src/projections/verify.js';
import { Wakeups } from '../../src/wakeups.js';
import { unkeyed } from '../events/given.js';
import { assertInvariants } from '../projections/assert-invariants.js';
import type { TestDatabase } from '../support/database.js';
import { startPrivatePostgres, type PrivatePostgres } from '../support/private-postgres.js';
import { until } from '../support/until.js';
import { depth, generator, tally } from './depth.js';

/**
 * Everything that can upset an order that many write at once: commits that are late by chance, transactions that are given
 * up whole or in part, and a writer in another database of the cluster, who holds the horizon. Two projectors and plain
 * followers read meanwhile, verify and rebuild look at everything, and beside them a naive reader remembers the last position.
 */
const torturedMs = depth.minutes === 0 ? 5_000 : depth.minutes * 20_000;
const random = generator(depth.seed);
const movedSkus = Array.from({ length: 8 }, (_, index) => `M${index + 1}`);
const silent = { info: () => undefined, error: () => undefined };

let postgres: PrivatePostgres;
let database: TestDatabase;
let foreign: Database;
let wakeups: Wakeups;
let writing = true;

beforeAll(async () => {
  postgres = await startPrivatePostgres();
  database = await postgres.createDatabase();
  foreign = await postgres.createDatabase({ empty: true });
  await ensureLogGeneration(database.pool);
  wakeups = new Wakeups(database);
  await wakeups.start();
  // The store's transactions are over in a moment; here they take their time between their positions and their commit.
  await database.pool.query(`
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_sleep(random() * random() * 0.06);
      IF random() < 0.03 THEN RAISE EXCEPTION 'given up' USING ERRCODE = '40001'; END IF;
      RETURN NULL;
    END $$;
    CREATE TRIGGER dawdle AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION dawdle()`);
});
afterAll(async () => {
  await wakeups?.stop();
  await database?.close();
  await foreign?.close();
  await postgres?.close();
});

describe('the order of the log', () => {
  it(
    'skips nothing, doubles nothing and splits no transaction, where reading by position loses some',
    { timeout: torturedMs + 120_000 },
    async () => {
      const store = new EventStore(database.pool, { onAppended: () => wakeups.signal('events') });
      await store.append([
        unkeyed({ type: 'AddLocation', location: 'MAIN', name: 'Main' }),
        ...movedSkus.map((sku) => unkeyed({ type: 'CreateItem', sku, title: sku })),
      ]);
      const projectors = [1, 2].map(
        (n) => new Projector({ database, wakeups, presence: { name: `projector ${n}` }, log: silent }),
      );
      for (const projector of projectors) await projector.start();
      const followers = [1, 3, 40].map((limit) => follow(limit));
      const naive = readByPosition();

      setTimeout(() => (writing = false), torturedMs);
      await Promise.all([
        ...[1, 2, 3, 4].map(() => keepAppending(store)),
        ...[1, 2, 3, 4].map((writer) => keepWritingByHand(writer)),
        holdTheHorizon(),
        verifyAndRebuild(),
      ]);

      const inTheLog = await committed();
      for (const seen of await Promise.all(followers.map((follower) => follower(inTheLog.length)))) {
        expect(seen).toEqual(inTheLog);
      }
      const naively = new Set(await naive());
      const lost = inTheLog.filter((event) => !naively.has(event)).length;
      expect(lost).toBeGreaterThan(0);
      expect(await projectors[0]?.caughtUp(60_000)).toBe(true);
      for (const projector of projectors) await projector.stop();
      await assertInvariants(database);
      expect(await itemsDiffering()).toEqual([]);
      tally({ 'events tortured': inTheLog.length, 'of them lost by position': lost });
    },
  );
});

async function keepAppending(store: EventStore): Promise<void> {
  while (writing) {
    const commands = Array.from({ length: 1 + Math.floor(random() * 4) }, () => ({
      type: 'AdjustStock' as const,
      sku: movedSkus[Math.floor(random() * movedSkus.length)] as string,
      location: 'MAIN',
      delta: random() < 0.5 ? 1 : -1,
    }));
    // Given up five times over: then nothing of it is there, which is what is compared in the end.
    await store.append(commands.map(unkeyed)).catch(() => undefined);
  }
}

/** Transactions with savepoints, of which parts are rolled back, and some of which are given up whole. */
async function keepWritingByHand(writer: number): Promise<void> {
  for (let n = 0; writing; n += 1) {
    const client = await database.pool.connect();
    try {
      await client.query('BEGIN');
      for (let part = 0; part < 3; part += 1) {
        await client.query('SAVEPOINT part');
        await insertItem(client, `W${writer}-${n}-${part}`);
        await pause(40);
        if (random() < 0.3) await client.query('ROLLBACK TO SAVEPOINT part');
      }
      await client.query(random() < 0.2 ? 'ROLLBACK' : 'COMMIT');
    } catch {
      await client.query('ROLLBACK');
    } finally {
      client.release();
    }
  }
}

function insertItem(client: PoolClient, sku: string): Promise<unknown> {
  return client.query(
    `INSERT INTO events (generation, stream, version, type, data, occurred_at, recorded_at, causation_id)
     VALUES (1, 'item:' || $1::text, 1, 'ItemCreated',
             jsonb_build_object('sku', $1::text, 'title', '', 'barcode', null, 'tags', '[]'::jsonb, 'active', true), now(), now(), $1::text)`,
    [sku],
  );
}

/**
 * The two readers that look at the whole log while everybody writes: verify finds nothing, and a rebuild finds exactly the
 * row that was damaged and mends it to what follows from the log by then.
 */
async function verifyAndRebuild(): Promise<void> {
  const signal = new AbortController().signal;
  let rounds = 0;
  for (; writing || rounds === 0; rounds += 1) {
    expect((await verifyAll(database.pool, 5)).told).toEqual([]);
    const sku = movedSkus[rounds % movedSkus.length] as string;
    const damaged = await database.pool.query(
      'UPDATE quantity_on_hand SET on_hand = on_hand + 1000 WHERE sku = $1 RETURNING sku',
      [sku],
    );
    for (const name of ['velocity', 'quantity-on-hand'] as const) {
      const found = await compare(database, name, signal);
      expect(found.findings.told.map(({ subject }) => subject['sku'])).toEqual(
        name === 'velocity' ? [] : damaged.rows.map((row: { sku: string }) => row.sku),
      );
      if (found.rows.length > 0) await found.mend(found.rows, randomUUID(), () => Promise.resolve());
    }
  }
  tally({ 'rebuilds under torture': rounds });
}

async function holdTheHorizon(): Promise<void> {
  await foreign.pool.query('CREATE TABLE ledger_of_somebody_else (n int)');
  while (writing) {
    const client = await foreign.pool.connect();
    await client.query('BEGIN');
    await client.query('INSERT INTO ledger_of_somebody_else VALUES (1)');
    await pause(400);
    await client.query('COMMIT');
    client.release();
    await pause(200);
  }
}

const pause = (msMax: number) => new Promise((resolve) => setTimeout(resolve, random() * msMax));
const nameOf = ({ stream, version }: { stream: string; version: string }) => `${stream} ${version}`;

/** Starts at once. @returns what it saw, in order, once it has seen as many as there are, and has looked once more */
function follow(limit: number): (count: number) => Promise<string[]> {
  const seen: RecordedFact[] = [];
  let checkpoint: Checkpoint = startOfLog;
  let done = false;
  const step = async () => {
    const client = await database.pool.connect();
    try {
      await client.query('BEGIN');
      const batch = await readAfter(client, checkpoint, limit);
      const split = batch[0]?.transactionId === seen.at(-1)?.transactionId && batch.length > 0;
      if (split) throw new Error(`Transaction ${batch[0]?.transactionId} came in two batches`);
      seen.push(...batch);
      checkpoint = batch.at(-1) ?? checkpoint;
      await client.query('COMMIT');
      return batch.length;
    } finally {
      client.release();
    }
  };
  const running = (async () => {
    while (!done) if ((await step()) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    while ((await step()) > 0);
  })();
  running.catch(() => undefined);
  return async (count) => {
    await Promise.race([running, until('the follower has seen as many events', () => seen.length >= count, 60_000)]);
    done = true;
    await running;
    return seen.map(nameOf);
  };
}

/** The reader that most projects begin with: everything above the highest position seen. */
function readByPosition(): () => Promise<string[]> {
  const seen: string[] = [];
  let last = '0';
  let done = false;
  const running = (async () => {
    for (let final = false; !final;) {
      final = done;
      const { rows } = await database.pool.query<{ stream: string; version: string; position: string }>(
        'SELECT stream, version, position FROM events WHERE position > $1 ORDER BY position',
        [last],
      );
      seen.push(...rows.map(nameOf));
      last = rows.at(-1)?.position ?? last;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  return async () => {
    done = true;
    await running;
    return seen;
  };
}

async function committed(): Promise<string[]> {
  const { rows } = await database.pool.query<{ stream: string; version: string }>(
    'SELECT stream, version FROM events ORDER BY generation, transaction_id, position',
  );
  return rows.map(nameOf);
}

async function itemsDiffering(): Promise<unknown[]> {
  const { rows } = await database.pool.query(
    `SELECT coalesce(i.sku, e.sku) AS sku FROM items i
       FULL JOIN (SELECT data->>'sku' AS sku FROM events WHERE type = 'ItemCreated') e ON e.sku = i.sku
      WHERE i.sku IS NULL OR e.sku IS NULL`,
  );
  return rows;
}
