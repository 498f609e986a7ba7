import type { Command } from 'commander';
import { UsageError } from './exit-codes.js';
import { changes, examples, moreHint, pageQuery, pages, segment, type PageOptions } from './options.js';
import { action, change, type ChangeOptions, type Runtime } from './session.js';
import { showFacts, type Accepted } from './stock.js';

interface Locations {
  readonly data: readonly {
    readonly location: string;
    readonly name: string;
    readonly otherCodes: readonly string[];
  }[];
  readonly nextCursor: string | null;
}

export function addLocationCommands(program: Command, runtime: Runtime): void {
  const locations = program.command('locations').description('Warehouses and shops: list, add, change');
  examples(locations, 'locations list', 'locations add main "Main warehouse"');
  examples(pages(locations.command('list').description('Every location')), 'locations list').action(
    action<PageOptions>(runtime, async (session, options) => {
      session.answer(await session.hub.get<Locations>('/v1/locations', pageQuery(options)), (page) => {
        session.terminal.table(
          [
            { title: 'LOCATION', of: (row) => row.location },
            { title: 'NAME', of: (row) => row.name },
            { title: 'OTHER CODES', of: (row) => row.otherCodes.join(', ') },
          ],
          page.data,
          'No location yet.',
        );
        moreHint(session, page.nextCursor);
      });
    }),
  );
  examples(
    changes(
      locations
        .command('add')
        .description('Add a warehouse or shop')
        .argument('<code>')
        .argument('<name>')
        .option('--other-code <code...>', 'what other programs call it, such as the facilityId of a point of sale'),
    ),
    'locations add main "Main warehouse"',
    'locations add shop "Shop" --other-code WH',
  ).action(
    action<ChangeOptions & { otherCode?: string[] }, [string, string]>(
      runtime,
      async (session, { otherCode, ...options }, location, name) => {
        const body = { location, name, ...(otherCode !== undefined && { otherCodes: otherCode }) };
        const request = { method: 'POST', path: '/v1/locations', body } as const;
        const answer = await change<Accepted>(session, options, request);
        if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
      },
    ),
  );
  addChange(locations, runtime);
}

interface LocationEdit extends ChangeOptions {
  readonly name?: string;
  readonly otherCode?: string[];
  readonly removeOtherCodes?: boolean;
}

function addChange(locations: Command, runtime: Runtime): void {
  examples(
    changes(
      locations
        .command('change')
        .description('Change its name, or what other programs call it')
        .argument('<code>')
        .option('--name <name>', 'its name')
        .option('--other-code <code...>', 'all that other programs call it')
        .option('--remove-other-codes', 'no other program calls it anything'),
    ),
    'locations change shop --other-code WH 17',
  ).action(
    action<LocationEdit, [string]>(
      runtime,
      async (session, { name, otherCode, removeOtherCodes, ...options }, location) => {
        if (otherCode !== undefined && removeOtherCodes === true)
          throw new UsageError('Name either --other-code or --remove-other-codes.');
        const otherCodes = removeOtherCodes === true ? [] : otherCode;
        if (name === undefined && otherCodes === undefined)
          throw new UsageError('Name what to change: --name, --other-code or --remove-other-codes.');
        const body = { ...(name !== undefined && { name }), ...(otherCodes !== undefined && { otherCodes }) };
        const request = { method: 'PATCH', path: `/v1/locations/${segment(location)}`, body } as const;
        const answer = await change<Accepted>(session, options, request);
        if (answer !== null) session.answer(answer, (accepted) => showFacts(session, accepted));
      },
    ),
  );
}
