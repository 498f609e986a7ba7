import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable, Transform } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { ImportPreview } from '../modules/imports/import-preview.js';
import type { ImportReads } from '../modules/imports/import-reads.js';
import { CommandLineError, exitCodes, UsageError } from './exit-codes.js';
import { formatDuration, formatNumber, parseSeconds } from './format.js';
import { findKey } from './hub-address.js';
import { HubRefusedError, newIdempotencyKey } from './hub-client.js';
import { choice, examples, segment } from './options.js';
import { startProgress } from './progress.js';
import { action, type GlobalOptions, type Runtime, type Session } from './session.js';

type Status = Awaited<ReturnType<ImportReads['withProblems']>>;
type Shown = Awaited<ReturnType<ImportPreview['of']>>;

interface ImportOptions {
  readonly kind: string;
  readonly onError: 'stop' | 'skip';
  readonly cart?: string;
  readonly dryRun?: boolean;
  readonly latin1?: boolean;
  readonly idempotencyKey?: string;
  readonly wait: boolean;
  readonly giveUpAfter: string;
}

const POLL_MS = 250;

/** import: a file goes to the hub as it is, and is watched until it is applied. */
export function addImportCommand(program: Command, runtime: Runtime): void {
  const command = program
    .command('import')
    .description('Import a CSV file; it is checked whole before any of it is applied')
    .argument('<file>', 'its first row names the columns')
    .addOption(
      choice('--kind <kind>', 'what its rows are', [
        'movements',
        'counts',
        'items',
        'orders',
        'kits',
        'mappings',
      ]).makeOptionMandatory(),
    )
    .addOption(
      choice('--on-error <what>', 'stop: one wrong row applies nothing. skip: leave it out', ['stop', 'skip'], 'stop'),
    )
    .option('--cart <id>', 'whose keys a file of mappings holds')
    .option('--dry-run', 'have it checked, show what it would change, and apply nothing')
    .option('--latin1', 'the file is Latin-1 (Windows-1252), not UTF-8')
    .option('--idempotency-key <key>', 'the file’s name: sent again under the same, it counts once')
    .option('--no-wait', 'only send it')
    .option('--give-up-after <seconds>', 'stop watching then; it goes on in the background', '7200');
  examples(
    command,
    'import stock.csv --kind counts --dry-run',
    'import kits.csv --kind kits --dry-run',
    'import keys.csv --kind mappings --cart main-shop --on-error skip',
  ).action(
    action<ImportOptions, [string]>(runtime, async (session, options, file) => {
      const key = await findKey(command.optsWithGlobals<GlobalOptions>(), runtime.env, () => undefined);
      const sent = await upload(session, options, file, key);
      if (!options.wait) return session.data(sent, () => session.terminal.out(`Sent: ${sent.statusUrl}`));
      const rested = await watch(session, sent.statusUrl, parseSeconds(options.giveUpAfter, '--give-up-after'));
      return rested.state === 'ready' ? showDryRun(session, rested) : showEnd(session, rested);
    }),
  );
}

async function upload(session: Session, options: ImportOptions, file: string, key: string): Promise<Status> {
  const { kind, onError, cart } = options;
  const query = new URLSearchParams({ kind, onError, ...(cart !== undefined && { cart }) });
  if (options.dryRun === true) query.set('preview', 'true');
  const idempotencyKey = options.idempotencyKey ?? newIdempotencyKey();
  const path = `/v1/imports?${query.toString()}`;
  return postFile<Status>(session, path, file, { key, latin1: options.latin1 === true, idempotencyKey });
}

