import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig, settingNames } from '../../src/config.js';
import { readCompose, variablesOf } from '../support/compose-file.js';
import { environmentOf, last, readDockerfile } from '../support/dockerfile.js';

const root = path.resolve(import.meta.dirname, '../..');
const read = (name: string) => readFileSync(path.join(root, name), 'utf8');
const compose = read('docker-compose.yml');
const example = read('.env.example');
const image = readDockerfile(read('Dockerfile')).at(-1);
if (image === undefined) throw new Error('The Dockerfile has no stage');

const required = { POSTGRES_PASSWORD: 'secret', ONHAND_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64') };
const ours = ['migrate', 'api', 'projector', 'worker'];

describe('docker-compose.yml', () => {
  const { services } = readCompose(compose, required);

  it('gives each service of ours settings that the hub knows and accepts, and one role', () => {
    expect(Object.keys(services).sort()).toEqual([...ours, 'postgres', 'redis'].sort());
    for (const name of ours) {
      const env = { ...environmentOf(image), ...services[name]?.environment };
      expect(Object.keys(env).filter((variable) => !settingNames.includes(variable))).toEqual(['NODE_ENV']);
      const config = loadConfig(env);
      expect([name, config.databaseUrl]).toEqual([name, 'postgresql://onhand:secret@postgres:5432/onhand']);
      expect(config.redisUrl).toBe('redis://redis:6379');
      if (name !== 'migrate') expect(config.roles).toEqual([name]);
      const stopMs = services[name]?.stop_grace_period ?? 10_000;
      expect(stopMs).toBeGreaterThan(config.shutdownTimeoutMs);
    }
  });

  it('lets the connections of at least eight processes into PostgreSQL', () => {
    const setting = services['postgres']?.command?.find((word) => word.startsWith('max_connections='));
    const { databasePoolMax } = loadConfig({ ...environmentOf(image), ...services['worker']?.environment });
    // One for wake-ups and one to show that it lives; PostgreSQL keeps three for its superuser.
    expect(Number(setting?.split('=')[1])).toBeGreaterThanOrEqual(8 * (databasePoolMax + 2) + 3);
  });

  it('asks for its health where the image listens', () => {
    const { ONHAND_PORT: port, ONHAND_HOST: host } = environmentOf(image);
    expect([host, JSON.stringify(services['api']?.healthcheck)]).toEqual([
      '0.0.0.0',
      expect.stringContaining(`:${port}/`),
    ]);
    expect(services['api']?.ports).toEqual([`127.0.0.1:3000:${port}`]);
    expect(last(image, 'EXPOSE')?.words).toEqual([port]);
  });

  it.each(Object.keys(required))('says what to do when %s is missing', (name) => {
    const line = example.split('\n').findIndex((text) => text.startsWith(`# ${name}=`));
    expect(line).toBeGreaterThan(0);
    expect(() => readCompose(compose, { ...required, [name]: '' })).toThrow(
      new RegExp(`required variable ${name} is missing a value: .*set it in \\.env`),
    );
  });
});

describe('.env.example', () => {
  const named = [...example.matchAll(/^# ([A-Z_]+)=/gm)].map(([, name]) => name ?? '');
  /** Of the command line client; see src/command-line/hub-address.ts. */
  const ofTheClient = ['ONHAND_URL', 'ONHAND_API_KEY'];

  it('names every variable once that the hub, its client or compose read, and no other', () => {
    expect(named.toSorted()).toEqual([...new Set([...settingNames, ...ofTheClient, ...variablesOf(compose)])].sort());
  });

  it('shows values that the hub accepts', () => {
    const shown = Object.fromEntries(
      [...example.matchAll(/^# ([A-Z_]+)=(.+)$/gm)].map(([, name = '', value = '']) => [name, value]),
    );
    const hubs = Object.fromEntries(Object.entries(shown).filter(([name]) => settingNames.includes(name)));
    expect(() => loadConfig({ ...hubs, ONHAND_ENCRYPTION_KEY: required.ONHAND_ENCRYPTION_KEY })).not.toThrow();
  });
});
