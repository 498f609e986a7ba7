import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Pool } from 'pg';
import { CommandBatcher, QueueFullError } from '../../src/events/command-batcher.js';
import type { Command, CommandEnvelope, CommandOutcome } from '../../src/events/commands.js';
import { EventStore } from '../../src/events/event-store.js';
import { ledgerPage, onHandAsOf } from '../../src/events/ledger.js';
import { ensureLogGeneration } from '../../src/events/log-generation.js';
import { stockStream } from '../../src/events/streams.js';
import { createTestDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';
import { queriesThrough } from '../support/queries-through.js';
import { shopCommands, unkeyed } from './given.js';

let database: TestDatabase;
let store: EventStore;

beforeAll(async () => {
  database = await createTestDatabase({ poolMax: 20 });
  await ensureLogGeneration(database.pool);
  store = new EventStore(database.pool);
  await store.append(shopCommands.map(unkeyed));
});
afterAll(() => database.close());

const keyed = (key: string, command: Command): CommandEnvelope => ({
  client: 'till',
  idempotencyKey: key,
  bodyHash: createHash('sha256').update(JSON.stringify(command)).digest(),
  command,
});
const adjust = (sku: string, delta: number): Command => ({ type: 'AdjustStock', sku, location: 'shop', delta });
const createItem = (sku: string) => store.append([unkeyed({ type: 'CreateItem', sku, title: sku })]);

async function onHand(sku: string): Promise<number> {
  const { rows } = await database.pool.query<{ sum: string; balance: string }>(
    `SELECT sum(delta) AS sum, (SELECT state ->> 'onHand' FROM stream_heads WHERE stream = $1) AS balance FROM events WHERE stream = $1`,
    [stockStream('shop', sku)],
  );
  expect(rows[0]?.sum).toBe(rows[0]?.balance);
  return Number(rows[0]?.sum);
}

describe('a command with an idempotency key', () => {
  it('sent a hundred times at once is one movement, and everybody gets the same answer', async () => {
    await createItem('ONCE');
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, () => store.append([keyed('once', adjust('ONCE', 5))])),
    );
    expect(await onHand('ONCE')).toBe(5);
    expect(outcomes.flat().filter(({ replayed }) => !replayed)).toHaveLength(1);
    const versions = outcomes
      .flat()
      .map((o) => (o.kind === 'accepted' ? `${o.facts[0]?.version} ${o.facts[0]?.recordedAt}` : ''));
    expect(new Set(versions).size).toBe(1);
  });

  it('sent twice in one batch is one movement', async () => {
    await createItem('PAIR');
    const [first, second, other] = await store.append([
      keyed('pair', adjust('PAIR', 2)),
      keyed('pair', adjust('PAIR', 2)),
      keyed('pair', adjust('PAIR', 3)),
    ]);
    expect([first?.replayed, second?.replayed]).toEqual([false, true]);
    expect(other).toMatchObject({ kind: 'refused', refusal: { code: 'idempotency-key-reused' }, replayed: false });
    expect(await onHand('PAIR')).toBe(2);
  });

  it('with another body is refused, whoever comes first', async () => {
    await createItem('BODY');
    await store.append([keyed('body', adjust('BODY', 2))]);
    const [again] = await store.append([keyed('body', adjust('BODY', 3))]);
    expect(again).toMatchObject({ kind: 'refused', refusal: { code: 'idempotency-key-reused' }, replayed: false });
  });

  it('gets its refusal again, even when it would be accepted by now', async () => {
    const sell = keyed('early', { type: 'SellStock', sku: 'LATER', location: 'shop', quantity: 1 });
    const [refused] = await store.append([sell]);
    await createItem('LATER');
    const [again] = await store.append([sell]);
    expect(refused).toMatchObject({ kind: 'refused', refusal: { code: 'unknown-item' }, replayed: false });
    expect(again).toMatchObject({ kind: 'refused', refusal: { code: 'unknown-item' }, replayed: true });
  });

  it('gets its answer again word for word, whatever it was: one fact, several, none, or a refusal', async () => {
    await createItem('AGAIN');
    const hourAgo = new Date(Date.now() - 3_600_000).toISOString();
    const lines = [{ sku: 'AGAIN', quantity: 2 }];
    const sent = (
      [
        { type: 'ReceiveStock', sku: 'AGAIN', location: 'shop', quantity: 9, occurredAt: hourAgo },
        { type: 'CountStock', sku: 'AGAIN', location: 'shop', quantity: 8 },
        { type: 'SellStock', sku: 'AGAIN', location: 'shop', quantity: 1, occurredAt: hourAgo },
        { type: 'ShipTransfer', transfer: 'AGAIN', from: 'shop', to: 'store', lines },
        { type: 'SellStock', sku: 'NOWHERE', location: 'shop', quantity: 1 },
        { type: 'SwitchSystem', on: true },
      ] satisfies Command[]
    ).map((command, i) => keyed(`again-${i}`, command));
    const fresh = await store.append(sent);
    const factsOf = (outcome?: CommandOutcome) => (outcome?.kind === 'accepted' ? outcome.facts.length : outcome?.kind);
    expect(fresh.map(factsOf)).toEqual([1, 1, 2, 3, 'refused', expect.any(Number)]);
    const again = await store.append([...sent.toReversed(), keyed('again-new', adjust('AGAIN', 1))]);
    expect(again.slice(0, -1).toReversed()).toEqual(fresh.map((outcome) => ({ ...outcome, replayed: true })));
    expect(again.at(-1)).toMatchObject({ kind: 'accepted', replayed: false });
  });

  it('is answered by its own transaction although an older generation of the log had one of the same id', async () => {
    const old = { ...keyed('restored', adjust('NOT-THERE', 1)), client: 'old till' };
    const [refused] = await store.append([old]);
    await createItem('RESTORED');
    await database.pool.query(
      `CREATE FUNCTION same_id() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         UPDATE commands SET transaction_id = pg_current_xact_id() WHERE client = 'old till';
         RETURN NEW;
       END $$;
       CREATE TRIGGER same_id BEFORE INSERT ON commands FOR EACH ROW WHEN (NEW.client = 'new till') EXECUTE FUNCTION same_id()`,
    );
    const fresh = { ...keyed('restored', adjust('RESTORED', 1)), client: 'new till' };
    expect(await store.append([fresh, old])).toMatchObject([
      { kind: 'accepted', replayed: false },
      { ...refused, replayed: true },
    ]);
    await database.pool.query('DROP FUNCTION same_id CASCADE');
  });

  it('belongs to its client', async () => {
    await createItem('MINE');
    await store.append([keyed('mine', adjust('MINE', 1))]);
    const [other] = await store.append([{ ...keyed('mine', adjust('MINE', 1)), client: 'another till' }]);
    expect(other).toMatchObject({ kind: 'accepted', replayed: false });
  });
});

