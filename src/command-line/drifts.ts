import type { Command } from 'commander';
import type { CartAgreement, ComparisonRow, Drift } from '../cart-workers/drifts/drifts.js';
import { formatDelta, formatTime } from './format.js';
import { number } from './items.js';
import { changes, examples, moreHint, pageQuery, pages, segment, type PageOptions } from './options.js';
import { action, change, type ChangeOptions, type Runtime } from './session.js';

interface Page<Row> {
  readonly data: readonly Row[];
  readonly nextCursor: string | null;
}
type ListOptions = PageOptions & {
  readonly cart?: string;
  readonly state?: string;
  readonly class?: string;
  readonly open?: boolean;
};

/** drifts: listings that show something else than they should. */
export function addDriftCommands(program: Command, runtime: Runtime): void {
  const drifts = program
    .command('drifts')
    .description('Listings that show something else than they should: list, explain, decide');
  examples(drifts, 'drifts list --open', 'drifts show 12', 'drifts resolve 12 repair --reason "typing error"');
  addList(drifts, runtime);
  addShow(drifts, runtime);
  addResolve(drifts, runtime);
  addAgreement(drifts, runtime);
}

const whyOf = ({ class: one, candidates }: Drift) =>
  one === 'unknown' && candidates.length > 0 ? `unknown (${candidates.join(' or ')})` : one;

function addList(drifts: Command, runtime: Runtime): void {
  examples(
    pages(
      drifts
        .command('list')
        .description('The newest first')
        .option('--cart <id>', 'only this cart’s')
        .option('--state <state>', 'suspected, confirmed, parked, repaired, accepted or cleared')
        .option('--class <class>', 'such as delta-lost or edited-at-cart')
        .option('--open', 'only what is not over'),
    ),
    'drifts list --cart main-shop --open',
  ).action(
    action<ListOptions>(runtime, async (session, options) => {
      const query = {
        cart: options.cart,
        state: options.state,
        class: options.class,
        open: options.open === true ? 'true' : undefined,
        ...pageQuery(options),
      };
      session.answer(await session.hub.get<Page<Drift>>('/v1/drifts', query), (page) => {
        session.terminal.table(
          [
            { title: 'DRIFT', of: (row) => String(row.id), right: true },
            { title: 'CART', of: (row) => row.cartId },
            { title: 'KEY', of: (row) => row.key },
            { title: 'SHOWN', of: (row) => number(row.shown), right: true },
            { title: 'SHOULD', of: (row) => number(row.should), right: true },
            {
              title: 'DIFFERENCE',
              of: (row) => (row.difference === null ? '' : formatDelta(row.difference)),
              right: true,
            },
            { title: 'STATE', of: (row) => row.state },
            { title: 'WHY', of: whyOf },
            { title: 'SINCE', of: (row) => formatTime(row.suspectedAt) },
          ],
          page.data,
          'No drift.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
}

function addShow(drifts: Command, runtime: Runtime): void {
  examples(
    drifts.command('show').description('With everything that its class was told from').argument('<drift>'),
    'drifts show 12',
  ).action(
    action<object, [string]>(runtime, async (session, _options, id) => {
      const answer = await session.hub.get<Drift & { evidence: unknown }>(`/v1/drifts/${segment(id)}`);
      session.answer(answer, (drift) =>
        session.terminal.out(
          `${drift.key} (${drift.sku}) at ${drift.cartId}: shown ${number(drift.shown)}, should ${number(drift.should)}, ${drift.state}`,
          `Why: ${whyOf(drift) ?? 'only suspected so far'}`,
          `Suspected ${formatTime(drift.suspectedAt)} by a ${drift.raisedBy}, ${drift.looks} looks`,
          ...(drift.resolution === null ? [] : [`${drift.resolution}${drift.by === null ? '' : ` (${drift.by})`}`]),
          ...(drift.reason === null ? [] : [`Reason: ${drift.reason}`]),
          JSON.stringify(drift.evidence, null, 2),
        ),
      );
    }),
  );
}

function addResolve(drifts: Command, runtime: Runtime): void {
  examples(
    changes(
      drifts
        .command('resolve')
        .description('repair: the cart follows us; take-over: we follow the cart; accept: it stays as it is')
        .argument('<drift>')
        .argument('<action>', 'repair, take-over or accept')
        .requiredOption('--reason <text>', 'why; it is kept'),
    ),
    'drifts resolve 12 repair --reason "typing error in the shop"',
  ).action(
    action<ChangeOptions & { reason: string }, [string, string]>(runtime, async (session, options, id, wished) => {
      const path = `/v1/drifts/${segment(id)}`;
      const body = { action: wished, reason: options.reason };
      const request = { method: 'POST', path: `${path}/resolve`, body } as const;
      const answer = await change<Drift>(session, options, request, async () => {
        const { body: now } = await session.hub.get<Drift>(path);
        return [
          {
            what: `${now.key} at ${now.cartId}, shown ${number(now.shown)}, should ${number(now.should)}`,
            before: now.state,
            after: wished,
          },
        ];
      });
      if (answer === null) return;
      session.answer(answer, (drift) => {
        session.terminal.out(`Drift ${drift.id} is ${drift.state}.`);
        if (drift.endedAt === null) session.terminal.note('Too much happened to the listing just then; say it again.');
      });
    }),
  );
}

type Trend = CartAgreement & { readonly comparisons: readonly ComparisonRow[] };

function addAgreement(drifts: Command, runtime: Runtime): void {
  examples(
    drifts
      .command('carts')
      .description('How well each cart agrees; with a cart, its last comparisons')
      .argument('[cart]'),
    'drifts carts',
    'drifts carts main-shop',
  ).action(
    action<object, [string | undefined]>(runtime, async (session, _options, id) => {
      if (id !== undefined) {
        session.answer(await session.hub.get<Trend>(`/v1/carts/${segment(id)}/agreement`), (trend) => {
          session.terminal.out(
            trend.why ?? `${trend.cartId} is well: last clean ${formatTime(trend.lastCleanAt) || 'not yet'}`,
          );
          session.terminal.table(comparisonCells, trend.comparisons, 'Not compared yet.');
        });
        return;
      }
      session.answer(await session.hub.get<Page<CartAgreement>>('/v1/agreement'), (page) =>
        session.terminal.table(
          [
            { title: 'CART', of: (row) => row.cartId },
            { title: 'HEALTHY', of: (row) => (row.healthy ? 'yes' : 'no') },
            { title: 'LAST CLEAN', of: (row) => formatTime(row.lastCleanAt) },
            { title: 'SUSPECTED', of: (row) => row.suspected, right: true },
            { title: 'CONFIRMED', of: (row) => row.confirmed, right: true },
            { title: 'PARKED', of: (row) => row.parked, right: true },
            { title: 'CORRECTED (24 H)', of: (row) => row.corrected, right: true },
          ],
          page.data,
          'No cart yet.',
        ),
      );
    }),
  );
}

const comparisonCells = [
  { title: 'BEGAN', of: (row: ComparisonRow) => formatTime(row.startedAt) },
  { title: 'LOOKED AT', of: (row: ComparisonRow) => row.looked, right: true },
  { title: 'EQUAL', of: (row: ComparisonRow) => row.equal, right: true },
  { title: 'DIFFER', of: (row: ComparisonRow) => row.differing, right: true },
  { title: 'BUSY', of: (row: ComparisonRow) => row.busy, right: true },
  { title: 'ERROR', of: (row: ComparisonRow) => row.error },
];
