import type { SecretsSurvey } from '../cart-workers/cart-secrets.js';
import type { LaneStatus } from '../cart-workers/lane-control.js';
import type { ProjectorStatus } from '../projections/projector-status.js';
import type { Cart } from './cart-table.js';
import { formatBytes, formatDuration, formatNumber } from './format.js';
import { holderOf } from './projections.js';
import type { HubProcess } from './hub-commands.js';

/** What doctor says of what it found out. Pure: facts in, findings out. */

export interface Finding {
  readonly check: string;
  /** unknown: cannot be told from here, which is not a fault. */
  readonly state: 'well' | 'wrong' | 'unknown';
  readonly detail: string;
  /** What mends it; only where something is wrong. */
  readonly mend?: string;
}

export const well = (check: string, detail: string): Finding => ({ check, state: 'well', detail });
export const unknown = (check: string, detail: string): Finding => ({ check, state: 'unknown', detail });
export const wrong = (check: string, detail: string, mend: string): Finding => ({
  check,
  state: 'wrong',
  detail,
  mend,
});

/** What the sources promise for one change. */
const PROMISE_MS = 20_000;
const CLOCK_DIFFERENCE_MS_MAX = 5_000;
const DISK_FREE_MIN = 1_000_000_000;

/** 20.19 and newer of 20, 22 and newer. */
export function nodeFinding(version: string, where = 'Node here'): Finding {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return well(where, version);
  return wrong(where, `${version} is too old`, 'Install Node 20.19, 22 or 24 from https://nodejs.org.');
}

export function keyFinding(key: { name: string; scope: string; expiresAt: string | null }, now: number): Finding {
  const left = key.expiresAt === null ? null : Date.parse(key.expiresAt) - now;
  const detail = `"${key.name}", scope ${key.scope}${left === null ? '' : `, expires in ${formatDuration(left)}`}`;
  if (left !== null && left < 7 * 86_400_000) {
    return wrong('API key', detail, 'Make another in time: onhand keys create NAME --scope SCOPE');
  }
  return well('API key', detail);
}

export function unknownSkusFinding({ unknown: count, countedTo }: { unknown: number; countedTo: number }): Finding {
  if (count === 0) return well('Unknown SKUs', 'none: everything that carts show and sell is known');
  const many = count >= countedTo ? `${formatNumber(countedTo)} or more` : formatNumber(count);
  const detail = `${many} that carts show or sell and nobody knows here; what was sold of them reaches no other cart`;
  return wrong('Unknown SKUs', detail, 'See them and map, create or ignore each: onhand unknown');
}

/** A probe speaks of the script that it met. */
export function probeFinding({ id, probe, needsProbe }: Pick<Cart, 'id' | 'probe' | 'needsProbe'>): Finding | null {
  if (!needsProbe) return null;
  const check = `Probe of ${id}`;
  const mend = `onhand carts probe ${id} --sku SKU, with an item that nobody buys just now`;
  if (probe === null) return unknown(check, `none was made of this script yet: ${mend}`);
  if (probe.scriptVersionNow === probe.scriptVersion) return well(check, `made of version ${probe.scriptVersion}`);
  const detail = `made of version ${probe.scriptVersion}; the script is of version ${probe.scriptVersionNow} now, and may do otherwise`;
  return wrong(check, detail, `${mend}. Until then it cannot be switched on anew.`);
}

export function versionFinding(own: string, hub: string): Finding {
  if (own === hub) return well('Versions', `${own}, here and at the hub`);
  return wrong('Versions', `${own} here, ${hub} at the hub`, 'Use the command line of the hub’s own version.');
}

export function clockFinding(hubTime: number | null, askedAt: number, answeredAt: number): Finding {
  if (hubTime === null || Number.isNaN(hubTime)) return unknown('Clocks', 'the hub does not tell its time');
  // Its header counts whole seconds, so the hub's time lies somewhere in that second.
  const apart = Math.max(0, askedAt - (hubTime + 1_000), hubTime - answeredAt);
  if (apart <= CLOCK_DIFFERENCE_MS_MAX)
    return well('Clocks', `the hub and this machine agree${apart === 0 ? '' : ` to ${formatDuration(apart)}`}`);
  return wrong(
    'Clocks',
    `the hub's clock and this machine's are ${formatDuration(apart)} apart`,
    'Let both follow a time server (chrony, systemd-timesyncd); times without an offset go wrong otherwise.',
  );
}

/** Processes say every two seconds that they are awake. */
const SILENT_MS_MAX = 10_000;

