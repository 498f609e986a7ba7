// Processes of the demo: each is ended by its own id, in order, and none outlives the driver.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import readline from 'node:readline';

const LINES_KEPT = 200;

/** Thrown when a process of the demo could not do its part; the message is for a person. */
export class DemoError extends Error {
  /** @override */ name = 'DemoError';
}

/** Keeps the last lines that a process said, for the day it has to be explained. */
export class Log {
  /** @type {string[]} */ #lines = [];

  /** @param {NodeJS.ReadableStream} stream @param {(line: string) => void} [listener] */
  follow(stream, listener) {
    readline.createInterface({ input: stream }).on('line', (line) => {
      this.#lines.push(line);
      if (this.#lines.length > LINES_KEPT) this.#lines.shift();
      listener?.(line);
    });
  }

  tail(count = 15) {
    return this.#lines
      .slice(-count)
      .map((line) => `    ${line.slice(0, 300)}`)
      .join('\n');
  }
}

/**
 * Ends a process with `signal`, and by force if that takes longer than `patienceMs`.
 * @param {import('node:child_process').ChildProcess} child
 */
export async function end(child, /** @type {NodeJS.Signals} */ signal, patienceMs = 10_000) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  const force = setTimeout(() => child.kill('SIGKILL'), patienceMs);
  await ended;
  clearTimeout(force);
}

/**
 * Sends SIGTERM to a process when this one is gone, however it ended: a shell waits for our end of a pipe to close, which
 * the system does for us. @returns {() => void} stops watching
 */
export function endWithUs(/** @type {number} */ pid) {
  if (process.platform === 'win32') return () => undefined;
  const keeper = spawn('sh', ['-c', 'cat > /dev/null; kill "$1" 2> /dev/null', 'sh', String(pid)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  keeper.on('error', () => undefined);
  keeper.stdin.on('error', () => undefined);
  keeper.unref();
  keeper.stdin.unref?.();
  return () => {
    // The shell first: it must not see the pipe close.
    keeper.kill('SIGKILL');
    keeper.stdin.destroy();
  };
}
