import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { createServer, connect, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { findRedis } from '../../samples/redis.mjs';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/embedded-postgres.js';
import { readCompose, startOrder, type ComposeFile, type Variables } from '../support/compose-file.js';
import { environmentOf, last, readDockerfile } from '../support/dockerfile.js';
import { freePort } from '../support/free-port.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { until } from '../support/until.js';
import { endAll, root, startProcess, type HubProcess } from './processes.js';

/**
 * docker-compose.yml, carried out without Docker: every service is a process with the command and the environment that
 * the file and the image give it. Only what a container has for itself is replaced, and nothing else: names of hosts and
 * their ports, and the folder of its data.
 */
export interface ComposeHub {
  readonly file: ComposeFile;
  readonly databaseUrl: string;
  /** In the order of their start, with how they were waited for. */
  readonly startedInOrder: readonly string[];
  /** Processes of a service that run now. */
  of(service: string): readonly HubProcess[];
  /** One more of a service, as `--scale` and `restart: unless-stopped` do; resolves when it has started. */
  start(service: string): Promise<HubProcess>;
  /** Its health check, word for word; true when it is content. */
  isHealthy(service: string): Promise<boolean>;
  /** Ends what is left and removes everything. */
  remove(): Promise<void>;
}

const run = promisify(execFile);
const composeText = () => readFileSync(path.join(root, 'docker-compose.yml'), 'utf8');

/** @param scale how many of a service; one where it says nothing */
export async function composeUp(variables: Variables, scale: Readonly<Record<string, number>>): Promise<ComposeHub> {
  const file = readCompose(composeText(), variables);
  const dir = await temporaryDirectory('onhand-compose-');
  const image = readDockerfile(readFileSync(path.join(root, 'Dockerfile'), 'utf8')).at(-1);
  if (image === undefined) throw new Error('The Dockerfile has no stage');
  const running = new Map<string, Set<HubProcess>>();
  const startedInOrder: string[] = [];
  let started = 0;
  const undo: (() => Promise<unknown>)[] = [() => rm(dir, { recursive: true, force: true })];
  const places: Places = { postgresPort: 0, redisPort: await freePort(), apiPort: 0 };
  let databaseUrl = '';

  const serviceOf = (name: string) => {
    const service = file.services[name];
    if (service === undefined) throw new Error(`There is no service ${name}`);
    return service;
  };
  const start = async (name: string): Promise<HubProcess> => {
    const service = serviceOf(name);
    started += 1;
    const env = { ...environmentOf(image), ...service.environment };
    const command = service.command ?? last(image, 'CMD')?.words ?? [];
    const own = { ONHAND_DATA_DIR: path.join(dir, `${name}-${started}`), ONHAND_HOST: '127.0.0.1', ONHAND_PORT: '0' };
    const child = startProcess(command, { ...mapValues(env, (value) => placed(value, places)), ...own });
    const siblings = running.get(name) ?? new Set();
    running.set(name, siblings.add(child));
    void child.ended.then(() => siblings.delete(child));
    if (service.restart === 'no') return child;
    const { url } = await child.started();
    if (url !== null) places.apiPort = Number(new URL(url).port);
    return child;
  };
  const isHealthy = async (name: string): Promise<boolean> => {
    const { healthcheck } = serviceOf(name);
    if (healthcheck === undefined || 'disable' in healthcheck) throw new Error(`${name} has no health check`);
    const [program = '', ...args] = healthcheck.test.slice(1);
    return passes(program, args, places);
  };

  try {
    for (const name of startOrder(file)) {
      await waitForWhatItNeeds(name, file, isHealthy, running);
      startedInOrder.push(name);
      if (name === 'postgres') {
        const server = await startPostgres(serviceOf(name), dir);
        undo.push(() => server.stop());
        places.postgresPort = server.port;
        databaseUrl = placed(serviceOf('api').environment['DATABASE_URL'] ?? '', places);
      } else if (name === 'redis') {
        const server = await startRedis(serviceOf(name), dir, places.redisPort);
        undo.push(() => endAll([server]));
      } else {
        for (let n = 0; n < (scale[name] ?? 1); n += 1) await start(name);
      }
    }
  } catch (error) {
    await removeAll();
    throw error;
  }
  return {
    file,
    databaseUrl,
    startedInOrder,
    of: (name) => [...(running.get(name) ?? [])],
    start,
    isHealthy,
    remove: removeAll,
  };

  async function removeAll(): Promise<void> {
    await endAll([...running.values()].flatMap((processes) => [...processes]));
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  }
}

interface Places {
  postgresPort: number;
  redisPort: number;
  /** The last api that started. */
  apiPort: number;
}

/** What the network of containers would have resolved. */
function placed(text: string, { postgresPort, redisPort, apiPort }: Places): string {
  return text
    .replace('@postgres:5432', `@127.0.0.1:${postgresPort}`)
    .replace('//redis:6379', `//127.0.0.1:${redisPort}`)
    .replace('127.0.0.1:3000', `127.0.0.1:${apiPort}`);
}

async function waitForWhatItNeeds(
  name: string,
  file: ComposeFile,
  isHealthy: (name: string) => Promise<boolean>,
  running: ReadonlyMap<string, ReadonlySet<HubProcess>>,
): Promise<void> {
  for (const [needed, { condition }] of Object.entries(file.services[name]?.depends_on ?? {})) {
    if (condition === 'service_healthy') await until(`${needed} is healthy`, () => isHealthy(needed), 30_000);
    if (condition === 'service_completed_successfully') {
      const ends = await Promise.all([...(running.get(needed) ?? [])].map((child) => child.ended));
      if (ends.some((end) => end !== 0))
        throw new Error(`${needed} ended with ${ends.join(', ')}, so ${name} never starts`);
    }
  }
}

/** The programs of a health check look where the service listens in its container; here that is another port. */
async function passes(program: string, args: readonly string[], places: Places): Promise<boolean> {
  const env = { ...process.env, PGHOST: '127.0.0.1', PGPORT: String(places.postgresPort) };
  const redis = findRedis() ?? '';
  const [found, first]: [string, string[]] =
    program === 'redis-cli'
      ? [redis.replace(/server$/, 'cli'), ['-h', '127.0.0.1', '-p', String(places.redisPort)]]
      : [program === 'node' ? process.execPath : program, []];
  try {
    await run(found, [...first, ...args.map((arg) => placed(arg, places))], { env, timeout: 10_000 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || program !== 'pg_isready') return false;
    return acceptsConnections(places.postgresPort);
  }
}

/** What pg_isready finds out, where PostgreSQL's clients are not installed. */
async function acceptsConnections(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.on('connect', () => socket.destroy());
    socket.on('error', () => resolve(false));
  });
}

