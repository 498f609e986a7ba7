import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, link, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Place } from './embedded-postgres-place.js';

/**
 * What the embedded PostgreSQL keeps in its home: data/, made once by initdb, and the password that goes with it. Two
 * hubs may do all of this at the same moment, and either may be killed in between.
 */
export const SUPERUSER = 'onhand';

export const dataOf = (place: Place) => path.join(place.home, 'data');

/** One password per data directory, made once. Two hubs that race both end up with the first one's. */
export async function keepPassword(place: Place): Promise<string> {
  const file = path.join(place.home, 'password');
  const draft = `${file}.${process.pid}-${randomBytes(4).toString('hex')}`;
  const existing = await readFile(file, 'utf8').catch(() => undefined);
  if (existing !== undefined) return existing.trim();
  if ((await stat(dataOf(place)).catch(() => undefined)) !== undefined) {
    throw new Error(`${file} is missing, so the data beside it cannot be opened. Restore that file from a backup.`);
  }
  await writeFile(draft, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600 });
  await own(place, draft);
  await link(draft, file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  await unlink(draft);
  return (await readFile(file, 'utf8')).trim();
}

/** Built beside and renamed into place, so a crash in between leaves nothing half made and two hubs cannot mix. */
export async function initialise(place: Place, password: string, log: (sentence: string) => void): Promise<void> {
  if ((await stat(path.join(dataOf(place), 'PG_VERSION')).catch(() => undefined)) !== undefined) {
    return await checkVersion(place);
  }
  log(`PostgreSQL's data is set up in ${place.home}.`);
  const beside = `${dataOf(place)}.new-${process.pid}-${randomBytes(4).toString('hex')}`;
  const passwordCopy = `${beside}.password`;
  await writeFile(passwordCopy, `${password}\n`, { mode: 0o600 });
  try {
    await own(place, passwordCopy);
    await run(place, 'initdb', [
      `--pgdata=${beside}`,
      `--username=${SUPERUSER}`,
      `--pwfile=${passwordCopy}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      // Built in: the same order and the same upper and lower case on every machine.
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--locale=C',
    ]);
    await rename(beside, dataOf(place)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(passwordCopy, { force: true });
    await rm(beside, { recursive: true, force: true });
  }
}

async function checkVersion(place: Place): Promise<void> {
  const version = (await readFile(path.join(dataOf(place), 'PG_VERSION'), 'utf8')).trim();
  if (version === place.majorVersion) return;
  throw new Error(
    `The data in ${place.home} was written by PostgreSQL ${version}, but this Onhand brings PostgreSQL ${place.majorVersion}. ` +
      'Export it with the Onhand that wrote it (pg_dump), or set DATABASE_URL to a server you run.',
  );
}

async function run(place: Place, program: string, args: readonly string[]): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const child = spawn(path.join(place.binaries, 'bin', program), args, {
      ...place.runAs,
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: cleanEnvironment(),
    });
    let errors = '';
    child.stderr.on('data', (chunk) => (errors += String(chunk)));
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`PostgreSQL's ${program} failed: ${errors.trim().slice(-1000)}`));
    });
  });
}

/** The server gets no variable of ours: neither secrets nor PG* settings that would change what it does. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  const { PATH, SystemRoot, TMPDIR } = process.env;
  return { PATH, SystemRoot, TMPDIR, LC_ALL: 'C', TZ: 'UTC' };
}

async function own(place: Place, file: string): Promise<void> {
  if (place.runAs !== undefined) await chown(file, place.runAs.uid, place.runAs.gid);
}
