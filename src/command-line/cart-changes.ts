import type { Command } from 'commander';
import type { ConnectionReport } from '../cart-workers/connectors/connector.js';
import type { CartReads } from '../modules/carts/cart-reads.js';
import type { LaneStatus } from '../cart-workers/lane-control.js';
import { showCart } from './cart-table.js';
import type { Cart } from './cart-table.js';
import type { WebStackReads } from '../modules/web-stack/web-stack-reads.js';
import { UsageError } from './exit-codes.js';
import { parseWhole } from './format.js';
import { changes, dangerous, examples, segment } from './options.js';
import { confirm, readSecret } from './prompt.js';
import { action, change, type ChangeOptions, type Preview, type Runtime, type Session } from './session.js';
import { onlyLocation } from './stock.js';

interface CartOptions extends ChangeOptions {
  readonly name?: string;
  readonly cartUrl?: string;
  readonly user?: string;
  readonly storeCode?: string;
  readonly secretFile?: string;
  readonly secret?: boolean;
  readonly location?: string[];
  readonly orderLocation?: string;
  readonly pollInterval?: string;
  readonly quietTime?: string;
  readonly requestTimeout?: string;
  readonly delivery?: string;
  readonly driftPolicy?: string;
  readonly guardShare?: string;
  readonly guardListings?: string;
  readonly cadence?: string;
  readonly timeZone?: string;
  readonly kits?: string;
  readonly ordersFrom?: string;
}

interface AddOptions extends CartOptions {
  readonly type: string;
  readonly id?: string;
  readonly test?: boolean;
}

/** carts add, change, on, off, pause, resume. */
export function addCartChanges(carts: Command, runtime: Runtime): void {
  addAdd(carts, runtime);
  addChange(carts, runtime);
  addSwitch(carts, runtime, true);
  addSwitch(carts, runtime, false);
  addPause(carts, runtime);
  addSendNow(carts, runtime);
}

function settings(command: Command): Command {
  return changes(
    command
      .option('--user <name>', 'the user the hub signs in as')
      .option('--store-code <code>', 'the cart’s code of the store')
      .option('--secret-file <file>', 'the password or signing secret; - for stdin. Never on the command line')
      .option('-l, --location <code...>', 'whose stock the cart sells')
      .option('--order-location <code>', 'where its orders take their pieces; left out: the first location')
      .option('--poll-interval <ms>', 'how often its orders are asked for')
      .option('--quiet-time <ms>', 'how long after a request’s deadline it may still be carried out')
      .option('--request-timeout <ms>', 'the longest time for an answer')
      .option('--orders-from <start>', 'older orders that count: number:1001, date:2026-06-10, or none (the default)')
      .option('--delivery <way>', 'how changes reach it: `onhand carts types` lists the ways; auto: the strongest')
      .option('--kits <whose>', 'whose quantity it lowers itself when it sells a kit: kit or components')
      .option('--drift-policy <policy>', 'when it differs by itself: report, repair, set-to-target or take-over')
      .option('--guard-share <percent>', 'hold a change that empties or doubles more of its listings than this')
      .option('--guard-listings <number>', 'the same as a number of listings; name both')
      .option('--cadence <when>', 'when it is told: real-time, on-demand, or a cron pattern such as "0 6 * * 1-5"')
      .option('--time-zone <zone>', 'whose clock the pattern means; left out: this computer’s'),
  );
}

function addAdd(carts: Command, runtime: Runtime): void {
  examples(
    settings(
      carts
        .command('add')
        .description('Add a cart. It starts switched off; its secret can never be read back')
        .argument('<name>')
        .requiredOption('--type <type>', 'see `onhand carts types`')
        .requiredOption('--cart-url <url>', 'what the hub calls')
        .option('--id <id>', 'left out: made from the name')
        .option('--test', 'try the connection first; add nothing when it fails'),
    ),
    'carts add "Main shop" --type seti --cart-url https://shop.example.com/seti.php --user onhand -l main',
    'carts add Outlet --type webhook --cart-url https://outlet.example.com/onhand --secret-file outlet.secret --test',
  ).action(
    action<AddOptions, [string]>(runtime, async (session, options, name) => {
      const body = {
        ...(options.id !== undefined && { id: options.id }),
        name,
        type: options.type,
        ...fieldsOf(options),
        locations: options.location ?? [await onlyLocation(session)],
        secret:
          options.dryRun === true ? '' : await readSecret(session.terminal, 'The cart’s secret', options.secretFile),
      };
      if (options.test === true && options.dryRun !== true) await tryDraft(session, options.type, body);
      const answer = await change<Cart>(session, options, { method: 'POST', path: '/v1/carts', body });
      if (answer === null) return;
      session.answer(answer, (cart) => {
        session.terminal.out(`${cart.id} is added, switched off.`);
        session.terminal.note(
          `Next: onhand carts test ${cart.id}; ${cart.needsProbe ? `onhand carts probe ${cart.id} --sku SKU; ` : ''}` +
            `onhand carts on ${cart.id}; onhand carts send-qoh ${cart.id}`,
        );
      });
    }),
  );
}