/** Which processes there are, and whether every role is played by one that is awake. */
export function processFindings(processes: readonly HubProcess[]): Finding[] {
  const frozen = processes.filter(({ silentMs }) => silentMs > SILENT_MS_MAX);
  const awake = processes.filter((one) => !frozen.includes(one));
  const findings = frozen.map(({ name, silentMs }) =>
    wrong(
      'Processes',
      `${name} is connected and has not been awake for ${formatDuration(silentMs)}`,
      'It is frozen, or its machine is overloaded; look at it, and restart it if it stays so.',
    ),
  );
  for (const role of ['api', 'projector', 'worker'] as const) {
    if (awake.some(({ roles }) => roles.includes(role))) continue;
    findings.push(
      wrong(
        'Processes',
        `none that is awake has the role ${role}`,
        `Start one: ONHAND_ROLES=${role} node dist/main.js`,
      ),
    );
  }
  const versions = [...new Set(processes.map(({ version }) => version))];
  if (versions.length > 1) {
    findings.push(
      wrong(
        'Processes',
        `they run different versions: ${versions.join(', ')}`,
        'Finish the upgrade: restart the older.',
      ),
    );
  }
  if (findings.length > 0) return findings;
  const standby = awake.filter(({ roles, effectiveProjector }) => roles.includes('projector') && !effectiveProjector);
  const spare =
    standby.length === 0
      ? ''
      : `; ${formatNumber(standby.length)} ${standby.length === 1 ? 'projector stands' : 'projectors stand'} by`;
  return [well('Processes', `${formatNumber(awake.length)}, and every role is played${spare}`)];
}

export function projectorFindings({ stopped, lagFacts, lagMs, horizonHeldBy }: ProjectorStatus): Finding[] {
  const findings: Finding[] = [];
  if (stopped !== null) {
    findings.push(
      wrong(
        'Projector',
        `stopped at ${stopped.type} (${stopped.stream} version ${stopped.version}): ${stopped.error}`,
        'Mend the cause, then: onhand projections resume. Nothing was skipped.',
      ),
    );
  } else if (lagFacts > 0 && lagMs > PROMISE_MS / 4) {
    findings.push(
      wrong(
        'Projector',
        `${formatNumber(lagFacts)} facts behind, the oldest ${formatDuration(lagMs)} old`,
        'Is a process with the role projector running? See who holds the horizon below, and the load of PostgreSQL.',
      ),
    );
  } else
    findings.push(
      well('Projector', lagFacts === 0 ? 'follows, nothing behind' : `follows, ${formatDuration(lagMs)} behind`),
    );
  findings.push(
    horizonHeldBy === null
      ? well('Reading horizon', 'nobody holds it back')
      : wrong(
          'Reading horizon',
          `held back by ${holderOf(horizonHeldBy)}`,
          `End that transaction; PostgreSQL does it with: SELECT pg_terminate_backend(${horizonHeldBy.pid});`,
        ),
  );
  return findings;
}

export function laneFindings(lanes: readonly LaneStatus[], now: number): Finding[] {
  return lanes.flatMap((lane) => [lightFinding(lane), ...waitFindings(lane, now)]);
}

function lightFinding({ cartId, light, why, lastResponse }: LaneStatus): Finding {
  const check = `Lane ${cartId}`;
  const because = why === null ? light : `${light}: ${why}`;
  switch (light) {
    case 'green':
      return well(check, 'green');
    case 'red':
      return wrong(check, because, `When the reason is gone: onhand carts resume ${cartId}`);
    case 'amber':
      return wrong(
        check,
        because,
        `Look at the cart: onhand carts test ${cartId}. It is tried again by itself${lastResponse === null ? '' : `; it last said: ${lastResponse}`}.`,
      );
    case 'off':
      return wrong(check, because, offMend(cartId, why));
  }
}

function offMend(cartId: string, why: string | null): string {
  if (why?.includes('system switch') === true) return 'onhand system on';
  if (why?.includes('cart switch') === true) return `onhand carts on ${cartId}, then: onhand carts send-qoh ${cartId}`;
  // It names both ways out itself.
  if (why?.includes('REDIS_URL') === true) return 'Change the setting of every process and start them again.';
  return 'Start a process with the role worker.';
}

