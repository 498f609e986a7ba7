// `npm run test:faults`: everything that goes wrong on purpose, and the account of it. The short form is part of `npm test`;
// with --minutes it goes on for that long, with all combinations and ever new random histories.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ensureBuilt, ensurePackages } from '../../samples/setup.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const usage = `Usage: npm run test:faults [-- --minutes N] [--seed S] [--only WORDS]

  --minutes N   go on for about N minutes: all combinations, new histories (default: the short form)
  --seed S      the seed of everything that is drawn (default: a new one with --minutes)
  --only WORDS  only tests whose name contains these words, such as --only "killed at worker:answered"
`;

const options = readOptions();
if (typeof options === 'string') {
  process.stdout.write(options);
} else {
  await ensurePackages();
  await ensureBuilt();
  process.exitCode = await run(options);
}

function readOptions() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        minutes: { type: 'string', default: '0' },
        seed: { type: 'string' },
        only: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    process.exitCode = 2;
    return `${error.message}\n\n${usage}`;
  }
  const { minutes, seed, only, help } = values;
  if (help) return usage;
  const chosen = seed ?? (minutes === '0' ? '20261122' : String(Date.now() % 1_000_000_000));
  for (const [name, text] of Object.entries({ minutes, seed: chosen })) {
    if (/^\d{1,9}$/.test(text)) continue;
    process.exitCode = 2;
    return `--${name} must be a whole number, not "${text}".\n\n${usage}`;
  }
  return { minutes, seed: chosen, only };
}

/** @returns {Promise<number>} the exit code */
async function run({ minutes, seed, only }) {
  const dir = mkdtempSync(path.join(tmpdir(), 'onhand-faults-'));
  const report = path.join(dir, 'report.json');
  const tally = path.join(dir, 'tally.jsonl');
  const args = ['run', 'test/faults', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  if (only !== undefined) args.push('-t', only);
  const began = Date.now();
  const child = spawn(process.execPath, [path.join(root, 'node_modules', 'vitest', 'vitest.mjs'), ...args], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, FAULTS_MINUTES: minutes, FAULTS_SEED: seed, FAULTS_TALLY: tally },
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  const code = await new Promise((resolve) => child.on('close', (exitCode) => resolve(exitCode ?? 1)));
  const counts = read(report, (text) => JSON.parse(text));
  const account = accountOf(read(tally, (text) => text.trim().split('\n')) ?? []);
  rmSync(dir, { recursive: true, force: true });
  const failed = Math.max(counts?.numFailedTests ?? 1, code === 0 ? 0 : 1);
  // Every suite compares the hub and the shops with its model, piece by piece: a difference would be a failure.
  if (failed === 0) account.push('lost                         0', 'doubled                      0');
  process.stdout.write(`\n${account.join('\n')}\n`);
  process.stdout.write(`seed ${seed}, ${Math.round((Date.now() - began) / 1000)} s\n`);
  process.stdout.write(`${counts?.numPassedTests ?? 0} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

/** Counts are added up; a name that ends in Max keeps the largest. What was lost or doubled would have failed a test. */
function accountOf(/** @type {string[]} */ lines) {
  const sums = new Map();
  for (const line of lines.filter((text) => text !== '')) {
    for (const [name, value] of Object.entries(JSON.parse(line))) {
      const known = sums.get(name) ?? 0;
      sums.set(name, name.endsWith('Max') ? Math.max(known, value) : known + value);
    }
  }
  return [...sums].map(([name, value]) => `${name.replace(/Max$/, '').padEnd(28)} ${value}`);
}

function read(file, parse) {
  try {
    return parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
