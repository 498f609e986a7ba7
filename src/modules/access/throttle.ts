import { Inject, Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import ipaddr from 'ipaddr.js';
import { Redis } from 'ioredis';
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes, type RateLimiterAbstract } from 'rate-limiter-flexible';
import type { Config } from '../../config.js';
import { CONFIG, QUEUE_BACKEND } from '../tokens.js';
import type { QueueBackend } from '../../cart-workers/queue-backend.js';

/**
 * What is counted, each in windows of a minute: calls of one API key; calls without a valid key from one address; wrong
 * keys from one address, which is guessing; and incoming webhooks from one address.
 */
export type Allowance = 'api-key' | 'address' | 'wrong-key' | 'webhook';

/**
 * Counts calls and says when it is too many. Counted in Redis where there is one, so that several processes count
 * together; else, and while Redis does not answer, each process counts for itself: throttling must never be what stops
 * the hub.
 */
@Injectable()
export class Throttle implements OnApplicationShutdown {
  private readonly limiters: Readonly<Record<Allowance, RateLimiterAbstract>>;
  private readonly redis: Redis | undefined;
  private readonly logger = new Logger('Throttle');

  constructor(@Inject(CONFIG) config: Config, @Inject(QUEUE_BACKEND) { prefix }: QueueBackend) {
    this.redis = config.redisUrl === undefined ? undefined : connect(config.redisUrl);
    // The lanes' connection tells the log when Redis is away.
    this.redis?.on('error', () => undefined);
    const { apiKey, address, wrongKey, webhook } = config.perMinute;
    this.limiters = {
      'api-key': this.limiter(`${prefix}:throttle:api-key`, apiKey),
      address: this.limiter(`${prefix}:throttle:address`, address),
      'wrong-key': this.limiter(`${prefix}:throttle:wrong-key`, wrongKey),
      webhook: this.limiter(`${prefix}:throttle:webhook`, webhook),
    };
  }

  /**
   * Takes one of what `who` may have in this minute.
   * @returns null when there was one left, else in how many seconds (at least 1) there is again
   */
  async take(allowance: Allowance, who: string): Promise<number | null> {
    try {
      await this.limiters[allowance].consume(who);
      return null;
    } catch (refusal) {
      if (!(refusal instanceof RateLimiterRes)) throw refusal;
      // One line per minute and caller, at the moment it begins.
      if (refusal.consumedPoints === this.limiters[allowance].points + 1)
        this.logger.warn(`Too many calls: the allowance "${allowance}" of ${who} is used up for this minute`);
      return Math.max(1, Math.ceil(refusal.msBeforeNext / 1000));
    }
  }

  /** Gives one back that was taken before it was known whether it counts. */
  async giveBack(allowance: Allowance, who: string): Promise<void> {
    await this.limiters[allowance].reward(who);
  }

  onApplicationShutdown(): void {
    this.redis?.disconnect();
  }

  private limiter(keyPrefix: string, points: number): RateLimiterAbstract {
    const limits = { keyPrefix, points, duration: WINDOW_S };
    const inMemory = new RateLimiterMemory(limits);
    if (this.redis === undefined) return inMemory;
    return new RateLimiterRedis({
      ...limits,
      storeClient: this.redis,
      rejectIfRedisNotReady: true,
      insuranceLimiter: inMemory,
      // Who is over the limit is refused without asking Redis again, so a flood does not become Redis' flood.
      inMemoryBlockOnConsumed: points + 1,
    });
  }
}

/** The unit of the settings ONHAND_…_PER_MINUTE. */
const WINDOW_S = 60;
const REDIS_TIMEOUT_MS = 500;

/** A connection that fails at once instead of waiting, as the lanes' connection does: a request hangs on it. */
function connect(url: string): Redis {
  return new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: REDIS_TIMEOUT_MS,
    retryStrategy: (tries) => Math.min(tries * 100, 2_000),
  });
}

/** One client: an IPv4 address, or the /64 that an IPv6 user has to himself. */
export function clientAddress(ip: string): string {
  if (!ipaddr.isValid(ip)) return ip;
  const address = ipaddr.process(ip);
  return address.kind() === 'ipv4'
    ? address.toString()
    : `${(address as ipaddr.IPv6).parts
        .slice(0, 4)
        .map((part) => part.toString(16))
        .join(':')}::/64`;
}