function waitFindings(lane: LaneStatus, now: number): Finding[] {
  const { cartId } = lane;
  const findings: Finding[] = [];
  const age = lane.oldestWaitingAt === null ? 0 : now - Date.parse(lane.oldestWaitingAt);
  if (age > PROMISE_MS) {
    findings.push(
      wrong(
        `Waiting for ${cartId}`,
        `the oldest of ${formatNumber(lane.waiting)} waits ${formatDuration(age)}; the promise is ${formatDuration(PROMISE_MS)}`,
        `onhand stack first ${cartId} says what holds it back.`,
      ),
    );
  }
  if (lane.deadLettered > 0) {
    findings.push(
      wrong(
        `Dead letters of ${cartId}`,
        `${formatNumber(lane.deadLettered)} listings were refused for good`,
        `onhand dead-letters list --cart ${cartId}; mend the reason, then: onhand dead-letters redrive ${cartId}`,
      ),
    );
  }
  if (lane.quarantined > 0) {
    findings.push(
      wrong(
        `Quarantined at ${cartId}`,
        `of ${formatNumber(lane.quarantined)} records nobody can tell whether the cart applied them`,
        `onhand quarantined list --cart ${cartId}; look at the cart, then: onhand quarantined resolve ${cartId} KEY was-applied`,
      ),
    );
  }
  return findings;
}

export function comparedFinding({ id, listings, synchronised, unlisted }: Cart): Finding {
  const check = `Comparison of ${id}`;
  if (listings === 0) {
    return wrong(
      check,
      'no item is mapped to this cart',
      `onhand carts map ${id} --all-items, then: onhand carts send-qoh ${id}`,
    );
  }
  if (synchronised < listings) {
    return wrong(
      check,
      `${formatNumber(listings - synchronised)} of ${formatNumber(listings)} listings were never made equal since the cart was switched on`,
      `onhand carts send-qoh ${id} (or get-qoh, where the cart's numbers are the better ones)`,
    );
  }
  if (unlisted > 0) {
    return wrong(
      check,
      `${formatNumber(unlisted)} of ${formatNumber(listings)} listings are unknown to the cart`,
      `onhand carts listings ${id} shows them; onhand dead-letters redrive ${id} looks again`,
    );
  }
  return well(check, `${formatNumber(listings)} listings, all compared`);
}

/** Passwords must not travel in clear text beyond private networks. */
export function addressFinding({ id, url }: Pick<Cart, 'id' | 'url'>): Finding {
  const { protocol, hostname } = new URL(url);
  const inside = isPrivateHost(hostname);
  const check = `Address of ${id}`;
  if (inside) return well(check, `${hostname} is private; the hub needs ONHAND_ALLOW_PRIVATE_CART_URLS=true for it`);
  if (protocol === 'http:') {
    return wrong(
      check,
      `${url} is not encrypted: the cart's password goes through the internet in clear text`,
      `onhand carts change ${id} --cart-url https://…`,
    );
  }
  return well(check, hostname);
}

export function isPrivateHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '');
  if (host === 'localhost' || host.endsWith('.localhost') || host.endsWith('.internal') || host.endsWith('.local'))
    return true;
  if (/^(127|10)\.|^192\.168\.|^169\.254\.|^172\.(1[6-9]|2\d|3[01])\./.test(host)) return true;
  return host === '::1' || /^f[cd][0-9a-f]{2}:|^fe[89ab][0-9a-f]:/i.test(host);
}

export function diskFinding(dir: string, freeBytes: number): Finding {
  const detail = `${formatBytes(freeBytes)} free at ${dir}`;
  return freeBytes >= DISK_FREE_MIN
    ? well('Disk', detail)
    : wrong('Disk', detail, 'Make room: PostgreSQL stops when its disk is full.');
}

export function transportFinding(url: string): Finding {
  const { protocol, hostname } = new URL(url);
  if (protocol === 'https:' || isPrivateHost(hostname)) return well('Way to the hub', url);
  return wrong(
    'Way to the hub',
    `${url} is not encrypted: the API key goes through the internet in clear text`,
    'Put TLS in front of the hub and name its https address.',
  );
}

export function secretsFinding({ total, underPreviousKey, unreadable }: SecretsSurvey): Finding {
  const check = 'Carts’ secrets';
  if (unreadable.length > 0) {
    return wrong(
      check,
      `${unreadable.length} of ${total} are under a key that the hub does not have: ${unreadable.slice(0, 10).join(', ')}${unreadable.length > 10 ? ', …' : ''}`,
      'Start the hub with that key in ONHAND_PREVIOUS_ENCRYPTION_KEYS, or enter the secrets again: onhand carts change <id> --secret-file …',
    );
  }
  if (underPreviousKey > 0) {
    return wrong(
      check,
      `${underPreviousKey} of ${total} are still under an old encryption key`,
      'Finish the change of the key: node dist/main.js rotate-encryption-key. Keep the old key until then.',
    );
  }
  return well(check, total === 0 ? 'there is none yet' : `all ${total} are under the current encryption key`);
}
