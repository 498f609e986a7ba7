import type { Command } from 'commander';
import type { ResetFileReads } from '../modules/daily-reset/reset-file-reads.js';
import type { ResetSources } from '../modules/daily-reset/reset-sources.js';
import { CommandLineError, exitCodes } from './exit-codes.js';
import { formatDelta, formatNumber, formatTime } from './format.js';
import { findKey } from './hub-address.js';
import { postFile } from './imports.js';
import { changes, dangerous, examples, moreHint, pageQuery, pages, segment, type PageOptions } from './options.js';
import { confirm } from './prompt.js';
import { addResetSettings } from './reset-settings.js';
import { action, change, type ChangeOptions, type GlobalOptions, type Runtime, type Session } from './session.js';
import { factLines } from './table.js';

type Source = NonNullable<Awaited<ReturnType<ResetSources['shown']>>>;
type File = Awaited<ReturnType<ResetFileReads['get']>>;
interface Page<Row> {
  readonly data: readonly Row[];
  readonly nextCursor: string | null;
}
interface Check {
  readonly rows: number;
  readonly raised: number;
  readonly lowered: number;
  readonly zeroed: number;
  readonly absent: number;
  readonly pieces: number;
  readonly carts: readonly { cartId: string; listings: number; changed: number; zeroed: number; inflated: number }[];
  readonly sample: readonly { sku: string; location: string; before: number; after: number }[];
}

/** reset: daily resets from files. */
export function addResetCommands(program: Command, runtime: Runtime): void {
  const reset = program.command('reset').description('Daily resets from files: sources, files, what is held');
  examples(reset, 'reset list', 'reset files', 'reset show ID');
  addSources(reset, runtime);
  addResetSettings(reset, runtime);
  addFiles(reset, runtime);
  addDecisions(reset, runtime);
}

