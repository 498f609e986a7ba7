import type { Command } from 'commander';
import type { CountLine } from '../modules/counting/count-lines.js';
import type { CountSessions } from '../modules/counting/count-sessions.js';
import { UsageError } from './exit-codes.js';
import { formatDelta, formatNumber, formatTime, parseWhole } from './format.js';
import {
  changes,
  choice,
  dangerous,
  examples,
  moreHint,
  pageQuery,
  pages,
  segment,
  type PageOptions,
} from './options.js';
import { confirm } from './prompt.js';
import { action, change, type ChangeOptions, type Runtime, type Session } from './session.js';
import { factLines } from './table.js';

type Sheet = Awaited<ReturnType<CountSessions['get']>>;
interface Page<Row> {
  readonly data: readonly Row[];
  readonly nextCursor: string | null;
}
const at = (id: string) => `/v1/count-sessions/${segment(id)}`;

/** counts: shelves counted by people, session by session. */
export function addCountCommands(program: Command, runtime: Runtime): void {
  const counts = program.command('counts').description('Shelves counted by people: open, add, recount, approve');
  examples(counts, 'counts open main --without-orders --tolerance 1', 'counts add ID MUG=5 CUP=0', 'counts approve ID');
  addOpening(counts, runtime);
  addReads(counts, runtime);
  addEnds(counts, runtime);
}

interface OpenOptions extends ChangeOptions {
  readonly name?: string;
  readonly withOrders?: boolean;
  readonly withoutOrders?: boolean;
  readonly tolerance?: string;
  readonly tolerancePercent?: string;
}

function addOpening(counts: Command, runtime: Runtime): void {
  examples(
    changes(
      counts
        .command('open')
        .description('Begin to count the shelves of a location')
        .argument('<location>')
        .option('--name <name>', 'what the sheet is called')
        .option('--with-orders', 'pieces of unshipped orders stand on the shelf and are counted')
        .option('--without-orders', 'they were taken off the shelf before')
        .option('--tolerance <pieces>', 'a difference up to so many needs no recount')
        .option('--tolerance-percent <percent>', 'or up to this share of what the books say'),
    ),
    'counts open main --with-orders --tolerance-percent 2',
  ).action(
    action<OpenOptions, [string]>(runtime, async (session, options, location) => {
      if (options.withOrders === options.withoutOrders)
        throw new UsageError('Say whether pieces of unshipped orders are counted: --with-orders or --without-orders.');
      const body = {
        location,
        includesOpenOrders: options.withOrders === true,
        ...(options.name !== undefined && { name: options.name }),
        ...(options.tolerance !== undefined && { toleranceUnits: parseWhole(options.tolerance, '--tolerance') }),
        ...(options.tolerancePercent !== undefined && {
          tolerancePercent: parseWhole(options.tolerancePercent, '--tolerance-percent'),
        }),
      };
      const answer = await change<Sheet>(session, options, { method: 'POST', path: '/v1/count-sessions', body });
      if (answer !== null) session.answer(answer, (sheet) => showSheet(session, sheet));
    }),
  );
  examples(
    changes(
      counts
        .command('add')
        .description('Record what was counted')
        .argument('<id>')
        .argument('<sku=quantity...>')
        .option('--round <number>', '1: the count; 2 and more: recounts', '1')
        .option('--counted-at <time>', 'the moment of counting, with an offset; left out: now'),
    ),
    'counts add ID MUG=5 CUP=0',
    'counts add ID MUG=5 --round 2',
  ).action(
    action<ChangeOptions & { round: string; countedAt?: string }, [string, string[]]>(
      runtime,
      async (session, { round, countedAt, ...options }, id, pairs) => {
        const entries = pairs.map((pair) => ({ ...entryOf(pair), ...(countedAt !== undefined && { countedAt }) }));
        const body = { round: parseWhole(round, '--round'), entries };
        const answer = await change<Sheet>(session, options, { method: 'PUT', path: `${at(id)}/entries`, body });
        if (answer !== null) session.answer(answer, (sheet) => showSheet(session, sheet));
      },
    ),
  );
}

/** A SKU may hold "=" itself: the last one divides. */
function entryOf(pair: string): { sku: string; quantity: number } {
  const [, sku = '', quantity = ''] = /^(.+)=(\d{1,10})$/.exec(pair) ?? [];
  if (sku === '') throw new UsageError(`"${pair}" must look like MUG=5.`);
  return { sku, quantity: Number(quantity) };
}

