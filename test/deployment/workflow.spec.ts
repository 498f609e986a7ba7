import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { readCompose } from '../support/compose-file.js';
import { limitTo } from '../support/choose-servers.js';

const root = path.resolve(import.meta.dirname, '../..');
const read = (name: string) => readFileSync(path.join(root, name), 'utf8');
const text = read('.github/workflows/ci.yml');
const manifest = JSON.parse(read('package.json')) as { engines: { node: string }; scripts: Record<string, string> };

const step = z.strictObject({
  name: z.string().optional(),
  if: z.string().optional(),
  uses: z.string().optional(),
  with: z.record(z.string(), z.union([z.string(), z.boolean()])).optional(),
  run: z.string().optional(),
});
const job = z.strictObject({
  name: z.string(),
  'runs-on': z.string(),
  'timeout-minutes': z.number(),
  strategy: z.strictObject({ 'fail-fast': z.boolean(), matrix: z.record(z.string(), z.array(z.string())) }).optional(),
  env: z.record(z.string(), z.string()).optional(),
  steps: z.array(step).nonempty(),
});
const workflow = z
  .strictObject({
    name: z.string(),
    on: z.record(z.string(), z.unknown()),
    permissions: z.record(z.string(), z.string()),
    concurrency: z.strictObject({ group: z.string(), 'cancel-in-progress': z.boolean() }),
    env: z.record(z.string(), z.string()),
    defaults: z.unknown(),
    jobs: z.record(z.string(), job),
  })
  .parse(parse(text));

const jobs = Object.values(workflow.jobs);
const steps = jobs.flatMap((one) => one.steps);
const commands = steps.flatMap(({ run = '' }) => run.split('\n').map((line) => line.trim()));

describe('.github/workflows/ci.yml', () => {
  it('names only scripts and files that exist', () => {
    const scripts = commands.flatMap((line) => [...line.matchAll(/npm run (\S+)/g)].map(([, name = '']) => name));
    expect(scripts).toContain('check');
    expect(scripts.filter((name) => manifest.scripts[name] === undefined)).toEqual([]);
    const files = commands.flatMap((line) => line.match(/(?<=\s)[.\w-]+\/[\w./-]+/g) ?? []);
    expect(files).toEqual(expect.arrayContaining(['.github/smoke.mjs', 'test/lanes', 'src/database']));
    // A filter of the tests is the beginning of a path.
    expect(
      files.filter((name) => !existsSync(path.join(root, name)) && !existsSync(path.join(root, `${name}.ts`))),
    ).toEqual([]);
    const cached = steps.flatMap(({ with: given }) => given?.['cache-dependency-path'] ?? []);
    expect([...new Set(cached)]).toEqual(['package.json']);
  });

  it('tests on the versions of Node that package.json and README promise, the oldest exactly', () => {
    const versions = workflow.jobs['tests']?.strategy?.matrix['node'] ?? [];
    const oldest = /^>=(\d+\.\d+)\.0$/.exec(manifest.engines.node)?.[1] ?? '';
    expect(read('README.md')).toContain(`Node ${oldest} or newer`);
    expect(versions).toEqual([oldest, '22', '24']);
    // The image runs one of them.
    const [, ofImage = ''] = /^FROM node:(\d+)/m.exec(read('Dockerfile')) ?? [];
    expect(versions).toContain(ofImage);
    const others = steps.flatMap(({ with: given }) => given?.['node-version'] ?? []);
    for (const version of others) expect([...versions, '${{ matrix.node }}']).toContain(version);
  });

  it('says for every job with tests which servers they use, in words that the tests know', () => {
    const around = {
      testDatabaseUrl: undefined,
      testRedisUrl: undefined,
      dockerAnswers: true,
      redisBinary: undefined,
      canInstallWithApt: false,
    };
    const testing = jobs.filter((one) => one.steps.some(({ run = '' }) => run.startsWith('npm test')));
    expect(testing.map(({ env }) => env?.['TEST_SERVERS'])).toEqual(['local', 'containers']);
    for (const { env } of testing) expect(() => limitTo(env?.['TEST_SERVERS'], around)).not.toThrow();
  });

  it('starts the compose file with every variable it requires, and asks the hub with the key it was given', () => {
    const made = [...text.matchAll(/echo "([A-Z_]+)=/g)].map(([, name = '']) => [name, 'made'] as const);
    const { services } = readCompose(read('docker-compose.yml'), Object.fromEntries(made));
    expect(services['api']?.environment['ONHAND_OWNER_KEY']).toBe('made');
    const [, scaled = '', scale = ''] = /docker compose up .*--scale (\w+)=(\d+)/.exec(text) ?? [];
    expect(Object.keys(services)).toContain(scaled);
    const [, port = ''] = /smoke\.mjs --url http:\/\/127\.0\.0\.1:(\d+)/.exec(text) ?? [];
    expect(services['api']?.ports?.[0]).toMatch(new RegExp(`^127\\.0\\.0\\.1:${port}:`));
    expect(text).toContain(`--workers ${scale}`);
    const logs = workflow.jobs['compose']?.steps.find(({ if: when }) => when === 'failure()');
    expect(logs?.run).toContain('docker compose logs');
  });

  it('may only read, hands its token to no later step, and pins what it runs to commits', () => {
    expect(workflow.permissions).toEqual({ contents: 'read' });
    const used = [...text.matchAll(/uses: (.*)$/gm)].map(([, one = '']) => one);
    expect(used.length).toBeGreaterThan(0);
    for (const one of used) expect(one).toMatch(/^actions\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
    const checkouts = steps.filter(({ uses }) => uses?.startsWith('actions/checkout@') === true);
    expect(checkouts).toHaveLength(jobs.length);
    for (const { with: given } of checkouts) expect(given?.['persist-credentials']).toBe(false);
  });
});
