import type { Command } from 'commander';
import type { AppendedFact } from '../events/commands.js';
import type { ItemReads } from '../modules/inventory/item-reads.js';
import { HubRefusedError } from './hub-client.js';
import { UsageError } from './exit-codes.js';
import { formatDelta, formatNumber, formatTime, parseReference, parseTime, parseWhole } from './format.js';
import { changes, choice, examples, segment } from './options.js';
import { action, change, type ChangeOptions, type Preview, type Runtime, type Session } from './session.js';

export type Item = NonNullable<Awaited<ReturnType<ItemReads['get']>>>;

/** What an accepted command is answered with. */
export interface Accepted {
  readonly facts: readonly AppendedFact[];
  readonly note?: string;
}

interface MovementOptions extends ChangeOptions {
  readonly location?: string;
  readonly reason?: string;
  readonly reference?: string;
  readonly occurredAt?: string;
  readonly source?: string;
}

/** receive, sell, return, adjust, count: what happens to stock in a place. */
export function addStockCommands(program: Command, runtime: Runtime): void {
  const movements = [
    [
      'receive',
      'received',
      'Record pieces that came in',
      'receive MUG 100 --location main --reference purchase-order:PO-7',
    ],
    ['sell', 'sold', 'Record pieces sold here, not through a cart', 'sell MUG 2 --location shop'],
    ['return', 'returned', 'Record pieces that came back', 'return MUG 1 --location main --not-resellable'],
  ] as const;
  for (const [name, kind, description, example] of movements) {
    const command = movement(program, name, description, '<sku>', '<quantity>');
    if (kind === 'returned') command.option('--not-resellable', 'they came back broken: noted, and not put on hand');
    examples(command, example).action(
      action<MovementOptions & { notResellable?: boolean }, [string, string]>(
        runtime,
        (session, options, sku, quantity) => {
          const pieces = parseWhole(quantity, 'The quantity');
          const onHand = kind === 'sold' ? -pieces : options.notResellable === true ? 0 : pieces;
          const extra = { quantity: pieces, ...(options.notResellable === true && { resellable: false }) };
          return move(session, options, sku, { kind, ...extra }, onHand);
        },
      ),
    );
  }
  examples(
    movement(program, 'adjust', 'Correct on hand by a difference', '<sku>', '<delta>'),
    'adjust MUG -3 --location main --reason "broken on the shelf"',
  ).action(
    action<MovementOptions, [string, string]>(runtime, (session, options, sku, delta) => {
      const difference = parseWhole(delta, 'The difference');
      return move(session, options, sku, { kind: 'adjusted', delta: difference }, difference);
    }),
  );
  addCount(program, runtime);
}

function movement(program: Command, name: string, description: string, ...args: string[]): Command {
  const command = program.command(name).description(description);
  for (const arg of args) command.argument(arg);
  return changes(
    command
      .option('-l, --location <code>', 'where; may be left out while there is only one')
      .option('--reason <text>', 'why')
      .option('--reference <kind:number[:line]>', 'the paper behind it, such as purchase-order:PO-7')
      .option('--occurred-at <time>', 'business time; left out: now')
      .option('--source <source>', 'who tells it: direct, phone, store, marketplace, cart:<id> or file:<name>'),
  );
}

interface CountOptions extends MovementOptions {
  readonly asOf?: string;
  readonly includesOpenOrders?: 'yes' | 'no';
  readonly knows?: string[];
}

