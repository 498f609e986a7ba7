// `npm test`: installs and builds what is missing, runs every test and closes with one line that a program can read.
// Arguments go to vitest: `npm test -- src/events`.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureBuilt, ensurePackages } from '../samples/setup.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const dir = mkdtempSync(path.join(tmpdir(), 'onhand-report-'));
const report = path.join(dir, 'report.json');

if (await setUp()) {
  const code = await runVitest();
  finish(count(code), code);
} else {
  finish({ passed: 0, failed: 1, skipped: 0 }, 1);
}

async function setUp() {
  try {
    await ensurePackages();
    await ensureBuilt(); // whole-process tests run dist/
    return true;
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    return false;
  }
}

function runVitest() {
  const vitest = path.join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const child = spawn(process.execPath, [vitest, 'run', ...reporters, ...process.argv.slice(2)], {
    cwd: root,
    stdio: 'inherit',
  });
  // Ctrl-C reaches vitest too, as a member of our group; we wait for it to stop its servers.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  return new Promise((resolve) => {
    child.on('error', () => resolve(1));
    child.on('close', (exitCode) => resolve(exitCode ?? 1));
  });
}

/** A file that could not even be loaded has no tests to count, and an error outside a test belongs to none: one each. */
function count(exitCode) {
  try {
    const result = JSON.parse(readFileSync(report, 'utf8'));
    const unloadable = result.testResults.filter(
      (file) => file.status === 'failed' && file.assertionResults.length === 0,
    );
    const failed = result.numFailedTests + unloadable.length;
    return {
      passed: result.numPassedTests,
      failed: exitCode === 0 ? failed : Math.max(failed, 1),
      skipped: result.numPendingTests + result.numTodoTests,
    };
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

function finish({ passed, failed, skipped }, exitCode) {
  rmSync(dir, { recursive: true, force: true });
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`, () => {
    process.exit(exitCode === 0 && failed > 0 ? 1 : exitCode);
  });
}
