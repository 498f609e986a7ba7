import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Moment } from '../../src/moments.js';
import { until } from '../support/until.js';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const endAt = new URL('end-at.mjs', import.meta.url).href;
const startTimeoutMs = 60_000;

/** A whole hub as a process of its own, which can be ended or frozen at a moment between two durable steps. */
export interface HubProcess {
  readonly url: string;
  /** Names the moment; resolves when the process has heard it. */
  arm(wish: { moment: Moment; cartId: string | null; signal: 'SIGKILL' | 'SIGSTOP' }): Promise<void>;
  /** Sets its clock that far ahead of the system's, or back. What only runs on (timers, performance.now()) is not shifted. */
  shiftClock(shiftMs: number): Promise<void>;
  /** Resolves when the process is dead, or frozen. */
  struck(timeoutMs?: number): Promise<void>;
  /** Goes on after it was frozen; resolves when it answers. */
  thaw(): Promise<void>;
  /** Politely; resolves with the exit code. */
  stop(): Promise<number | null>;
  kill(): Promise<void>;
}

export async function startHubProcess(env: Readonly<Record<string, string>>): Promise<HubProcess> {
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(ONHAND_|DATABASE_URL|REDIS_URL)/.test(name)),
  );
  const child = spawn(process.execPath, ['--import', endAt, main], {
    env: { ...inherited, ONHAND_LOG_JSON: 'true', ONHAND_PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  const url = await listening(child);
  const say = async (message: object) => {
    const heard = once(child, 'message');
    child.send(message);
    await heard;
  };
  return {
    url,
    arm: (wish) => say(wish),
    shiftClock: (shiftMs) => say({ shiftMs }),
    struck: (timeoutMs = 30_000) =>
      until(
        'the process is struck',
        async () => child.signalCode !== null || (await stateOf(child.pid as number)) === 'T',
        timeoutMs,
      ).then(() => undefined),
    thaw: async () => {
      child.kill('SIGCONT');
      await say({});
    },
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      return ended;
    },
    kill: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await ended;
    },
  };
}

/** The state letter of `/proc/<pid>/stat`: T is stopped by a signal. */
async function stateOf(pid: number): Promise<string | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
  } catch {
    return null;
  }
}

async function listening(child: ChildProcess): Promise<string> {
  const late = setTimeout(() => child.kill('SIGKILL'), startTimeoutMs);
  const lines = readline.createInterface({ input: child.stdout as NodeJS.ReadableStream });
  try {
    for await (const line of lines) {
      if (!line.startsWith('{')) continue;
      const entry = JSON.parse(line) as { event?: string; url?: string };
      if (entry.event === 'listening' && entry.url !== undefined) return entry.url;
    }
  } finally {
    clearTimeout(late);
    // What it says later is not read; a full pipe would stop it.
    child.stdout?.resume();
  }
  throw new Error('The hub ended before it listened');
}
