import type { Command } from 'commander';
import type { ResetSources } from '../modules/daily-reset/reset-sources.js';
import { UsageError } from './exit-codes.js';
import { formatTime, parseWhole } from './format.js';
import { changes, choice, examples, segment } from './options.js';
import { confirm, readSecret, readText } from './prompt.js';
import { action, change, type ChangeOptions, type Runtime, type Session } from './session.js';

type Source = NonNullable<Awaited<ReturnType<ResetSources['shown']>>>;

interface SettingOptions extends ChangeOptions {
  readonly name?: string;
  readonly folder?: string;
  readonly sftp?: string;
  readonly upload?: boolean;
  readonly hostKey?: string;
  readonly passwordFile?: string;
  readonly privateKeyFile?: string;
  readonly files?: string;
  readonly at?: string;
  readonly every?: string;
  readonly byHand?: boolean;
  readonly late?: string;
  readonly timeZone?: string;
  readonly moment?: string;
  readonly settle?: string;
  readonly complete?: boolean;
  readonly partial?: boolean;
  readonly absent?: string;
  readonly zeroInactive?: boolean;
  readonly includesOrders?: string;
  readonly ordersSince?: string;
  readonly place?: string[];
  readonly idType?: string;
  readonly onError?: string;
  readonly lastLine?: string;
  readonly holdAbove?: string;
  readonly archive?: string;
  readonly on?: boolean;
  readonly off?: boolean;
}

/** reset add, change, test. */
export function addResetSettings(reset: Command, runtime: Runtime): void {
  examples(
    settings(reset.command('add').description('Add a source of daily resets').argument('<source>')),
    'reset add erp --folder erp --files "stock-*.csv" --at 04:00 --time-zone Europe/Berlin --includes-orders shipped',
    'reset add prism --sftp erp@files.example.com/outgoing --complete --absent zero --includes-orders all',
  ).action(
    action<SettingOptions, [string]>(runtime, async (session, options, id) => {
      if (options.includesOrders === undefined)
        throw new UsageError(
          'Say which orders its numbers know of: --includes-orders none, shipped or all. Said wrongly, sold pieces come back every morning.',
        );
      const body = { id, ...fieldsOf(options), ...(await secretOf(session, options)) };
      const answer = await change<Source>(session, options, { method: 'POST', path: '/v1/reset-sources', body });
      if (answer === null) return;
      session.answer(answer, () => {
        session.terminal.out(`${id} is added.`);
        session.terminal.note(`Next: onhand reset test ${id}`);
      });
    }),
  );
  examples(
    settings(reset.command('change').description('Change a source; what is left out stays').argument('<source>'))
      .option('--on', 'its schedule runs')
      .option('--off', 'nothing is looked for by itself'),
    'reset change erp --at 05:30',
    'reset change erp --off',
  ).action(
    action<SettingOptions, [string]>(runtime, async (session, options, id) => {
      const body = { ...fieldsOf(options), ...(await secretOf(session, options)) };
      if (Object.keys(body).length === 0) throw new UsageError('Name what to change; --help lists it.');
      const request = { method: 'PATCH', path: `/v1/reset-sources/${segment(id)}`, body } as const;
      const answer = await change<Source>(session, options, request);
      if (answer !== null) session.answer(answer, () => session.terminal.out(`${id} is changed.`));
    }),
  );
  addTest(reset, runtime);
}

function settings(command: Command): Command {
  return changes(
    command
      .option('--name <name>', 'how it is called')
      .option('--folder <folder>', 'below the folder that the hub allows')
      .option('--sftp <user@host[:port]/folder>', 'an SFTP server')
      .option('--upload', 'files are sent by hand or by a program')
      .option('--host-key <fingerprint>', 'SHA256:… of the SFTP server; `reset test` shows and asks')
      .option('--password-file <file>', 'the SFTP password; - for stdin. Never on the command line')
      .option('--private-key-file <file>', 'the SFTP private key')
      .option('--files <pattern>', 'which files: a name with * and ?')
      .option('--at <time>', 'each day at this time, such as 04:00')
      .option('--every <minutes>', 'each so many minutes')
      .option('--by-hand', 'only when somebody asks')
      .option('--late <minutes>', 'how long a daily file is waited for')
      .option('--time-zone <zone>', 'such as Europe/Berlin')
      .option('--moment <what>', 'file-time, file-time:MINUTES before it, name:PATTERN, or column:NAME')
      .option('--settle <seconds>', 'how long size and time must stand still')
      .option('--complete', 'files hold every item of their places')
      .option('--partial', 'files hold some items')
      .addOption(choice('--absent <what>', 'what a complete file does to items it does not hold', ['leave', 'zero']))
      .option('--zero-inactive', 'inactive items, too')
      .addOption(choice('--includes-orders <which>', 'which orders its numbers know of', ['none', 'shipped', 'all']))
      .option('--orders-since <time>', 'of none: since when')
      .option('--place <facility=location...>', 'what a facilityId means')
      .addOption(choice('--id-type <type>', 'where a row does not say', ['SKU', 'UPCA', 'Shopify_Prod_ID']))
      .addOption(choice('--on-error <what>', 'one wrong row applies nothing, or is left out', ['stop', 'skip']))
      .addOption(
        choice('--last-line <what>', 'whether a last line without end is believed', ['must-end', 'may-be-open']),
      )
      .option('--hold-above <percent>', 'a larger share of changes waits for a person')
      .addOption(choice('--archive <where>', 'where read files go', ['source', 'hub'])),
  );
}

