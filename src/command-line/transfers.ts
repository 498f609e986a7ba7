import type { Command } from 'commander';
import { parseSkuQuantity, parseTime } from './format.js';
import { changes, examples, segment } from './options.js';
import { action, change, type ChangeOptions, type Preview, type Runtime } from './session.js';
import { onHandAt, onHandPreview, showFacts, type Accepted } from './stock.js';

interface ShipOptions extends ChangeOptions {
  readonly from: string;
  readonly to: string;
  readonly receive?: boolean;
  readonly occurredAt?: string;
}

interface ReceiveOptions extends ChangeOptions {
  readonly close?: boolean;
  readonly occurredAt?: string;
}

/** transfer ship, transfer receive: stock from one place to another. */
export function addTransferCommands(program: Command, runtime: Runtime): void {
  const transfer = program.command('transfer').description('Move stock from one location to another');
  examples(transfer, 'transfer ship T-1 MUG=5 CUP=2 --from main --to shop');
  examples(
    changes(
      transfer
        .command('ship')
        .description('Ship pieces; they are in transit until they are received')
        .argument('<number>', 'your number of the transfer')
        .argument('<sku=quantity...>', 'what leaves')
        .requiredOption('--from <location>', 'where it leaves')
        .requiredOption('--to <location>', 'where it goes')
        .option('--receive', 'the pieces are there already: ship and receive at once')
        .option('--occurred-at <time>', 'business time; left out: now'),
    ),
    'transfer ship T-1 MUG=5 CUP=2 --from main --to shop',
  ).action(
    action<ShipOptions, [string, string[]]>(runtime, async (session, options, number, rows) => {
      const { from, to, receive, occurredAt } = options;
      const lines = rows.map(parseSkuQuantity);
      const body = {
        transfer: number,
        from,
        to,
        lines,
        ...(receive === true && { receive }),
        ...(occurredAt !== undefined && { occurredAt: parseTime(occurredAt, '--occurred-at') }),
      };
      const answer = await change<Accepted>(
        session,
        options,
        { method: 'POST', path: '/v1/transfers', body },
        async () => {
          const preview: Preview[] = [];
          for (const { sku, quantity } of lines) {
            const [left, there] = [await onHandAt(session, sku, from), await onHandAt(session, sku, to)];
            preview.push(onHandPreview(sku, from, left, (left ?? 0) - quantity));
            const arrived = (there ?? 0) + (receive === true ? quantity : 0);
            preview.push(onHandPreview(sku, to, there, arrived, receive === true ? undefined : 'until it is received'));
          }
          return preview;
        },
      );
      if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
    }),
  );
  examples(
    changes(
      transfer
        .command('receive')
        .description('Receive what came; without rows, everything that is still in transit')
        .argument('<number>', 'your number of the transfer')
        .argument('[sku=quantity...]', 'what came')
        .option('--close', 'write off what did not come')
        .option('--occurred-at <time>', 'business time; left out: now'),
    ),
    'transfer receive T-1',
    'transfer receive T-1 MUG=4 --close',
  ).action(
    action<ReceiveOptions, [string, string[]]>(runtime, async (session, options, number, rows) => {
      const body = {
        ...(rows.length > 0 && { lines: rows.map(parseSkuQuantity) }),
        ...(options.close === true && { close: true }),
        ...(options.occurredAt !== undefined && { occurredAt: parseTime(options.occurredAt, '--occurred-at') }),
      };
      const path = `/v1/transfers/${segment(number)}/receive`;
      const answer = await change<Accepted>(session, options, { method: 'POST', path, body });
      if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
    }),
  );
}
