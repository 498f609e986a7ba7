// A private Redis for the demo and the tests: found on PATH, started on a free port, gone with whoever started it.
// Depends on nothing but Node.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * The absolute path of a redis-server or valkey-server, or undefined.
 * @param {NodeJS.ProcessEnv} env
 * @returns {string | undefined}
 */
export function findRedis(env = process.env) {
  const folders = (env['PATH'] ?? '').split(path.delimiter).filter((folder) => folder !== '');
  const candidates = ['redis-server', 'valkey-server'].flatMap((name) => folders.map((f) => path.join(f, name)));
  return candidates.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Starts a Redis that keeps its data in `dir` (append-only file, nothing evicted: what BullMQ asks for), listens on
 * 127.0.0.1 only and ends with this process, even when that is killed.
 * @param {{ dir: string, binary?: string | undefined }} options
 * @returns {Promise<{ url: string, port: number, pid: number, stop: () => Promise<void> }>}
 */
export async function startRedis({ dir, binary = findRedis() }) {
  if (binary === undefined) throw new Error('There is no redis-server or valkey-server on PATH.');
  mkdirSync(dir, { recursive: true });
  const port = await freePort();
  const log = path.join(dir, 'redis.log');
  const settings = {
    port,
    bind: '127.0.0.1',
    dir,
    logfile: log,
    daemonize: 'no',
    appendonly: 'yes',
    appendfsync: 'everysec',
    'maxmemory-policy': 'noeviction',
    save: '',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  // The shell waits for our end of the pipe to close, which the system does for us however we end. A process group of
  // its own keeps Ctrl-C away: the hub must be able to finish with Redis before Redis goes.
  const keeper = spawn(
    'sh',
    ['-c', '"$@" & server=$!; cat > /dev/null; kill $server; wait $server', 'sh', binary, ...args],
    {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    },
  );
  const gone = new Promise((resolve) => keeper.on('close', resolve));
  keeper.unref();
  keeper.stdin.unref?.();
  keeper.stdin.on('error', () => undefined);
  const stop = async () => {
    keeper.ref();
    keeper.stdin.end();
    await gone;
  };
  const pid = await waitUntilReady(port);
  if (pid !== undefined) return { url: `redis://127.0.0.1:${port}`, port, pid, stop };
  await stop();
  throw new Error(`Redis did not start; its log says: ${readTail(log)}`);
}

/**
 * Installs Redis with apt, if this is a Debian-like system and we are root. Says so before it does it. The package's
 * own service is not started.
 * @param {(sentence: string) => void} log
 * @returns {boolean} whether there is a Redis now
 */
export function installRedisWithApt(log) {
  if (!canInstallWithApt()) return false;
  log('There is no Redis here; it is installed now with: apt-get install redis-server');
  // RUNLEVEL=1 makes the package's start script leave the service alone.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const apt = (...args) =>
    spawnSync('apt-get', ['-q', '-y', ...args], { env, stdio: ['ignore', 'ignore', 'ignore'] }).status === 0;
  const install = () => apt('install', '--no-install-recommends', 'redis-server');
  const installed = install() || (apt('update') && install());
  if (!installed) log('apt-get could not install redis-server.');
  return installed && findRedis() !== undefined;
}

/** @returns {boolean} */
export function canInstallWithApt() {
  return process.platform === 'linux' && process.getuid?.() === 0 && spawnSync('apt-get', ['--version']).status === 0;
}

/** The server's process id once it answers; undefined after ten seconds. */
async function waitUntilReady(port) {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await sleep(50)) {
    const answer = await ask(port, 'INFO server\r\n');
    const pid = /process_id:(\d+)/.exec(answer)?.[1];
    if (pid !== undefined) return Number(pid);
  }
  return undefined;
}

function ask(port, command) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(command));
    let answer = '';
    socket.setTimeout(1000, () => socket.destroy());
    socket.on('data', (chunk) => {
      answer += chunk.toString();
      if (/process_id:\d+\r/.test(answer) || answer.startsWith('-')) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer));
  });
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

function readTail(file) {
  try {
    return readFileSync(file, 'utf8').slice(-500).trim();
  } catch {
    return 'nothing';
  }
}
