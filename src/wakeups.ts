import { EventEmitter } from 'node:events';
import pg from 'pg';
import type { Database } from './database.js';

/** What may have changed: the log, the Web Stack, the carts and lanes themselves, or who may call. */
export type WakeupTopic = 'events' | 'web-stack' | 'lanes' | 'api-keys';

const channel = 'onhand_wakeups';
/** The first signal of a topic is told at once, and those within this time after it by one notification. */
const coalesceMs = 25;
const reconnectMs = 500;
const connectTimeoutMs = 10_000;

/**
 * Tells loops in this and other processes that there may be work. A wake-up is a hint and may be lost: every loop also
 * polls. It travels outside the transactions it speaks of, because NOTIFY inside one would serialise all commits.
 */
export class Wakeups {
  private readonly local = new EventEmitter().setMaxListeners(0);
  private readonly pending = new Map<WakeupTopic, NodeJS.Timeout>();
  private readonly toldAt = new Map<WakeupTopic, number>();
  private readonly self = `${process.pid}-${Math.random().toString(36).slice(2)}`;
  private client: pg.Client | undefined;
  private retry: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(private readonly database: Database) {}

  /** Listens for other processes; resolves when listening, or when the first try failed (it goes on trying). */
  async start(): Promise<void> {
    await this.listen();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    for (const timer of this.pending.values()) clearTimeout(timer);
    this.pending.clear();
    clearTimeout(this.retry);
    this.local.removeAllListeners();
    await this.client?.end().catch(() => undefined);
  }

  signal(topic: WakeupTopic): void {
    this.local.emit(topic);
    if (this.stopped || this.pending.has(topic)) return;
    const waitMs = Math.max(0, (this.toldAt.get(topic) ?? -coalesceMs) + coalesceMs - performance.now());
    const timer = setTimeout(() => {
      this.pending.delete(topic);
      this.toldAt.set(topic, performance.now());
      // A lost notification costs one poll interval, nothing else.
      this.database.pool.query('SELECT pg_notify($1, $2)', [channel, `${this.self} ${topic}`]).catch(() => undefined);
    }, waitMs);
    timer.unref();
    this.pending.set(topic, timer);
  }

  /** @returns a function that stops listening */
  on(topic: WakeupTopic, listener: () => void): () => void {
    this.local.on(topic, listener);
    return () => this.local.off(topic, listener);
  }

  private async listen(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.database.pool.options.connectionString,
      application_name: `${this.database.pool.options.application_name ?? 'onhand'} wake-ups`,
      keepAlive: true,
      connectionTimeoutMillis: connectTimeoutMs,
    });
    client.on('error', () => this.listenAgain(client));
    client.on('end', () => this.listenAgain(client));
    client.on('notification', ({ payload }) => this.heard(payload ?? ''));
    try {
      await client.connect();
      await client.query(`LISTEN ${channel}`);
      this.client = client;
      if (this.stopped) await client.end();
    } catch {
      this.listenAgain(client);
    }
  }

  private heard(payload: string): void {
    const [sender, topic] = payload.split(' ');
    if (sender !== this.self) this.local.emit(topic ?? '');
  }

  private listenAgain(client: pg.Client): void {
    client.removeAllListeners('end');
    client.end().catch(() => undefined);
    if (this.stopped || this.retry !== undefined) return;
    this.retry = setTimeout(() => {
      this.retry = undefined;
      void this.listen();
    }, reconnectMs);
  }
}

/**
 * Waits for the next hint or the time-out, whichever comes first. Hints that came while nobody waited are kept, so that
 * work announced between "nothing to do" and "wait" is not slept over.
 */
export class Doorbell {
  private rung = false;
  private ring: (() => void) | undefined;

  press = (): void => {
    this.rung = true;
    this.ring?.();
  };

  async wait(timeoutMs: number): Promise<void> {
    if (!this.rung) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        this.ring = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.ring = undefined;
    }
    this.rung = false;
  }
}
