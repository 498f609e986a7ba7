import type { Command } from 'commander';
import type { KitReads, ShownKit } from '../modules/kits/kit-reads.js';
import { UsageError } from './exit-codes.js';
import { changes, examples, moreHint, pageQuery, pages, segment, type PageOptions } from './options.js';
import { action, change, type ChangeOptions, type Runtime } from './session.js';

type KitPage = Awaited<ReturnType<KitReads['list']>>;

/** kits: items that are put together out of other items when they are sold. */
export function addKitCommands(program: Command, runtime: Runtime): void {
  const kits = program.command('kits').description('Kits: list, show, set and remove');
  examples(kits, 'kits', 'kits set TENT-SET TENT=1 PEG=8', 'kits --component PEG');
  examples(
    pages(
      kits
        .command('list', { isDefault: true })
        .description('Kits and what they are made of')
        .option('--component <sku>', 'only kits that contain it'),
    ),
    'kits list --component PEG',
  ).action(
    action<PageOptions & { component?: string }>(runtime, async (session, options) => {
      const query = { ...pageQuery(options), component: options.component };
      const answer = await session.hub.get<KitPage>('/v1/kits', query);
      session.answer(answer, ({ data, nextCursor }) => {
        if (data.length === 0) session.terminal.out('No kits.');
        for (const kit of data) session.terminal.out(`${kit.sku}: ${inWords(kit.components)}`);
        moreHint(session, nextCursor);
      });
    }),
  );
  examples(kits.command('show').description('One kit').argument('<sku>'), 'kits show TENT-SET').action(
    action<object, [string]>(runtime, async (session, _options, sku) => {
      const answer = await session.hub.get<ShownKit>(`/v1/kits/${segment(sku)}`);
      session.answer(answer, (kit) =>
        session.terminal.out(`${kit.sku}: ${inWords(kit.components)}`, `In plain items: ${inWords(kit.parts)}`),
      );
    }),
  );
  examples(
    changes(
      kits
        .command('set')
        .description('Make an item a kit; name all of its components')
        .argument('<sku>')
        .argument('<component=quantity...>'),
    ),
    'kits set TENT-SET TENT=1 PEG=8',
  ).action(
    action<ChangeOptions, [string, string[]]>(runtime, async (session, options, sku, given) => {
      const body = { components: given.map(componentOf) };
      const answer = await change<object>(session, options, { method: 'PUT', path: `/v1/kits/${segment(sku)}`, body });
      if (answer !== null) session.answer(answer, () => session.terminal.out(`${sku}: ${inWords(body.components)}`));
    }),
  );
  examples(
    changes(kits.command('remove').description('Make a kit an item by itself again').argument('<sku>')),
    'kits remove TENT-SET',
  ).action(
    action<ChangeOptions, [string]>(runtime, async (session, options, sku) => {
      const answer = await change<object>(session, options, { method: 'DELETE', path: `/v1/kits/${segment(sku)}` });
      if (answer !== null) session.answer(answer, () => session.terminal.out(`${sku} is no kit any more.`));
    }),
  );
}

function componentOf(text: string): { sku: string; quantity: number } {
  const at = text.lastIndexOf('=');
  const quantity = Number(text.slice(at + 1));
  if (at < 1 || !/^\d+$/.test(text.slice(at + 1)) || quantity < 1)
    throw new UsageError(`"${text}" must be a SKU and a whole number, such as PEG=8.`);
  return { sku: text.slice(0, at), quantity };
}

const inWords = (parts: readonly { readonly sku: string; readonly quantity: number }[]) =>
  parts.map(({ sku, quantity }) => `${quantity} × ${sku}`).join(', ');
