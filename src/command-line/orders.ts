import type { Command } from 'commander';
import type { OrderReads } from '../modules/orders/order-reads.js';
import { CommandLineError, exitCodes, UsageError } from './exit-codes.js';
import { formatNumber, formatTime, parseSkuQuantity, parseTime, parseWhole } from './format.js';
import { HubRefusedError, newIdempotencyKey } from './hub-client.js';
import { changes, choice, examples, moreHint, pageQuery, pages, segment, type PageOptions } from './options.js';
import { addOrderLineCommands, ofSource, otherOrigins, type SourceOptions } from './order-lines.js';
import { addPostMortem } from './post-mortem.js';
import { startProgress } from './progress.js';
import { readAll, readText } from './prompt.js';
import { action, change, type ChangeOptions, type Runtime, type Session } from './session.js';
import { factLine, onHandAt, onHandPreview, onlyLocation, showFacts, type Accepted } from './stock.js';
import { factLines } from './table.js';

export type Order = NonNullable<Awaited<ReturnType<OrderReads['get']>>>;
type OrderPage = Awaited<ReturnType<OrderReads['list']>>;

export function addOrderCommands(program: Command, runtime: Runtime): void {
  const orders = program
    .command('orders')
    .description('Orders: list, show, place, import, and what becomes of their lines');
  examples(orders, 'orders list --cart main-shop --state open', 'orders place P-17 MUG=2 --location main');
  addList(orders, runtime);
  addShow(orders, runtime);
  addPlace(orders, runtime);
  addImport(orders, runtime);
  addOrderLineCommands(orders, runtime);
  addPostMortem(orders, runtime);
}

function addList(orders: Command, runtime: Runtime): void {
  examples(
    pages(
      orders
        .command('list')
        .description('Orders, the last placed first')
        .option('--cart <id>', 'only this cart’s')
        .addOption(choice('--origin <origin>', 'only from there', ['cart', ...otherOrigins]))
        .addOption(choice('--state <state>', 'only in this state', ['open', 'shipped', 'closed', 'cancelled'])),
    ),
    'orders list --cart main-shop --state open',
  ).action(
    action<PageOptions & { cart?: string; origin?: string; state?: string }>(runtime, async (session, options) => {
      const query = { cart: options.cart, origin: options.origin, state: options.state, ...pageQuery(options) };
      session.answer(await session.hub.get<OrderPage>('/v1/orders', query), (page) => {
        session.terminal.table(
          [
            { title: 'NUMBER', of: (row) => row.number },
            { title: 'CART', of: (row) => row.cartId ?? `(${row.origin})` },
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
    ofSource(orders.command('show').description('One order with its lines').argument('<number>')),
    'orders show 1001 --cart main-shop',
  ).action(
    action<SourceOptions, [string]>(runtime, async (session, { cart, origin }, number) => {
      const answer = await session.hub.get<Order>(`/v1/orders/${segment(number)}`, { cart, origin });
      session.answer(answer, (order) => {
        session.terminal.out(
          ...factLines([
            ['Order', order.number],
            ['Cart', order.cartId ?? `(${order.origin})`],
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
            { title: 'OPEN', of: (row) => formatNumber(row.open), right: true },
          ],
          order.lines,
          'It has no lines.',
        );
      });
    }),
  );
}

interface PlaceOptions extends ChangeOptions {
  readonly location?: string;
  readonly origin: string;
  readonly placedAt?: string;
  readonly revision?: string;
}

function addPlace(orders: Command, runtime: Runtime): void {
  examples(
    changes(
      orders
        .command('place')
        .description('Tell an order that no cart took: by phone, over the counter, at a marketplace')
        .argument('<number>')
        .argument('<sku=quantity...>', 'the whole order as it is now; told again it is an edit')
        .option('-l, --location <code>', 'whose stock it takes; may be left out while there is only one')
        .addOption(choice('--origin <origin>', 'who took it', otherOrigins, 'phone'))
        .option('--revision <number>', 'rises with every edit; older ones are ignored')
        .option('--placed-at <time>', 'left out: now'),
    ),
    'orders place P-17 MUG=2 CUP=1 --location main',
    'orders place P-17 MUG=3 --location main --revision 2',
  ).action(
    action<PlaceOptions, [string, string[]]>(runtime, async (session, options, number, rows) => {
      const location = options.location ?? (await onlyLocation(session));
      const lines = rows.map((row) => ({ ...parseSkuQuantity(row), location }));
      const body = {
        number,
        origin: options.origin,
        ...(options.revision !== undefined && { revision: parseWhole(options.revision, '--revision') }),
        ...(options.placedAt !== undefined && { placedAt: parseTime(options.placedAt, '--placed-at') }),
        lines,
      };
      const request = { method: 'POST', path: '/v1/orders', body } as const;
      const answer = await change<Accepted>(session, options, request, async () =>
        Promise.all(
          lines.map(async ({ sku, quantity }) => {
            const before = await onHandAt(session, sku, location);
            return onHandPreview(sku, location, before, (before ?? 0) - quantity, 'if the order is new');
          }),
        ),
      );
      if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
    }),
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
