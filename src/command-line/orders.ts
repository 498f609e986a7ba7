import type { Command } from 'commander';
import type { OrderReads } from '../modules/orders/order-reads.js';
import { CommandLineError, exitCodes, UsageError } from './exit-codes.js';
import { formatNumber, formatTime, parseTime, parseWhole, splitLast } from './format.js';
import { HubRefusedError, newIdempotencyKey } from './hub-client.js';
import { changes, choice, examples, moreHint, pageQuery, pages, segment, type PageOptions } from './options.js';
import { startProgress } from './progress.js';
import { readAll, readText } from './prompt.js';
import { action, change, type ChangeOptions, type Runtime, type Session } from './session.js';
import { factLine, showFacts, type Accepted } from './stock.js';
import { factLines } from './table.js';

type Order = NonNullable<Awaited<ReturnType<OrderReads['get']>>>;
type OrderPage = Awaited<ReturnType<OrderReads['list']>>;

export function addOrderCommands(program: Command, runtime: Runtime): void {
  const orders = program.command('orders').description('Orders: list, show, import, ship, close');
  examples(orders, 'orders list --cart main-shop --state open', 'orders import orders.json');
  addList(orders, runtime);
  addShow(orders, runtime);
  addImport(orders, runtime);
  addProgress(orders, runtime, 'ship', 'Lines have left the building: they are no longer open');
  addProgress(orders, runtime, 'close', 'Lines will not be shipped any more; nothing comes back on hand');
}