function fieldsOf(options: SettingOptions) {
  const { name, files, timeZone, absent, includesOrders, ordersSince, idType, onError, lastLine, archive } = options;
  const given = {
    name,
    files,
    timeZone,
    absent,
    includesOrders,
    ordersSince,
    idType,
    onError,
    lastLine,
    archive,
    from: fromOf(options),
    schedule: scheduleOf(options),
    moment: options.moment === undefined ? undefined : momentOf(options.moment),
    settleSeconds: options.settle === undefined ? undefined : parseWhole(options.settle, '--settle'),
    holdAbovePercent: options.holdAbove === undefined ? undefined : parseWhole(options.holdAbove, '--hold-above'),
    complete: options.complete === true ? true : options.partial === true ? false : undefined,
    zeroInactive: options.zeroInactive,
    locations: options.place === undefined ? undefined : placesOf(options.place),
    on: options.on === true ? true : options.off === true ? false : undefined,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function fromOf({ folder, sftp, upload, hostKey }: SettingOptions) {
  if ([folder, sftp, upload].filter((one) => one !== undefined).length > 1)
    throw new UsageError('Name one of --folder, --sftp and --upload.');
  if (folder !== undefined) return { kind: 'folder', folder };
  if (upload === true) return { kind: 'upload' };
  if (sftp === undefined) return undefined;
  const parts = /^([^@]+)@(\[[^\]]+\]|[^:/]+)(?::(\d+))?(\/.*)$/.exec(sftp);
  if (parts === null) throw new UsageError('--sftp must look like user@files.example.com/outgoing.');
  const [, username = '', host = '', port, path = '/'] = parts;
  return {
    kind: 'sftp',
    host,
    ...(port !== undefined && { port: Number(port) }),
    username,
    folder: path,
    ...(hostKey !== undefined && { hostKey }),
  };
}

function scheduleOf({ at, every, byHand, late }: SettingOptions) {
  if ([at, every, byHand].filter((one) => one !== undefined).length > 1)
    throw new UsageError('Name one of --at, --every and --by-hand.');
  if (every !== undefined) return { kind: 'every', minutes: parseWhole(every, '--every') };
  if (byHand === true) return { kind: 'by-hand' };
  if (at === undefined && late === undefined) return undefined;
  if (at === undefined) throw new UsageError('--late goes with --at.');
  return { kind: 'daily', at, ...(late !== undefined && { lateMinutes: parseWhole(late, '--late') }) };
}

function momentOf(text: string) {
  const [kind = '', ...rest] = text.split(':');
  const value = rest.join(':');
  if (kind === 'name' && value !== '') return { kind, pattern: value };
  if (kind === 'column' && value !== '') return { kind, column: value };
  if (kind === 'file-time')
    return { kind, ...(value !== '' && { minutesBefore: parseWhole(value, '--moment file-time') }) };
  throw new UsageError('--moment must be file-time, file-time:MINUTES, name:PATTERN or column:NAME.');
}

function placesOf(places: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    places.map((place) => {
      const at = place.indexOf('=');
      if (at < 1 || at === place.length - 1) throw new UsageError('--place must look like WH=main.');
      return [place.slice(0, at), place.slice(at + 1)];
    }),
  );
}

async function secretOf(session: Session, options: SettingOptions): Promise<{ secret?: Record<string, string> }> {
  const { passwordFile, privateKeyFile, sftp, dryRun } = options;
  if (passwordFile === undefined && privateKeyFile === undefined && sftp === undefined) return {};
  if (dryRun === true) return { secret: {} };
  if (privateKeyFile !== undefined)
    return { secret: { privateKey: await readText(privateKeyFile, '--private-key-file') } };
  return { secret: { password: await readSecret(session.terminal, 'The SFTP password', passwordFile) } };
}

interface Tested {
  readonly hostKey: string | null;
  readonly problem: string | null;
  readonly files: readonly { readonly name: string; readonly size: number; readonly modifiedAt: string }[];
}

function addTest(reset: Command, runtime: Runtime): void {
  examples(
    reset
      .command('test')
      .description('Look into its folder without reading anything; asks to confirm the key of an SFTP server')
      .argument('<source>')
      .option('-y, --yes', 'confirm the key that is shown'),
    'reset test erp',
  ).action(
    action<{ yes?: boolean }, [string]>(runtime, async (session, { yes }, id) => {
      const path = `/v1/reset-sources/${segment(id)}`;
      const test = () => session.hub.send<Tested>({ method: 'POST', path: `${path}/test` });
      let answer = await test();
      const { hostKey, problem } = answer.body;
      if (hostKey !== null) {
        session.terminal.note(problem ?? '');
        await confirm(session.terminal, yes, `Trust the key ${hostKey}?`);
        const { body: source } = await session.hub.get<Source>(path);
        await session.hub.send({ method: 'PATCH', path, body: { from: { ...source.from, hostKey } } });
        answer = await test();
      }
      session.answer(answer, ({ files }) =>
        session.terminal.table(
          [
            { title: 'FILE', of: (row) => row.name },
            { title: 'BYTES', of: (row) => row.size, right: true },
            { title: 'CHANGED', of: (row) => formatTime(row.modifiedAt) },
          ],
          files,
          'It can be reached; there is no file in it.',
        ),
      );
    }),
  );
}