/** Sends the file as it is read. Without a repeat: whoever sends it again under the same key has it counted once. */
export async function postFile<Body>(
  session: Session,
  path: string,
  file: string,
  { key, latin1, idempotencyKey }: { readonly key: string; readonly latin1: boolean; readonly idempotencyKey?: string },
): Promise<Body> {
  const found = await stat(file).catch(() => null);
  if (found === null || !found.isFile()) throw new UsageError(`There is no file ${file} that can be read.`);
  const progress = startProgress(session.terminal, 'Sending, bytes');
  const { url } = session.hub.address;
  let text: string;
  let status: number;
  try {
    const response = await fetch(url + path, {
      method: 'POST',
      redirect: 'manual',
      headers: {
        Authorization: `Bearer ${key}`,
        'Content-Type': `text/csv; charset=${latin1 ? 'iso-8859-1' : 'utf-8'}`,
        ...(idempotencyKey !== undefined && { 'Idempotency-Key': idempotencyKey }),
      },
      body: Readable.toWeb(counted(file, (bytes) => progress.tell(bytes, found.size))) as ReadableStream<Uint8Array>,
      duplex: 'half',
    });
    ({ status } = response);
    text = await response.text();
  } catch (error) {
    const why = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    const again =
      idempotencyKey === undefined ? 'Send it again' : `Send it again with --idempotency-key ${idempotencyKey}`;
    throw new CommandLineError(
      exitCodes.notReachable,
      `The file did not arrive whole at ${url} (${why}). ${again} and it counts once.`,
    );
  } finally {
    progress.end();
  }
  if (status < 200 || status > 299) throw new HubRefusedError(status, text, url);
  return JSON.parse(text) as Body;
}

function counted(file: string, tell: (bytes: number) => void): Readable {
  let read = 0;
  const counting = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      read += chunk.byteLength;
      tell(read);
      done(null, chunk);
    },
  });
  const source = createReadStream(file);
  source.on('error', (error) => counting.destroy(error));
  return source.pipe(counting);
}

const phases: Readonly<Record<string, string>> = { validating: 'Checking', applying: 'Applying' };

async function watch(session: Session, statusUrl: string, giveUpAfterMs: number): Promise<Status> {
  const until = Date.now() + giveUpAfterMs;
  let phase = '';
  let progress: ReturnType<typeof startProgress> | undefined;
  try {
    for (;;) {
      const { body: status } = await session.hub.get<Status>(statusUrl);
      if (['ready', 'done', 'refused', 'cancelled'].includes(status.state)) return status;
      if (status.state !== phase) {
        progress?.end();
        phase = status.state;
        progress = startProgress(session.terminal, phases[phase] ?? phase);
      }
      progress?.tell(status.progress.done, status.progress.total);
      if (Date.now() >= until) {
        throw new CommandLineError(
          exitCodes.late,
          `Not finished within ${formatDuration(giveUpAfterMs)}: it is ${status.state}, and goes on. GET ${statusUrl} tells more.`,
        );
      }
      await sleep(POLL_MS);
    }
  } finally {
    progress?.end();
  }
}

async function showDryRun(session: Session, ready: Status): Promise<number> {
  const path = `/v1/imports/${segment(ready.id)}`;
  const preview = await session.hub.get<Shown>(`${path}/preview`);
  await session.hub.send({ method: 'POST', path: `${path}/cancel` });
  session.answer(preview, ({ rows, totals, differences }) => {
    session.terminal.out(`${formatNumber(rows.toApply)} of ${formatNumber(rows.received)} rows would be applied.`);
    session.terminal.out(...[...totals, ...differences].map(valuesLine));
    showProblems(session, ready);
    session.terminal.note('Nothing was applied (--dry-run).');
  });
  return exitCodes.ok;
}

const valuesLine = (values: Readonly<Record<string, unknown>>) =>
  Object.entries(values)
    .map(([name, value]) => `${name} ${typeof value === 'number' ? formatNumber(value) : JSON.stringify(value)}`)
    .join('  ');

function showEnd(session: Session, status: Status): number {
  const { applied, unchanged, refused } = status.rows;
  session.data(status, () => {
    if (status.problem !== null) session.terminal.note(status.problem);
    session.terminal.out(
      `${status.state}: ${formatNumber(applied)} applied, ${formatNumber(unchanged)} unchanged, ${formatNumber(refused)} refused`,
    );
    showProblems(session, status);
  });
  return status.state === 'done' && refused === 0 ? exitCodes.ok : exitCodes.refused;
}

function showProblems(session: Session, { problems, rowsUrl, rows }: Status): void {
  const lines = problems.map(
    ({ row, column, detail }) => `Row ${row}${column === null ? '' : `, ${column}`}: ${detail ?? ''}`,
  );
  if (lines.length > 0) session.terminal.note(...lines);
  if (rows.refused > lines.length) session.terminal.note(`All of them: GET ${rowsUrl}?outcome=refused`);
}
