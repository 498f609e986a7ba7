import type { Command } from 'commander';
import type { DoubtfulReads } from '../modules/rules/doubtful-reads.js';
import { UsageError } from './exit-codes.js';
import { formatNumber, formatTime } from './format.js';
import { changes, examples, moreHint, pageQuery, pages, type PageOptions } from './options.js';
import { action, change, type ChangeOptions, type Runtime, type Session } from './session.js';
import { showFacts, type Accepted } from './stock.js';

type DoubtfulPage = Awaited<ReturnType<DoubtfulReads['list']>>;

/** doubtful: the last pieces that nobody has seen for long. */
export function addDoubtfulCommands(program: Command, runtime: Runtime): void {
  const doubtful = program
    .command('doubtful')
    .description('The last pieces that nobody has seen for long: list, count, write off');
  examples(doubtful, 'doubtful', 'doubtful count MUG MAIN 2', 'doubtful write-off MUG MAIN');
  examples(
    pages(doubtful.command('list', { isDefault: true }).description('What rules do not publish for that')),
    'doubtful list',
  ).action(
    action<PageOptions>(runtime, async (session, options) => {
      const answer = await session.hub.get<DoubtfulPage>('/v1/doubtful', pageQuery(options));
      session.answer(answer, (page) => showDoubtful(session, page));
    }),
  );
  examples(
    changes(
      doubtful
        .command('count')
        .description('Somebody looked: so many are there')
        .argument('<sku>')
        .argument('<location>')
        .argument('<quantity>'),
    ),
    'doubtful count MUG MAIN 2',
  ).action(
    action<ChangeOptions, [string, string, string]>(runtime, async (session, options, sku, location, quantity) => {
      if (!/^\d{1,10}$/.test(quantity)) throw new UsageError(`<quantity> must be 0 or more, not ${quantity}.`);
      const body = { sku, location, quantity: Number(quantity) };
      const answer = await change<Accepted>(session, options, { method: 'POST', path: '/v1/doubtful/count', body });
      if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
    }),
  );
  examples(
    changes(
      doubtful
        .command('write-off')
        .description('Nobody finds them')
        .argument('<sku>')
        .argument('<location>')
        .option('--reason <text>', 'why'),
    ),
    'doubtful write-off MUG MAIN --reason "stolen"',
  ).action(
    action<ChangeOptions & { reason?: string }, [string, string]>(runtime, async (session, options, sku, location) => {
      const body = { sku, location, ...(options.reason !== undefined && { reason: options.reason }) };
      const answer = await change<Accepted>(session, options, { method: 'POST', path: '/v1/doubtful/write-off', body });
      if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
    }),
  );
}

function showDoubtful(session: Session, page: DoubtfulPage): void {
  session.terminal.table(
    [
      { title: 'SKU', of: (row) => row.sku },
      { title: 'LOCATION', of: (row) => row.location },
      { title: 'ON HAND', of: (row) => formatNumber(row.onHand), right: true },
      { title: 'LAST SEEN', of: (row) => (row.seenAt === null ? 'never' : formatTime(row.seenAt)) },
      { title: 'RULE', of: (row) => [...new Set(row.heldBack.map(({ ruleId }) => ruleId))].join(', ') },
      { title: 'TITLE', of: (row) => row.title },
    ],
    page.data,
    'Nothing is in doubt.',
  );
  moreHint(session, page.nextCursor);
}