function addList(orders: Command, runtime: Runtime): void {
  examples(
    pages(
      orders
        .command('list')
        .description('Orders, the last placed first')
        .option('--cart <id>', 'only this cart’s')
        .addOption(choice('--state <state>', 'only in this state', ['open', 'shipped', 'closed', 'cancelled'])),
    ),
    'orders list --cart main-shop --state open',
  ).action(
    action<PageOptions & { cart?: string; state?: string }>(runtime, async (session, options) => {
      const query = { cart: options.cart, state: options.state, ...pageQuery(options) };
      session.answer(await session.hub.get<OrderPage>('/v1/orders', query), (page) => {
        session.terminal.table(
          [
            { title: 'NUMBER', of: (row) => row.number },
            { title: 'CART', of: (row) => row.cartId ?? '(phone)' },
            { title: 'STATE', of: (row) => row.state },
            { title: 'PLACED', of: (row) => formatTime(row.placedAt) },
            { title: 'LINES', of: (row) => row.lines.length, right: true },
          ],
          page.data,
          'No order.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
}

function addShow(orders: Command, runtime: Runtime): void {
  examples(
    orders
      .command('show')
      .description('One order with its lines')
      .argument('<number>')
      .option('--cart <id>', 'the cart it belongs to; left out: an order by phone'),
    'orders show 1001 --cart main-shop',
  ).action(
    action<{ cart?: string }, [string]>(runtime, async (session, { cart }, number) => {
      const answer = await session.hub.get<Order>(`/v1/orders/${segment(number)}`, { cart });
      session.answer(answer, (order) => {
        session.terminal.out(
          ...factLines([
            ['Order', order.number],
            ['Cart', order.cartId ?? '(phone)'],
            ['State', order.state],
            ['Placed', formatTime(order.placedAt)],
            ['Imported', formatTime(order.importedAt)],
          ]),
          '',
        );
        session.terminal.table(
          [
            { title: 'LINE', of: (row) => row.line },
            { title: 'KEY', of: (row) => row.key },
            { title: 'SKU', of: (row) => row.sku },
            { title: 'QUANTITY', of: (row) => formatNumber(row.quantity), right: true },
          ],
          order.lines,
          'It has no lines.',
        );
      });
    }),
  );
}

function addProgress(orders: Command, runtime: Runtime, name: 'ship' | 'close', description: string): void {
  examples(
    changes(
      orders
        .command(name)
        .description(description)
        .argument('<number>')
        .argument('[line=quantity...]', 'which lines and how many pieces; left out: every open line')
        .option('--cart <id>', 'the cart it belongs to; left out: an order by phone')
        .option('--occurred-at <time>', 'business time; left out: now'),
    ),
    `orders ${name} 1001 --cart main-shop`,
    `orders ${name} 1001 1=2 --cart main-shop`,
  ).action(
    action<ChangeOptions & { cart?: string; occurredAt?: string }, [string, string[]]>(
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
        const query = options.cart === undefined ? '' : `?cart=${segment(options.cart)}`;
        const path = `/v1/orders/${segment(number)}/${name}${query}`;
        const answer = await change<Accepted>(session, options, { method: 'POST', path, body }, async () => {
          const { body: order } = await session.hub.get<Order>(`/v1/orders/${segment(number)}`, { cart: options.cart });
          const after = lines.length > 0 ? 'some lines moved on' : name === 'ship' ? 'shipped' : 'closed';
          return [{ what: `Order ${order.number}`, before: order.state, after }];
        });
        if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
      },
    ),
  );
}

interface ImportRow {
  readonly number: string;
  readonly status: number;
  readonly answer: unknown;
}

function addImport(orders: Command, runtime: Runtime): void {
  examples(
    changes(
      orders
        .command('import')
        .description('Tell orders from JSON: one order, a list, or one a line, each as POST /v1/orders takes it')
        .argument('<file>', 'a path, or - for stdin'),
    ),
    'orders import orders.json',
    'orders import - --dry-run < orders.ndjson',
  ).action(
    action<ChangeOptions, [string]>(runtime, async (session, options, file) => {
      const text = file === '-' ? await readAll(session.terminal.stdin) : await readText(file, 'orders import');
      const found = parseOrders(text);
      if (options.dryRun === true) return previewImport(session, found);
      const rows = await importAll(session, found, options.idempotencyKey ?? newIdempotencyKey());
      const refused = rows.filter((row) => row.status >= 400);
      session.data(rows, () => {
        for (const row of rows) if (row.status < 400) showImported(session, row);
        session.terminal.out(`${rows.length - refused.length} taken, ${refused.length} refused.`);
      });
      return refused.length > 0 ? exitCodes.refused : exitCodes.ok;
    }),
  );
}

/** Order by order, in the order of the file: a later line may be a later revision of an earlier one. */
async function importAll(session: Session, orders: readonly object[], key: string): Promise<ImportRow[]> {
  const progress = startProgress(session.terminal, 'Orders');
  const rows: ImportRow[] = [];
  try {
    for (const [at, order] of orders.entries()) {
      rows.push(await importOne(session, order, `${key}-${at + 1}`, at));
      progress.tell(rows.length, orders.length);
    }
  } catch (error) {
    if (!(error instanceof CommandLineError)) throw error;
    const done = `${rows.length} of ${orders.length} orders were told. Import the file again: an order told twice counts once.`;
    throw new CommandLineError(error.exitCode, `${error.message}\n${done}`, error.answer);
  } finally {
    progress.end();
  }
  return rows;
}

async function importOne(session: Session, order: object, idempotencyKey: string, at: number): Promise<ImportRow> {
  const number = numberOf(order, at);
  try {
    const answer = await session.hub.send({ method: 'POST', path: '/v1/orders', body: order, idempotencyKey });
    return { number, status: answer.status, answer: answer.body };
  } catch (error) {
    if (!(error instanceof HubRefusedError) || error.status === 401 || error.status === 403) throw error;
    session.terminal.note(`Order ${number} is refused: ${error.message}`);
    return { number, status: error.status, answer: JSON.parse(error.answer ?? 'null') };
  }
}

function showImported(session: Session, { number, answer }: ImportRow): void {
  const { facts, note } = answer as Accepted;
  const what = facts.length === 0 ? (note ?? 'nothing new') : facts.map(factLine).join('; ');
  session.terminal.out(`${number}: ${what}`);
}

function previewImport(session: Session, orders: readonly object[]): number {
  const requests = orders.map((body) => ({ method: 'POST', url: `${session.hub.address.url}/v1/orders`, body }));
  session.data({ dryRun: true, requests }, () => {
    session.terminal.out(...orders.map((order, at) => `Would tell order ${numberOf(order, at)}`));
    session.terminal.note('Nothing was sent (--dry-run). Each order is checked by the hub when it is told.');
  });
  return exitCodes.ok;
}

const numberOf = (order: object, at: number) =>
  'number' in order && typeof order.number === 'string' ? order.number : `(the ${at + 1}. of the file)`;

/** @throws UsageError that says where the text stops being orders */
export function parseOrders(text: string): object[] {
  const plain = text.replace(/^\uFEFF/, '').trim();
  if (plain === '') throw new UsageError('There is no order in it.');
  const whole = parsed(plain);
  const values =
    'value' in whole ? [whole.value].flat() : plain.split(/\r?\n/).map((line, at) => lineOf(line, at, whole.why));
  const orders = values.filter((value) => value !== undefined);
  const wrong = orders.findIndex((value) => typeof value !== 'object' || value === null);
  if (wrong !== -1) throw new UsageError(`The ${wrong + 1}. entry is not an order; an order is a JSON object.`);
  return orders as object[];
}

function lineOf(line: string, at: number, why: string): unknown {
  if (line.trim() === '') return undefined;
  const read = parsed(line);
  if ('value' in read) return read.value;
  const what = at === 0 ? `The file is not JSON: ${why}` : `Line ${at + 1} is not JSON: ${read.why}`;
  throw new UsageError(`${what}.`);
}

function parsed(text: string): { value: unknown } | { why: string } {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch (error) {
    return { why: error instanceof Error ? error.message : String(error) };
  }
}
