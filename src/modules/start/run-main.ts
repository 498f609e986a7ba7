import process from 'node:process';
import { ConfigError, loadConfig, type Config } from '../../config.js';
import type { Hub, ModuleFor } from './hub.js';
import { messageOf } from './message-of.js';
import type { RotationOutcome } from './rotate-encryption-key.js';
import { version } from './version.js';

const usage = `Onhand ${version}: one stock number, every cart, within seconds.

  node dist/main.js             start the hub
  node dist/main.js migrate     bring the tables of DATABASE_URL up to date, and end
  node dist/main.js after-restore
                                after a backup was restored: begin a new generation of the log, pause every lane
                                until its cart has been compared, and end
  node dist/main.js rotate-encryption-key [--dry-run]
                                encrypt the carts' secrets anew with the current key, and end
  node dist/main.js --version   print the version
  node dist/main.js --help      print this

Settings are environment variables; .env.example describes them. Without any, a PostgreSQL of the hub's own is kept in
.onhand/ and everything runs in this one process.
`;

/** The root module, which nothing below the top imports. */
type LoadModule = () => Promise<{ readonly AppModule: { readonly for: ModuleFor } }>;

/** The program. Ends the process itself: with 0 when it did what it was asked for, else with 1 and a sentence. */
export async function runMain(args: readonly string[], loadModule: LoadModule): Promise<void> {
  try {
    await obey(args, loadModule);
  } catch (error) {
    fail(error);
  }
}

async function obey(args: readonly string[], loadModule: LoadModule): Promise<void> {
  switch (args.join(' ')) {
    case '':
      return run(loadConfig(process.env), loadModule);
    case '--help':
    case '-h':
      process.stdout.write(usage);
      return;
    case '--version':
    case '-v':
      process.stdout.write(`${version}\n`);
      return;
    case 'migrate':
      return migrateOnly(loadConfig(process.env));
    case 'after-restore':
      return beginAgain(loadConfig(process.env));
    case 'rotate-encryption-key':
      return rotate(loadConfig(process.env), false);
    case 'rotate-encryption-key --dry-run':
      return rotate(loadConfig(process.env), true);
    default:
      throw new ConfigError([`"${args.join(' ')}" is not a command; see --help`]);
  }
}

async function run(config: Config, loadModule: LoadModule): Promise<void> {
  // Loaded only now, because it is most of the program and --help need not wait for it.
  const [{ startHub }, { AppModule }] = await Promise.all([import('./hub.js'), loadModule()]);
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
  const [{ migrate }, { openDatabase }, { HubLogger }] = await Promise.all([
    import('../../database.js'),
    import('./hub.js'),
    import('./logger.js'),
  ]);
  const database = await openDatabase(config.databaseUrl, config, new HubLogger(config));
  try {
    await migrate(database);
  } finally {
    await database.close();
  }
  process.stdout.write('The tables are up to date.\n');
}

async function beginAgain(config: Config): Promise<void> {
  const { afterRestore } = await import('./after-restore.js');
  const { generation, lanes, lines } = await afterRestore(config);
  process.stdout.write(
    `Generation ${generation} of the log begins. ${lanes} lanes are paused, ${lines} lines that were under way are quarantined.\n` +
      'Start the hub, compare each cart (POST /v1/carts/{id}/comparison), then resume its lane.\n',
  );
}

async function rotate(config: Config, dryRun: boolean): Promise<void> {
  const { rotateEncryptionKey } = await import('./rotate-encryption-key.js');
  process.stdout.write(`${rotationSentence(await rotateEncryptionKey(config, dryRun))}\n`);
}

/** @throws Error when secrets cannot be read with the keys that were given */
function rotationSentence(outcome: RotationOutcome): string {
  if (outcome.kind === 'unreadable') {
    const { cartIds } = outcome;
    throw new Error(
      `Nothing was changed: the secrets of ${cartIds.length} carts (${cartIds.slice(0, 10).join(', ')}${cartIds.length > 10 ? ', …' : ''}) cannot be read with any key that was given. Name the key they were encrypted with in ONHAND_PREVIOUS_ENCRYPTION_KEYS, or enter them again (PATCH /v1/carts/{id} with "secret").`,
    );
  }
  const { moved, left, dryRun, keysAreIn } = outcome;
  if (dryRun) return `${moved} secrets would be encrypted anew. Nothing was changed.`;
  if (left > 0)
    return `${moved} secrets were encrypted anew; ${left} are under an old key still, entered meanwhile. Keep the old key and run this again.`;
  const old =
    keysAreIn === 'data directory'
      ? 'The old key was removed from the data directory'
      : 'When every process runs with the new key, run this once more; if it moves nothing, remove ONHAND_PREVIOUS_ENCRYPTION_KEYS';
  return `${moved} secrets were encrypted anew, 0 are left under an old key. ${old}. Only backups made before this need the old key.`;
}

/** One clear sentence; the stack only where somebody asked for it. */
function fail(error: unknown): void {
  process.stderr.write(`Onhand could not go on. ${messageOf(error)}\n`);
  if (process.env['ONHAND_LOG_LEVEL'] === 'debug' && error instanceof Error)
    process.stderr.write(`${error.stack ?? ''}\n`);
  process.exit(1);
}
