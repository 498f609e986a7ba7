import type { Command } from 'commander';
import type { QohRuns, ShownQohRun } from '../modules/jobs/qoh-runs.js';
import { exitCodes } from './exit-codes.js';
import { formatDelta, formatDuration, formatNumber, formatTime, parseSeconds } from './format.js';
import { number } from './items.js';
import { changes, examples, moreHint, pageQuery, pages, segment, type PageOptions } from './options.js';
import { runBody, runOptions, showRun, watching, watchRun, type RunOptions } from './qoh-run-watch.js';
import { action, change, type ChangeOptions, type Runtime, type Session } from './session.js';

type RunPage = Awaited<ReturnType<QohRuns['list']>>;
type DifferencePage = Awaited<ReturnType<QohRuns['differences']>>;

interface SendOptions extends ChangeOptions, RunOptions {
  readonly cart?: readonly string[];
  readonly wait: boolean;
  readonly giveUpAfter: string;
}

/** qoh: Send QOH to every cart, and all Sends and Gets. One cart alone: carts send-qoh, carts get-qoh. */
export function addQohCommands(program: Command, runtime: Runtime): void {
  const qoh = program.command('qoh').description('Send QOH to every cart, and how far Sends and Gets are');
  examples(qoh, 'qoh send --tag summer --preview', 'qoh list --open', 'qoh cancel RUN');
  addSend(qoh, runtime);
  addList(qoh, runtime);
  addShow(qoh, runtime);
  addDecision(qoh, runtime, 'cancel', 'Begin nothing more of it; what was made equal stays so');
  addDecision(qoh, runtime, 'resume', 'Go on with one that failed or was cancelled');
}

function addSend(qoh: Command, runtime: Runtime): void {
  const command = qoh
    .command('send')
    .description('Send QOH: every cart that is switched on is made to show what we have')
    .option('--cart <id...>', 'only these carts');
  examples(
    watching(changes(runOptions(command, 'send'))),
    'qoh send',
    'qoh send --tag summer',
    'qoh send --sku MUG CUP --preview',
  ).action(
    action<SendOptions>(runtime, async (session, options) => {
      const body = {
        direction: 'send',
        ...(options.cart !== undefined && { carts: options.cart }),
        ...runBody(options),
      };
      const giveUpAfterMs = parseSeconds(options.giveUpAfter, '--give-up-after');
      const request = { method: 'POST', path: '/v1/qoh-runs', body } as const;
      const answer = await change<{ data: readonly ShownQohRun[] }>(session, options, request);
      if (answer === null) return;
      if (!options.wait || session.json) return session.answer(answer, ({ data }) => showRuns(session, data));
      if (answer.body.data.length === 0) session.terminal.out('No cart is switched on; nothing was sent.');
      let worst: number = exitCodes.ok;
      for (const run of answer.body.data)
        worst = Math.max(worst, await watchRun(session, run.statusUrl, giveUpAfterMs));
      return worst;
    }),
  );
}

function addList(qoh: Command, runtime: Runtime): void {
  examples(
    pages(
      qoh
        .command('list')
        .description('Sends and Gets, the newest first')
        .option('--cart <id>', 'only this cart’s')
        .option('--open', 'only what is under way or held'),
    ),
    'qoh list --open',
  ).action(
    action<PageOptions & { cart?: string; open?: boolean }>(runtime, async (session, options) => {
      const query = { cart: options.cart, open: options.open === true ? 'true' : undefined, ...pageQuery(options) };
      session.answer(await session.hub.get<RunPage>('/v1/qoh-runs', query), (page) => {
        showRuns(session, page.data);
        moreHint(session, page.nextCursor);
      });
    }),
  );
}

function showRuns(session: Session, runs: readonly ShownQohRun[]): void {
  session.terminal.table(
    [
      { title: 'RUN', of: (row) => row.id },
      { title: 'CART', of: (row) => row.cartId },
      { title: 'WHAT', of: (row) => `${row.direction}${row.preview ? ', preview' : ''}` },
      { title: 'STATE', of: (row) => (row.state === 'running' ? row.phase : row.state) },
      { title: 'DONE', of: (row) => `${formatNumber(row.progress.done)}/${number(row.progress.total)}`, right: true },
      { title: 'PER SECOND', of: (row) => number(row.progress.perSecond), right: true },
      {
        title: 'LEFT',
        of: (row) => (row.progress.secondsLeft === null ? null : formatDuration(row.progress.secondsLeft * 1_000)),
      },
      { title: 'BY', of: (row) => row.by },
      { title: 'ASKED', of: (row) => formatTime(row.askedAt) },
      { title: 'WHY', of: (row) => row.why ?? row.error },
    ],
    runs,
    'No Send or Get.',
  );
}

function addShow(qoh: Command, runtime: Runtime): void {
  examples(
    qoh.command('show').description('One Send or Get, and what came of it').argument('<run>'),
    'qoh show 5f0c…',
  ).action(
    action<object, [string]>(runtime, async (session, _options, id) => {
      const answer = await session.hub.get<ShownQohRun>(`/v1/qoh-runs/${segment(id)}`);
      session.answer(answer, (run) => {
        showRuns(session, [run]);
        session.terminal.out('');
        showRun(session, run);
      });
    }),
  );
  examples(
    pages(
      qoh
        .command('differences')
        .description('What it would change: what was shown, and what should be')
        .argument('<run>'),
    ),
    'qoh differences 5f0c…',
  ).action(
    action<PageOptions, [string]>(runtime, async (session, options, id) => {
      const path = `/v1/qoh-runs/${segment(id)}/differences`;
      session.answer(await session.hub.get<DifferencePage>(path, pageQuery(options)), (page) => {
        session.terminal.table(
          [
            { title: 'KEY', of: (row) => row.key },
            { title: 'SKU', of: (row) => row.sku },
            { title: 'CART SHOWED', of: (row) => number(row.shown), right: true },
            { title: 'SHOULD', of: (row) => number(row.should), right: true },
            { title: 'DIFFERENCE', of: (row) => formatDelta(row.shown - row.should), right: true },
            { title: 'FOLLOWS', of: (row) => (row.direction === 'send' ? 'the cart' : 'our stock') },
          ],
          page.data,
          'Nothing differs.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
}

function addDecision(qoh: Command, runtime: Runtime, name: 'cancel' | 'resume', description: string): void {
  examples(changes(qoh.command(name).description(description).argument('<run>')), `qoh ${name} 5f0c…`).action(
    action<ChangeOptions, [string]>(runtime, async (session, options, id) => {
      const request = { method: 'POST', path: `/v1/qoh-runs/${segment(id)}/${name}` } as const;
      const answer = await change<ShownQohRun>(session, options, request, async () => {
        const { body: run } = await session.hub.get<ShownQohRun>(`/v1/qoh-runs/${segment(id)}`);
        return [{ what: `Run ${id}`, before: run.state, after: name === 'cancel' ? 'cancelled' : 'running' }];
      });
      if (answer === null) return;
      session.answer(answer, (run) => session.terminal.out(`${run.cartId}: ${run.direction} is ${run.state}.`));
    }),
  );
}
