#!/usr/bin/env node
import process from 'node:process';

// Checked before anything else is loaded: newer syntax below would end an old Node with a riddle.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major > 20 || (major === 20 && minor >= 19)) {
  // A reader that has seen enough (`onhand … | head`) is not a fault.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  const { runCommandLine } = await import('./command-line/program.js');
  process.exitCode = await runCommandLine(process.argv.slice(2), {
    env: process.env,
    cwd: process.cwd(),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    exitCode: 0,
  });
} else {
  process.stderr.write(
    `onhand needs Node 20.19 or newer; this is ${process.versions.node}. Get one at https://nodejs.org.\n`,
  );
  process.exitCode = 2;
}
