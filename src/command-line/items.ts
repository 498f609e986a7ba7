import type { Command } from 'commander';
import type { ItemReads } from '../modules/inventory/item-reads.js';
import type { LedgerReads } from '../modules/inventory/ledger-reads.js';
import type { SharedBarcodes } from '../modules/inventory/shared-barcodes.js';
import type { VelocityReads } from '../modules/inventory/velocity-reads.js';
import { formatDelta, formatNumber, formatTime, parseTime } from './format.js';
import { addItemChanges } from './item-changes.js';
import { choice, examples, moreHint, pageQuery, pages, segment, type PageOptions } from './options.js';
import { action, type Runtime, type Session } from './session.js';
import type { Item } from './stock.js';
import { factLines } from './table.js';

type ItemPage = Awaited<ReturnType<ItemReads['list']>>;
type SharedPage = Awaited<ReturnType<SharedBarcodes['shared']>>;
type LedgerPage = Awaited<ReturnType<LedgerReads['movements']>>;
type Velocity = Awaited<ReturnType<VelocityReads['perDay']>>;
type AsOf = Awaited<ReturnType<LedgerReads['onHandAt']>>;

/** item: one; items: many. */
export function addItemCommands(program: Command, runtime: Runtime): void {
  const item = addItem(program, runtime);
  addVelocity(item, runtime);
  addItems(program, runtime);
}

function addItem(program: Command, runtime: Runtime): Command {
  const item = program
    .command('item')
    .description('One item: on hand, ledger, velocity, and what was on hand at a moment');
  examples(item, 'item MUG', 'item ledger MUG --location main', 'item as-of MUG --at 2026-03-01T12:00:00Z');
  examples(
    item
      .command('show', { isDefault: true })
      .description('On hand per location, and what each cart shows')
      .argument('<sku>'),
    'item show MUG',
  ).action(
    action<object, [string]>(runtime, async (session, _options, sku) => {
      session.answer(await session.hub.get<Item>(`/v1/items/${segment(sku)}`), (body) => showItem(session, body));
    }),
  );
  examples(
    pages(
      item
        .command('ledger')
        .description('Every movement, the newest first, with the balance after it')
        .argument('<sku>')
        .option('-l, --location <code>', 'only there'),
    ),
    'item ledger MUG --location main --limit 20',
  ).action(
    action<PageOptions & { location?: string }, [string]>(runtime, async (session, options, sku) => {
      const query = { location: options.location, ...pageQuery(options) };
      const answer = await session.hub.get<LedgerPage>(`/v1/items/${segment(sku)}/ledger`, query);
      session.answer(answer, (body) => showLedger(session, body));
    }),
  );
  examples(
    item
      .command('as-of')
      .description('What was on hand at a moment, read from the log')
      .argument('<sku>')
      .option('--at <time>', 'the moment; left out: now')
      .addOption(
        choice(
          '--by <time>',
          'recorded: what the hub knew then. business: what was there then, as known today',
          ['recorded', 'business'],
          'recorded',
        ),
      ),
    'item as-of MUG --at 2026-03-01T12:00:00Z --by business',
  ).action(
    action<{ at?: string; by: string }, [string]>(runtime, async (session, { at, by }, sku) => {
      const query = { at: at === undefined ? undefined : parseTime(at, '--at'), by };
      const answer = await session.hub.get<AsOf>(`/v1/items/${segment(sku)}/on-hand`, query);
      session.answer(answer, (body) => {
        session.terminal.out(
          `${body.sku}: ${formatNumber(body.onHand)} on hand at ${formatTime(body.at)} (${body.by} time)`,
        );
        session.terminal.table(
          [
            { title: 'LOCATION', of: (row) => row.location },
            { title: 'ON HAND', of: (row) => formatNumber(row.onHand), right: true },
          ],
          body.locations,
          'Nothing anywhere.',
        );
      });
    }),
  );
  return item;
}

