import { Redis, type RedisOptions } from 'ioredis';

/**
 * A connection to Redis that can always be ended, also while Redis is away; a plain one of ioredis 6 then leaves those who
 * wait for it waiting for ever, and with them the end of the process:
 *
 * - Between two tries to connect there is no socket whose end it could report, so `disconnect` reports none. BullMQ closes a
 *   worker by waiting for that report.
 * - A command that was under way when the connection was lost is kept for the next connection, and from the second try
 *   on nobody hears that there will be none.
 */
export class LaneRedis extends Redis {
  /** What was under way when the connection was lost that was there last. */
  private unanswered: Redis['commandQueue'] | undefined;
  private leaving = false;

  constructor(
    private readonly url: string,
    private readonly settings: RedisOptions,
  ) {
    super(url, settings as RedisOptions & { replyMapping?: 'legacy' });
    // Later tries have queues of their own, with nothing in them but their greeting.
    this.on('close', () => (this.unanswered ??= this.commandQueue));
    this.on('ready', () => (this.unanswered = undefined));
    this.on('end', () => {
      const gone = new Error('Connection is closed.');
      for (let item = this.unanswered?.shift(); item !== undefined; item = this.unanswered?.shift())
        item.command.reject(gone);
    });
  }

  override disconnect(reconnect = false): void {
    // As one that was never connected: its end is reported at once, and what was waiting for it fails.
    if (this.status === 'reconnecting' && !reconnect) this.status = 'wait';
    super.disconnect(reconnect);
  }

  /** Workers make theirs from the shared one. */
  override duplicate: Redis['duplicate'] = ((override?: RedisOptions) =>
    new LaneRedis(this.url, { ...this.settings, ...override })) as Redis['duplicate'];

  /** Whatever waits for Redis fails from now on as soon as it is away, and at once where it is away already. */
  waitNoMore(): void {
    if (this.leaving) return;
    this.leaving = true;
    this.on('reconnecting', () => this.disconnect());
    if (this.status !== 'ready') this.disconnect();
  }
}
