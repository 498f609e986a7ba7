import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { ShownQohRun } from '../modules/jobs/qoh-runs.js';
import { CommandLineError, exitCodes, UsageError } from './exit-codes.js';
import { formatDuration, formatNumber } from './format.js';
import { startProgress, type Progress } from './progress.js';
import { refuse, type Session } from './session.js';

export interface RunOptions {
  readonly preview?: boolean;
  readonly tag?: string;
  readonly sku?: readonly string[];
  readonly otherwise?: readonly string[];
  readonly createNewProducts?: boolean;
}

const POLL_MS = 250;

/** What Send and Get can be asked for, wherever they are. */
export function runOptions(command: Command, direction: 'send' | 'get'): Command {
  const other = direction === 'send' ? 'the cart is right: taken over instead' : 'the hub is right: sent instead';
  return command
    .option('--preview', 'only say what would change; nothing is changed')
    .option('--tag <tag>', 'only items with this tag')
    .option('--sku <sku...>', 'only these items')
    .option('--otherwise <sku...>', `items for which ${other}`);
}

export const watching = (command: Command) =>
  command
    .option('--no-wait', 'only start it')
    .option('--give-up-after <seconds>', 'stop watching then; it goes on in the background', '3600');

export function runBody({ preview, tag, sku, otherwise, createNewProducts }: RunOptions) {
  if (createNewProducts === true && preview === true)
    throw new UsageError(
      '--preview creates nothing; what would be created is shown by --create-new-products --dry-run.',
    );
  return {
    ...(preview === true && { preview }),
    ...(tag !== undefined && { tag }),
    ...(sku !== undefined && { skus: sku }),
    ...(otherwise !== undefined && { otherwise }),
    ...(createNewProducts === true && { createNewProducts }),
  };
}

/** Watches one Send or Get to its end, or until it is held. Ctrl-C leaves it running: the hub does the work. */
export async function watchRun(session: Session, statusUrl: string, giveUpAfterMs: number): Promise<number> {
  const until = Date.now() + giveUpAfterMs;
  let progress: Progress | undefined;
  let what = '';
  try {
    for (;;) {
      const answer = await session.hub.get<ShownQohRun>(statusUrl);
      const run = answer.body;
      if (run.state !== 'running' && run.state !== 'waiting') {
        progress?.tell(run.progress.done, run.progress.total);
        progress?.end();
        session.answer(answer, () => showRun(session, run));
        return run.state === 'done' ? exitCodes.ok : exitCodes.refused;
      }
      if (words(run) !== what) {
        progress?.end();
        what = words(run);
        progress = startProgress(session.terminal, what);
      }
      progress?.tell(run.progress.done, run.progress.total);
      if (Date.now() >= until) {
        const now = `it is ${run.state}, ${run.progress.done} of ${run.progress.total ?? 'an unknown number'} done, and goes on`;
        throw new CommandLineError(
          exitCodes.late,
          `Not finished within ${formatDuration(giveUpAfterMs)}: ${now}. onhand qoh show ${run.id} tells more, onhand qoh cancel ${run.id} ends it.`,
        );
      }
      await sleep(POLL_MS);
    }
  } finally {
    progress?.end();
  }
}

function words({ phase, direction, cartId }: ShownQohRun): string {
  if (phase === 'looking') return `Looking at ${cartId}`;
  return direction === 'send' ? `Sending to ${cartId}` : `Getting from ${cartId}`;
}

export function showRun(session: Session, run: ShownQohRun): void {
  const { terminal } = session;
  if (run.state === 'failed')
    refuse(
      `It failed: ${run.error ?? 'the hub does not say why'}. What was made equal stays so. Go on when that is mended: onhand qoh resume ${run.id}`,
    );
  if (run.state === 'held') {
    terminal.out(
      `Held, nothing was changed: ${run.why ?? ''}.`,
      `See it:         onhand qoh differences ${run.id}`,
      `Let it through: onhand pushes let-through "${run.push}" ${run.cartId} --reason "…"`,
      `Or not:         onhand pushes reject "${run.push}" ${run.cartId} --reason "…"`,
    );
    return;
  }
  if (run.preview) {
    const { looked, differing, zeroed, inflated } = run.found;
    terminal.out(
      `${formatNumber(looked)} listings looked at; ${formatNumber(differing)} would change, ${formatNumber(zeroed)} of them to zero, ${formatNumber(inflated)} to twice as much or more.`,
    );
    if (differing > 0) terminal.note(`See them: onhand qoh differences ${run.id}`);
    return;
  }
  if (run.result === null) {
    terminal.out(`It is ${run.state}: ${run.progress.done} of ${run.progress.total ?? '?'} listings.`);
    return;
  }
  const { result } = run;
  if (run.state === 'cancelled') terminal.out(`${run.why ?? 'Cancelled'}. What was made equal stays so.`);
  terminal.out(
    `${formatNumber(result.listings)} listings compared, ${formatNumber(result.differences)} were different.`,
  );
  if (result.created > 0) terminal.out(`${formatNumber(result.created)} items created.`);
  const lists = [
    ['The cart does not list', result.notListed, 'map them to other keys, or create them there'],
    ['The hub does not know', result.unknownAtHub, 'create the items or map the keys: onhand unknown'],
    ['Several products of the cart share', result.doubled, 'onhand carts mapping-problems'],
    ['Not compared, as they were still moving or not shown', result.unsettled, 'compare again'],
  ] as const;
  for (const [what, keys, mend] of lists) {
    if (keys.length > 0)
      terminal.out(
        `${what} (${keys.length}; ${mend}): ${keys.slice(0, 20).join(', ')}${keys.length > 20 ? ', …' : ''}`,
      );
  }
}
