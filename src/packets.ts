import type { Client, PoolClient } from 'pg';
import { onConnection, type Database } from './database.js';
import { databaseCode } from './database-fault.js';

const transactionAborted = '25P02';
const saysWhy = (failure: unknown) => !(failure instanceof Error && databaseCode(failure) === transactionAborted);

/**
 * Sends the queries that `send` makes in one packet, not one packet each: both sides are woken up once. What follows them without
 * waiting for an answer travels along.
 */
export function together<T>(client: PoolClient, send: () => T): T {
  const { stream } = (client as Client).connection;
  stream.cork();
  process.nextTick(() => stream.uncork());
  return send();
}

/**
 * Waits for statements that were sent together. When one fails, those behind it only say that the transaction is aborted,
 * and may say so sooner; what is thrown is why.
 */
export async function allOf<T extends readonly unknown[] | []>(
  sent: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const settled = await Promise.allSettled(sent);
  const failures = settled.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
  if (failures.length > 0) throw failures.find(saysWhy) ?? failures[0];
  return Promise.all(sent);
}

/** Sends what `make` sends in one packet, and waits for all of it. */
export function inOnePacket<T extends readonly unknown[] | []>(
  client: PoolClient,
  make: () => T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  return allOf(together(client, make));
}

/** A statement that does for several what each of them would ask by itself. @returns what it found for each, in their order */
export type SetStatement<Item, Found> = (client: PoolClient, items: readonly Item[]) => Promise<readonly Found[]>;

/**
 * A transaction whose statements travel in packets: its BEGIN with the first ones, its COMMIT with the last ones. The server
 * works them off one after the other, each with its own snapshot, as if each had waited for the answer to the one before.
 */
export interface Packets {
  /** For what is rarely needed, outside a packet. */
  readonly client: PoolClient;
  /**
   * For one in what `send` or `commit` makes. Where several share the transaction, the statement is sent once for all that ask it in
   * the same packet, behind what they send by themselves, and in the order in which the statements were first asked.
   */
  readonly ask: <Item, Found>(statement: SetStatement<Item, Found>, item: Item) => Promise<Found>;
  /** @param make sends statements, and waits for none of them */
  readonly send: <T extends readonly unknown[] | []>(
    make: () => T,
  ) => Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }>;
  /** The last packet. Where one of its statements fails, the server makes a roll-back of the COMMIT. */
  readonly commit: (make?: () => readonly unknown[]) => Promise<void>;
}

class OwnTransaction implements Packets {
  private begun = false;
  private committed = false;

  constructor(
    readonly client: PoolClient,
    private readonly begin: string,
  ) {}

  readonly ask = async <Item, Found>(statement: SetStatement<Item, Found>, item: Item): Promise<Found> => {
    const [found] = await statement(this.client, [item]);
    return found as Found;
  };

  readonly send = async <T extends readonly unknown[] | []>(
    make: () => T,
  ): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> => {
    const sent = together(this.client, () => {
      const begin = this.begun ? undefined : this.client.query(this.begin);
      this.begun = true;
      return { begin, made: make() };
    });
    const [, ...results] = await allOf([sent.begin, ...sent.made]);
    return results;
  };

  readonly commit = async (make: () => readonly unknown[] = () => []): Promise<void> => {
    this.committed = true;
    await this.send(() => [...make(), this.client.query('COMMIT')]);
  };

  /** Commits what was not committed yet. */
  async end(): Promise<void> {
    if (this.begun && !this.committed) await this.commit();
  }
}

/** Like inTransaction, in packets. */
export async function inPackets<T>(
  database: Pick<Database, 'pool'>,
  begin: string,
  work: (packets: Packets) => Promise<T>,
): Promise<T> {
  return onConnection(database, async (client) => {
    const transaction = new OwnTransaction(client, begin);
    const result = await work(transaction);
    await transaction.end();
    return result;
  });
}
