import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { ComparisonReport } from '../cart-workers/drifts/compare-cart.js';
import type { NewKeysPreview } from '../cart-workers/qoh-transfer.js';
import type { Comparisons } from '../modules/jobs/comparisons.js';
import type { ShownQohRun } from '../modules/jobs/qoh-runs.js';
import type { Cart } from './cart-table.js';
import { CommandLineError, exitCodes } from './exit-codes.js';
import { formatDuration, formatNumber, parseSeconds } from './format.js';
import { changes, examples, segment } from './options.js';
import { startProgress } from './progress.js';
import { runBody, runOptions, watching, watchRun, type RunOptions } from './qoh-run-watch.js';
import { action, change, refuse, type ChangeOptions, type Preview, type Runtime, type Session } from './session.js';

type Look = Awaited<ReturnType<Comparisons['start']>>;
type Started = (Look & { readonly statusUrl: string }) | ShownQohRun;

interface CompareOptions extends ChangeOptions, RunOptions {
  readonly wait: boolean;
  readonly giveUpAfter: string;
}

const POLL_MS = 250;
const afterwards = { send: 'sent to the cart', get: 'taken from the cart', look: 'laid beside the cart' } as const;

/** carts send-qoh, get-qoh, compare: both sides are made equal, or only looked at, in the background, and watched from here. */
export function addComparisonCommands(carts: Command, runtime: Runtime): void {
  const commands = [
    ['send-qoh', 'send', 'Send QOH: the cart is made to show what we have'],
    ['get-qoh', 'get', 'Get QOH: we take over what the cart shows'],
    ['compare', 'look', 'Only look: say what differs, without holding anything up'],
  ] as const;
  for (const [name, direction, description] of commands) {
    const command = carts.command(name);
    if (direction !== 'look') runOptions(command, direction);
    if (direction === 'get')
      command.option('--create-new-products', 'create items for what the cart has and nobody knows here');
    examples(
      watching(changes(command.description(`${description}. Shows how far it is`).argument('<cart>'))),
      `carts ${name} main-shop`,
      ...(direction === 'look' ? [] : [`carts ${name} main-shop --preview`, `carts ${name} main-shop --sku MUG CUP`]),
    ).action(
      action<CompareOptions, [string]>(runtime, async (session, options, id) => {
        const body = { direction, ...runBody(options) };
        const request = { method: 'POST', path: `/v1/carts/${segment(id)}/comparison`, body } as const;
        const answer = await change<Started>(session, options, request, async () => {
          const { body: cart } = await session.hub.get<Cart>(`/v1/carts/${segment(id)}`);
          const after = options.preview === true ? 'only looked at' : afterwards[direction];
          return [
            { what: `Listings of ${id}`, before: `${cart.synchronised} of ${cart.listings} synchronised`, after },
            ...(options.createNewProducts === true ? await newProducts(session, id) : []),
          ];
        });
        if (answer === null) return;
        if (!options.wait)
          return session.answer(answer, (started) => session.terminal.out(`Started: ${started.statusUrl}`));
        const giveUpAfterMs = parseSeconds(options.giveUpAfter, '--give-up-after');
        const { body: started } = answer;
        return started.direction === 'look'
          ? watchLook(session, started, giveUpAfterMs)
          : watchRun(session, started.statusUrl, giveUpAfterMs);
      }),
    );
  }
}

/** What would be created, one line each; the cart is asked for it now. */
async function newProducts(session: Session, id: string): Promise<Preview[]> {
  const { body } = await session.hub.get<NewKeysPreview>(`/v1/carts/${segment(id)}/comparison/new-products`);
  return body.newProducts.map(({ sku, title, quantity }) => ({
    what: `Item ${sku}`,
    before: null,
    after: title,
    note: quantity === null ? 'the cart does not track its stock' : `with ${formatNumber(quantity)} on hand`,
  }));
}

async function watchLook(session: Session, { statusUrl }: Started, giveUpAfterMs: number): Promise<number> {
  const progress = startProgress(session.terminal, 'Comparing');
  const until = Date.now() + giveUpAfterMs;
  try {
    for (;;) {
      const answer = await session.hub.get<Look>(statusUrl);
      const { state, progress: far } = answer.body;
      progress.tell(far.done, far.total);
      if (state === 'done' || state === 'failed') {
        progress.end();
        session.answer(answer, (look) => showLook(session, look));
        return state === 'done' ? exitCodes.ok : exitCodes.refused;
      }
      if (Date.now() >= until) {
        const now = `it is ${state}, ${far.done} of ${far.total ?? 'an unknown number'} done, and goes on`;
        throw new CommandLineError(
          exitCodes.late,
          `Not finished within ${formatDuration(giveUpAfterMs)}: ${now}. GET ${statusUrl} tells more.`,
        );
      }
      await sleep(POLL_MS);
    }
  } finally {
    progress.end();
  }
}

function showLook(session: Session, { state, cartId, error, result }: Look): void {
  if (state === 'failed') refuse(`The comparison failed: ${error ?? 'the hub does not say why'}. It changed nothing.`);
  const { looked, equal, differing, busy } = result as ComparisonReport;
  session.terminal.out(
    `${formatNumber(looked)} listings looked at: ${formatNumber(equal)} equal, ${formatNumber(differing)} differ, ${formatNumber(busy)} too busy to be told.`,
  );
  if (differing > 0)
    session.terminal.note(`They are looked at once more by themselves: onhand drifts list --cart ${cartId}`);
}
