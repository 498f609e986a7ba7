// A Redis for --redis: the one that REDIS_URL names, or a private one.
import path from 'node:path';
import { canInstallWithApt, findRedis, installRedisWithApt, startRedis } from '../redis.mjs';
import { DemoError } from './child.mjs';

const DATABASES = 16;

/**
 * @param {string} place a folder for a private server's data
 * @param {(sentence: string) => void} log
 * @returns {Promise<{url: string, about: string, stop: () => Promise<void>}>}
 */
export async function redisForDemo(place, log) {
  const given = process.env['REDIS_URL'];
  if (given) return emptyDatabaseOf(given);
  if (findRedis() === undefined && !(canInstallWithApt() && installRedisWithApt(log))) {
    throw new DemoError(
      '--redis needs a Redis: set REDIS_URL, or install redis-server or valkey-server so that it is on PATH.',
    );
  }
  const { url, stop } = await startRedis({ dir: path.join(place, 'redis') });
  return { url, about: `private redis-server at ${url}`, stop };
}

/**
 * An empty database of a server that may belong to somebody: the demo uses nothing that holds data, and leaves nothing.
 */
async function emptyDatabaseOf(/** @type {string} */ given) {
  const { Redis } = await import('ioredis');
  const url = new URL(given);
  for (let index = 0; index < DATABASES; index += 1) {
    url.pathname = `/${index}`;
    const redis = new Redis(url.href, { lazyConnect: true, maxRetriesPerRequest: 1, retryStrategy: () => null });
    redis.on('error', () => undefined);
    try {
      await redis.connect();
      // The key makes the database one that is not empty: another demo that starts now takes the next.
      const taken =
        (await redis.dbsize()) === 0 && (await redis.set('onhand-demo', String(process.pid), 'NX')) === 'OK';
      if (taken) {
        const stop = async () => {
          const again = new Redis(url.href, { maxRetriesPerRequest: 1, retryStrategy: () => null });
          again.on('error', () => undefined);
          await again.flushdb().catch(() => undefined);
          again.disconnect();
        };
        return { url: url.href, about: `${url.host}, database ${index} (it was empty)`, stop };
      }
    } catch (error) {
      throw new DemoError(`The Redis at ${url.host} (REDIS_URL) cannot be used: ${error.message}`);
    } finally {
      redis.disconnect();
    }
  }
  throw new DemoError(`The Redis at ${url.host} (REDIS_URL) has no empty database; the demo leaves the others alone.`);
}
