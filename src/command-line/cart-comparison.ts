import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { ComparisonReport } from '../cart-workers/drifts/compare-cart.js';
import type { NewKeysPreview, TransferReport } from '../cart-workers/qoh-transfer.js';
import type { Comparisons } from '../modules/jobs/comparisons.js';
import type { Cart } from './cart-table.js';
import { CommandLineError, exitCodes } from './exit-codes.js';
import { formatDuration, formatNumber, parseSeconds } from './format.js';
import { changes, examples, segment } from './options.js';
import { startProgress } from './progress.js';
import { action, change, refuse, type ChangeOptions, type Preview, type Runtime, type Session } from './session.js';

type Status = Awaited<ReturnType<Comparisons['start']>>;
type Started = Status & { readonly statusUrl: string };

interface CompareOptions extends ChangeOptions {
  readonly wait: boolean;
  readonly giveUpAfter: string;
  readonly createNewProducts?: boolean;
}

const POLL_MS = 250;
const afterwards = { send: 'sent to the cart', get: 'taken from the cart', look: 'laid beside the cart' } as const;
const underWay = { send: 'Sending', get: 'Getting', look: 'Comparing' } as const;

/** carts send-qoh, get-qoh, compare: both sides are made equal, or only looked at, in the background, and watched from here. */
export function addComparisonCommands(carts: Command, runtime: Runtime): void {
  const commands = [
    ['send-qoh', 'send', 'Send QOH: the cart is made to show what we have'],
    ['get-qoh', 'get', 'Get QOH: we take over what the cart shows'],
    ['compare', 'look', 'Only look: say what differs, without holding anything up'],
  ] as const;
  for (const [name, direction, description] of commands) {
    const command = carts.command(name);
    if (direction === 'get')
      command.option('--create-new-products', 'create items for what the cart has and nobody knows here');
    examples(
      changes(
        command
          .description(`${description}. Shows how far it is`)
          .argument('<cart>')
          .option('--no-wait', 'only start it')
          .option('--give-up-after <seconds>', 'stop watching then; it goes on in the background', '3600'),
      ),
      `carts ${name} main-shop`,
    ).action(
      action<CompareOptions, [string]>(runtime, async (session, options, id) => {
        const create = options.createNewProducts === true;
        const body = { direction, ...(create && { createNewProducts: true }) };
        const request = { method: 'POST', path: `/v1/carts/${segment(id)}/comparison`, body } as const;
        const answer = await change<Started>(session, options, request, async () => {
          const { body: cart } = await session.hub.get<Cart>(`/v1/carts/${segment(id)}`);
          const after = afterwards[direction];
          return [
            { what: `Listings of ${id}`, before: `${cart.synchronised} of ${cart.listings} synchronised`, after },
            ...(create ? await newProducts(session, id) : []),
          ];
        });
        if (answer === null) return;
        if (!options.wait)
          return session.answer(answer, (started) => session.terminal.out(`Started: ${started.statusUrl}`));
        return watch(session, answer.body, parseSeconds(options.giveUpAfter, '--give-up-after'));
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

async function watch(session: Session, started: Started, giveUpAfterMs: number): Promise<number> {
  const progress = startProgress(session.terminal, underWay[started.direction]);
  const until = Date.now() + giveUpAfterMs;
  try {
    for (;;) {
      const answer = await session.hub.get<Status>(started.statusUrl);
      const { state, progress: far } = answer.body;
      progress.tell(far.done, far.total);
      if (state === 'done' || state === 'failed') {
        progress.end();
        session.answer(answer, (status) => showEnd(session, status));
        return state === 'done' ? exitCodes.ok : exitCodes.refused;
      }
      if (Date.now() >= until) {
        const now = `it is ${state}, ${far.done} of ${far.total ?? 'an unknown number'} done, and goes on`;
        throw new CommandLineError(
          exitCodes.late,
          `Not finished within ${formatDuration(giveUpAfterMs)}: ${now}. GET ${started.statusUrl} tells more.`,
        );
      }
      await sleep(POLL_MS);
    }
  } finally {
    progress.end();
  }
}

function showLook(session: Session, cartId: string, { looked, equal, differing, busy }: ComparisonReport): void {
  session.terminal.out(
    `${formatNumber(looked)} listings looked at: ${formatNumber(equal)} equal, ${formatNumber(differing)} differ, ${formatNumber(busy)} too busy to be told.`,
  );
  if (differing > 0)
    session.terminal.note(`They are looked at once more by themselves: onhand drifts list --cart ${cartId}`);
}

function showEnd(session: Session, status: Status): void {
  if (status.state === 'failed')
    refuse(
      `The comparison failed: ${status.error ?? 'the hub does not say why'}. Nothing is half done; start it again when that is mended.`,
    );
  if (status.direction === 'look') return showLook(session, status.cartId, status.result as ComparisonReport);
  const report = status.result as TransferReport;
  session.terminal.out(
    `${formatNumber(report.listings)} listings compared, ${formatNumber(report.differences)} were different.`,
  );
  if (report.created > 0) session.terminal.out(`${formatNumber(report.created)} items created.`);
  const lists = [
    ['The cart does not list', report.notListed, 'map them to other keys, or create them there'],
    ['The hub does not know', report.unknownAtHub, 'create the items or map the keys: onhand unknown'],
    ['Several products of the cart share', report.doubled, 'onhand carts mapping-problems'],
    ['Still moving, not compared', report.unsettled, 'compare again'],
  ] as const;
  for (const [what, keys, mend] of lists) {
    if (keys.length > 0)
      session.terminal.out(
        `${what} (${keys.length}; ${mend}): ${keys.slice(0, 20).join(', ')}${keys.length > 20 ? ', …' : ''}`,
      );
  }
}
