import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { Probes } from '../modules/jobs/probes.js';
import { CommandLineError, exitCodes, UsageError } from './exit-codes.js';
import { formatDuration, parseSeconds } from './format.js';
import { changes, examples, segment } from './options.js';
import { action, change, refuse, type ChangeOptions, type Runtime, type Session } from './session.js';

type Status = Awaited<ReturnType<Probes['start']>>;
type Started = Status & { readonly statusUrl: string };

interface ProbeOptions extends ChangeOptions {
  readonly sku?: string;
  readonly key?: string;
  readonly belowZero: boolean;
  readonly parallel: boolean;
  readonly wait: boolean;
  readonly giveUpAfter: string;
  readonly left?: boolean;
}

const POLL_MS = 200;

/** carts probe: what this very cart does with a change, step by step, and what follows from it. */
export function addProbeCommand(carts: Command, runtime: Runtime): void {
  examples(
    changes(
      carts
        .command('probe')
        .description('Find out what a cart does with a change, on one item that is put back afterwards')
        .argument('<cart>')
        .option('--sku <sku>', 'an item that nobody buys just now, best with eight pieces or more')
        .option('--key <key>', 'instead of the SKU: the cart’s own key of the item')
        .option('--no-below-zero', 'do not sell the item out for a moment')
        .option('--no-parallel', 'do not change it two times at once')
        .option('--left', 'say that the item which a probe could not put back is right as it is; probes nothing')
        .option('--no-wait', 'only start it')
        .option('--give-up-after <seconds>', 'stop watching then; it goes on in the background', '600'),
    ),
    'carts probe main-shop --sku MUG',
    'carts probe main-shop --key 4711 --no-below-zero',
  ).action(
    action<ProbeOptions, [string]>(runtime, async (session, options, id) => {
      const path = `/v1/carts/${segment(id)}/probe`;
      if (options.left === true) return leave(session, options, path);
      const { sku, key, belowZero, parallel } = options;
      if ((sku === undefined) === (key === undefined)) throw new UsageError('Name one item: --sku MUG, or --key 4711.');
      const body = { ...(sku !== undefined && { sku }), ...(key !== undefined && { key }), belowZero, parallel };
      const answer = await change<Started>(session, options, { method: 'POST', path, body }, async () => [
        { what: `${sku ?? key} at ${id}`, before: null, after: 'changed for some seconds, and put back' },
      ]);
      if (answer === null) return;
      if (!options.wait)
        return session.answer(answer, (started) => session.terminal.out(`Started: ${started.statusUrl}`));
      return watch(session, answer.body, parseSeconds(options.giveUpAfter, '--give-up-after'));
    }),
  );
}

async function leave(session: Session, options: ProbeOptions, path: string): Promise<void> {
  const answer = await change<{ data: Status[] }>(session, options, { method: 'POST', path: `${path}/left`, body: {} });
  if (answer !== null) session.answer(answer, () => session.terminal.out('The item is taken as it is.'));
}

async function watch(session: Session, started: Started, giveUpAfterMs: number): Promise<number> {
  const until = Date.now() + giveUpAfterMs;
  let told = 0;
  for (;;) {
    const answer = await session.hub.get<Status>(started.statusUrl);
    const { state, steps } = answer.body;
    for (const { step } of steps.slice(told)) session.terminal.note(`  ${step}`);
    told = steps.length;
    if (state === 'done' || state === 'failed') {
      session.answer(answer, (status) => showEnd(session, status));
      return state === 'done' && answer.body.found?.unusable === null ? exitCodes.ok : exitCodes.refused;
    }
    if (Date.now() >= until) {
      throw new CommandLineError(
        exitCodes.late,
        `Not finished within ${formatDuration(giveUpAfterMs)}; it goes on. GET ${started.statusUrl} tells more.`,
      );
    }
    await sleep(POLL_MS);
  }
}

function showEnd(session: Session, { cartId, error, notPutBack, scriptVersion, key, findings, found }: Status): void {
  const { terminal } = session;
  if (notPutBack !== null)
    terminal.out(
      `${notPutBack.key} showed ${notPutBack.before} and is not put back yet; when it is right: onhand carts probe ${cartId} --left`,
    );
  if (error !== null) refuse(`The probe failed: ${error}`);
  terminal.out(`Version ${scriptVersion ?? 'unknown'}, probed with ${key}, which is put back.`);
  for (const { about, saw, follows } of findings) terminal.out('', `${about}: ${saw}`, `  → ${follows}`);
  terminal.out('');
  terminal.out(
    found === null || found.unusable === null
      ? `Next: onhand carts on ${cartId}; onhand carts send-qoh ${cartId}`
      : `This cart cannot be switched on: ${found.unusable}`,
  );
}
