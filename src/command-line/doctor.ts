import { readFile, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import type { Command } from 'commander';
import type { SecretsSurvey } from '../cart-workers/cart-secrets.js';
import type { ConnectionReport } from '../cart-workers/connectors/connector.js';
import type { LaneStatus } from '../cart-workers/lane-control.js';
import { version } from '../modules/start/version.js';
import type { ProjectorStatus } from '../projections/projector-status.js';
import type { Cart } from './cart-table.js';
import {
  addressFinding,
  clockFinding,
  comparedFinding,
  probeFinding,
  diskFinding,
  isPrivateHost,
  keyFinding,
  laneFindings,
  nodeFinding,
  processFindings,
  projectorFindings,
  secretsFinding,
  transportFinding,
  unknownSkusFinding,
  unknown,
  versionFinding,
  well,
  wrong,
  type Finding,
} from './doctor-checks.js';
import { CommandLineError, exitCodes, type ExitCode } from './exit-codes.js';
import { HubRefusedError } from './hub-client.js';
import type { HubProcess } from './hub-commands.js';
import { examples, segment } from './options.js';
import { action, type Runtime, type Session } from './session.js';
import { plainText } from './table.js';

interface Status {
  readonly projector: ProjectorStatus;
  readonly processes: readonly HubProcess[];
  readonly lanes: readonly LaneStatus[];
  readonly backend: { readonly queues: string; readonly database: string; readonly maxmemoryPolicy?: string | null };
  /** Missing at an older hub. */
  readonly secrets?: SecretsSurvey;
  readonly versions: { readonly onhand: string; readonly node: string; readonly postgres: string | null };
}

type Told = (...findings: Finding[]) => void;

export function addDoctorCommand(program: Command, runtime: Runtime): void {
  examples(
    program
      .command('doctor')
      .description('Look for everything that can be wrong with an installation, and say how to mend it')
      .option('--no-cart-tests', 'do not call the carts'),
    'doctor',
    'doctor --json',
  ).action(
    action<{ cartTests: boolean }>(runtime, async (session, options) => {
      const findings: Finding[] = [];
      const tell: Told = (...told) => {
        findings.push(...told);
        if (!session.json) for (const finding of told) show(session, finding);
      };
      const code = await examine(session, options.cartTests, tell);
      const faults = findings.filter(({ state }) => state === 'wrong').length;
      session.data({ well: faults === 0, findings }, () => {
        const { green, red } = session.terminal.colors;
        session.terminal.out(
          '',
          faults === 0
            ? green('All is well.')
            : red(`${faults} ${faults === 1 ? 'thing needs' : 'things need'} mending.`),
        );
      });
      return code ?? (faults === 0 ? exitCodes.ok : exitCodes.refused);
    }),
  );
}

/** From the ground up: where one thing fails, what stands on it cannot be looked at. @returns the code that ends it early */
async function examine(session: Session, cartTests: boolean, tell: Told): Promise<ExitCode | null> {
  const { hub } = session;
  tell(nodeFinding(process.version), transportFinding(hub.address.url));
  const askedAt = Date.now();
  let status: Status;
  try {
    const answer = await hub.get<Status>('/v1/status');
    status = answer.body;
    tell(well('Hub', `answers at ${hub.address.url}`));
    tell(clockFinding(Date.parse(answer.headers.get('date') ?? ''), askedAt, Date.now()));
  } catch (error) {
    if (!(error instanceof CommandLineError)) throw error;
    if (error instanceof HubRefusedError && error.exitCode === exitCodes.notAuthorised) {
      tell(
        well('Hub', `answers at ${hub.address.url}`),
        wrong('API key', error.message, 'Take a key that is valid: onhand keys list, with an admin key, shows them.'),
      );
    } else tell(wrong('Hub', error.message, 'Start it (npm start), or name where it is: --url, ONHAND_URL.'));
    return error.exitCode;
  }
  const scope = await examineKey(session, tell);
  tell(versionFinding(version, status.versions.onhand), nodeFinding(status.versions.node, 'Node of the hub'));
  tell(...processFindings(status.processes), ...projectorFindings(status.projector), queueFinding(status.backend));
  if (status.secrets !== undefined) tell(secretsFinding(status.secrets));
  tell(...laneFindings(status.lanes, Date.now()));
  if (status.lanes.length === 0) tell(well('Carts', 'there is none yet; `onhand carts add --help` shows how'));
  tell(
    unknownSkusFinding((await session.hub.get<{ unknown: number; countedTo: number }>('/v1/unknown-skus/count')).body),
  );
  await examineCarts(session, cartTests && scope !== 'read', tell);
  await examineDataDir(session, status, tell);
  return null;
}

async function examineKey(session: Session, tell: Told): Promise<string | null> {
  try {
    const { body } = await session.hub.get<{ name: string; scope: string; expiresAt: string | null }>(
      '/v1/api-keys/current',
    );
    tell(keyFinding(body, Date.now()));
    return body.scope;
  } catch (error) {
    if (!(error instanceof CommandLineError)) throw error;
    tell(unknown('API key', `it is valid; its scope is not told: ${error.message}`));
    return null;
  }
}

/** A hub refuses to start on a Redis that may evict jobs, so one that runs was looked at then; since then, only it can tell. */
function queueFinding({ queues, maxmemoryPolicy }: Status['backend']): Finding {
  if (queues !== 'redis') return well('Queues', 'on PostgreSQL; no Redis is needed');
  if (maxmemoryPolicy === undefined || maxmemoryPolicy === null) {
    return unknown(
      'Queues',
      'on Redis; the hub checked at its start that it evicts nothing (maxmemory-policy noeviction)',
    );
  }
  if (maxmemoryPolicy === 'noeviction') return well('Queues', 'on Redis, which evicts nothing');
  return wrong(
    'Queues',
    `Redis has maxmemory-policy ${maxmemoryPolicy} and may drop jobs`,
    'redis-cli CONFIG SET maxmemory-policy noeviction (and in redis.conf)',
  );
}

async function examineCarts(session: Session, test: boolean, tell: Told): Promise<void> {
  for (let cursor: string | undefined, first = true; first || cursor !== undefined; first = false) {
    const { body: page } = await session.hub.get<{ data: { id: string }[]; nextCursor: string | null }>('/v1/carts', {
      limit: '50',
      cursor,
    });
    for (const { id } of page.data) await examineCart(session, id, test, tell);
    cursor = page.nextCursor ?? undefined;
  }
}

async function examineCart(session: Session, id: string, test: boolean, tell: Told): Promise<void> {
  const { body: cart } = await session.hub.get<Cart>(`/v1/carts/${segment(id)}`);
  tell(addressFinding(cart));
  // One that is switched off has said so already, and is compared when it is switched on.
  if (cart.switches.cartSwitch === 'on') tell(comparedFinding(cart));
  const check = `Connection to ${id}`;
  if (!test) return tell(unknown(check, 'not tried; it takes a key with the scope operate, and no --no-cart-tests'));
  try {
    const path = `/v1/carts/${segment(id)}/test`;
    const { body } = await session.hub.send<ConnectionReport>({ method: 'POST', path });
    tell(well(check, `works: ${body.version}`));
    // Known by now: the hub has heard the version a moment ago.
    const probed = cart.needsProbe
      ? probeFinding((await session.hub.get<Cart>(`/v1/carts/${segment(id)}`)).body)
      : null;
    if (probed !== null) tell(probed);
  } catch (error) {
    if (!(error instanceof CommandLineError)) throw error;
    tell(
      wrong(
        check,
        error.message,
        `Mend the cart, or what the hub knows of it: onhand carts change ${id} --help. A private address needs ONHAND_ALLOW_PRIVATE_CART_URLS=true.`,
      ),
    );
  }
}

/** The hub leaves a file with its address in its data directory; another hub's files say nothing about this one. */
async function isDataDirOf(dataDir: string, url: string): Promise<boolean> {
  try {
    const hub = JSON.parse(await readFile(path.join(dataDir, 'hub.json'), 'utf8')) as { url?: unknown };
    return (
      typeof hub.url === 'string' && new URL(hub.url).port === new URL(url).port && isPrivateHost(new URL(url).hostname)
    );
  } catch {
    return false;
  }
}

/** Only where the hub's own files are on this machine. */
async function examineDataDir(session: Session, status: Status, tell: Told): Promise<void> {
  const { dataDir, url } = session.hub.address;
  if (!(await isDataDirOf(dataDir, url))) {
    return tell(
      unknown(
        'Data directory',
        `${dataDir} is not this hub’s; run doctor where the hub runs, with its ONHAND_DATA_DIR, to look at its disk and its encryption key`,
      ),
    );
  }
  const disk = await statfs(dataDir);
  tell(diskFinding(dataDir, disk.bavail * disk.bsize));
  if (status.backend.database !== 'embedded') {
    return tell(
      well('Encryption key', 'from the hub’s environment (ONHAND_ENCRYPTION_KEY); it does not start without'),
    );
  }
  const file = path.join(dataDir, 'encryption-key');
  const key = await stat(file).catch(() => null);
  if (key === null)
    tell(
      wrong(
        'Encryption key',
        `${file} is missing`,
        'Put it back from your backup before the hub starts again: without it every cart’s password must be entered again.',
      ),
    );
  else if ((key.mode & 0o077) !== 0 && process.platform !== 'win32')
    tell(wrong('Encryption key', `${file} may be read by others`, `chmod 600 ${file}`));
  else tell(well('Encryption key', `${file}; keep a copy apart from the database’s backups`));
}

function show({ terminal }: Session, { check, state, detail, mend }: Finding): void {
  const { green, red, dim } = terminal.colors;
  const sign = { well: green('well   '), wrong: red('WRONG  '), unknown: dim('unknown') }[state];
  terminal.out(`${sign}  ${plainText(check)}: ${plainText(detail)}`);
  if (mend !== undefined) terminal.out(`         → ${plainText(mend)}`);
}
