import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ConfigError, loadConfig } from './config.js';

const key = randomBytes(32).toString('base64');

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env, '/srv/shop');
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('loadConfig', () => {
  it('needs nothing: one process with every role, embedded PostgreSQL, no Redis, reachable from this machine only', () => {
    expect(loadConfig({}, '/srv/shop')).toEqual({
      databaseUrl: undefined,
      redisUrl: undefined,
      roles: ['api', 'projector', 'worker'],
      host: '127.0.0.1',
      port: 3000,
      dataDir: '/srv/shop/.onhand',
      resetFolders: '/srv/shop/.onhand/reset-files',
      encryptionKey: undefined,
      previousEncryptionKeys: [],
      allowPrivateCartUrls: false,
      databasePoolMax: 20,
      lanesMax: 48,
      logLevel: 'info',
      logJson: false,
      baseUrl: undefined,
      shutdownTimeoutMs: 30_000,
      bodyTimeoutMs: 60_000,
      perMinute: { apiKey: 120_000, address: 3_000, wrongKey: 20, webhook: 12_000 },
      trustedProxies: [],
      ownerKey: undefined,
    });
  });

  it('reads every variable', () => {
    const config = loadConfig(
      {
        DATABASE_URL: 'postgresql://onhand:secret@db:5432/onhand',
        REDIS_URL: 'rediss://cache:6380/1',
        ONHAND_ROLES: 'worker, projector,worker',
        ONHAND_HOST: '0.0.0.0',
        ONHAND_PORT: '0',
        ONHAND_DATA_DIR: '/var/lib/shop',
        ONHAND_RESET_FOLDERS: '/srv/erp',
        ONHAND_ENCRYPTION_KEY: key,
        ONHAND_PREVIOUS_ENCRYPTION_KEYS: [1, 2].map((byte) => Buffer.alloc(32, byte).toString('base64')).join(', '),
        ONHAND_ALLOW_PRIVATE_CART_URLS: 'Yes',
        ONHAND_DATABASE_POOL_MAX: '7',
        ONHAND_LANES_MAX: '12',
        ONHAND_LOG_LEVEL: 'debug',
        ONHAND_LOG_JSON: 'true',
        ONHAND_BASE_URL: 'https://stock.example.com/',
        ONHAND_SHUTDOWN_TIMEOUT_MS: '5000',
        ONHAND_BODY_TIMEOUT_MS: '20000',
        ONHAND_CALLS_PER_MINUTE: '1000',
        ONHAND_CALLS_WITHOUT_KEY_PER_MINUTE: '100',
        ONHAND_WRONG_KEYS_PER_MINUTE: '10',
        ONHAND_WEBHOOKS_PER_MINUTE: '500',
        ONHAND_TRUSTED_PROXIES: '127.0.0.1, 10.0.0.0/8,2001:db8::/32',
        ONHAND_OWNER_KEY: 'a-key-that-is-long-enough',
      },
      '/srv/shop',
    );
    expect(config).toEqual({
      databaseUrl: 'postgresql://onhand:secret@db:5432/onhand',
      redisUrl: 'rediss://cache:6380/1',
      roles: ['worker', 'projector'],
      host: '0.0.0.0',
      port: 0,
      dataDir: '/var/lib/shop',
      resetFolders: '/srv/erp',
      encryptionKey: Buffer.from(key, 'base64'),
      previousEncryptionKeys: [Buffer.alloc(32, 1), Buffer.alloc(32, 2)],
      allowPrivateCartUrls: true,
      databasePoolMax: 7,
      lanesMax: 12,
      logLevel: 'debug',
      logJson: true,
      baseUrl: 'https://stock.example.com',
      shutdownTimeoutMs: 5000,
      bodyTimeoutMs: 20_000,
      perMinute: { apiKey: 1000, address: 100, wrongKey: 10, webhook: 500 },
      trustedProxies: ['127.0.0.1', '10.0.0.0/8', '2001:db8::/32'],
      ownerKey: 'a-key-that-is-long-enough',
    });
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('takes an empty variable as not set', () => {
    expect(loadConfig({ REDIS_URL: '', ONHAND_PORT: '  ' }, '/srv/shop')).toMatchObject({
      redisUrl: undefined,
      port: 3000,
    });
  });

  it.each([
    ['DATABASE_URL', 'mysql://db/onhand', 'postgresql://'],
    ['REDIS_URL', 'localhost', 'redis://'],
    ['ONHAND_ROLES', 'api,baker', 'api, projector, worker'],
    ['ONHAND_ROLES', ' , ', 'at least one'],
    ['ONHAND_PORT', '70000', '0 to 65535'],
    ['ONHAND_PORT', '3e3', 'whole number'],
    ['ONHAND_ENCRYPTION_KEY', 'short', 'openssl rand -base64 32'],
    ['ONHAND_PREVIOUS_ENCRYPTION_KEYS', 'short', 'openssl rand -base64 32'],
    ['ONHAND_ALLOW_PRIVATE_CART_URLS', 'maybe', 'true or false'],
    ['ONHAND_DATABASE_POOL_MAX', '1', '2 to 500'],
    ['ONHAND_LANES_MAX', '-1', '1 to 500'],
    ['ONHAND_LOG_LEVEL', 'loud', 'info'],
    ['ONHAND_CALLS_PER_MINUTE', '0', '1 to 100000000'],
    ['ONHAND_WRONG_KEYS_PER_MINUTE', 'none', 'whole number'],
    ['ONHAND_TRUSTED_PROXIES', 'my-proxy', '10.0.0.0/8'],
    ['ONHAND_TRUSTED_PROXIES', '10.0.0.0/33', '10.0.0.0/8'],
    ['ONHAND_BASE_URL', 'stock.example.com', 'https://'],
    ['ONHAND_SHUTDOWN_TIMEOUT_MS', '10', '1000 to 600000'],
    ['ONHAND_OWNER_KEY', 'short', '24 characters'],
  ])('names %s and the remedy when it is %j', (name, value, remedy) => {
    const problems = problemsOf({ ONHAND_ENCRYPTION_KEY: key, [name]: value });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(new RegExp(`^${name}: `));
    expect(problems[0]).toContain(remedy);
  });

  it('demands the encryption key together with DATABASE_URL, since several processes must share it', () => {
    expect(problemsOf({ DATABASE_URL: 'postgres://db/onhand' })).toEqual([
      expect.stringMatching(/^ONHAND_ENCRYPTION_KEY: .*openssl rand/),
    ]);
  });

  it('reports every problem at once and repeats no value, which may be a secret', () => {
    const problems = problemsOf({ ONHAND_PORT: 'hunter2', ONHAND_OWNER_KEY: 'hunter2', REDIS_URL: 'hunter2' });
    expect(problems).toHaveLength(3);
    expect(problems.join()).not.toContain('hunter2');
  });

  it('points out a misspelt setting instead of ignoring it', () => {
    expect(problemsOf({ ONHAND_LOGLEVEL: 'debug' })).toEqual([expect.stringContaining('.env.example')]);
    expect(problemsOf({ ONHAND_URL: 'http://hub', ONHAND_API_KEY: 'for the command line', HOME: '/root' })).toEqual([]);
  });

  it('knows every variable that .env.example describes', () => {
    const text = readFileSync(new URL('../.env.example', import.meta.url), 'utf8');
    const names = [...text.matchAll(/^#? ?((?:ONHAND_|DATABASE_URL|REDIS_URL)[A-Z_]*)=/gm)].map(
      (match) => match[1] ?? '',
    );
    expect(new Set(names).size).toBe(26); // three of them belong to docker compose and the command line
    const env = Object.fromEntries(names.map((name) => [name, '']));
    expect(problemsOf(env)).toEqual([]);
  });
});
