import type { Command } from 'commander';
import type { OpenLineReads } from '../modules/orders/open-line-reads.js';
import { formatNumber, formatTime, parseTime, parseWhole, splitLast } from './format.js';
import { changes, choice, examples, moreHint, pageQuery, pages, segment, type PageOptions } from './options.js';
import type { Order } from './orders.js';
import { action, change, type ChangeOptions, type Runtime } from './session.js';
import { showFacts, type Accepted } from './stock.js';

type OpenLinePage = Awaited<ReturnType<OpenLineReads['list']>>;

export const otherOrigins = ['phone', 'store', 'marketplace'];

export interface SourceOptions {
  readonly cart?: string;
  readonly origin?: string;
}

/** Which order a number means: it is unique within its cart, or within one of the other origins. */
export function ofSource(command: Command): Command {
  return command
    .option('--cart <id>', 'the cart that took the order')
    .addOption(choice('--origin <origin>', 'who took it where no cart did; both left out: phone', otherOrigins));
}

/** What becomes of the lines of orders: open-lines, fill, ship, close. */
export function addOrderLineCommands(orders: Command, runtime: Runtime): void {
  addOpenLines(orders, runtime);
  addProgress(
    orders,
    runtime,
    'fill',
    'Give lines the pieces that are there, such as back-ordered ones after a receipt',
  );
  addProgress(orders, runtime, 'ship', 'Lines have left the building: they are no longer open');
  addProgress(orders, runtime, 'close', 'Lines will not be shipped any more; nothing comes back on hand');
}

function addOpenLines(orders: Command, runtime: Runtime): void {
  examples(
    pages(
      ofSource(
        orders
          .command('open-lines')
          .description('Lines that are sold and have not left, the oldest order first, and how many pieces are there')
          .addOption(
            choice('--state <state>', 'waiting: pieces are missing. fillable: back-ordered, and pieces are there now', [
              'waiting',
              'fillable',
            ]),
          )
          .option('--sku <sku>', 'only of this item')
          .option('-l, --location <code>', 'only there'),
      ),
    ),
    'orders open-lines --state fillable',
  ).action(
    action<PageOptions & SourceOptions & { state?: string; sku?: string; location?: string }>(
      runtime,
      async (session, { state, sku, location, cart, origin, ...page }) => {
        const query = { state, sku, location, cart, origin, ...pageQuery(page) };
        session.answer(await session.hub.get<OpenLinePage>('/v1/open-lines', query), (answer) => {
          session.terminal.table(
            [
              { title: 'NUMBER', of: (row) => row.number },
              { title: 'CART', of: (row) => row.cartId ?? `(${row.origin})` },
              { title: 'LINE', of: (row) => row.line },
              { title: 'SKU', of: (row) => row.sku },
              { title: 'LOCATION', of: (row) => row.location },
              { title: 'PLACED', of: (row) => formatTime(row.placedAt) },
              { title: 'OPEN', of: (row) => formatNumber(row.open), right: true },
              { title: 'THERE', of: (row) => formatNumber(row.there), right: true },
              { title: 'MISSING', of: (row) => formatNumber(row.missing), right: true },
            ],
            answer.data,
            'No open line.',
          );
          moreHint(session, answer.nextCursor);
        });
      },
    ),
  );
}

function addProgress(orders: Command, runtime: Runtime, name: 'ship' | 'fill' | 'close', description: string): void {
  const everything = name === 'fill' ? 'every open line, as far as its pieces are there' : 'every open line';
  examples(
    changes(
      ofSource(
        orders
          .command(name)
          .description(description)
          .argument('<number>')
          .argument('[line=quantity...]', `which lines and how many pieces; left out: ${everything}`)
          .option('--occurred-at <time>', 'business time; left out: now'),
      ),
    ),
    `orders ${name} 1001 --cart main-shop`,
    `orders ${name} 1001 1=2 --cart main-shop`,
  ).action(
    action<ChangeOptions & SourceOptions & { occurredAt?: string }, [string, string[]]>(
      runtime,
      async (session, options, number, rows) => {
        const lines = rows.map((row) => {
          const [line, quantity] = splitLast(row, '1=2');
          return { line, quantity: parseWhole(quantity, `The quantity of line ${line}`) };
        });
        const body = {
          ...(lines.length > 0 && { lines }),
          ...(options.occurredAt !== undefined && { occurredAt: parseTime(options.occurredAt, '--occurred-at') }),
        };
        const { cart, origin } = options;
        const query = cart === undefined ? (origin === undefined ? '' : `?origin=${origin}`) : `?cart=${segment(cart)}`;
        const path = `/v1/orders/${segment(number)}/${name}${query}`;
        const answer = await change<Accepted>(session, options, { method: 'POST', path, body }, async () => {
          const { body: order } = await session.hub.get<Order>(`/v1/orders/${segment(number)}`, { cart, origin });
          const after =
            lines.length > 0 || name === 'fill' ? 'some lines moved on' : name === 'ship' ? 'shipped' : 'closed';
          return [{ what: `Order ${order.number}`, before: order.state, after }];
        });
        if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
      },
    ),
  );
}
