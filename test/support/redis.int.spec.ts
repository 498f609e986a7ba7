import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import { describeWithRedis, startPrivateRedis, testRedis } from './redis.js';
import { temporaryDirectory } from './temporary-directory.js';

async function setting(url: string, name: string): Promise<string | undefined> {
  const redis = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 0 });
  redis.on('error', () => undefined);
  await redis.connect();
  const answer = await redis.config('GET', name);
  redis.disconnect();
  return Array.isArray(answer) ? String(answer[1]) : undefined;
}

describeWithRedis('the Redis of a test run', () => {
  it('evicts nothing and gives each test file a prefix of its own', async () => {
    expect(await setting(testRedis().url, 'maxmemory-policy')).toBe('noeviction');
    expect(testRedis().prefix).not.toBe(testRedis().prefix);
  });

  it('can be started privately, with an append-only file, and stopped', async ({ skip }) => {
    const redis = await startPrivateRedis();
    if (redis === undefined) return skip('no redis-server on PATH');
    expect(await setting(redis.url, 'appendonly')).toBe('yes');
    await redis.stop();
    await expect(setting(redis.url, 'appendonly')).rejects.toThrow(/closed|refused/i);
  });

  it('ends with the process that started it, even when that is killed', async ({ skip }) => {
    const module = fileURLToPath(new URL('../../samples/redis.mjs', import.meta.url));
    const dir = await temporaryDirectory();
    const script = `import { findRedis, startRedis } from ${JSON.stringify(module)};
      console.log(findRedis() === undefined ? 'none' : (await startRedis({ dir: ${JSON.stringify(dir)} })).url);
      setInterval(() => undefined, 1000);`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [said] = await once(owner.stdout, 'data');
    const url = String(said).trim();
    owner.kill('SIGKILL');
    if (url === 'none') return skip('no redis-server on PATH');
    for (const deadline = Date.now() + 20_000; ; await sleep(50)) {
      const gone = await setting(url, 'appendonly').then(
        () => false,
        () => true,
      );
      if (gone) return;
      expect(Date.now()).toBeLessThan(deadline);
    }
  });
});
