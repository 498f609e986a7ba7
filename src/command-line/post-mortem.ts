import type { Command } from 'commander';
import type { PostMortems } from '../modules/explanations/post-mortems.js';
import { formatNumber, formatTime } from './format.js';
import { examples, segment } from './options.js';
import { ofSource, type SourceOptions } from './order-lines.js';
import { action, type Runtime } from './session.js';

type PostMortem = NonNullable<Awaited<ReturnType<PostMortems['of']>>>;

/** orders post-mortem: how an order could sell more than there was. */
export function addPostMortem(orders: Command, runtime: Runtime): void {
  examples(
    ofSource(
      orders
        .command('post-mortem')
        .description('How an order could sell more than there was: what the cart showed, and what was late')
        .argument('<number>'),
    ),
    'orders post-mortem 1001 --cart main-shop',
  ).action(
    action<SourceOptions, [string]>(runtime, async (session, { cart, origin }, number) => {
      const answer = await session.hub.get<PostMortem>(`/v1/orders/${segment(number)}/post-mortem`, { cart, origin });
      session.answer(answer, ({ sentence, placedAt, recordedAt, lines }) => {
        session.terminal.out(sentence, `Placed ${formatTime(placedAt)}, heard of ${formatTime(recordedAt)}.`, '');
        session.terminal.table(
          [
            { title: 'LINE', of: (row) => row.line },
            { title: 'SKU', of: (row) => row.sku },
            { title: 'LOCATION', of: (row) => row.location },
            { title: 'SOLD', of: (row) => formatNumber(row.quantity), right: true },
            { title: 'TOO MANY', of: (row) => formatNumber(row.tooMany), right: true },
            { title: 'SHOWED', of: (row) => row.showed, right: true },
            { title: 'TO SHOW', of: (row) => row.shouldHaveShown, right: true },
          ],
          lines,
          'It took no pieces.',
        );
      });
    }),
  );
}
