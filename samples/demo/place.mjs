// Where a demo keeps its data, and what an earlier one that was killed left behind.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const home = fileURLToPath(new URL('../../.onhand/', import.meta.url));
const STOP_PATIENCE_MS = 10_000;

/** A folder of this demo's own: two at the same time, even from the same clone, do not meet. */
export async function makePlace() {
  mkdirSync(home, { recursive: true });
  for (const name of readdirSync(home)) {
    const pid = Number(/^demo-(\d+)$/.exec(name)?.[1]);
    if (pid > 0 && !isAlive(pid)) await removePlace(path.join(home, name));
  }
  const place = path.join(home, `demo-${process.pid}`);
  mkdirSync(place, { recursive: true });
  return place;
}

/** Removes the folder, and the PostgreSQL data that had to be kept elsewhere; a server that was left behind is stopped. */
export async function removePlace(/** @type {string} */ place) {
  const postgres = postgresHome(path.join(place, 'hub'));
  await stopLeftServer(path.join(postgres, 'data'));
  rmSync(postgres, { recursive: true, force: true });
  rmSync(place, { recursive: true, force: true });
}

/** As root in a folder that only root may enter, PostgreSQL's data lies elsewhere and a note says where. */
function postgresHome(/** @type {string} */ dataDir) {
  try {
    const note = readFileSync(path.join(dataDir, 'postgres-is-elsewhere.txt'), 'utf8');
    const [elsewhere, owner] = note.split('\n').filter((line) => path.isAbsolute(line));
    if (elsewhere !== undefined && owner === dataDir) return elsewhere;
  } catch {
    // No note: it is where one expects it.
  }
  return path.join(dataDir, 'postgres');
}

/** A hub that was killed leaves its PostgreSQL running; the server's own note names its process and its data. */
async function stopLeftServer(/** @type {string} */ data) {
  const file = path.join(data, 'postmaster.pid');
  if (!existsSync(file)) return;
  const [pid, dataOfPid] = readFileSync(file, 'utf8').split('\n');
  if (dataOfPid !== data || !isAlive(Number(pid))) return;
  process.kill(Number(pid), 'SIGINT');
  for (const deadline = Date.now() + STOP_PATIENCE_MS; existsSync(file) && Date.now() < deadline;) await sleep(50);
}

function isAlive(/** @type {number} */ pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
