import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { runCommandLine } from '../../src/command-line/program.js';

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

export interface CliResult {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface CliRun {
  readonly ended: Promise<CliResult>;
  readonly output: { out: string; err: string };
  signal(name: NodeJS.Signals): void;
}

/** The real program as a process, with nothing of our own environment that it could take for its settings. */
export function startCli(args: readonly string[], env: Readonly<Record<string, string>> = {}, input = ''): CliRun {
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(ONHAND_|DATABASE_URL|REDIS_URL|NO_COLOR|FORCE_COLOR)/.test(name),
    ),
  );
  const child = spawn(process.execPath, [cli, ...args], {
    env: { ...inherited, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const output = { out: '', err: '' };
  child.stdout.on('data', (data: Buffer) => (output.out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (output.err += data.toString()));
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...output }));
  return { ended, output, signal: (name) => void child.kill(name) };
}

/** The same without a process, which takes a hundredth of the time; cli.ts adds nothing but the process. */
export async function runHere(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  options: { readonly input?: string; readonly cwd?: string } = {},
): Promise<CliResult> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const texts = [stdout, stderr].map((stream) => {
    const parts: Buffer[] = [];
    stream.on('data', (part: Buffer) => parts.push(part));
    return () => Buffer.concat(parts).toString();
  });
  stdin.end(options.input ?? '');
  const cwd = options.cwd ?? '/nowhere';
  const code = await runCommandLine(args, { env, cwd, stdin, stdout, stderr, exitCode: 0 });
  await new Promise((resolve) => setImmediate(resolve));
  return { code, out: texts[0]!(), err: texts[1]!() };
}
