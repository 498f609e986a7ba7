import type { Command } from 'commander';
import type { UnknownSkuReads } from '../modules/carts/unknown-sku-reads.js';
import { formatNumber, formatTime } from './format.js';
import { changes, choice, examples, moreHint, pageQuery, pages, type PageOptions } from './options.js';
import { action, change, type ChangeOptions, type Runtime, type Session } from './session.js';
import { showFacts, type Accepted } from './stock.js';

type UnknownPage = Awaited<ReturnType<UnknownSkuReads['list']>>;
type UnknownSku = UnknownPage['data'][number];

/** unknown: what carts show or sell and nobody knows here. */
export function addUnknownCommands(program: Command, runtime: Runtime): void {
  const unknown = program
    .command('unknown')
    .description('SKUs that carts show or sell and nobody knows here: list, create, ignore, heed');
  examples(
    unknown,
    'unknown',
    'unknown create main-shop 4711 --sku MUG',
    'unknown ignore main-shop TIP --reason "no goods"',
  );
  examples(
    pages(
      unknown
        .command('list', { isDefault: true })
        .description('Which, where they were met, and how many pieces were ordered')
        .option('--cart <cart>', 'only of this cart')
        .addOption(choice('--state <state>', 'open, ignored or all', ['open', 'ignored', 'all'], 'open')),
    ),
    'unknown list --cart main-shop',
  ).action(
    action<PageOptions & { cart?: string; state: string }>(runtime, async (session, { cart, state, ...options }) => {
      const answer = await session.hub.get<UnknownPage>('/v1/unknown-skus', { cart, state, ...pageQuery(options) });
      session.answer(answer, (page) => showUnknown(session, page));
    }),
  );
  examples(
    changes(
      unknown
        .command('create')
        .description('Create an item for it, and map it; to map it to an item that exists: onhand carts map')
        .argument('<cart>')
        .argument('<key>')
        .option('--sku <sku>', 'left out: the cart’s key')
        .option('--title <title>', 'left out: as the cart calls it')
        .option('--barcode <code>', 'its barcode'),
    ),
    'unknown create main-shop 4711 --sku MUG --title "Mug, blue"',
  ).action(
    action<ChangeOptions & { sku?: string; title?: string; barcode?: string }, [string, string]>(
      runtime,
      async (session, options, cartId, key) => {
        const { sku, title, barcode } = options;
        const body = {
          cartId,
          key,
          ...(sku !== undefined && { sku }),
          ...(title !== undefined && { title }),
          ...(barcode !== undefined && { barcode }),
        };
        const answer = await change<Accepted>(session, options, {
          method: 'POST',
          path: '/v1/unknown-skus/item',
          body,
        });
        if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
      },
    ),
  );
  addJudgements(unknown, runtime);
}

function addJudgements(unknown: Command, runtime: Runtime): void {
  const path = '/v1/unknown-skus/ignored';
  examples(
    changes(
      unknown
        .command('ignore')
        .description('Take it out of sight; meeting it again does not bring it back')
        .argument('<cart>')
        .argument('<key>')
        .requiredOption('--reason <text>', 'why'),
    ),
    'unknown ignore main-shop TIP --reason "a tip, not goods"',
  ).action(
    action<ChangeOptions & { reason: string }, [string, string]>(runtime, async (session, options, cartId, key) => {
      const body = { cartId, key, ignored: true, reason: options.reason };
      const answer = await change<UnknownSku>(session, options, { method: 'PUT', path, body });
      if (answer !== null) session.answer(answer, () => session.terminal.out(`${key} of ${cartId} is ignored.`));
    }),
  );
  examples(
    changes(
      unknown.command('heed').description('Put an ignored one back on the list').argument('<cart>').argument('<key>'),
    ),
    'unknown heed main-shop TIP',
  ).action(
    action<ChangeOptions, [string, string]>(runtime, async (session, options, cartId, key) => {
      const body = { cartId, key, ignored: false };
      const answer = await change<UnknownSku>(session, options, { method: 'PUT', path, body });
      if (answer !== null)
        session.answer(answer, () => session.terminal.out(`${key} of ${cartId} is on the list again.`));
    }),
  );
}

function showUnknown(session: Session, page: UnknownPage): void {
  session.terminal.table(
    [
      { title: 'CART', of: (row) => row.cartId },
      { title: 'KEY', of: (row) => row.key },
      { title: 'ORDERS', of: (row) => formatNumber(row.orders), right: true },
      { title: 'PIECES', of: (row) => formatNumber(row.piecesOrdered), right: true },
      { title: 'FIRST MET', of: (row) => formatTime(row.firstMet.at) },
      { title: 'LAST MET IN', of: (row) => row.lastMet.in },
      { title: 'TITLE', of: (row) => row.title },
      { title: 'IGNORED', of: (row) => row.ignored?.reason ?? null },
    ],
    page.data,
    'No unknown SKU.',
  );
  moreHint(session, page.nextCursor);
}
