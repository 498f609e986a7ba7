import { spawn } from 'node:child_process';
import { once } from 'node:events';

export interface Shell {
  /** Runs lines as if they were typed, and resolves with all that they printed. */
  run(code: string): Promise<string>;
  close(): Promise<void>;
}

const LONGEST_MS = 60_000;

/** One bash for a whole guide: variables and functions stay, as in a reader's terminal. */
export function openShell(cwd: string): Shell {
  const child = spawn('bash', ['--noprofile', '--norc'], { cwd, stdio: ['pipe', 'pipe', 'ignore'] });
  let printed = '';
  let failed: Error | null = null;
  let wake: () => void = () => undefined;
  child.stdout.on('data', (data: Buffer) => {
    printed += data.toString();
    wake();
  });
  child.once('error', (error) => {
    failed = new Error(`The examples need bash and curl: ${error.message}`);
    wake();
  });
  child.stdin.on('error', () => undefined);
  child.stdin.write('exec 2>&1\n');
  return {
    run: async (code) => {
      printed = '';
      const late = AbortSignal.timeout(LONGEST_MS);
      child.stdin.write(`${code}\nprintf '\\001\\n'\n`);
      for (;;) {
        if (failed !== null) throw failed;
        if (printed.endsWith('\u0001\n')) return printed.slice(0, -2);
        if (late.aborted) throw new Error(`Not over after ${LONGEST_MS} ms:\n${code}\n${printed}`);
        await new Promise<void>((resolve) => {
          wake = resolve;
          late.addEventListener('abort', () => resolve(), { once: true });
        });
      }
    },
    close: async () => {
      child.stdin.end('exit\n');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}