function addVelocity(item: Command, runtime: Runtime): void {
  examples(
    item
      .command('velocity')
      .description('Units sold per day, and the average')
      .argument('<sku>')
      .option('--from <day>', 'the first day, UTC; left out: four weeks in all')
      .option('--to <day>', 'the last day, UTC; left out: today')
      .option('-l, --location <code>', 'only there'),
    'item velocity MUG --from 2026-03-01 --to 2026-03-31',
  ).action(
    action<{ from?: string; to?: string; location?: string }, [string]>(runtime, async (session, options, sku) => {
      const { from, to, location } = options;
      const answer = await session.hub.get<Velocity>(`/v1/items/${segment(sku)}/velocity`, { from, to, location });
      session.answer(answer, (body) => {
        session.terminal.out(
          `${body.sku}: ${formatNumber(body.units)} units in ${formatNumber(body.days)} days (${body.from} to ${body.to}), ${body.unitsPerDay} a day`,
        );
        session.terminal.table(
          [
            { title: 'DAY', of: (row) => row.day },
            { title: 'LOCATION', of: (row) => row.location },
            { title: 'SOLD', of: (row) => formatNumber(row.sold), right: true },
            { title: 'CANCELLED', of: (row) => formatNumber(row.cancelled), right: true },
            { title: 'UNITS', of: (row) => formatNumber(row.units), right: true },
            { title: 'RETURNED', of: (row) => formatNumber(row.returned), right: true },
          ],
          body.data,
          'Nothing was sold.',
        );
      });
    }),
  );
}

function showItem({ terminal }: Session, item: Item): void {
  terminal.out(
    ...factLines([
      ['SKU', item.sku],
      ['Title', item.title],
      ...(item.barcode === null ? [] : ([['Barcode', barcodeText(item)]] as const)),
      ...(item.shopifyProductId === null ? [] : ([['Shopify', item.shopifyProductId]] as const)),
      ...(item.tags.length === 0 ? [] : ([['Tags', item.tags.join(' ')]] as const)),
      ...(item.active ? [] : ([['State', 'inactive']] as const)),
      ['On hand', formatNumber(item.onHand)],
      ['Open orders', formatNumber(item.open)],
    ]),
    '',
  );
  terminal.table(
    [
      { title: 'LOCATION', of: (row) => row.location },
      { title: 'ON HAND', of: (row) => formatNumber(row.onHand), right: true },
      { title: 'OPEN', of: (row) => formatNumber(row.open), right: true },
      { title: 'UPDATED', of: (row) => formatTime(row.updatedAt) },
    ],
    item.locations,
    'No movement yet.',
  );
  terminal.out('');
  terminal.table(
    [
      { title: 'CART', of: (row) => row.cartId },
      { title: 'KEY', of: (row) => row.key },
      { title: 'SHOWS', of: (row) => number(row.shown), right: true },
      { title: 'OWED', of: (row) => formatDelta(row.owed), right: true },
      { title: 'TARGET', of: (row) => number(row.target), right: true },
      { title: 'STATE', of: (row) => row.unlisted ?? (row.synchronised ? 'synchronised' : 'not compared yet') },
    ],
    item.listings,
    'No cart lists it.',
  );
}

const barcodeText = ({ barcode, sharesBarcodeWith }: Item) =>
  sharesBarcodeWith.length === 0 ? barcode : `${barcode}, which ${sharesBarcodeWith.join(', ')} has, too`;

export const number = (value: number | null) => (value === null ? null : formatNumber(value));

function showLedger(session: Session, page: LedgerPage): void {
  session.terminal.table(
    [
      { title: 'RECORDED', of: (row) => formatTime(row.recordedAt) },
      { title: 'OCCURRED', of: (row) => formatTime(row.occurredAt) },
      { title: 'WHAT', of: (row) => row.type },
      { title: 'LOCATION', of: (row) => row.location },
      { title: 'DELTA', of: (row) => formatDelta(row.delta), right: true },
      { title: 'ON HAND', of: (row) => formatNumber(row.balance), right: true },
      { title: 'WHY', of: (row) => whyOf(row) },
    ],
    page.data,
    'No movement yet.',
  );
  moreHint(session, page.nextCursor);
}

