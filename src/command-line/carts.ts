import type { Command } from 'commander';
import type { CartReads } from '../modules/carts/cart-reads.js';
import type { MappingProblem } from '../modules/carts/mapping-problems.js';
import type { ConnectionReport, CartTypeField } from '../cart-workers/connectors/connector.js';
import { cartCells, showCart, type Cart } from './cart-table.js';
import { addCartChanges } from './cart-changes.js';
import { addComparisonCommands } from './cart-comparison.js';
import { addSwitchOnCommand } from './cart-switch-on.js';
import { addProbeCommand } from './cart-probe.js';
import { addTryCommand } from './cart-try.js';
import { formatDelta, formatTime, splitLast } from './format.js';
import { number } from './items.js';
import { changes, examples, moreHint, pageQuery, pages, segment, type PageOptions } from './options.js';
import { action, change, type ChangeOptions, type Runtime } from './session.js';
import { UsageError } from './exit-codes.js';

type CartPage = Awaited<ReturnType<CartReads['list']>>;
type ListingPage = Awaited<ReturnType<CartReads['listings']>>;

export function addCartCommands(program: Command, runtime: Runtime): void {
  const carts = program.command('carts').description('Carts: add, test, switch, compare, and try the way to them');
  examples(
    carts,
    'carts add "Main shop" --type seti --cart-url https://shop.example.com/seti.php --user onhand -l main',
    'carts send-qoh main-shop',
    'carts on main-shop',
    'carts try main-shop --sku MUG',
  );
  addReads(carts, runtime);
  addCartChanges(carts, runtime);
  addMap(carts, runtime);
  addComparisonCommands(carts, runtime);
  addProbeCommand(carts, runtime);
  addSwitchOnCommand(carts, runtime);
  addTryCommand(carts, runtime);
}

function addReads(carts: Command, runtime: Runtime): void {
  examples(pages(carts.command('list').description('Every cart')), 'carts list').action(
    action<PageOptions>(runtime, async (session, options) => {
      session.answer(await session.hub.get<CartPage>('/v1/carts', pageQuery(options)), (page) => {
        session.terminal.table(cartCells, page.data, 'No cart yet; `onhand carts add --help` shows how.');
        moreHint(session, page.nextCursor);
      });
    }),
  );
  examples(
    carts.command('show').description('Settings, switches and how many listings').argument('<cart>'),
    'carts show main-shop',
  ).action(
    action<object, [string]>(runtime, async (session, _options, id) => {
      session.answer(await session.hub.get<Cart>(`/v1/carts/${segment(id)}`), (cart) => showCart(session, cart));
    }),
  );
  examples(
    carts.command('types').description('What kinds of cart there are and which fields each needs'),
    'carts types',
  ).action(
    action(runtime, async (session) => {
      interface Types {
        readonly data: readonly { type: string; label: string; fields: readonly CartTypeField[] }[];
      }
      const nameOf = ({ name, required }: CartTypeField) => (required ? name : `[${name}]`);
      session.answer(await session.hub.get<Types>('/v1/cart-types'), ({ data }) =>
        session.terminal.table(
          [
            { title: 'TYPE', of: (row) => row.type },
            { title: 'WHAT IT IS', of: (row) => row.label },
            { title: 'FIELDS', of: (row) => row.fields.map(nameOf).join(', ') },
          ],
          data,
          'This hub knows no type of cart.',
        ),
      );
    }),
  );
  examples(
    carts.command('test').description('Try the stored settings: version, login and one read').argument('<cart>'),
    'carts test main-shop',
  ).action(
    action<object, [string]>(runtime, async (session, _options, id) => {
      const path = `/v1/carts/${segment(id)}/test`;
      session.answer(await session.hub.send<ConnectionReport>({ method: 'POST', path }), (report) =>
        session.terminal.out(`It works: ${report.version}`, ...report.findings.map((finding) => `  ${finding}`)),
      );
    }),
  );
  examples(
    pages(carts.command('listings').description('What the cart lists: what it shows, what is owed').argument('<cart>')),
    'carts listings main-shop --limit 100',
  ).action(
    action<PageOptions, [string]>(runtime, async (session, options, id) => {
      const answer = await session.hub.get<ListingPage>(`/v1/carts/${segment(id)}/listings`, pageQuery(options));
      session.answer(answer, (page) => {
        session.terminal.table(
          [
            { title: 'KEY', of: (row) => row.key },
            { title: 'SKU', of: (row) => row.sku },
            { title: 'SHOWS', of: (row) => number(row.shown), right: true },
            { title: 'OWED', of: (row) => formatDelta(row.owed), right: true },
            { title: 'TARGET', of: (row) => number(row.target), right: true },
            { title: 'LAST READ', of: (row) => formatTime(row.lastRead?.at) },
            { title: 'STATE', of: (row) => row.unlisted ?? (row.synchronised ? 'synchronised' : 'not compared yet') },
          ],
          page.data,
          'Nothing is mapped to this cart yet; `onhand carts map` or a comparison does it.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
}

function addMap(carts: Command, runtime: Runtime): void {
  examples(
    carts
      .command('mapping-problems')
      .description('Where it is unclear which item a key of the cart means, and what mends it')
      .argument('<cart>'),
    'carts mapping-problems main-shop',
  ).action(
    action<object, [string]>(runtime, async (session, _options, id) => {
      const path = `/v1/carts/${segment(id)}/mapping-problems`;
      session.answer(await session.hub.get<{ data: readonly MappingProblem[] }>(path), ({ data }) =>
        session.terminal.table(
          [
            { title: 'KEYS', of: (row) => row.keys.join(', ') },
            { title: 'SKUS', of: (row) => row.skus.join(', ') },
            { title: 'WHAT', of: (row) => row.detail },
          ],
          data,
          'Every key of this cart is clear.',
        ),
      );
    }),
  );
  examples(
    changes(
      carts
        .command('map')
        .description('Map the cart’s own keys to items; what is not named stays as it is')
        .argument('<cart>')
        .argument('[key=sku...]', 'the cart’s key and your SKU')
        .option('--all-items', 'every item, under its SKU as the cart’s key'),
    ),
    'carts map main-shop 4711=MUG 4712=CUP',
    'carts map main-shop --all-items',
  ).action(
    action<ChangeOptions & { allItems?: boolean }, [string, string[]]>(runtime, async (session, options, id, rows) => {
      if ((options.allItems === true) === rows.length > 0) {
        throw new UsageError('Name either rows such as 4711=MUG, or --all-items.');
      }
      const pairs = rows.map((row) => splitLast(row, '4711=MUG'));
      const body = options.allItems === true ? { allItems: true } : { rows: pairs.map(([key, sku]) => ({ key, sku })) };
      const path = `/v1/carts/${segment(id)}/listings`;
      const answer = await change<{ mapped: number }>(session, options, { method: 'PUT', path, body });
      if (answer === null) return;
      session.answer(answer, ({ mapped }) =>
        session.terminal.out(`${mapped} mapped. Compare next: onhand carts send-qoh ${id}`),
      );
    }),
  );
}
