import type { Command } from 'commander';
import type { Repeat } from '../modules/point-of-sale/find-repeats.js';
import { formatDelta, formatTime } from './format.js';
import { examples } from './options.js';
import { action, type Runtime } from './session.js';

interface RepeatOptions {
  readonly within: string;
  readonly hours: string;
  readonly limit: string;
}

/** point-of-sale: what tills told. */
export function addPointOfSaleCommands(program: Command, runtime: Runtime): void {
  const pos = program.command('point-of-sale').description('What tills told: calls that may have been sent twice');
  examples(pos, 'point-of-sale repeats');
  examples(
    pos
      .command('repeats')
      .description('Calls without a key that equal one shortly before; both were counted')
      .option('--within <seconds>', 'how soon after the other one', '30')
      .option('--hours <hours>', 'how far to look back', '24')
      .option('--limit <number>', 'rows, up to 200', '50'),
    'point-of-sale repeats --within 5',
  ).action(
    action<RepeatOptions>(runtime, async (session, { within, hours, limit }) => {
      const query = { withinSeconds: within, hours, limit };
      session.answer(await session.hub.get<{ data: Repeat[] }>('/v1/point-of-sale/repeats', query), ({ data }) => {
        session.terminal.table(
          [
            { title: 'WHEN', of: (row) => formatTime(row.recordedAt) },
            { title: 'AFTER', of: (row) => `${row.seconds.toFixed(1)} s`, right: true },
            { title: 'SKU', of: (row) => row.sku },
            { title: 'LOCATION', of: (row) => row.location },
            { title: 'CHANGE', of: (row) => formatDelta(row.delta), right: true },
            { title: 'REASON', of: (row) => row.reason ?? '' },
          ],
          data,
          'No call equals one shortly before.',
        );
      });
    }),
  );
}
