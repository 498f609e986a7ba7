// The set-up step shared by start, demo and test: packages and build. Depends on nothing but Node, because it runs
// before anything is installed. Everything it says goes to stderr, so that stdout stays free for results.
import { spawn } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const nodeNeeded = [20, 19];

/**
 * Installs the packages unless node_modules already holds exactly the versions package.json asks for.
 * @throws Error with a sentence for the user
 */
export async function ensurePackages() {
  checkNode();
  if (packagesAreInstalled()) return;
  await runVisibly(
    'Installing packages (npm install)',
    npmCommand(['install', '--no-audit', '--no-fund', '--loglevel=error']),
  );
}

/**
 * Builds dist/ unless it is newer than every source.
 * @throws Error with a sentence for the user
 */
export async function ensureBuilt() {
  const built = changedAt(path.join(root, 'dist', 'main.js'));
  const sources = ['src', 'package.json', 'nest-cli.json', 'tsconfig.json', 'tsconfig.build.json'];
  if (built > 0 && sources.every((source) => newestBelow(path.join(root, source)) <= built)) return;
  const nest = path.join(root, 'node_modules', '@nestjs', 'cli', 'bin', 'nest.js');
  await runVisibly('Building (nest build)', [process.execPath, nest, 'build']);
  // npm makes a bin executable when it links it, which is once; a new build would be refused by the shell.
  chmodSync(path.join(root, 'dist', 'cli.js'), 0o755);
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > nodeNeeded[0] || (major === nodeNeeded[0] && minor >= nodeNeeded[1])) return;
  throw new Error(
    `Onhand needs Node ${nodeNeeded.join('.')} or newer; this is ${process.versions.node}. Get one at https://nodejs.org.`,
  );
}

function packagesAreInstalled() {
  const wanted = readJson(path.join(root, 'package.json'));
  const installed = readJson(path.join(root, 'node_modules', '.package-lock.json'))?.packages;
  if (installed === undefined) return false;
  return Object.entries({ ...wanted.dependencies, ...wanted.devDependencies }).every(
    ([name, version]) => installed[`node_modules/${name}`]?.version === version,
  );
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** npm as the one that started us, where it did; a version manager may hide it from PATH. */
function npmCommand(args) {
  const running = process.env['npm_execpath'] ?? '';
  if (path.basename(running) === 'npm-cli.js') return [process.execPath, running, ...args];
  return [process.platform === 'win32' ? 'npm.cmd' : 'npm', ...args];
}

async function runVisibly(what, [command, ...args]) {
  const startedAt = Date.now();
  const seconds = () => Math.round((Date.now() - startedAt) / 1000);
  say(`${what} …`);
  const stillAtIt = setInterval(() => say(`${what}: ${seconds()} s so far`), 10_000);
  try {
    const code = await new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        cwd: root,
        stdio: ['ignore', process.stderr, process.stderr],
        shell: command.endsWith('.cmd'),
      });
      child.on('error', reject);
      child.on('close', resolve);
    });
    if (code !== 0) throw new Error(`${what} failed after ${seconds()} s; what went wrong stands above.`);
    say(`${what}: done in ${seconds()} s`);
  } finally {
    clearInterval(stillAtIt);
  }
}

function newestBelow(target) {
  const entry = statSync(target, { throwIfNoEntry: false });
  if (entry === undefined) return 0;
  if (!entry.isDirectory()) return entry.mtimeMs;
  // The folder's own time tells of a removed file.
  return Math.max(entry.mtimeMs, ...readdirSync(target).map((name) => newestBelow(path.join(target, name))));
}

function changedAt(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function say(sentence) {
  process.stderr.write(`${sentence}\n`);
}
