#!/usr/bin/env node
import process from 'node:process';
import { nodeProblem } from './node-version.js';

const problem = nodeProblem(process.versions.node);
if (problem === null) {
  // A reader that has seen enough (`onhand … | head`) is not a fault.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  // Not awaited here: an old Node would fail at a top-level await before it could say what it lacks.
  void run();
} else {
  process.stderr.write(problem + '\n');
  process.exitCode = 2;
}

async function run(): Promise<void> {
  const { runCommandLine } = await import('./command-line/program.js');
  process.exitCode = await runCommandLine(process.argv.slice(2), {
    env: process.env,
    cwd: process.cwd(),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    exitCode: 0,
  });
}
