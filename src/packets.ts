import { DatabaseError, type Client, type PoolClient } from 'pg';
import type { Database } from './database.js';

const transactionAborted = '25P02';
const codeOf = (failure: unknown) => (failure instanceof DatabaseError ? failure.code : undefined);

/** Sends the queries that `send` makes in one packet, not one packet each: both sides are woken up once. */
export function together<T>(client: PoolClient, send: () => T): T {
  const { stream } = (client as Client).connection;
  stream.cork();
  try {
    return send();
  } finally {
    stream.uncork();
  }
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
  if (failures.length > 0) throw failures.find((failure) => codeOf(failure) !== transactionAborted) ?? failures[0];
  return Promise.all(sent);
}

/**
 * A transaction whose statements travel in packets: its BEGIN with the first ones, its COMMIT with the last ones. The server
 * works them off one after the other, each with its own snapshot, as if each had waited for the answer to the one before.
 */
export class Packets {
  private begun = false;
  private committed = false;

  constructor(
    readonly client: PoolClient,
    private readonly begin: string,
  ) {}

  /** @param make sends statements, and waits for none of them */
  async send<T extends readonly unknown[] | []>(make: () => T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
    const sent = together(this.client, () => {
      const begin = this.begun ? undefined : this.client.query(this.begin);
      this.begun = true;
      return { begin, made: make() };
    });
    const [, ...results] = await allOf([sent.begin, ...sent.made]);
    return results;
  }

  /** The last packet. Where one of its statements fails, the server makes a roll-back of the COMMIT. */
  async commit(make: () => readonly unknown[] = () => []): Promise<void> {
    this.committed = true;
    await this.send(() => [...make(), this.client.query('COMMIT')]);
  }

  /** Commits what was not committed yet. */
  async end(): Promise<void> {
    if (this.begun && !this.committed) await this.commit();
  }
}

/** One transaction on a connection of its own; what `work` throws rolls it back and is thrown on. */
export async function inPackets<T>(
  { pool }: Pick<Database, 'pool'>,
  begin: string,
  work: (packets: Packets) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  const packets = new Packets(client, begin);
  try {
    const result = await work(packets);
    await packets.end();
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}