function whyOf({ reason, reference, ...row }: LedgerPage['data'][number]): string | null {
  const paper = reference
    ? `${reference.kind} ${reference.number}${reference.line ? ` line ${reference.line}` : ''}`
    : null;
  const corrected =
    row.alreadyInCountOf === undefined ? null : `already in the count of ${formatTime(row.alreadyInCountOf)}`;
  const parts = [reason, paper, corrected].filter((part) => part !== null && part !== undefined && part !== '');
  return parts.length === 0 ? null : parts.join('; ');
}

interface ListOptions extends PageOptions {
  readonly prefix?: string;
  readonly barcode?: string;
  readonly tag?: string;
  readonly active: string;
}

function addItems(program: Command, runtime: Runtime): void {
  const items = program.command('items').description('Items: list, search, create, change, shared barcodes');
  examples(items, 'items search "blue mug"', 'items list --tag sale', 'items create MUG "Mug, blue"');
  const lists = (command: Command) =>
    pages(command).addOption(
      choice('--active <which>', 'inactive items are left out: yes, no, all', ['yes', 'no', 'all'], 'yes'),
    );
  examples(
    lists(
      items
        .command('list')
        .description('Items by SKU, with what is on hand in total')
        .option('--prefix <text>', 'only SKUs that begin so, letter by letter')
        .option('--barcode <code>', 'only items with this barcode')
        .option('--tag <tag>', 'only items with this tag'),
    ),
    'items list --prefix MUG',
    'items list --tag sale --active all',
  ).action(
    action<ListOptions>(runtime, async (session, { prefix, barcode, tag, active, ...options }) => {
      const query = { prefix, barcode, tag, active, ...pageQuery(options) };
      session.answer(await session.hub.get<ItemPage>('/v1/items', query), (page) => showItems(session, page));
    }),
  );
  examples(
    lists(
      items
        .command('search')
        .description('Items whose SKU, barcode or words of the title begin so; SKUs come first')
        .argument('<text...>'),
    ),
    'items search MUG',
    'items search blue mu',
  ).action(
    action<ListOptions, [string[]]>(runtime, async (session, { active, ...options }, words) => {
      const query = { q: words.join(' '), active, ...pageQuery(options) };
      session.answer(await session.hub.get<ItemPage>('/v1/items', query), (page) => showItems(session, page));
    }),
  );
  examples(
    pages(items.command('shared-barcodes').description('Items that share their barcode with another one')),
    'items shared-barcodes',
  ).action(
    action<PageOptions>(runtime, async (session, options) => {
      const answer = await session.hub.get<SharedPage>('/v1/items/shared-barcodes', pageQuery(options));
      session.answer(answer, (page) => {
        session.terminal.table(
          [
            { title: 'BARCODE', of: (row) => row.barcode },
            { title: 'SKU', of: (row) => row.sku },
            { title: 'TITLE', of: (row) => titleOf(row) },
          ],
          page.data,
          'No barcode is shared.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
  addItemChanges(items, runtime);
}

const titleOf = ({ title, active }: { readonly title: string; readonly active: boolean }) =>
  active ? title : `${title} (inactive)`;

function showItems(session: Session, page: ItemPage): void {
  session.terminal.table(
    [
      { title: 'SKU', of: (row) => row.sku },
      { title: 'ON HAND', of: (row) => formatNumber(row.onHand), right: true },
      { title: 'OPEN', of: (row) => formatNumber(row.open), right: true },
      { title: 'TITLE', of: (row) => titleOf(row) },
      { title: 'TAGS', of: (row) => row.tags.join(' ') },
    ],
    page.data,
    'No item.',
  );
  moreHint(session, page.nextCursor);
}
