import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, inject, it } from 'vitest';
import {
  findShopServers,
  HOW_TO_GET_SHOP_SERVERS,
  installShopServersWithApt,
  startMariadb,
} from '../../samples/shop-servers.mjs';
import { until } from './until.js';

/** How a program reaches the run's MariaDB. */
export interface MariadbAccess {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly client: string;
}

/** `describe` for a suite whose shops run on PHP and MariaDB: skipped, loudly, where they cannot be had; in CI it fails instead. */
export function describeWithShopServers(name: string, suite: () => void): void {
  if (inject('shopServers')) describe(name, suite);
  else if (process.env['CI'] === 'true') {
    describe(name, () => {
      it('has PHP and MariaDB to run against', () => {
        throw new Error(HOW_TO_GET_SHOP_SERVERS);
      });
    });
  } else describe.skip(name, suite);
}

const STARTED_WITHIN_MS = 110_000;

/**
 * The run's one MariaDB. Whoever needs it first starts it (three seconds, longer where it has to be installed); it stays
 * until the run ends, and every shop makes a database of its own in it.
 */
export async function testMariadb(): Promise<MariadbAccess> {
  const dir = inject('mariadbDir');
  const told = path.join(dir, 'access.json');
  const failed = path.join(dir, 'failed.txt');
  await mkdir(dir, { recursive: true });
  if (await isFirst(dir)) {
    try {
      if (findShopServers() === undefined)
        installShopServersWithApt((sentence) => void process.stderr.write(`${sentence}\n`));
      const { host, port, user, password, client } = await startMariadb({ dir, outlives: true });
      // Whoever waits for it must never read half of it.
      await writeFile(`${told}.new`, JSON.stringify({ host, port, user, password, client }), { mode: 0o600 });
      await rename(`${told}.new`, told);
    } catch (error) {
      await writeFile(failed, String(error));
      throw error;
    }
  }
  return await until(
    'MariaDB is there',
    async () => {
      const problem = await readFile(failed, 'utf8').catch(() => null);
      if (problem !== null) throw new Error(problem);
      return await readFile(told, 'utf8').then(
        (text) => JSON.parse(text) as MariadbAccess,
        () => null,
      );
    },
    STARTED_WITHIN_MS,
  );
}

/** Test files run in processes of their own; a folder can be made once only. */
async function isFirst(dir: string): Promise<boolean> {
  return await mkdir(path.join(dir, 'first')).then(
    () => true,
    () => false,
  );
}

export const mariadbPidFile = (dir: string): string => path.join(dir, 'data', 'pid');

/** Ends the server that some test file started, if one did. */
export async function stopMariadb(dir: string): Promise<void> {
  const pid = Number(await readFile(mariadbPidFile(dir), 'utf8').catch(() => '0'));
  if (pid <= 0) return;
  process.kill(pid, 'SIGTERM');
  await until('MariaDB has ended', () => !isRunning(pid), 30_000);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
