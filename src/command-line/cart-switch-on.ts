import type { Command } from 'commander';
import type { ConnectionReport } from '../cart-workers/connectors/connector.js';
import type { CartReads } from '../modules/carts/cart-reads.js';
import type { SwitchingOn } from '../modules/carts/switching-on.js';
import type { ShownQohRun } from '../modules/jobs/qoh-runs.js';
import { exitCodes } from './exit-codes.js';
import { parseSeconds } from './format.js';
import { choice, examples, segment } from './options.js';
import { watchRun } from './qoh-run-watch.js';
import { action, refuse, type Runtime, type Session } from './session.js';

export type SwitchingSteps = NonNullable<Awaited<ReturnType<SwitchingOn['stepsOf']>>>;

interface Options {
  readonly right?: 'hub' | 'cart';
  readonly otherwise?: readonly string[];
  readonly unprobed?: string;
  readonly giveUpAfter: string;
}

/** carts switch-on: test, probe, compare, choose who is right, apply, on; each step only once the one before is done. */
export function addSwitchOnCommand(carts: Command, runtime: Runtime): void {
  examples(
    carts
      .command('switch-on')
      .description('Switch a cart on step by step: test, probe, compare, choose who is right, apply, on')
      .argument('<cart>')
      .addOption(choice('--right <side>', 'whose numbers are right; left out: only compare', ['hub', 'cart']))
      .option('--otherwise <sku...>', 'items for which the other side is right')
      .option('--unprobed <why>', 'go on with a cart that should have been probed first, and say why')
      .option('--give-up-after <seconds>', 'stop watching then; it goes on in the background', '3600'),
    'carts switch-on main-shop',
    'carts switch-on main-shop --right hub',
    'carts switch-on main-shop --right cart --otherwise MUG CUP',
  ).action(
    action<Options, [string]>(runtime, async (session, options, id) => {
      const giveUpAfterMs = parseSeconds(options.giveUpAfter, '--give-up-after');
      const path = `/v1/carts/${segment(id)}`;
      const { body: steps } = await session.hub.get<SwitchingSteps>(`${path}/switching-on`);
      await test(session, path);
      const probe = steps.steps.find(({ step }) => step === 'probe');
      if (probe?.state !== 'done' && probe?.state !== 'not-needed' && options.unprobed === undefined)
        refuse(`Probe it first, with an item that nobody buys just now: onhand carts probe ${id} --sku SKU`);
      if (options.right === undefined) return compare(session, id, giveUpAfterMs);
      const body = {
        direction: options.right === 'hub' ? 'send' : 'get',
        ...(options.otherwise !== undefined && { otherwise: options.otherwise }),
      };
      const { body: run } = await session.hub.send<ShownQohRun>({ method: 'POST', path: `${path}/comparison`, body });
      const code = await watchRun(session, run.statusUrl, giveUpAfterMs);
      if (code !== exitCodes.ok) return code;
      const onBody = { on: true, ...(options.unprobed !== undefined && { unprobed: options.unprobed }) };
      const answer = await session.hub.send<Awaited<ReturnType<CartReads['switches']>>>({
        method: 'PUT',
        path: `${path}/switch`,
        body: onBody,
      });
      session.terminal.note(`${id} is switched on. ${answer.body.why}`);
      return exitCodes.ok;
    }),
  );
}

async function test(session: Session, path: string): Promise<void> {
  const { body } = await session.hub.send<ConnectionReport>({ method: 'POST', path: `${path}/test`, body: {} });
  for (const finding of body.findings) session.terminal.note(`  ${finding}`);
}

/** Nothing is changed before somebody has said who is right. */
async function compare(session: Session, id: string, giveUpAfterMs: number): Promise<number> {
  const request = { direction: 'send', preview: true };
  const path = `/v1/carts/${segment(id)}/comparison`;
  const { body: run } = await session.hub.send<ShownQohRun>({ method: 'POST', path, body: request });
  const code = await watchRun(session, run.statusUrl, giveUpAfterMs);
  if (code !== exitCodes.ok || session.json) return code;
  session.terminal.note('', `Where the hub is right:  onhand carts switch-on ${id} --right hub`);
  session.terminal.note(`Where the cart is right: onhand carts switch-on ${id} --right cart`);
  session.terminal.note(`And where it is the other way round for some items: --otherwise SKU SKU`);
  return code;
}
