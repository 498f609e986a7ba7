import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../test/support/database.js';
import type { Packets, SetStatement } from './packets.js';
import { SharedTransactions } from './shared-transactions.js';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
  await database.pool.query('CREATE TABLE shelf (cart_id text PRIMARY KEY, pieces int NOT NULL, written_by text)');
});
beforeEach(async () => {
  await database.pool.query(
    `TRUNCATE shelf; INSERT INTO shelf SELECT 'cart-' || n, 0, NULL FROM generate_series(1, 5) n`,
  );
});
afterAll(async () => {
  await database?.close();
});

const write = (client: PoolClient, cartId: string, pieces: number) =>
  client.query(
    'UPDATE shelf SET pieces = pieces + $2, written_by = pg_current_xact_id()::text WHERE cart_id = $1 RETURNING pieces',
    [cartId, pieces],
  );

/** Two packets, and what was found in the first decides about the second. */
const addOne =
  (cartId: string) =>
  async ({ client, send, commit }: Packets): Promise<number> => {
    const [found] = await send(() => [
      client.query<{ pieces: number }>('SELECT pieces FROM shelf WHERE cart_id = $1 FOR UPDATE', [cartId]),
    ]);
    await commit(() => [write(client, cartId, 1)]);
    return (found.rows[0]?.pieces ?? 0) + 1;
  };

async function shelves() {
  const { rows } = await database.pool.query<{ cart_id: string; pieces: number; written_by: string | null }>(
    'SELECT * FROM shelf ORDER BY cart_id',
  );
  return { pieces: rows.map(({ pieces }) => pieces), writers: new Set(rows.map((row) => row.written_by)) };
}

const carts = [5, 3, 1, 4, 2].map((n) => `cart-${n}`);

