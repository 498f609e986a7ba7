import type { Command } from 'commander';
import type { Explanations } from '../modules/explanations/explanations.js';
import { formatDelta, formatNumber, formatTime, parseTime } from './format.js';
import { examples, segment } from './options.js';
import { action, type Runtime, type Session } from './session.js';

type Explained = Awaited<ReturnType<Explanations['of']>>;
type Cart = Explained['carts'][number];

interface ExplainOptions {
  readonly cart?: string;
  readonly at?: string;
  readonly movements: string;
  readonly brief?: boolean;
}

/** explain: why a number is what it is. */
export function addExplainCommand(program: Command, runtime: Runtime): void {
  examples(
    program
      .command('explain')
      .description('Why each cart shows what it shows of an item, now or at any moment')
      .argument('<sku>')
      .option('--cart <id>', 'only this cart')
      .option('--at <time>', 'as of a moment in the past; left out: now')
      .option('--movements <number>', 'how many of the last movements are shown', '10')
      .option('--brief', 'only the sentence of each cart'),
    'explain TENT-2',
    'explain TENT-2 --cart main-shop --at 2026-03-01T12:00:00Z',
  ).action(
    action<ExplainOptions, [string]>(runtime, async (session, { cart, at, movements, brief }, sku) => {
      const query = { cart, at: at === undefined ? undefined : parseTime(at, '--at'), movements };
      const answer = await session.hub.get<Explained>(`/v1/items/${segment(sku)}/explain`, query);
      session.answer(answer, (explained) => show(session, explained, brief === true));
    }),
  );
}

function show(session: Session, explained: Explained, brief: boolean): void {
  const { terminal } = session;
  if (explained.carts.length === 0) terminal.out('No cart sells it.');
  for (const cart of explained.carts) {
    terminal.out(cart.sentence);
    if (!brief) showCart(session, cart);
  }
  for (const sentence of explained.leftOut) terminal.note(sentence);
  if (brief) return;
  terminal.out('Movements, the newest first:');
  terminal.table(
    [
      { title: 'RECORDED', of: (row) => formatTime(row.recordedAt) },
      { title: 'WHAT', of: (row) => row.type },
      { title: 'LOCATION', of: (row) => row.location },
      { title: 'DELTA', of: (row) => formatDelta(row.delta), right: true },
      { title: 'ON HAND', of: (row) => formatNumber(row.balance), right: true },
      { title: 'PAPER', of: (row) => (row.reference === null ? '-' : `${row.reference.kind}:${row.reference.number}`) },
    ],
    explained.movements.data,
    'It was never moved.',
  );
  if (explained.movements.nextCursor !== null)
    terminal.note(`There is more: onhand item ledger ${explained.sku} --cursor ${explained.movements.nextCursor}`);
}

function showCart(session: Session, cart: Cart): void {
  const { terminal } = session;
  terminal.out('');
  terminal.table(
    [
      { title: 'STEP', of: (row) => row.step },
      { title: 'WHERE', of: (row) => row.location ?? 'in all' },
      { title: 'RULE', of: (row) => (row.rule === null ? '-' : `${row.rule.name}, v${row.rule.version}`) },
      { title: 'BEFORE', of: (row) => formatNumber(row.before), right: true },
      { title: 'AFTER', of: (row) => formatNumber(row.after), right: true },
    ],
    cart.steps,
    'Nothing had a say.',
  );
  terminal.out('');
  if (cart.records.length > 0) {
    terminal.table(
      [
        { title: 'RECORD', of: (row) => row.id },
        { title: 'ACCEPTED', of: (row) => formatTime(row.acceptedAt) },
        { title: 'DELTA', of: (row) => formatDelta(row.delta), right: true },
        { title: 'TO', of: (row) => formatNumber(row.target), right: true },
        { title: 'STATE', of: (row) => row.state },
        { title: 'TRIES', of: (row) => row.attempts, right: true },
        { title: 'LAST RESPONSE', of: (row) => row.lastResponse },
      ],
      cart.records,
      '',
    );
    terminal.out('');
  }
  const { lastAnswer } = cart;
  if (lastAnswer !== null)
    terminal.out(
      `Last answer, ${formatTime(lastAnswer.at)}: ${lastAnswer.response ?? lastAnswer.outcome ?? 'none'}`,
      '',
    );
}