/** A real server with the settings of the service's command, and the role and database that its image makes. */
async function startPostgres(service: ComposeFile['services'][string], dir: string): Promise<EmbeddedPostgres> {
  const [program, ...args] = service.command ?? [];
  const settings = args
    .filter((_arg, n) => args[n - 1] === '-c')
    .map((setting) => setting.split('=') as [string, string]);
  if (program !== 'postgres' || settings.length * 2 !== args.length) throw new Error(`Not understood: ${String(args)}`);
  const maxConnections = Number(settings.find(([name]) => name === 'max_connections')?.[1]);
  const dataDir = path.join(dir, 'postgres');
  const server = await startEmbeddedPostgres({ dataDir, maxConnections, log: () => undefined });
  const { POSTGRES_USER = '', POSTGRES_PASSWORD = '', POSTGRES_DB = '' } = service.environment;
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  try {
    const role = pg.escapeIdentifier(POSTGRES_USER);
    const known = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [POSTGRES_USER]);
    await client.query(
      `${known.rowCount === 0 ? 'CREATE' : 'ALTER'} ROLE ${role} SUPERUSER LOGIN PASSWORD ${pg.escapeLiteral(POSTGRES_PASSWORD)}`,
    );
    const exists = await client.query('SELECT FROM pg_database WHERE datname = $1', [POSTGRES_DB]);
    if (exists.rowCount === 0) await client.query(`CREATE DATABASE ${pg.escapeIdentifier(POSTGRES_DB)} OWNER ${role}`);
    for (const [name, value] of settings.filter(([setting]) => setting !== 'max_connections')) {
      await client.query(`ALTER SYSTEM SET ${pg.escapeIdentifier(name)} = ${pg.escapeLiteral(value)}`);
    }
    await client.query('SELECT pg_reload_conf()');
    // What a server has from its start is that of the embedded one; of such a setting it has only been asked whether it may be so.
    const { rows: fromStart } = await client.query<{ name: string }>(
      `SELECT name FROM pg_settings WHERE context = 'postmaster' AND name <> 'max_connections'`,
    );
    for (const [name, value] of settings.filter(
      ([setting]) => !fromStart.some(({ name: fixed }) => fixed === setting),
    )) {
      await until(`PostgreSQL has ${name} ${value}`, async () => {
        const shown = await client.query<{ value: string }>('SELECT current_setting($1) AS value', [name]);
        return shown.rows[0]?.value === value;
      });
    }
  } finally {
    await client.end();
  }
  return server;
}

async function startRedis(service: ComposeFile['services'][string], dir: string, port: number): Promise<HubProcess> {
  const [, ...args] = service.command ?? [];
  const redis = findRedis();
  if (redis === undefined) throw new Error('There is no redis-server on PATH');
  const dataDir = path.join(dir, 'redis');
  await mkdir(dataDir, { recursive: true });
  return startProcess([redis, ...args, '--port', String(port), '--bind', '127.0.0.1', '--dir', dataDir], {});
}

/**
 * Stands for whatever clients reach the api through: connections go to the first of its processes that takes them.
 * What breaks off is broken off for the client, too, which then asks again.
 */
export async function startFront(ports: () => readonly number[]): Promise<{ url: string; close(): Promise<void> }> {
  const open = new Set<Socket>();
  const server: Server = createServer((client) => {
    open.add(client);
    client.once('close', () => open.delete(client));
    client.on('error', () => client.destroy());
    forward(client, [...ports()]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The front has no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    close: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function forward(client: Socket, [port, ...others]: readonly number[]): void {
  if (port === undefined) {
    client.destroy();
    return;
  }
  let connected = false;
  const hub = connect(port, '127.0.0.1', () => {
    connected = true;
    client.pipe(hub).pipe(client);
    client.once('close', () => hub.destroy());
    hub.once('close', () => client.destroy());
  });
  hub.once('error', () => (connected ? client.destroy() : forward(client, others)));
}

function mapValues(record: Readonly<Record<string, string>>, map: (value: string) => string): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]));
}