describe('transactions that several carts need at the same moment', () => {
  it('are one, in which each does its own', async () => {
    const shared = new SharedTransactions('BEGIN');
    expect(await Promise.all(carts.map((cartId) => shared.run(database, cartId, addOne(cartId))))).toEqual([
      1, 1, 1, 1, 1,
    ]);
    const { pieces, writers } = await shelves();
    expect(pieces).toEqual([1, 1, 1, 1, 1]);
    expect(writers.size).toBe(1);
  });

  it('send what all of them ask once, and give each what was found for it', async () => {
    const asked: string[][] = [];
    const piecesOf: SetStatement<string, number> = async (client, cartIds) => {
      asked.push([...cartIds]);
      const { rows } = await client.query<{ cart_id: string; pieces: number }>(
        'SELECT cart_id, pieces FROM shelf WHERE cart_id = ANY ($1::text[])',
        [cartIds],
      );
      return cartIds.map((cartId) => rows.find((row) => row.cart_id === cartId)?.pieces ?? -1);
    };
    await database.pool.query('UPDATE shelf SET pieces = right(cart_id, 1)::int');
    const shared = new SharedTransactions('BEGIN');
    const found = await Promise.all(
      carts.map((cartId) =>
        shared.run(database, cartId, async ({ ask, send, client, commit }) => {
          // What a work sends by itself goes before what it asks.
          const [before] = await send(() => [
            ask(piecesOf, cartId),
            ...(cartId === 'cart-4' ? [write(client, cartId, 10)] : []),
          ]);
          if (cartId === 'cart-2') return [before];
          const [after] = await send(() => [ask(piecesOf, cartId)]);
          await commit();
          return [before, after];
        }),
      ),
    );
    expect(found).toEqual([[5, 5], [3, 3], [1, 1], [14, 14], [2]]);
    const sorted = carts.toSorted();
    expect(asked).toEqual([sorted, sorted.filter((cartId) => cartId !== 'cart-2')]);
  });

  it('let each hear of it where a statement for several fails, made again by itself', async () => {
    const refusing: SetStatement<string, number> = async (client, cartIds) => {
      await client.query('SELECT 1 / (CASE WHEN $1 THEN 0 ELSE 1 END)', [cartIds.includes('cart-3')]);
      return cartIds.map(() => 1);
    };
    const shared = new SharedTransactions('BEGIN');
    const settled = await Promise.allSettled(
      carts.map((cartId) =>
        shared.run(database, cartId, async ({ ask, commit }) => {
          await commit(() => [ask(refusing, cartId)]);
        }),
      ),
    );
    expect(settled.map(({ status }) => status)).toEqual(
      carts.map((cartId) => (cartId === 'cart-3' ? 'rejected' : 'fulfilled')),
    );
  });

  it('refuse a question that is not part of a packet, which nobody would answer', async () => {
    const shared = new SharedTransactions('BEGIN');
    const one: SetStatement<string, number> = async (_client, cartIds) => cartIds.map(() => 1);
    await expect(shared.run(database, 'cart-1', ({ ask }) => ask(one, 'cart-1'))).rejects.toThrow(
      'A statement for several can only be asked in what send or commit makes',
    );
  });

  it('go on while one of them has ended early', async () => {
    const shared = new SharedTransactions('BEGIN');
    const nothing = async ({ client, send }: Packets) => {
      await send(() => [client.query('SELECT 1')]);
      return 0;
    };
    const works = carts.map((cartId) => shared.run(database, cartId, cartId === 'cart-1' ? nothing : addOne(cartId)));
    expect(await Promise.all(works)).toEqual([1, 1, 0, 1, 1]);
    expect((await shelves()).pieces).toEqual([0, 1, 1, 1, 1]);
  });

  it('are made one by one where a statement of one fails, and only that one hears of it', async () => {
    const shared = new SharedTransactions('BEGIN');
    const works = carts.map((cartId) =>
      shared.run(database, cartId, async (packets) => {
        const pieces = await addOne(cartId)(
          cartId === 'cart-3'
            ? {
                ...packets,
                commit: (make) => packets.commit(() => [...(make?.() ?? []), packets.client.query('SELECT 1/0')]),
              }
            : packets,
        );
        return pieces;
      }),
    );
    const settled = await Promise.allSettled(works);
    expect(settled.map(({ status }) => status)).toEqual(
      carts.map((id) => (id === 'cart-3' ? 'rejected' : 'fulfilled')),
    );
    expect(settled[1]).toMatchObject({ reason: { message: 'division by zero' } });
    const { pieces, writers } = await shelves();
    expect(pieces).toEqual([1, 1, 0, 1, 1]);
    // Each by itself, and one by nobody.
    expect(writers.size).toBe(5);
  });

  it('keep nothing of one that gives up half way, and all of the others', async () => {
    const shared = new SharedTransactions('BEGIN');
    const works = carts.map((cartId) =>
      shared.run(database, cartId, async (packets) => {
        if (cartId !== 'cart-2') return addOne(cartId)(packets);
        await packets.send(() => [write(packets.client, cartId, 100)]);
        throw new Error('changed its mind');
      }),
    );
    const settled = await Promise.allSettled(works);
    expect(settled.filter(({ status }) => status === 'rejected')).toHaveLength(1);
    expect((await shelves()).pieces).toEqual([1, 0, 1, 1, 1]);
  });

  it('do not wait for long where somebody holds a row of one cart', async () => {
    const holder = await database.pool.connect();
    try {
      await holder.query('BEGIN');
      await holder.query(`SELECT FROM shelf WHERE cart_id = 'cart-1' FOR UPDATE`);
      const shared = new SharedTransactions('BEGIN');
      const works = new Map(carts.map((cartId) => [cartId, shared.run(database, cartId, addOne(cartId))]));
      const others = [...works].filter(([cartId]) => cartId !== 'cart-1').map(([, work]) => work);
      expect(await Promise.all(others)).toEqual([1, 1, 1, 1]);
      expect((await shelves()).pieces).toEqual([0, 1, 1, 1, 1]);
      await holder.query('COMMIT');
      expect(await works.get('cart-1')).toBe(1);
    } finally {
      holder.release();
    }
  });

  it('never hold two works of one cart', async () => {
    const shared = new SharedTransactions('BEGIN');
    const writers: string[] = [];
    const note = async ({ client, send }: Packets) => {
      const [found] = await send(() => [client.query<{ id: string }>('SELECT pg_current_xact_id()::text AS id')]);
      writers.push(found.rows[0]?.id ?? '');
    };
    await Promise.all(Array.from({ length: 6 }, () => shared.run(database, 'cart-1', note)));
    expect(new Set(writers).size).toBe(6);
  });

  it('succeed for nobody whose common COMMIT was not heard of, before each has been made again', async () => {
    const shared = new SharedTransactions('BEGIN');
    let commits = 0;
    const loseFirst = (client: PoolClient) => {
      const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>;
      client.query = (async (...args: unknown[]) => {
        const answer = await query(...args);
        if (args[0] === 'COMMIT' && (commits += 1) === 1) throw new Error('Connection terminated unexpectedly');
        return answer;
      }) as typeof client.query;
    };
    database.pool.on('acquire', loseFirst);
    const results = await Promise.all(carts.map((cartId) => shared.run(database, cartId, addOne(cartId))));
    database.pool.off('acquire', loseFirst);
    // It had been committed, so each found its own first time; whoever uses this compares and sets.
    expect(results).toEqual([2, 2, 2, 2, 2]);
  });
});
