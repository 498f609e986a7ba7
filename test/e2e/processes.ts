import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** The folder that the image calls /app. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

export interface HubProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Everything it wrote so far, standard output and error. */
  output(): string;
  /** The lines of JSON that announce its start, once it has started; throws when it ends before. */
  started(): Promise<{ readonly url: string | null; readonly pid: number; readonly roles: readonly string[] }>;
  /** Resolves with its exit code, or with the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

/** Every variable of the test's own environment that would be a setting of the hub stays out. */
export function startProcess(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  cwd: string = root,
): HubProcess {
  const [program = '', ...args] = command;
  const inherited = Object.fromEntries(['PATH', 'HOME', 'TMPDIR', 'LANG'].flatMap((name) => given(name)));
  const child = spawn(program === 'node' ? process.execPath : program, args, {
    cwd,
    env: { ...inherited, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const listeners = new Set<() => void>();
  const hear = (data: Buffer) => {
    output += data.toString();
    for (const listener of listeners) listener();
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  const listening = () =>
    output
      .split('\n')
      .filter((line) => line.startsWith('{"event":"listening"'))
      .map((line) => JSON.parse(line) as { url: string | null; pid: number; roles: string[] })[0];
  return {
    child,
    pid: child.pid ?? 0,
    output: () => output,
    ended,
    started: () =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = listening();
          if (found !== undefined) resolve(found);
        };
        listeners.add(look);
        look();
        void ended.then((end) => reject(new Error(`The process ended (${end}) before it had started: ${output}`)));
      }),
  };
}

function given(name: string): [string, string][] {
  const value = process.env[name];
  return value === undefined ? [] : [[name, value]];
}

/** Ends what a test left running; a frozen process, too. */
export async function endAll(processes: Iterable<HubProcess>): Promise<void> {
  await Promise.all(
    [...processes].map(async ({ child, ended }) => {
      child.kill('SIGKILL');
      await ended;
    }),
  );
}
