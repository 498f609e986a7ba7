import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import pg from 'pg';
import type { Database } from './database.js';

const connectTimeoutMs = 10_000;
const answerTimeoutMs = 5_000;
const reconnectMs = 250;
/** How often a process says that it is not only connected but awake. */
const beatMs = 2_000;
/** PostgreSQL cuts an application's name off there. */
const nameLengthMax = 63;

/**
 * Says that a process lives: a connection to the database that bears its name. The system ends it with the process, so the
 * others see a death at once and need not wait for the deadline of what it had begun. Once in a while it asks for nothing,
 * by which a process that is frozen, and so keeps its connection, can be told from one that is awake.
 *
 * A process whose connection is lost looks dead while it lives. That is safe. A worker's late success still counts,
 * everything else it says late is not believed, and a line in doubt waits for the deadline and the cart's quiet time all
 * the same. A projector's batch counts if its checkpoint still stands where it was read.
 */
export class Presence {
  /** Which program, what it does, and one process of it: `onhand/0.1.0 api+worker host-4711-9f86d081`. */
  readonly name: string;
  private client: pg.Client | undefined;
  private retry: NodeJS.Timeout | undefined;
  private beat: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    private readonly database: Database,
    who: { readonly version: string; readonly roles: readonly string[] },
  ) {
    const what = `onhand/${who.version} ${who.roles.join('+')} `;
    const self = `-${process.pid}-${randomBytes(4).toString('hex')}`;
    const host = hostname().replaceAll(/[^\w.-]/g, '_');
    this.name = what + host.slice(0, Math.max(1, nameLengthMax - what.length - self.length)) + self;
  }

  async start(): Promise<void> {
    await this.connect();
    let under = false;
    this.beat = setInterval(() => {
      const { client } = this;
      if (client === undefined || under) return;
      under = true;
      client
        .query('SELECT 1')
        // Also where no answer comes, because the way swallows everything without closing.
        .catch(() => this.connectAgain(client))
        .finally(() => (under = false));
    }, beatMs);
    this.beat.unref();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.retry);
    clearInterval(this.beat);
    await this.client?.end().catch(() => undefined);
  }

  private async connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.database.pool.options.connectionString,
      application_name: this.name,
      keepAlive: true,
      connectionTimeoutMillis: connectTimeoutMs,
      query_timeout: answerTimeoutMs,
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
    client.removeAllListeners('error').on('error', () => undefined);
    if (this.client === client) this.client = undefined;
    client.end().catch(() => undefined);
    if (this.stopped || this.retry !== undefined) return;
    this.retry = setTimeout(() => {
      this.retry = undefined;
      void this.connect();
    }, reconnectMs);
    this.retry.unref();
  }
}

/** One process of the hub, as the database sees it now. */
export interface LivingProcess {
  readonly name: string;
  readonly version: string;
  readonly roles: readonly string[];
  /** Since when it is connected; later than its start where its connection was lost. */
  readonly since: Date;
  /** When it last said that it is awake, at most some seconds ago unless it is frozen. */
  readonly lastSeenAt: Date;
  /** By the database's clock, which is the one that counted both times. */
  readonly silentMs: number;
}

/** Every process that is connected to this database now, by name. One that died is not in it. */
export async function livingProcesses(database: Database): Promise<LivingProcess[]> {
  const found = await database.pool.query<{ name: string; since: Date; last_seen_at: Date; silent_ms: string }>(
    // A name stands there twice for a moment after its connection was lost and made again.
    `SELECT application_name AS name, max(backend_start) AS since, max(state_change) AS last_seen_at,
            (extract(epoch FROM clock_timestamp() - max(state_change)) * 1000)::bigint AS silent_ms
       FROM pg_stat_activity
      WHERE datname = current_database() AND application_name LIKE 'onhand/%' AND state_change IS NOT NULL
      GROUP BY application_name ORDER BY application_name`,
  );
  return found.rows.map((row) => {
    const [program = '', roles = ''] = row.name.split(' ');
    return {
      name: row.name,
      version: program.slice('onhand/'.length),
      roles: roles.split('+'),
      since: row.since,
      lastSeenAt: row.last_seen_at,
      silentMs: Number(row.silent_ms),
    };
  });
}
