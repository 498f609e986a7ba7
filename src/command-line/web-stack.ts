import type { Command } from 'commander';
import type { WebStackReads } from '../modules/web-stack/web-stack-reads.js';
import type { Hop } from '../modules/web-stack/trace.js';
import { formatAge, formatDelta, formatDuration, formatTime } from './format.js';
import { choice, examples, moreHint, pageQuery, pages, segment, type PageOptions } from './options.js';
import { action, type Runtime, type Session } from './session.js';
import { factLines } from './table.js';

type RecordPage = Awaited<ReturnType<WebStackReads['list']>>;
type First = Awaited<ReturnType<WebStackReads['first']>>;
export type StackRecord = NonNullable<Awaited<ReturnType<WebStackReads['get']>>>;
type Listed = RecordPage['data'][number];

const waits = ['waits', 'waiting', 'in-flight', 'in-doubt', 'quarantined', 'dead-lettered', 'held'];
const ends = ['ends', 'delivered', 'netted', 'superseded', 'discarded'];

interface ListOptions extends PageOptions {
  readonly cart?: string;
  readonly sku?: string;
  readonly key?: string;
  readonly state?: string;
}

export function addStackCommands(program: Command, runtime: Runtime): void {
  const stack = program
    .command('stack')
    .description('The Web Stack: what waits for carts, and the way each change took');
  examples(stack, 'stack list --cart main-shop --state waits', 'stack first main-shop', 'stack show 42');
  examples(
    pages(
      stack
        .command('list')
        .description('Records, the newest first')
        .option('--cart <id>', 'only this cart’s')
        .option('--sku <sku>', 'only of this item')
        .option('--key <key>', 'only of this key of the cart')
        .addOption(
          choice('--state <state>', 'one state; waits: everything still owed; ends: everything over', [
            ...waits,
            ...ends,
          ]),
        ),
    ),
    'stack list --cart main-shop --state waits',
  ).action(
    action<ListOptions>(runtime, async (session, options) => {
      const { cart, sku, key, state } = options;
      const query = { cart, sku, key, state, ...pageQuery(options) };
      session.answer(await session.hub.get<RecordPage>('/v1/web-stack', query), (page) => {
        showRecords(session, page.data);
        moreHint(session, page.nextCursor);
      });
    }),
  );
  examples(
    stack.command('first').description('What goes to a cart next, and what holds it back').argument('<cart>'),
    'stack first main-shop',
  ).action(
    action<object, [string]>(runtime, async (session, _options, cart) => {
      const answer = await session.hub.get<First>(`/v1/carts/${segment(cart)}/web-stack/first`);
      session.answer(answer, ({ first, waiting, heldBackBy }) => {
        if (first === null) return session.terminal.out(`Nothing waits for ${cart}.`);
        session.terminal.out(`${waiting} waiting. ${heldBackBy ?? 'Nothing holds it back.'}`, '');
        showRecords(session, [first]);
      });
    }),
  );
  examples(
    stack.command('show').description('One record: attempts, and how long each hop took').argument('<record>'),
    'stack show 42',
  ).action(
    action<object, [string]>(runtime, async (session, _options, id) => {
      const answer = await session.hub.get<StackRecord>(`/v1/web-stack/${segment(id)}`);
      session.answer(answer, (record) => showRecord(session, record));
    }),
  );
}

function showRecords(session: Session, records: readonly Listed[]): void {
  const now = Date.now();
  session.terminal.table(
    [
      { title: 'RECORD', of: (row) => row.id, right: true },
      { title: 'CART', of: (row) => row.cartId },
      { title: 'KEY', of: (row) => row.key },
      { title: 'DELTA', of: (row) => formatDelta(row.delta), right: true },
      { title: 'STATE', of: (row) => row.state },
      { title: 'TRIES', of: (row) => row.attempts, right: true },
      { title: 'ACCEPTED', of: (row) => formatTime(row.acceptedAt) },
      {
        title: 'TOOK',
        of: (row) =>
          row.endedAt === null
            ? `${formatAge(row.acceptedAt, now)} so far`
            : formatDuration(Date.parse(row.endedAt) - Date.parse(row.acceptedAt)),
      },
      { title: 'LAST RESPONSE', of: (row) => row.lastResponse },
    ],
    records,
    'No record.',
  );
}

function showRecord(session: Session, record: StackRecord): void {
  session.terminal.out(
    ...factLines([
      ['Record', record.id],
      ['Cart', record.cartId],
      ['Key, SKU', record.key === record.sku ? record.key : `${record.key}, ${record.sku}`],
      ['Delta', formatDelta(record.delta)],
      ['Target', record.target],
      ['State', record.state],
      ['Cause', `${record.cause.type} (${record.cause.stream} version ${record.cause.version})`],
      ['Tries', `${record.attempts}, ${record.attemptsCounted} counted`],
      ['Last response', record.lastResponse],
      ...(record.notBefore === null ? [] : ([['Not before', formatTime(record.notBefore)]] as const)),
    ]),
    '',
  );
  showHops(session, record.hops);
}

export function showHops(session: Session, hops: readonly (Omit<Hop, 'name'> & { readonly name: string })[]): void {
  session.terminal.table(
    [
      { title: 'HOP', of: (row) => row.name },
      { title: 'TOOK', of: (row) => formatDuration(row.ms), right: true },
      { title: 'AT', of: (row) => row.at.slice(11, 23) },
      { title: 'ABOUT', of: (row) => row.about },
    ],
    hops,
    'No hop yet.',
  );
}