function fieldsOf(options: CartOptions) {
  const { cartUrl, user, storeCode, location, orderLocation, pollInterval, quietTime, requestTimeout } = options;
  const { delivery, ordersFrom, driftPolicy, guardShare, guardListings, kits } = options;
  if ((guardShare === undefined) !== (guardListings === undefined))
    throw new UsageError('Name both --guard-share and --guard-listings, or neither.');
  return {
    ...(cartUrl !== undefined && { url: cartUrl }),
    ...(user !== undefined && { username: user }),
    ...(storeCode !== undefined && { storeCode }),
    ...(location !== undefined && { locations: location }),
    ...(orderLocation !== undefined && { orderLocation }),
    ...(pollInterval !== undefined && { pollIntervalMs: parseWhole(pollInterval, '--poll-interval') }),
    ...(quietTime !== undefined && { quietTimeMs: parseWhole(quietTime, '--quiet-time') }),
    ...(delivery !== undefined && { delivery: delivery === 'auto' ? null : delivery }),
    ...(driftPolicy !== undefined && { driftPolicy }),
    ...(guardShare !== undefined &&
      guardListings !== undefined && {
        guard: {
          listingsMax: parseWhole(guardListings, '--guard-listings'),
          sharePercent: parseWhole(guardShare, '--guard-share'),
        },
      }),
    ...cadenceOf(options),
    ...(kits !== undefined && { kits }),
    ...(ordersFrom !== undefined && { ordersFrom: parseOrdersFrom(ordersFrom) }),
    ...(requestTimeout !== undefined && { requestTimeoutMs: parseWhole(requestTimeout, '--request-timeout') }),
  };
}

function cadenceOf({ cadence, timeZone }: CartOptions) {
  const isCron = cadence !== undefined && cadence !== 'real-time' && cadence !== 'on-demand';
  if (timeZone !== undefined && !isCron) throw new UsageError('--time-zone goes with a cron pattern as --cadence.');
  if (cadence === undefined) return {};
  if (!isCron) return { cadence: { kind: cadence } };
  const zone = timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  return { cadence: { kind: 'cron', pattern: cadence, timeZone: zone } };
}

function parseOrdersFrom(text: string) {
  if (text === 'none') return null;
  const [kind, start] = [text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 1)];
  if (kind === 'number' && start !== '') return { number: start };
  if (kind === 'date' && start !== '') return { date: start };
  throw new UsageError(`--orders-from must be number:1001, date:2026-06-10 or none, not "${text}"`);
}

type Draft = ReturnType<typeof fieldsOf> & { readonly secret: string };

async function tryDraft(session: Session, type: string, { url, username, storeCode, requestTimeoutMs, secret }: Draft) {
  const body = { url, username, storeCode, requestTimeoutMs, secret };
  const path = `/v1/cart-types/${segment(type)}/test`;
  const { body: report } = await session.hub.send<ConnectionReport>({ method: 'POST', path, body });
  session.terminal.note(`It works: ${report.version}`, ...report.findings.map((finding) => `  ${finding}`));
}

function addChange(carts: Command, runtime: Runtime): void {
  examples(
    settings(
      carts
        .command('change')
        .description('Change a cart; what is left out stays as it is')
        .argument('<cart>')
        .option('--name <name>', 'how it is called')
        .option('--cart-url <url>', 'what the hub calls')
        .option('--secret', 'ask for a new secret'),
    ),
    'carts change main-shop --poll-interval 2000',
    'carts change main-shop --cadence "0 6 * * *" --time-zone Europe/Berlin',
    'carts change main-shop --secret',
  ).action(
    action<CartOptions, [string]>(runtime, async (session, options, id) => {
      const asks = options.secret === true || options.secretFile !== undefined;
      const secret = !asks
        ? undefined
        : options.dryRun === true
          ? ''
          : await readSecret(session.terminal, 'The new secret', options.secretFile);
      const body = {
        ...(options.name !== undefined && { name: options.name }),
        ...fieldsOf(options),
        ...(secret !== undefined && { secret }),
      };
      if (Object.keys(body).length === 0) throw new UsageError('Name at least one thing to change; see --help.');
      const path = `/v1/carts/${segment(id)}`;
      const answer = await change<Cart>(session, options, { method: 'PATCH', path, body }, async () => {
        const { body: now } = await session.hub.get<Record<string, unknown>>(path);
        return Object.entries(body).map(([field, after]): Preview =>
          field === 'secret'
            ? { what: field, before: '(not shown)', after: 'a new one' }
            : { what: field, before: JSON.stringify(now[field]), after: JSON.stringify(after) },
        );
      });
      if (answer !== null) session.answer(answer, (cart) => showCart(session, cart));
    }),
  );
}

