import type { Command } from 'commander';
import type { LedgerReads } from '../modules/inventory/ledger-reads.js';
import { formatDelta, formatNumber, formatTime } from './format.js';
import { examples, moreHint, pageQuery, pages, type PageOptions } from './options.js';
import { action, type Runtime } from './session.js';

type Movements = Awaited<ReturnType<LedgerReads['ofReference']>>;
type Totals = Awaited<ReturnType<LedgerReads['totalsOf']>>;

interface PaperOptions extends PageOptions {
  readonly line?: string;
  readonly totals?: boolean;
}

/** movements: what happened under one paper, such as every receipt of a purchase order. */
export function addMovementsCommand(program: Command, runtime: Runtime): void {
  examples(
    pages(
      program
        .command('movements')
        .description('Movements of one paper, the newest first: receipts of a purchase order, returns of an order')
        .argument('<kind:number>', 'the paper, such as purchase-order:PO-7')
        .option('--line <line>', 'only this line of it')
        .option('--totals', 'what was moved in all, per line, item, location and kind'),
    ),
    'movements purchase-order:PO-7',
    'movements purchase-order:PO-7 --totals',
  ).action(
    action<PaperOptions, [string]>(runtime, async (session, { line, totals, ...page }, reference) => {
      const query = { reference, line, ...pageQuery(page) };
      const none = 'No movement names this paper.';
      if (totals === true) {
        session.answer(await session.hub.get<Totals>('/v1/movements/totals', query), (answer) => {
          session.terminal.table(
            [
              { title: 'LINE', of: (row) => row.line ?? '-' },
              { title: 'SKU', of: (row) => row.sku },
              { title: 'LOCATION', of: (row) => row.location },
              { title: 'WHAT', of: (row) => (row.resellable === false ? `${row.type}, not resellable` : row.type) },
              { title: 'TIMES', of: (row) => formatNumber(row.movements), right: true },
              { title: 'PIECES', of: (row) => formatNumber(row.quantity), right: true },
              { title: 'ON HAND', of: (row) => formatDelta(row.delta), right: true },
            ],
            answer.data,
            none,
          );
          moreHint(session, answer.nextCursor);
        });
        return;
      }
      session.answer(await session.hub.get<Movements>('/v1/movements', query), (answer) => {
        session.terminal.table(
          [
            { title: 'RECORDED', of: (row) => formatTime(row.recordedAt) },
            { title: 'WHAT', of: (row) => row.type },
            { title: 'LINE', of: (row) => row.reference?.line ?? '-' },
            { title: 'SKU', of: (row) => row.sku },
            { title: 'LOCATION', of: (row) => row.location },
            { title: 'DELTA', of: (row) => formatDelta(row.delta), right: true },
            { title: 'ABOUT', of: (row) => notes(row) },
          ],
          answer.data,
          none,
        );
        moreHint(session, answer.nextCursor);
      });
    }),
  );
}

function notes(row: Movements['data'][number]): string {
  const returned = row.resellable === false ? `${formatNumber(row.returned ?? 0)} returned, not resellable` : null;
  return [returned, row.reason].filter((note) => note !== null).join(', ') || '-';
}
