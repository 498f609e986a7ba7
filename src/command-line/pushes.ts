import type { Command } from 'commander';
import type { PushReads, ShownPush } from '../modules/reconciliation/push-reads.js';
import { formatDelta, formatTime } from './format.js';
import { number } from './items.js';
import { changes, dangerous, examples, moreHint, pageQuery, pages, type PageOptions } from './options.js';
import { confirm } from './prompt.js';
import { action, change, type ChangeOptions, type Runtime } from './session.js';

interface Page<Row> {
  readonly data: readonly Row[];
  readonly nextCursor: string | null;
}
type PreviewRow = Awaited<ReturnType<PushReads['preview']>>[number];

/** pushes: what the guard holds, because it would bring too much of a cart to zero or raise too much of it. */
export function addPushCommands(program: Command, runtime: Runtime): void {
  const pushes = program
    .command('pushes')
    .description('Changes of many listings at once, and what the guard holds of them');
  examples(pushes, 'pushes list --held', 'pushes show "cart:main-shop#12" main-shop');
  examples(
    pages(
      pushes
        .command('list')
        .description('The newest first')
        .option('--cart <id>', 'only this cart’s')
        .option('--held', 'only what is held'),
    ),
    'pushes list --held',
  ).action(
    action<PageOptions & { cart?: string; held?: boolean }>(runtime, async (session, options) => {
      const query = { cart: options.cart, state: options.held === true ? 'held' : undefined, ...pageQuery(options) };
      session.answer(await session.hub.get<Page<ShownPush>>('/v1/pushes', query), (page) => {
        session.terminal.table(
          [
            { title: 'PUSH', of: (row) => row.push },
            { title: 'CART', of: (row) => row.cartId },
            { title: 'WHAT', of: (row) => row.title },
            { title: 'STATE', of: (row) => row.state },
            { title: 'CHANGES', of: (row) => number(row.changed), right: true },
            { title: 'TO ZERO', of: (row) => number(row.zeroed), right: true },
            { title: 'DOUBLED', of: (row) => number(row.inflated), right: true },
            { title: 'SINCE', of: (row) => formatTime(row.openedAt) },
            { title: 'WHY', of: (row) => row.why },
          ],
          page.data,
          'No push.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
  examples(
    pages(pushes.command('show').description('What a held push would change').argument('<push>').argument('<cart>')),
    'pushes show "cart:main-shop#12" main-shop',
  ).action(
    action<PageOptions, [string, string]>(runtime, async (session, options, push, cart) => {
      const query = { push, cart, ...pageQuery(options) };
      session.answer(await session.hub.get<Page<PreviewRow>>('/v1/pushes/preview', query), (page) => {
        session.terminal.table(
          [
            { title: 'KEY', of: (row) => row.key },
            { title: 'SKU', of: (row) => row.sku },
            { title: 'BEFORE', of: (row) => number(row.before), right: true },
            { title: 'AFTER', of: (row) => number(row.after), right: true },
            { title: 'CHANGE', of: (row) => formatDelta(row.delta), right: true },
          ],
          page.data,
          'Nothing of it is held.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
  addDecision(pushes, runtime, 'let-through', 'Send what is held');
  addDecision(pushes, runtime, 'reject', 'Send none of it; its listings are told nothing more until they are compared');
}

function addDecision(pushes: Command, runtime: Runtime, name: 'let-through' | 'reject', description: string): void {
  const verdict = name === 'reject' ? 'rejected' : name;
  const command = pushes
    .command(name)
    .description(description)
    .argument('<push>')
    .argument('<cart>')
    .requiredOption('--reason <text>', 'why; it is kept');
  examples(
    name === 'reject' ? dangerous(command) : changes(command),
    `pushes ${name} "cart:main-shop#12" main-shop --reason "the warehouse moved"`,
  ).action(
    action<ChangeOptions & { reason: string; yes?: boolean }, [string, string]>(
      runtime,
      async (session, options, push, cart) => {
        if (name === 'reject' && options.dryRun !== true)
          await confirm(
            session.terminal,
            options.yes,
            `Send nothing of it, and nothing more to its listings until ${cart} is compared?`,
          );
        const body = { push, cartId: cart, verdict, reason: options.reason };
        const request = { method: 'POST', path: '/v1/pushes/decide', body } as const;
        const answer = await change<ShownPush>(session, options, request, async () => {
          const query = { push, cart, limit: '200' };
          const { body: page } = await session.hub.get<Page<PreviewRow>>('/v1/pushes/preview', query);
          return page.data.map((row) => ({
            what: `${row.key} at ${cart}`,
            before: number(row.before),
            after: name === 'reject' ? number(row.before) : number(row.after),
          }));
        });
        if (answer !== null)
          session.answer(answer, (row) => session.terminal.out(`${row.title}: ${row.state} at ${row.cartId}.`));
      },
    ),
  );
}
