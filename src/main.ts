import process from 'node:process';
import { ConfigError, loadConfig, type Config } from './config.js';
import type { Hub } from './modules/start/hub.js';
import { messageOf } from './modules/start/message-of.js';
import { version } from './modules/start/version.js';

const usage = `Onhand ${version}: one stock number, every cart, within seconds.

  node dist/main.js             start the hub
  node dist/main.js migrate     bring the tables of DATABASE_URL up to date, and end
  node dist/main.js after-restore
                                after a backup was restored: begin a new generation of the log, pause every lane
                                until its cart has been compared, and end
  node dist/main.js --version   print the version
  node dist/main.js --help      print this

Settings are environment variables; .env.example describes them. Without any, a PostgreSQL of the hub's own is kept in
.onhand/ and everything runs in this one process.
`;

await main(process.argv.slice(2)).catch(fail);

async function main(args: readonly string[]): Promise<void> {
  const [command, ...rest] = args;
  if (command === '--help' || command === '-h') process.stdout.write(usage);
  else if (command === '--version' || command === '-v') process.stdout.write(`${version}\n`);
  else if (rest.length > 0 || (command !== undefined && command !== 'migrate' && command !== 'after-restore')) {
    throw new ConfigError([`"${args.join(' ')}" is not a command; see --help`]);
  } else if (command === 'migrate') await migrateOnly(loadConfig(process.env));
  else if (command === 'after-restore') await beginAgain(loadConfig(process.env));
  else await run(loadConfig(process.env));
}

async function run(config: Config): Promise<void> {
  // Loaded only now, because it is most of the program and --help need not wait for it.
  const [{ startHub }, { AppModule }] = await Promise.all([
    import('./modules/start/hub.js'),
    import('./app.module.js'),
  ]);
  const starting = startHub(config, AppModule.for, (error) =>
    fail(new Error(`The hub's PostgreSQL is gone: ${messageOf(error)}. Start the hub again.`)),
  );
  stopOnSignals(config, starting);
  announce(config, await starting);
}

function announce(config: Config, { url, ownerKey }: Hub): void {
  if (config.logJson) {
    if (ownerKey !== null) process.stdout.write(`${JSON.stringify({ event: 'owner-key', key: ownerKey })}\n`);
    process.stdout.write(`${JSON.stringify({ event: 'listening', url, pid: process.pid, roles: config.roles })}\n`);
    return;
  }
  const lines = [
    `Onhand ${version} is running (${config.roles.join(', ')}).`,
    ...(url === null
      ? []
      : ['', `  Start page   ${url}/`, `  API          ${url}/docs`, `  Queues       ${url}/queues`]),
    ...(ownerKey === null
      ? []
      : ['', `  Your API key ${ownerKey}`, '  It is shown this once. Keep it; it opens everything.']),
  ];
  process.stdout.write(`\n${lines.join('\n')}\n\n`);
}

/**
 * The first signal ends gracefully within the time-out; the second one, or the time-out, ends at once. A signal during
 * the start waits for its end, so that nothing half-started is left behind.
 */
function stopOnSignals(config: Config, starting: Promise<Hub>): void {
  let stopping = false;
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) {
      process.stderr.write(`${signal} again: ending at once.\n`);
      process.exit(1);
    }
    stopping = true;
    setTimeout(() => {
      process.stderr.write(
        `Not finished within ${config.shutdownTimeoutMs} ms (ONHAND_SHUTDOWN_TIMEOUT_MS): ending at once. Nothing accepted is lost.\n`,
      );
      process.exit(1);
    }, config.shutdownTimeoutMs).unref();
    starting.then((hub) => hub.stop()).then(() => process.exit(0), fail);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

async function migrateOnly(config: Config): Promise<void> {
  if (config.databaseUrl === undefined) {
    throw new ConfigError([
      'DATABASE_URL: is needed by migrate; the database in the data directory is migrated at every start',
    ]);
  }
  const { createDatabase, migrate } = await import('./database.js');
  const database = createDatabase({ url: config.databaseUrl, poolMax: 2, applicationName: 'onhand migrate' });
  try {
    await migrate(database);
  } finally {
    await database.close();
  }
  process.stdout.write('The tables are up to date.\n');
}

async function beginAgain(config: Config): Promise<void> {
  const { afterRestore } = await import('./modules/start/after-restore.js');
  const { generation, lanes, lines } = await afterRestore(config);
  process.stdout.write(
    `Generation ${generation} of the log begins. ${lanes} lanes are paused, ${lines} lines that were under way are quarantined.\n` +
      'Start the hub, compare each cart (POST /v1/carts/{id}/comparison), then resume its lane.\n',
  );
}

/** One clear sentence; the stack only where somebody asked for it. */
function fail(error: unknown): void {
  process.stderr.write(`Onhand could not go on. ${messageOf(error)}\n`);
  if (process.env['ONHAND_LOG_LEVEL'] === 'debug' && error instanceof Error)
    process.stderr.write(`${error.stack ?? ''}\n`);
  process.exit(1);
}
