import type { Command } from 'commander';
import { version } from '../modules/start/version.js';
import { CommandLineError, exitCodes, UsageError } from './exit-codes.js';
import { parseSeconds } from './format.js';
import { findHub, findKey, type Environment } from './hub-address.js';
import { HubClient, newIdempotencyKey, type HubAnswer, type HubRequest } from './hub-client.js';
import { openTerminal, type Terminal } from './terminal.js';

/** What surrounds the program, handed in by cli.ts: the environment is read there only. */
export interface Runtime {
  readonly env: Environment;
  readonly cwd: string;
  readonly stdin: Parameters<typeof openTerminal>[0]['stdin'];
  readonly stdout: Parameters<typeof openTerminal>[0]['stdout'];
  readonly stderr: Parameters<typeof openTerminal>[0]['stderr'];
  /** Set by the command that ran. */
  exitCode: number;
}

/** What every command is given. */
export interface Session {
  readonly hub: HubClient;
  readonly terminal: Terminal;
  readonly json: boolean;
  /** What the answer is shown as: as it came with `--json`, otherwise whatever `show` writes. */
  answer<Body>(answer: HubAnswer<Body>, show: (body: Body) => void): void;
  /** The whole of what is not an answer of the API. */
  data(data: unknown, show: () => void): void;
}

export interface GlobalOptions {
  readonly url?: string;
  readonly keyFile?: string;
  readonly apiKey?: string;
  readonly json?: boolean;
  readonly verbose?: boolean;
  readonly timeout: string;
  readonly color?: boolean;
}

/** Of every command that changes something. */
export interface ChangeOptions {
  readonly dryRun?: boolean;
  readonly idempotencyKey?: string;
}

export type Work<Options, Args extends unknown[]> = (
  session: Session,
  options: Options,
  ...args: Args
) => Promise<number | void>;

/** Wraps a command's work for commander: opens the session, and keeps the exit code. */
export function action<Options, Args extends unknown[] = []>(runtime: Runtime, work: Work<Options, Args>) {
  return async (...given: unknown[]): Promise<void> => {
    const command = given.at(-1) as Command;
    const session = await openSession(runtime, command.optsWithGlobals());
    const code = await work(session, command.opts() as Options, ...(command.processedArgs as Args));
    runtime.exitCode = code ?? exitCodes.ok;
  };
}

async function openSession(runtime: Runtime, options: GlobalOptions): Promise<Session> {
  const terminal = openTerminal({ ...runtime, ...(options.color === false && { color: false }) });
  const timeoutMs = parseSeconds(options.timeout, '--timeout');
  if (timeoutMs < 1) throw new UsageError('--timeout must be more than 0 seconds.');
  const hub = new HubClient({
    address: await findHub(options.url, runtime.env, runtime.cwd),
    key: await findKey(options, runtime.env, (sentence) => terminal.note(sentence)),
    timeoutMs,
    userAgent: `onhand/${version}`,
    verbose: options.verbose === true ? (sentence) => terminal.note(terminal.colors.dim(sentence)) : () => undefined,
  });
  const json = options.json === true;
  return {
    hub,
    terminal,
    json,
    answer: (answer, show) => (json ? terminal.out(answer.text) : show(answer.body)),
    data: (data, show) => (json ? terminal.out(JSON.stringify(data, null, 2)) : show()),
  };
}

/** One thing that a change would change, as far as it is known now. */
export interface Preview {
  readonly what: string;
  readonly before: string | number | null;
  readonly after: string | number | null;
  /** What may make it come out otherwise. */
  readonly note?: string;
}

/**
 * Sends a change, or, with --dry-run, shows it and what is known now, and sends nothing.
 * @returns null after a dry run
 */
export async function change<Body>(
  session: Session,
  options: ChangeOptions,
  request: Omit<HubRequest, 'idempotencyKey'>,
  preview: () => Promise<readonly Preview[]> = async () => [],
): Promise<HubAnswer<Body> | null> {
  const idempotencyKey = checkedIdempotencyKey(options.idempotencyKey);
  if (options.dryRun !== true) {
    return session.hub.send<Body>({ ...request, ...(idempotencyKey !== undefined && { idempotencyKey }) });
  }
  const shown = {
    method: request.method,
    url: session.hub.address.url + request.path,
    ...(request.body !== undefined && { body: masked(request.body) }),
    idempotencyKey: idempotencyKey ?? newIdempotencyKey(),
  };
  const rows = await preview();
  session.data({ dryRun: true, request: shown, preview: rows }, () => {
    session.terminal.out(`Would send ${shown.method} ${shown.url}`);
    if (shown.body !== undefined) session.terminal.out(JSON.stringify(shown.body, null, 2));
    session.terminal.out(...rows.map(previewLine));
    session.terminal.note('Nothing was sent (--dry-run).');
  });
  return null;
}

export function previewLine({ what, before, after, note }: Preview): string {
  const values = before === after ? `${before ?? 'nothing'}, stays` : `${before ?? 'nothing'} → ${after ?? 'nothing'}`;
  return `${what}: ${values}${note === undefined ? '' : ` (${note})`}`;
}

function checkedIdempotencyKey(key: string | undefined): string | undefined {
  if (key === undefined || (/^[\x20-\x7e]{1,200}$/.test(key) && key.trim() !== '')) return key;
  throw new UsageError('--idempotency-key must be 1 to 200 printable ASCII characters.');
}

/** A dry run is often pasted somewhere. */
function masked(body: unknown): unknown {
  return typeof body === 'object' && body !== null && 'secret' in body ? { ...body, secret: '(not shown)' } : body;
}

/** @throws CommandLineError refused */
export function refuse(sentence: string): never {
  throw new CommandLineError(exitCodes.refused, sentence);
}