function addSources(reset: Command, runtime: Runtime): void {
  examples(
    pages(reset.command('list').description('Every source, and how looking for files goes')),
    'reset list',
  ).action(
    action<PageOptions>(runtime, async (session, options) => {
      session.answer(await session.hub.get<Page<Source>>('/v1/reset-sources', pageQuery(options)), (page) => {
        session.terminal.table(
          [
            { title: 'SOURCE', of: (row) => row.id },
            { title: 'FROM', of: (row) => row.from.kind },
            { title: 'WHEN', of: scheduleText },
            { title: 'KNOWS ORDERS', of: (row) => row.includesOrders },
            { title: 'LOOKED', of: (row) => formatTime(row.lookedAt) },
            { title: 'PROBLEM', of: (row) => row.problem ?? '' },
          ],
          page.data,
          'No source yet: onhand reset add --help',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
  examples(
    dangerous(reset.command('remove').description('Remove a source and its secret').argument('<source>')),
    'reset remove erp --yes',
  ).action(
    action<ChangeOptions & { yes?: boolean }, [string]>(runtime, async (session, options, id) => {
      if (options.dryRun !== true)
        await confirm(
          session.terminal,
          options.yes,
          `Remove the reset source ${id}? No file of it is looked for then.`,
        );
      const request = { method: 'DELETE', path: `/v1/reset-sources/${segment(id)}` } as const;
      const answer = await change<object>(session, options, request);
      if (answer !== null) session.answer(answer, () => session.terminal.out(`${id} is removed.`));
    }),
  );
  examples(
    changes(reset.command('look').description('Look for files now, in the background').argument('<source>')),
    'reset look erp',
  ).action(
    action<ChangeOptions, [string]>(runtime, async (session, options, id) => {
      const request = { method: 'POST', path: `/v1/reset-sources/${segment(id)}/look` } as const;
      const answer = await change<Source>(session, options, request);
      if (answer !== null)
        session.answer(answer, () => session.terminal.out(`It is being looked for: onhand reset files --source ${id}`));
    }),
  );
}

function scheduleText({ on, schedule, timeZone }: Source): string {
  if (!on) return 'off';
  if (schedule.kind === 'daily') return `${schedule.at} ${timeZone}`;
  return schedule.kind === 'every' ? `every ${schedule.minutes} min` : 'by hand';
}

function addFiles(reset: Command, runtime: Runtime): void {
  examples(
    pages(
      reset
        .command('files')
        .description('Files, the last seen first, and what became of each')
        .option('--source <source>', 'only of this one'),
    ),
    'reset files --source erp',
  ).action(
    action<PageOptions & { source?: string }>(runtime, async (session, { source, ...options }) => {
      const query = { source, ...pageQuery(options) };
      session.answer(await session.hub.get<Page<File>>('/v1/reset-files', query), (page) => {
        session.terminal.table(
          [
            { title: 'FILE', of: (row) => row.name },
            { title: 'SOURCE', of: (row) => row.source },
            { title: 'AS OF', of: (row) => formatTime(row.asOf) },
            { title: 'STATE', of: (row) => row.state },
            { title: 'WHY', of: (row) => row.held ?? row.problem ?? '' },
            { title: 'ID', of: (row) => row.id },
          ],
          page.data,
          'No file yet.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
  examples(
    reset.command('show').description('One file: what it changes, why it waits').argument('<file-id>'),
    'reset show ID',
  ).action(
    action<object, [string]>(runtime, async (session, _options, id) => {
      session.answer(await session.hub.get<File>(`/v1/reset-files/${segment(id)}`), (file) => showFile(session, file));
    }),
  );
  const send = reset
    .command('send')
    .description('Send a file by hand; the same content twice does nothing')
    .argument('<source>')
    .argument('<file>')
    .option('--as-of <time>', 'the moment its numbers speak of, with an offset; left out: as the source says')
    .option('--dry-run', 'have it checked and held, so that it can be looked at before it is applied')
    .option('--latin1', 'the file is Latin-1 (Windows-1252), not UTF-8');
  examples(
    send,
    'reset send erp stock.csv --dry-run',
    'reset send erp stock.csv --as-of 2026-03-01T04:00:00+01:00',
  ).action(
    action<{ asOf?: string; dryRun?: boolean; latin1?: boolean }, [string, string]>(
      runtime,
      async (session, options, source, file) => {
        const key = await findKey(send.optsWithGlobals<GlobalOptions>(), runtime.env, () => undefined);
        const query = new URLSearchParams({ name: file.split(/[/\\]/).at(-1) ?? file });
        if (options.asOf !== undefined) query.set('asOf', options.asOf);
        if (options.dryRun === true) query.set('preview', 'true');
        const path = `/v1/reset-sources/${segment(source)}/files?${query.toString()}`;
        const sent = await postFile<File>(session, path, file, { key, latin1: options.latin1 === true });
        session.data(sent, () => {
          showFile(session, sent);
          session.terminal.note(`Further: onhand reset show ${sent.id}`);
        });
      },
    ),
  );
}

function showFile({ terminal }: Session, file: File): void {
  const check = file.check as Check | null;
  terminal.out(
    ...factLines([
      ['File', file.name],
      ['Source', file.source],
      ['State', file.state],
      ...(file.held === null ? [] : ([['Held', file.held]] as const)),
      ...(file.problem === null ? [] : ([['Problem', file.problem]] as const)),
      ['As of', formatTime(file.asOf)],
      ...(check === null
        ? []
        : ([
            [
              'Changes',
              `${formatNumber(check.raised)} raised, ${formatNumber(check.lowered)} lowered (${formatNumber(check.zeroed)} to nothing, ${formatNumber(check.absent)} not in the file), ${formatDelta(check.pieces)} pieces`,
            ],
            ...check.carts.map(
              ({ cartId, ...of }) =>
                [
                  `At ${cartId}`,
                  `${formatNumber(of.changed)} of ${formatNumber(of.listings)} listings change (${formatNumber(of.zeroed)} to nothing, ${formatNumber(of.inflated)} to twice as much or more)`,
                ] as const,
            ),
          ] as const)),
      ...(file.archivedAs === null ? [] : ([['Archive', file.archivedAs]] as const)),
    ]),
  );
  if (check === null || check.sample.length === 0) return;
  terminal.table(
    [
      { title: 'SKU', of: (row) => row.sku },
      { title: 'LOCATION', of: (row) => row.location },
      { title: 'BEFORE', of: (row) => formatNumber(row.before), right: true },
      { title: 'AFTER', of: (row) => formatNumber(row.after), right: true },
    ],
    check.sample.slice(0, SAMPLE_SHOWN),
    '',
  );
}

const SAMPLE_SHOWN = 20;

function addDecisions(reset: Command, runtime: Runtime): void {
  examples(
    dangerous(reset.command('apply').description('Let a file that is held through').argument('<file-id>')),
    'reset apply ID --yes',
  ).action(
    action<ChangeOptions & { yes?: boolean }, [string]>(runtime, async (session, options, id) => {
      const path = `/v1/reset-files/${segment(id)}`;
      const { body: file } = await session.hub.get<File>(path);
      if (file.state !== 'held')
        throw new CommandLineError(exitCodes.refused, `It is ${file.state}; only a held file waits.`);
      if (options.dryRun !== true) {
        showFile(session, file);
        await confirm(session.terminal, options.yes, `Apply ${file.name}?`);
      }
      const answer = await change<File>(session, options, { method: 'POST', path: `${path}/apply` });
      if (answer !== null) session.answer(answer, (body) => session.terminal.out(`${body.name} is ${body.state}.`));
    }),
  );
  examples(
    changes(
      reset
        .command('reject')
        .description('Reject a file that is held; nothing of it is applied')
        .argument('<file-id>')
        .requiredOption('--reason <reason>', 'why'),
    ),
    'reset reject ID --reason "half a file"',
  ).action(
    action<ChangeOptions & { reason: string }, [string]>(runtime, async (session, { reason, ...options }, id) => {
      const request = { method: 'POST', path: `/v1/reset-files/${segment(id)}/reject`, body: { reason } } as const;
      const answer = await change<File>(session, options, request);
      if (answer !== null) session.answer(answer, (body) => session.terminal.out(`${body.name} is ${body.state}.`));
    }),
  );
}
