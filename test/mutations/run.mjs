// `npm run test:mutations`: shows that the tests can fail. Takes one safeguard away at a time, in a copy of the project, and
// runs the tests that stand for it: each has to fail with the safeguard gone. (With it, they pass: that is `npm test`.)
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensurePackages } from '../../samples/setup.mjs';
import { safeguards } from './safeguards.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const parts = ['src', 'test', 'samples', 'drizzle', 'package.json', 'tsconfig.json', 'vitest.config.ts'];
const timeoutMs = 180_000;

const words = process.argv.slice(2).join(' ');
if (words === '--help') {
  process.stdout.write(
    'Usage: npm run test:mutations [-- WORDS]\n\n  WORDS  only safeguards whose name contains these words\n',
  );
} else {
  await ensurePackages();
  process.exitCode = run(safeguards.filter(({ name }) => name.includes(words)));
}

/** @returns {number} the exit code */
function run(chosen) {
  let failed = chosen.length === 0 ? 1 : 0;
  for (const safeguard of chosen) {
    const problem = survives(safeguard);
    if (problem !== null) failed += 1;
    process.stdout.write(
      `${problem === null ? 'caught  ' : 'MISSED  '} ${safeguard.name}${problem === null ? '' : `: ${problem}`}\n`,
    );
  }
  process.stdout.write(`${chosen.length - failed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

/** @returns {string | null} why the project without this safeguard goes unnoticed, or null */
function survives({ file, from, to, tests, only }) {
  const dir = mkdtempSync(path.join(realpathSync(tmpdir()), 'onhand-mutation-'));
  try {
    for (const part of parts) cpSync(path.join(root, part), path.join(dir, part), { recursive: true });
    symlinkSync(path.join(root, 'node_modules'), path.join(dir, 'node_modules'));
    const target = typeof file === 'string' ? file : drizzleFile(dir, file);
    const text = readFileSync(path.join(dir, target), 'utf8');
    const mutated = text.replace(from, to);
    if (mutated === text) return `${target} has no such place any more; mend test/mutations/safeguards.mjs`;
    writeFileSync(path.join(dir, target), mutated);
    const report = path.join(dir, 'report.json');
    const vitest = path.join(root, 'node_modules', 'vitest', 'vitest.mjs');
    spawnSync(process.execPath, [vitest, 'run', tests, '-t', only, '--reporter=json', `--outputFile.json=${report}`], {
      cwd: dir,
      stdio: 'ignore',
      timeout: timeoutMs,
      killSignal: 'SIGTERM',
    });
    const result = JSON.parse(readFileSync(report, 'utf8'));
    if (result.numFailedTests > 0) return null;
    return result.numPassedTests === 0 ? 'its tests could not run' : 'its tests pass without it';
  } catch (error) {
    return error.message;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function drizzleFile(dir, pattern) {
  const names = readdirSync(path.join(dir, 'drizzle')).map((name) => `drizzle/${name}`);
  return names.find((name) => pattern.test(name)) ?? names[0];
}
