import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { describe, inject, it } from 'vitest';
import { findRedis, startRedis } from '../../samples/redis.mjs';
import { HOW_TO_GET_REDIS } from './choose-servers.js';
import { temporaryDirectory } from './temporary-directory.js';

/**
 * `describe` for a suite that needs Redis: skipped where there is none, with a note from the global set-up; in CI, where
 * skipping would hide it, it fails instead.
 */
export function describeWithRedis(name: string, suite: () => void): void {
  if (inject('redisUrl') !== '') describe(name, suite);
  else if (process.env['CI'] === 'true') {
    describe(name, () => {
      it('has a Redis to run against', () => {
        throw new Error(HOW_TO_GET_REDIS);
      });
    });
  } else describe.skip(name, suite);
}

/** The run's shared Redis. Give `prefix` to every BullMQ object, so that files cannot meet; never FLUSHALL here. */
export function testRedis(): { url: string; prefix: string } {
  const url = inject('redisUrl');
  if (url === '') throw new Error(HOW_TO_GET_REDIS);
  return { url, prefix: `test-${randomBytes(6).toString('hex')}` };
}

/** A Redis of one's own, for tests that flush, kill or restart it. Undefined where no program to start is found. */
export async function startPrivateRedis(): Promise<Awaited<ReturnType<typeof startRedis>> | undefined> {
  if (findRedis() === undefined) return undefined;
  const dir = await temporaryDirectory('onhand-test-redis-');
  const redis = await startRedis({ dir });
  return {
    ...redis,
    stop: async () => {
      await redis.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
