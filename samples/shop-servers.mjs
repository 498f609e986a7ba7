// PHP and MariaDB for the shops that run a bridge: found on PATH, installed with apt where that can be done, started on free
// ports of the loopback with data of their own, and gone with whoever started them. Depends on nothing but Node.
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync, chmodSync, constants, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { canInstallWithApt } from './redis.mjs';

export const HOW_TO_GET_SHOP_SERVERS =
  'PHP (with mysqli) and MariaDB are needed for the shops that run a bridge: install php-cli, php-mysql and mariadb-server.';

/** The programs that such a shop needs, or undefined where one is missing. */
export function findShopServers() {
  const php = find(['php']);
  const server = find(['mariadbd', 'mysqld']);
  const install = find(['mariadb-install-db']);
  const client = find(['mariadb', 'mysql']);
  if (!php || !server || !install || !client) return undefined;
  const modules = spawnSync(php, ['-m'], { encoding: 'utf8' }).stdout ?? '';
  return /^mysqli$/m.test(modules) ? { php, server, install, client } : undefined;
}

/**
 * Installs them, if this is a Debian-like system and we are root. Says so before. The package's own service is not started.
 * @param {(sentence: string) => void} log
 * @returns {boolean} whether they are here now
 */
export function installShopServersWithApt(log) {
  if (!canInstallWithApt()) return false;
  const packages = ['php-cli', 'php-mysql', 'mariadb-server'];
  log(`PHP or MariaDB is missing here; they are installed now with: apt-get install ${packages.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const apt = (...args) => spawnSync('apt-get', ['-q', '-y', ...args], { env, stdio: 'ignore' }).status === 0;
  const install = () => apt('install', '--no-install-recommends', ...packages);
  if (!install() && !(apt('update') && install())) log(`apt-get could not install ${packages.join(', ')}.`);
  return findShopServers() !== undefined;
}

/**
 * A MariaDB of its own. `outlives`: it stays when this process ends, and whoever is told its keeper's id ends it.
 * @param {{dir: string, outlives?: boolean}} options `dir` is made; the system's mysql user must be able to enter its parents
 */
export async function startMariadb({ dir, outlives = false }) {
  const programs = findShopServers();
  if (!programs) throw new Error(HOW_TO_GET_SHOP_SERVERS);
  mkdirSync(dir, { recursive: true });
  chmodSync(dir, 0o755);
  const dataDir = path.join(dir, 'data');
  // The server refuses to run as root; as anybody else it may only run as itself.
  const asUser = process.getuid?.() === 0 ? ['--user=mysql'] : [];
  const installed = spawnSync(
    programs.install,
    ['--no-defaults', `--datadir=${dataDir}`, '--auth-root-authentication-method=normal', '--skip-test-db', ...asUser],
    { encoding: 'utf8' },
  );
  if (installed.status !== 0) throw new Error(`MariaDB could not make its data: ${installed.stderr.slice(-500)}`);
  const password = randomBytes(18).toString('hex');
  const access = { host: '127.0.0.1', port: await freePort(), user: 'shops', password };
  const first = path.join(dir, 'first.sql');
  // Nobody else on this machine gets in: root without a password goes, one user with a password comes.
  writeFileSync(
    first,
    `ALTER USER root@localhost IDENTIFIED BY '${password}';
CREATE USER shops@'127.0.0.1' IDENTIFIED BY '${password}';
GRANT ALL ON *.* TO shops@'127.0.0.1' WITH GRANT OPTION;\n`,
  );
  chmodSync(first, 0o644);
  const log = path.join(dir, 'mariadb.log');
  const keeper = keep(
    programs.server,
    [
      '--no-defaults',
      `--datadir=${dataDir}`,
      `--port=${access.port}`,
      '--bind-address=127.0.0.1',
      `--socket=${path.join(dataDir, 'socket')}`,
      `--pid-file=${path.join(dataDir, 'pid')}`,
      `--init-file=${first}`,
      '--innodb-buffer-pool-size=32M',
      // Written at once and forced to the disk once a second: a killed server loses nothing, a lost machine may.
      '--innodb-flush-log-at-trx-commit=2',
      '--skip-name-resolve',
      // As MySQL has it.
      '--group-concat-max-len=1024',
      '--log-bin-trust-function-creators=1',
      ...asUser,
    ],
    { log, outlives },
  );
  const mariadb = { ...access, keeperPid: keeper.pid, stop: keeper.stop, client: programs.client };
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await sleep(50)) {
    if (
      spawnSync(programs.client, clientArguments(mariadb), { input: 'SELECT 1', env: withPassword(mariadb) }).status ===
      0
    )
      return mariadb;
    if (keeper.ended()) break;
  }
  await keeper.stop();
  throw new Error(`MariaDB did not start; its log says: ${readTail(log)}`);
}

/** Runs statements with the server's own client. @returns {string} rows, columns separated by tabs */
export function runSql(
  /** @type {{client: string, host: string, port: number, user: string, password: string}} */ access,
  sql,
  database = '',
) {
  const ran = spawnSync(access.client, [...clientArguments(access), ...(database ? [database] : [])], {
    input: sql,
    encoding: 'utf8',
    env: withPassword(access),
    maxBuffer: 64 * 1024 * 1024,
  });
  if (ran.status !== 0) throw new Error(`The database refused: ${ran.stderr}`);
  return ran.stdout;
}

/** How its client is called for a session of its own, as a test needs one that holds a lock. */
export function clientArguments(access) {
  return [
    '--no-defaults',
    `--host=${access.host}`,
    `--port=${access.port}`,
    `--user=${access.user}`,
    '--protocol=tcp',
    '--batch',
    '--skip-column-names',
    '--default-character-set=utf8mb4',
  ];
}

export const withPassword = (access) => ({ ...process.env, MYSQL_PWD: access.password });

/** PHP's own server with several workers, so that requests really run side by side. */
export async function startPhp({ root, workers = 4, log }) {
  const programs = findShopServers();
  if (!programs) throw new Error(HOW_TO_GET_SHOP_SERVERS);
  const port = await freePort();
  const keeper = keep(
    programs.php,
    ['-d', 'variables_order=GPCS', '-d', 'opcache.enable=0', '-S', `127.0.0.1:${port}`, '-t', root],
    {
      log,
      env: { PHP_CLI_SERVER_WORKERS: String(workers) },
    },
  );
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await sleep(20)) {
    const answered = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    );
    if (answered) return { port, pid: keeper.pid, stop: keeper.stop };
    if (keeper.ended()) break;
  }
  await keeper.stop();
  throw new Error(`PHP did not start; its log says: ${readTail(log)}`);
}

/**
 * Starts a server that ends with us, however we end: a shell waits for our end of its input to close, and then ends its
 * whole group. Its own group keeps Ctrl-C away.
 */
function keep(program, args, { log, outlives = false, env = {} }) {
  const script = outlives
    ? 'log=$1; shift; exec "$@" > "$log" 2>&1'
    : 'log=$1; shift; "$@" > "$log" 2>&1 & server=$!; cat > /dev/null; kill $server 2> /dev/null; wait $server; trap "" TERM; kill -- -$$';
  const keeper = spawn('sh', ['-c', script, 'sh', log, program, ...args], {
    detached: true,
    stdio: [outlives ? 'ignore' : 'pipe', 'ignore', 'ignore'],
    env: { ...process.env, ...env },
  });
  const gone = new Promise((resolve) => keeper.on('close', resolve));
  keeper.unref();
  keeper.stdin?.unref?.();
  keeper.stdin?.on('error', () => undefined);
  return {
    pid: keeper.pid,
    ended: () => keeper.exitCode !== null || keeper.signalCode !== null,
    stop: async () => {
      keeper.ref();
      if (outlives) keeper.kill('SIGTERM');
      else keeper.stdin?.end();
      await gone;
    },
  };
}

function find(names) {
  const folders = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/sbin', '/usr/local/sbin'].filter(
    (f) => f !== '',
  );
  const files = names.flatMap((name) => folders.map((folder) => path.join(folder, name)));
  return files.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
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
    return readFileSync(file, 'utf8').slice(-800).trim();
  } catch {
    return 'nothing';
  }
}
