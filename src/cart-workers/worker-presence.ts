import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import pg from 'pg';
import type { Database } from '../database.js';

const reconnectMs = 250;

/**
 * Says that a worker lives: a connection to the database that bears the worker's name and does nothing. The system ends it
 * with the process, so the others see a death at once and need not wait for the deadline of what it had begun.
 *
 * A worker whose connection is lost looks dead while it lives. That is safe: its late success still counts, everything
 * else it says late is not believed, and a line in doubt waits for the deadline and the cart's quiet time all the same.
 */
export class WorkerPresence {
  /** PostgreSQL cuts an application's name off at 63 characters. */
  readonly name = `onhand-worker ${hostname().slice(0, 24)}-${process.pid}-${randomBytes(4).toString('hex')}`;
  private client: pg.Client | undefined;
  private retry: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(private readonly database: Database) {}

  async start(): Promise<void> {
    await this.connect();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.retry);
    await this.client?.end().catch(() => undefined);
  }

  private async connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.database.pool.options.connectionString,
      application_name: this.name,
      keepAlive: true,
    });
    client.on('error', () => this.connectAgain(client));
    client.on('end', () => this.connectAgain(client));
    try {
      await client.connect();
      this.client = client;
      if (this.stopped) await client.end();
    } catch {
      this.connectAgain(client);
    }
  }

  private connectAgain(client: pg.Client): void {
    client.removeAllListeners('end');
    client.end().catch(() => undefined);
    if (this.stopped || this.retry !== undefined) return;
    this.retry = setTimeout(() => {
      this.retry = undefined;
      void this.connect();
    }, reconnectMs);
    this.retry.unref();
  }
}