function addReads(counts: Command, runtime: Runtime): void {
  examples(pages(counts.command('list').description('Sessions, the last begun first')), 'counts list').action(
    action<PageOptions>(runtime, async (session, options) => {
      session.answer(await session.hub.get<Page<Sheet>>('/v1/count-sessions', pageQuery(options)), (page) => {
        session.terminal.table(
          [
            { title: 'ID', of: (row) => row.id },
            { title: 'NAME', of: (row) => row.name },
            { title: 'LOCATION', of: (row) => row.location },
            { title: 'STATE', of: (row) => row.state },
            { title: 'BEGUN', of: (row) => formatTime(row.createdAt) },
            { title: 'BY', of: (row) => row.by },
          ],
          page.data,
          'Nothing has been counted yet.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
  examples(
    pages(
      counts
        .command('show')
        .description('Lines of a session: counted, expected, difference')
        .argument('<id>')
        .addOption(choice('--state <state>', 'only such lines', ['within', 'confirmed', 'recount'])),
    ),
    'counts show ID --state recount',
  ).action(
    action<PageOptions & { state?: string }, [string]>(runtime, async (session, { state, ...options }, id) => {
      const query = { state, ...pageQuery(options) };
      session.answer(await session.hub.get<Page<CountLine>>(`${at(id)}/lines`, query), (page) => {
        session.terminal.table(
          [
            { title: 'SKU', of: (row) => row.sku },
            { title: 'COUNTED', of: (row) => formatNumber(row.quantity), right: true },
            { title: 'EXPECTED', of: (row) => formatNumber(row.expected), right: true },
            { title: 'DIFFERENCE', of: (row) => formatDelta(row.difference), right: true },
            { title: 'ROUNDS', of: (row) => row.rounds, right: true },
            { title: 'STATE', of: (row) => row.state },
            { title: 'AT', of: (row) => formatTime(row.countedAt) },
            { title: 'BY', of: (row) => row.by },
          ],
          page.data,
          'No such line.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
}

function addEnds(counts: Command, runtime: Runtime): void {
  examples(
    dangerous(
      counts
        .command('approve')
        .description('Make every line a count, as of its moment')
        .argument('<id>')
        .option('--anyway <reason>', 'also lines that are out of tolerance and not confirmed, and why'),
    ),
    'counts approve ID --yes',
  ).action(
    action<ChangeOptions & { yes?: boolean; anyway?: string }, [string]>(
      runtime,
      async (session, { anyway, yes, ...options }, id) => {
        const { body: sheet } = await session.hub.get<Sheet>(at(id));
        if (options.dryRun !== true) {
          const { counted } = sheet.lines;
          const question = `Approve ${formatNumber(counted)} lines of ${sheet.location}, ${formatDelta(sheet.pieces)} pieces?`;
          await confirm(session.terminal, yes, question);
        }
        const body = anyway === undefined ? {} : { anyway: true, reason: anyway };
        const answer = await change<Sheet>(session, options, { method: 'POST', path: `${at(id)}/approve`, body });
        if (answer !== null) session.answer(answer, (done) => showSheet(session, done));
      },
    ),
  );
  examples(
    changes(
      counts
        .command('cancel')
        .description('Give a session up')
        .argument('<id>')
        .requiredOption('--reason <reason>', 'why'),
    ),
    'counts cancel ID --reason "wrong shelf"',
  ).action(
    action<ChangeOptions & { reason: string }, [string]>(runtime, async (session, { reason, ...options }, id) => {
      const request = { method: 'POST', path: `${at(id)}/cancel`, body: { reason } } as const;
      const answer = await change<Sheet>(session, options, request);
      if (answer !== null) session.answer(answer, (sheet) => showSheet(session, sheet));
    }),
  );
}

function showSheet({ terminal }: Session, sheet: Sheet): void {
  const { counted, within, confirmed, toRecount } = sheet.lines;
  terminal.out(
    ...factLines([
      ['Session', sheet.id],
      ['Location', sheet.location],
      ['State', sheet.state],
      ['Lines', `${counted}: ${within} within tolerance, ${confirmed} confirmed, ${toRecount} to recount`],
      ['Pieces', formatDelta(sheet.pieces)],
    ]),
  );
  if (toRecount > 0 && sheet.state === 'open')
    terminal.note(`To recount: onhand counts show ${sheet.id} --state recount`);
}