describe('many writers', () => {
  it('change one SKU from 64 sides without a refusal and without a lost piece', async () => {
    await createItem('HOT');
    const outcomes = await Promise.all(
      Array.from({ length: 64 }, async (_, client) => {
        const kinds: string[] = [];
        for (let i = 0; i < 10; i++) {
          const [outcome] = await store.append([
            keyed(`hot-${client}-${i}`, adjust('HOT', i % 2 === 0 ? client + 1 : -1)),
          ]);
          kinds.push(outcome?.kind ?? 'none');
        }
        return kinds;
      }),
    );
    expect(new Set(outcomes.flat())).toEqual(new Set(['accepted']));
    expect(await onHand('HOT')).toBe(5 * ((64 * 65) / 2) - 5 * 64);
  });

  it('never meet a deadlock when their batches name the same streams in opposite order', async () => {
    const skus = Array.from({ length: 12 }, (_, i) => `CROSS-${i}`);
    await store.append(skus.map((sku) => unkeyed({ type: 'CreateItem', sku, title: sku })));
    const before = await deadlocks();
    await Promise.all(
      Array.from({ length: 60 }, (_, i) => {
        const order = i % 2 === 0 ? skus : skus.toReversed();
        return store.append(order.map((sku) => keyed(`cross-${i}-${sku}`, adjust(sku, 1))));
      }),
    );
    for (const sku of skus) expect(await onHand(sku)).toBe(60);
    expect(await deadlocks()).toBe(before);
  });

  it('do not fail because a neighbour in the batch does', async () => {
    await createItem('GOOD');
    // PostgreSQL stores no NUL in text, so this one fails in the database and not in a decider.
    const bad = unkeyed({ ...adjust('GOOD', 7), reason: 'broken\u0000' } as Command);
    const settled = await store.appendSettled([unkeyed(adjust('GOOD', 1)), bad, keyed('good', adjust('GOOD', 2))]);
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await onHand('GOOD')).toBe(3);
  });

  it('come to an exact sum although the server keeps ending their connections', async () => {
    await createItem('CUT');
    let running = true;
    const cutting = (async () => {
      while (running) {
        await database.pool
          .query(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.3`,
          )
          .catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    const submitUntilAnswered = async (envelope: CommandEnvelope) => {
      for (;;) {
        const [result] = await store.appendSettled([envelope]);
        if (result?.status === 'fulfilled') return result.value;
      }
    };
    await Promise.all(
      Array.from({ length: 8 }, async (_, client) => {
        for (let i = 0; i < 25; i++) await submitUntilAnswered(keyed(`cut-${client}-${i}`, adjust('CUT', 1)));
      }),
    );
    running = false;
    await cutting;
    expect(await onHand('CUT')).toBe(200);
  });

  it('learn after a commit of unknown outcome what became of their keyed commands, and repeat no other', async () => {
    await createItem('UNKNOWN');
    const unsure = new EventStore(poolWithLostCommits(1));
    const settled = await unsure.appendSettled([unkeyed(adjust('UNKNOWN', 1)), keyed('unknown', adjust('UNKNOWN', 2))]);
    expect(settled).toMatchObject([
      { status: 'rejected', reason: { name: 'CommitUnknownError' } },
      { status: 'fulfilled', value: { kind: 'accepted', replayed: true } },
    ]);
    expect(await onHand('UNKNOWN')).toBe(3);
  });

  it('are grouped by the batcher, each with its own outcome', async () => {
    await createItem('GROUP');
    let calls = 0;
    const counting = {
      appendSettled: (batch: readonly CommandEnvelope[]) => {
        calls += 1;
        return store.appendSettled(batch);
      },
    };
    const batcher = new CommandBatcher(counting, { batchMax: 16, queueMax: 100 });
    const bad = batcher.submit(unkeyed({ ...adjust('GROUP', 7), reason: 'broken\u0000' } as Command));
    const outcomes = Array.from({ length: 99 }, (_, i) =>
      batcher.submit(unkeyed(adjust('GROUP', i % 2 === 0 ? 2 : -1))),
    );
    await expect(batcher.submit(unkeyed(adjust('GROUP', 1)))).rejects.toBeInstanceOf(QueueFullError);
    await expect(bad).rejects.toThrow(/Unicode escape|\\u0000/);
    expect(new Set((await Promise.all(outcomes)).map(({ kind }) => kind))).toEqual(new Set(['accepted']));
    await batcher.idle();
    expect(await onHand('GROUP')).toBe(50 * 2 - 49);
    expect(calls).toBeLessThan(20);
  });
});

/** The server commits, and the connection breaks before it can say so. */
function poolWithLostCommits(count: number): Pool {
  let left = count;
  return queriesThrough(database.pool, async ({ text }, send) => {
    const result = await send();
    if (text === 'COMMIT' && left-- > 0) throw new Error('Connection terminated unexpectedly');
    return result;
  });
}

async function deadlocks(): Promise<number> {
  const { rows } = await database.pool.query<{ deadlocks: string }>(
    `SELECT pg_stat_get_db_deadlocks(oid) AS deadlocks FROM pg_database WHERE datname = current_database()`,
  );
  return Number(rows[0]?.deadlocks);
}

describe('an append', () => {
  it('honours an expected version', async () => {
    await createItem('VERSION');
    const expecting = (expectedVersion: string) => ({ ...unkeyed(adjust('VERSION', 1)), expectedVersion });
    const [fresh, stale, next] = await store.append([expecting('0'), expecting('0'), expecting('1')]);
    expect(fresh).toMatchObject({ kind: 'accepted', facts: [{ version: '1' }] });
    expect(stale).toMatchObject({ kind: 'refused', refusal: { code: 'version-conflict' } });
    expect(next).toMatchObject({ kind: 'accepted', facts: [{ version: '2' }] });
  });

  it('decides commands of one batch on what the ones before them left', async () => {
    const [created, received, counted, sold] = await store.append(
      (
        [
          { type: 'CreateItem', sku: 'CHAIN', title: 'Chain' },
          { type: 'ReceiveStock', sku: 'CHAIN', location: 'shop', quantity: 4, occurredAt: '2026-02-02T10:00:00Z' },
          { type: 'CountStock', sku: 'CHAIN', location: 'shop', quantity: 9, asOf: '2026-02-02T09:00:00Z' },
          { type: 'SellStock', sku: 'CHAIN', location: 'shop', quantity: 1 },
        ] satisfies Command[]
      ).map(unkeyed),
    );
    expect([created, received, counted, sold].map((o) => (o?.kind === 'accepted' ? o.facts[0]?.balance : o))).toEqual([
      null,
      4,
      13,
      12,
    ]);
  });

  it('receives a transfer that was shipped in the same batch', async () => {
    await createItem('MOVE');
    const [, shipped, received] = await store.append(
      (
        [
          adjust('MOVE', 5),
          { type: 'ShipTransfer', transfer: 'T1', from: 'shop', to: 'store', lines: [{ sku: 'MOVE', quantity: 3 }] },
          { type: 'ReceiveTransfer', transfer: 'T1', close: false },
        ] satisfies Command[]
      ).map(unkeyed),
    );
    expect([shipped?.kind, received?.kind]).toEqual(['accepted', 'accepted']);
    expect(await onHandAsOf(database.orm, { sku: 'MOVE', at: new Date(), by: 'recorded' })).toEqual([
      { location: 'in-transit', onHand: 0 },
      { location: 'shop', onHand: 2 },
      { location: 'store', onHand: 3 },
    ]);
  });

  it('leaves no head behind for what it refused, and nobody who waits for it is hurt', async () => {
    const heads = async () => (await database.pool.query('SELECT stream, version FROM stream_heads ORDER BY 1')).rows;
    const before = await heads();
    const refused = await store.append([
      unkeyed(adjust('NOBODY', 1)),
      keyed('no such place', { type: 'AdjustStock', sku: 'ONCE', location: 'nowhere', delta: 1 }),
    ]);
    expect(refused.map(({ kind }) => kind)).toEqual(['refused', 'refused']);
    expect(await heads()).toEqual(before);

    // A known item whose first movement meets refusals of another process on the same stream.
    await createItem('FIRST');
    const other = new EventStore(database.pool);
    const wrong = { ...unkeyed(adjust('FIRST', 1)), expectedVersion: '999' };
    const outcomes = await Promise.all([
      ...Array.from({ length: 40 }, () => other.append([wrong])),
      ...Array.from({ length: 20 }, () => store.append([unkeyed(adjust('FIRST', 1))])),
      ...Array.from({ length: 40 }, () => other.append([wrong])),
    ]);
    expect(outcomes.flat().filter(({ kind }) => kind === 'accepted')).toHaveLength(20);
    expect(await onHand('FIRST')).toBe(20);
    const { rows } = await database.pool.query('SELECT count(*)::int AS n FROM stream_heads WHERE version = 0');
    expect(rows).toEqual([{ n: 0 }]);
  });

  it('takes stock that it does not know to exist, once it mostly did, and makes what is missing all the same', async () => {
    const skus = Array.from({ length: 40 }, (_, n) => `ALIKE-${n}`);
    for (const sku of skus) await createItem(sku);
    for (const sku of skus) await store.append([unkeyed(adjust(sku, 1))]);
    let tried = 0;
    const watched = queriesThrough(database.pool, ({ name }, send) => {
      if (name === 'create-heads') tried += 1;
      return send();
    });
    const restarted = new EventStore(watched);
    for (const sku of skus) await restarted.append([unkeyed(adjust(sku, 1))]);
    expect(tried).toBe(8);
    await createItem('ALIKE-NEW');
    const mixed = await restarted.append([
      keyed('alike 1', adjust('ALIKE-NEW', 3)),
      keyed('alike 2', adjust('ALIKE-0', 3)),
      keyed('alike 3', adjust('ALIKE-NEVER', 3)),
    ]);
    expect(mixed.map(({ kind, replayed }) => `${kind} ${replayed}`)).toEqual([
      'accepted false',
      'accepted false',
      'refused false',
    ]);
    expect(tried).toBe(9);
    expect(await onHand('ALIKE-NEW')).toBe(3);
    expect(await onHand('ALIKE-0')).toBe(5);
    const { rows } = await database.pool.query('SELECT FROM stream_heads WHERE version = 0');
    expect(rows).toHaveLength(0);
  });

  it('never records a stream backwards, even when the clock was set back', async () => {
    await createItem('CLOCK');
    await store.append([unkeyed(adjust('CLOCK', 1))]);
    const ahead = new Date(Date.now() + 3_600_000).toISOString();
    await database.pool.query('UPDATE stream_heads SET recorded_at = $1 WHERE stream = $2', [
      ahead,
      stockStream('shop', 'CLOCK'),
    ]);
    const [outcome] = await store.append([unkeyed(adjust('CLOCK', 1))]);
    expect(outcome).toMatchObject({ kind: 'accepted', facts: [{ recordedAt: ahead }] });
  });

  it('tells others after the commit, and only when there is something new', async () => {
    await createItem('TELL');
    let told = 0;
    const telling = new EventStore(database.pool, { onAppended: () => (told += 1) });
    await telling.append([keyed('tell', adjust('TELL', 1))]);
    await telling.append([keyed('tell', adjust('TELL', 1))]);
    await telling.append([unkeyed(adjust('NOBODY', 1))]);
    expect(told).toBe(1);
  });
});

describe('the ledger', () => {
  it('pages a SKU from the newest movement back, with the balance after each', async () => {
    await createItem('PAGE');
    for (let i = 1; i <= 5; i++) await store.append([unkeyed(adjust('PAGE', i))]);
    const first = await ledgerPage(database.orm, { of: { sku: 'PAGE' }, limit: 3 });
    const second = await ledgerPage(database.orm, { of: { sku: 'PAGE' }, limit: 3, before: first[2] });
    expect([...first, ...second].map(({ delta, balance }) => [delta, balance])).toEqual([
      [5, 15],
      [4, 10],
      [3, 6],
      [2, 3],
      [1, 1],
    ]);
    expect(await ledgerPage(database.orm, { of: { sku: 'PAGE' }, location: 'store', limit: 3 })).toEqual([]);
  });

  it('tells what was so from what was known', async () => {
    await createItem('AS-OF');
    const start = new Date(Date.now() - 60_000);
    await store.append([
      unkeyed({ type: 'ReceiveStock', sku: 'AS-OF', location: 'shop', quantity: 6, occurredAt: start.toISOString() }),
    ]);
    const query = { sku: 'AS-OF', at: new Date(start.getTime() + 1000) };
    expect(await onHandAsOf(database.orm, { ...query, by: 'business' })).toEqual([{ location: 'shop', onHand: 6 }]);
    expect(await onHandAsOf(database.orm, { ...query, by: 'recorded' })).toEqual([]);
  });
});
