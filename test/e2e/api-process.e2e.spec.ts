import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it } from 'vitest';
import { temporaryDirectory } from '../support/temporary-directory.js';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const running = new Set<ChildProcess>();

afterEach(async () => {
  for (const child of running) child.kill('SIGKILL');
  running.clear();
});

function run(args: string[], env: Record<string, string> = {}) {
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(ONHAND_|DATABASE_URL|REDIS_URL)/.test(name)),
  );
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...inherited, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const output = { out: '', err: '' };
  child.stdout.on('data', (data: Buffer) => (output.out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (output.err += data.toString()));
  const ended = once(child, 'close').then(([code]) => {
    running.delete(child);
    return { code: code as number | null, ...output };
  });
  return { child, ended, output };
}

/** Starts a hub and resolves with the events of its start, by name. */
async function startHub(env: Record<string, string>) {
  const hub = run([], { ONHAND_LOG_JSON: 'true', ONHAND_PORT: '0', ...env });
  const events = new Map<string, Record<string, string>>();
  for await (const line of readline.createInterface({ input: hub.child.stdout })) {
    const entry = JSON.parse(line) as Record<string, string>;
    if (entry['event'] !== undefined) events.set(entry['event'], entry);
    if (entry['event'] === 'listening') return { ...hub, events, url: entry['url']! };
  }
  throw new Error(`The hub ended before it listened: ${(await hub.ended).err}`);
}

it('--help and --version answer at once, and an unknown command is refused in a sentence', async () => {
  expect(await run(['--help']).ended).toMatchObject({ code: 0, out: expect.stringContaining('migrate') });
  expect(await run(['--version']).ended).toMatchObject({ code: 0, out: '0.1.0\n' });
  expect(await run(['dance']).ended).toMatchObject({
    code: 1,
    err: expect.stringContaining('"dance" is not a command'),
  });
});

it('a wrong setting or an unreachable database ends the start with one clear sentence', async () => {
  const typo = await run([], { ONHAND_PROT: '1' }).ended;
  expect([typo.code, typo.err]).toEqual([1, expect.stringContaining('ONHAND_PROT')]);
  const away = await run([], {
    DATABASE_URL: 'postgresql://u:hidden@127.0.0.1:1/x',
    ONHAND_ENCRYPTION_KEY: Buffer.alloc(32, 1).toString('base64'),
    ONHAND_DATA_DIR: await temporaryDirectory(),
  }).ended;
  expect([away.code, away.err]).toEqual([1, expect.stringContaining('does not answer')]);
  expect(away.err).not.toMatch(/hidden|\n.*at /);
});

it('without any setting it starts its own PostgreSQL, shows a key once, is found by its file, and ends on a signal', async () => {
  const dir = await temporaryDirectory('onhand-e2e-');
  const first = await startHub({ ONHAND_DATA_DIR: dir });
  const key = first.events.get('owner-key')!['key']!;
  expect(key).toMatch(/^ohk_/);
  expect(JSON.parse(readFileSync(path.join(dir, 'hub.json'), 'utf8'))).toEqual({
    url: first.url,
    pid: first.child.pid,
  });
  expect(statSync(path.join(dir, 'encryption-key')).mode & 0o777).toBe(0o600);
  const made = await fetch(`${first.url}/v1/locations`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ location: 'main', name: 'Main' }),
  });
  expect(made.status).toBe(201);
  // Opened and never used, as browsers do; it once held the end back for a minute.
  const unused = connect(Number(new URL(first.url).port), '127.0.0.1');
  await once(unused, 'connect');
  const stoppedAt = performance.now();
  first.child.kill('SIGTERM');
  expect(await first.ended).toMatchObject({ code: 0 });
  expect(performance.now() - stoppedAt).toBeLessThan(20_000);
  unused.destroy();
  expect(existsSync(path.join(dir, 'hub.json'))).toBe(false);

  const second = await startHub({ ONHAND_DATA_DIR: dir });
  expect(second.events.has('owner-key')).toBe(false);
  const kept = await fetch(`${second.url}/v1/locations`, { headers: { 'X-API-Key': key } });
  expect(((await kept.json()) as { data: unknown[] }).data).toEqual([
    { location: 'main', name: 'Main', otherCodes: [] },
  ]);
  second.child.kill('SIGINT');
  expect(await second.ended).toMatchObject({ code: 0 });
  await rm(dir, { recursive: true, force: true });
});