type Switches = Awaited<ReturnType<CartReads['switches']>>;

function addSwitch(carts: Command, runtime: Runtime, on: boolean): void {
  const name = on ? 'on' : 'off';
  const description = on
    ? 'Switch a cart on ("Synchronize Inventory"); in effect together with the system switch'
    : 'Switch a cart off: nothing is sent, and it must be compared again when it is switched on';
  const command = carts.command(name).description(description).argument('<cart>');
  if (on) command.option('--unprobed <why>', 'switch a cart on that should have been probed first, and say why');
  examples(on ? changes(command) : dangerous(command), `carts ${name} main-shop`).action(
    action<ChangeOptions & { yes?: boolean; unprobed?: string }, [string]>(runtime, async (session, options, id) => {
      if (!on && options.dryRun !== true) {
        await confirm(
          session.terminal,
          options.yes,
          `Switch ${id} off? It has to be compared again before it follows.`,
        );
      }
      const path = `/v1/carts/${segment(id)}/switch`;
      const body = { on, ...(options.unprobed !== undefined && { unprobed: options.unprobed }) };
      const answer = await change<Switches>(session, options, { method: 'PUT', path, body }, async () => {
        const { body: cart } = await session.hub.get<Cart>(`/v1/carts/${segment(id)}`);
        return [{ what: `Switch of ${id}`, before: cart.switches.cartSwitch, after: name }];
      });
      if (answer === null) return;
      session.answer(answer, ({ why }) => session.terminal.out(`${id} is switched ${name}. ${why}`));
    }),
  );
}

function addPause(carts: Command, runtime: Runtime): void {
  for (const name of ['pause', 'resume'] as const) {
    const description =
      name === 'pause'
        ? 'Red light: nothing is sent until somebody resumes; what changes meanwhile is merged'
        : 'Green light again; --dry-run shows what would leave';
    const command = carts.command(name).description(description).argument('<cart>');
    if (name === 'pause') command.option('--reason <text>', 'why; everybody sees it');
    examples(changes(command), `carts ${name} main-shop${name === 'pause' ? ' --reason stocktaking' : ''}`).action(
      action<ChangeOptions & { reason?: string }, [string]>(runtime, async (session, options, id) => {
        const body = options.reason === undefined ? {} : { reason: options.reason };
        const request = { method: 'POST', path: `/v1/carts/${segment(id)}/${name}`, body } as const;
        const answer = await change<LaneStatus>(session, options, request, async () => {
          const { body: lanes } = await session.hub.get<{ data: LaneStatus[] }>('/v1/lanes');
          const lane = lanes.data.find((row) => row.cartId === id);
          const light = {
            what: `Light of ${id}`,
            before: lane?.light ?? null,
            after: name === 'pause' ? 'red' : 'green',
          };
          return name === 'pause' ? [light] : [light, ...(await netPreview(session, id))];
        });
        if (answer === null) return;
        session.answer(answer, ({ light, why, waiting }) =>
          session.terminal.out(`${id} is ${light}${why === null ? '' : ` (${why})`}, ${waiting} waiting.`),
        );
      }),
    );
  }
}

type NetPage = Awaited<ReturnType<WebStackReads['net']>>;

function addSendNow(carts: Command, runtime: Runtime): void {
  const command = carts
    .command('send-now')
    .description('Let go what waits for the cart’s cadence; --dry-run shows what would leave')
    .argument('<cart>');
  examples(changes(command), 'carts send-now main-shop --dry-run', 'carts send-now main-shop').action(
    action<ChangeOptions, [string]>(runtime, async (session, options, id) => {
      const request = { method: 'POST', path: `/v1/carts/${segment(id)}/send-now`, body: {} } as const;
      const answer = await change<LaneStatus>(session, options, request, () => netPreview(session, id));
      if (answer === null) return;
      session.answer(answer, ({ light, why, waiting }) =>
        session.terminal.out(
          `${waiting === 0 ? 'Nothing waits' : `${waiting} waiting`}; ${id} is ${light}${why === null ? '' : ` (${why})`}.`,
        ),
      );
    }),
  );
}

/** What waits for a cart, listing by listing: what it shows once all before has arrived, and what it would. */
async function netPreview(session: Session, id: string): Promise<Preview[]> {
  const net = await session.hub.get<NetPage>(`/v1/carts/${segment(id)}/web-stack/net`, { limit: '200' });
  const more = net.body.nextCursor === null ? [] : [{ what: 'more listings', before: null, after: 'not shown' }];
  const shows = ({ key, delta, target, blocked }: NetPage['data'][number]): Preview => ({
    what: key,
    before: target - delta,
    after: target,
    ...(blocked && { note: 'not yet: something of it is on its way, in doubt or quarantined' }),
  });
  return [...net.body.data.map(shows), ...more];
}