function addCount(program: Command, runtime: Runtime): void {
  examples(
    movement(program, 'count', 'Record what was counted; the difference becomes the movement', '<sku>', '<quantity>')
      .option('--as-of <time>', 'the moment the number speaks of; left out: now')
      .addOption(
        choice(
          '--includes-open-orders <answer>',
          'whether pieces of open orders still stood on the shelf and were counted',
          ['yes', 'no'],
        ),
      )
      .option('--knows <source...>', 'whose movements the number already contains; left out: direct'),
    'count MUG 97 --location main --as-of 2026-03-01T18:00:00Z --includes-open-orders yes',
  ).action(
    action<CountOptions, [string, string]>(runtime, async (session, options, sku, quantity) => {
      const counted = parseWhole(quantity, 'The quantity');
      const open = options.includesOpenOrders;
      const body = {
        ...(await stockFields(session, options, sku)),
        quantity: counted,
        ...(options.asOf !== undefined && { asOf: parseTime(options.asOf, '--as-of') }),
        ...(open !== undefined && { includesOpenOrders: open === 'yes' }),
        ...(options.knows !== undefined && { knows: options.knows }),
      };
      const uncertain =
        options.asOf !== undefined || open === 'yes' ? 'before what happened since, and open orders' : undefined;
      const answer = await change<Accepted>(
        session,
        options,
        { method: 'POST', path: '/v1/counts', body },
        async () => {
          const before = await onHandAt(session, sku, body.location);
          return [onHandPreview(sku, body.location, before, counted, uncertain)];
        },
      );
      if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
    }),
  );
}

async function move(
  session: Session,
  options: MovementOptions,
  sku: string,
  what: Readonly<Record<string, unknown>>,
  delta: number,
): Promise<void> {
  const body = { ...what, ...(await stockFields(session, options, sku)) };
  const answer = await change<Accepted>(session, options, { method: 'POST', path: '/v1/movements', body }, async () => {
    const before = await onHandAt(session, sku, body.location);
    return [onHandPreview(sku, body.location, before, (before ?? 0) + delta)];
  });
  if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
}

async function stockFields(session: Session, options: MovementOptions, sku: string) {
  const { reason, reference, occurredAt, source } = options;
  return {
    sku,
    location: options.location ?? (await onlyLocation(session)),
    ...(reason !== undefined && { reason }),
    ...(reference !== undefined && { reference: parseReference(reference) }),
    ...(occurredAt !== undefined && { occurredAt: parseTime(occurredAt, '--occurred-at') }),
    ...(source !== undefined && { source }),
  };
}

/** @throws UsageError where there are several, or none yet */
export async function onlyLocation(session: Session): Promise<string> {
  const { body } = await session.hub.get<{ data: { location: string }[]; nextCursor: string | null }>('/v1/locations', {
    limit: '20',
  });
  const [first] = body.data;
  if (first === undefined) {
    throw new UsageError('There is no location yet; add one first: onhand locations add main "Main warehouse"');
  }
  if (body.data.length === 1) return first.location;
  const names = body.data.map(({ location }) => location).join(', ');
  throw new UsageError(`Say where with --location: ${names}${body.nextCursor === null ? '' : ', …'}.`);
}

/** Null: the item, or its stock there, is not known yet. */
export async function onHandAt(session: Session, sku: string, location: string): Promise<number | null> {
  try {
    const { body } = await session.hub.get<Item>(`/v1/items/${segment(sku)}`);
    return body.locations.find((row) => row.location === location)?.onHand ?? 0;
  } catch (error) {
    if (error instanceof HubRefusedError && error.status === 404) return null;
    throw error;
  }
}

export function onHandPreview(
  sku: string,
  location: string,
  before: number | null,
  after: number,
  uncertain?: string,
): Preview {
  const note = before === null ? 'the hub does not know this item yet' : uncertain;
  return { what: `${sku} at ${location}, on hand`, before, after, ...(note !== undefined && { note }) };
}

export function showFacts(session: Session, { facts, note }: Accepted): void {
  for (const fact of facts) session.terminal.out(factLine(fact));
  if (note !== undefined) session.terminal.out(note);
  else if (facts.length === 0) session.terminal.out('There was nothing to do.');
}

export function factLine(fact: AppendedFact): string {
  if (fact.sku === null || fact.delta === null) return `${fact.type}  ${fact.stream}  ${formatTime(fact.recordedAt)}`;
  const balance = fact.balance === null ? '' : `  on hand ${formatNumber(fact.balance)}`;
  return `${fact.type}  ${fact.sku}${fact.location === null ? '' : ` at ${fact.location}`}  ${formatDelta(fact.delta)}${balance}`;
}
