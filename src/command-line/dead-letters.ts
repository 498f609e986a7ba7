import type { Command } from 'commander';
import type { DeadLetter, QuarantinedLine } from '../cart-workers/dead-letters.js';
import { formatDelta, formatTime } from './format.js';
import { changes, dangerous, examples, moreHint, pageQuery, pages, type PageOptions } from './options.js';
import { confirm } from './prompt.js';
import { action, change, type ChangeOptions, type Preview, type Runtime, type Session } from './session.js';

interface Page<Row> {
  readonly data: readonly Row[];
  readonly nextCursor: string | null;
}
type ListOptions = PageOptions & { readonly cart?: string };

/** dead-letters and quarantined: what waits for a person. */
export function addDeadLetterCommands(program: Command, runtime: Runtime): void {
  const letters = program.command('dead-letters').description('What carts refused for good: list, put back, give up');
  examples(letters, 'dead-letters list', 'dead-letters redrive main-shop --key MUG');
  addLetterList(letters, runtime);
  addRedrive(letters, runtime);
  addDiscard(letters, runtime);
  const quarantined = program
    .command('quarantined')
    .description('Lines of which nobody can tell whether the cart applied them: list, resolve');
  examples(quarantined, 'quarantined list', 'quarantined resolve main-shop MUG was-applied');
  addQuarantinedList(quarantined, runtime);
  addResolve(quarantined, runtime);
}

function addLetterList(letters: Command, runtime: Runtime): void {
  examples(
    pages(letters.command('list').description('One per listing').option('--cart <id>', 'only this cart’s')),
    'dead-letters list --cart main-shop',
  ).action(
    action<ListOptions>(runtime, async (session, options) => {
      const query = { cart: options.cart, ...pageQuery(options) };
      session.answer(await session.hub.get<Page<DeadLetter>>('/v1/dead-letters', query), (page) => {
        session.terminal.table(
          [
            { title: 'CART', of: (row) => row.cartId },
            { title: 'KEY', of: (row) => row.key },
            { title: 'OWED', of: (row) => formatDelta(row.delta), right: true },
            { title: 'SINCE', of: (row) => formatTime(row.since) },
            { title: 'TRIES', of: (row) => row.attempts, right: true },
            { title: 'WHY', of: (row) => row.unlisted },
            { title: 'LAST RESPONSE', of: (row) => row.lastResponse },
          ],
          page.data,
          'No dead letter.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
}

async function lettersOf(session: Session, cart: string, key: string | undefined): Promise<readonly DeadLetter[]> {
  const { body } = await session.hub.get<Page<DeadLetter>>('/v1/dead-letters', { cart, limit: '200' });
  return body.data.filter((row) => key === undefined || row.key === key);
}

async function lettersPreview(
  session: Session,
  cart: string,
  key: string | undefined,
  after: string,
): Promise<Preview[]> {
  const rows = await lettersOf(session, cart, key);
  return rows.map((row) => ({
    what: `${row.key} at ${cart}, ${formatDelta(row.delta)}`,
    before: 'dead letter',
    after,
  }));
}

function addRedrive(letters: Command, runtime: Runtime): void {
  examples(
    changes(
      letters
        .command('redrive')
        .description('Put dead letters back on the Web Stack; the sum that is owed is sent')
        .argument('<cart>')
        .option('--key <key>', 'only this listing’s; left out: all of the cart'),
    ),
    'dead-letters redrive main-shop --key MUG',
  ).action(
    action<ChangeOptions & { key?: string }, [string]>(runtime, async (session, options, cart) => {
      const { key } = options;
      const body = { cartId: cart, ...(key !== undefined && { key }) };
      const request = { method: 'POST', path: '/v1/dead-letters/redrive', body } as const;
      const answer = await change<{ records: number }>(session, options, request, () =>
        lettersPreview(session, cart, key, 'waiting'),
      );
      if (answer !== null)
        session.answer(answer, ({ records }) => session.terminal.out(`${records} records wait again.`));
    }),
  );
}

function addDiscard(letters: Command, runtime: Runtime): void {
  examples(
    dangerous(
      letters
        .command('discard')
        .description('Give a dead letter up; the cart is read and what it shows is accepted')
        .argument('<cart>')
        .argument('<key>')
        .requiredOption('--reason <text>', 'why; it is kept'),
    ),
    'dead-letters discard main-shop MUG --reason "no longer sold there"',
  ).action(
    action<ChangeOptions & { reason: string; yes?: boolean }, [string, string]>(
      runtime,
      async (session, options, cart, key) => {
        if (options.dryRun !== true) {
          const [row] = await lettersOf(session, cart, key);
          const owed = row === undefined ? 'what is owed' : formatDelta(row.delta);
          await confirm(session.terminal, options.yes, `Give up ${owed} of ${key} at ${cart} for good?`);
        }
        const body = { cartId: cart, key, reason: options.reason };
        const request = { method: 'POST', path: '/v1/dead-letters/discard', body } as const;
        const answer = await change<{ records: number }>(session, options, request, () =>
          lettersPreview(session, cart, key, 'discarded'),
        );
        if (answer !== null)
          session.answer(answer, ({ records }) => session.terminal.out(`${records} records are discarded.`));
      },
    ),
  );
}

function addQuarantinedList(quarantined: Command, runtime: Runtime): void {
  examples(
    pages(
      quarantined.command('list').description('With what was read and when').option('--cart <id>', 'only this cart’s'),
    ),
    'quarantined list --cart main-shop',
  ).action(
    action<ListOptions>(runtime, async (session, options) => {
      const query = { cart: options.cart, ...pageQuery(options) };
      session.answer(await session.hub.get<Page<QuarantinedLine>>('/v1/quarantined', query), (page) => {
        session.terminal.table(
          [
            { title: 'CART', of: (row) => row.cartId },
            { title: 'KEY', of: (row) => row.key },
            { title: 'DELTA', of: (row) => formatDelta(row.delta), right: true },
            { title: 'SINCE', of: (row) => formatTime(row.since) },
            { title: 'RESPONSE', of: (row) => row.response },
            { title: 'EVIDENCE', of: (row) => JSON.stringify(row.evidence) },
          ],
          page.data,
          'Nothing is quarantined.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
}

const resolutions = ['was-applied', 'was-not-applied', 'set-to-target'];

function addResolve(quarantined: Command, runtime: Runtime): void {
  examples(
    changes(
      quarantined
        .command('resolve')
        .description(`Say what you found out at the cart: ${resolutions.join(', ')}`)
        .argument('<cart>')
        .argument('<key>')
        .argument('<action>', 'set-to-target makes the cart show what it should, whatever happened'),
    ),
    'quarantined resolve main-shop MUG was-applied',
  ).action(
    action<ChangeOptions, [string, string, string]>(runtime, async (session, options, cart, key, resolution) => {
      const body = { cartId: cart, key, action: resolution };
      const request = { method: 'POST', path: '/v1/quarantined/resolve', body } as const;
      const answer = await change(session, options, request, async () => [
        { what: `${key} at ${cart}`, before: 'quarantined', after: resolution },
      ]);
      if (answer !== null)
        session.answer(answer, () => session.terminal.out(`${key} at ${cart} is resolved: ${resolution}.`));
    }),
  );
}
