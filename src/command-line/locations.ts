import type { Command } from 'commander';
import { changes, examples, moreHint, pageQuery, pages, type PageOptions } from './options.js';
import { action, change, type ChangeOptions, type Runtime } from './session.js';
import { showFacts, type Accepted } from './stock.js';

interface Locations {
  readonly data: readonly { readonly location: string; readonly name: string }[];
  readonly nextCursor: string | null;
}

export function addLocationCommands(program: Command, runtime: Runtime): void {
  const locations = program.command('locations').description('Warehouses and shops: list, add');
  examples(locations, 'locations list', 'locations add main "Main warehouse"');
  examples(pages(locations.command('list').description('Every location')), 'locations list').action(
    action<PageOptions>(runtime, async (session, options) => {
      session.answer(await session.hub.get<Locations>('/v1/locations', pageQuery(options)), (page) => {
        session.terminal.table(
          [
            { title: 'LOCATION', of: (row) => row.location },
            { title: 'NAME', of: (row) => row.name },
          ],
          page.data,
          'No location yet.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
  examples(
    changes(locations.command('add').description('Add a warehouse or shop').argument('<code>').argument('<name>')),
    'locations add main "Main warehouse"',
  ).action(
    action<ChangeOptions, [string, string]>(runtime, async (session, options, location, name) => {
      const request = { method: 'POST', path: '/v1/locations', body: { location, name } } as const;
      const answer = await change<Accepted>(session, options, request);
      if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
    }),
  );
}
