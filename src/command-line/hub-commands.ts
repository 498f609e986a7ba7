import type { Command } from 'commander';
import type { LaneStatus } from '../cart-workers/lane-control.js';
import type { CartReads } from '../modules/carts/cart-reads.js';
import { formatDuration, formatAge, formatNumber, formatTime } from './format.js';
import { changes, dangerous, examples } from './options.js';
import { confirm } from './prompt.js';
import { action, change, type ChangeOptions, type Runtime, type Session } from './session.js';

type SystemSwitch = Awaited<ReturnType<CartReads['systemSwitch']>>;

/** lanes, system: the hub itself. */
export function addHubCommands(program: Command, runtime: Runtime): void {
  addLanes(program, runtime);
  addSystem(program, runtime);
}

function addLanes(program: Command, runtime: Runtime): void {
  examples(program.command('lanes').description('Every lane: its light and why, and what waits'), 'lanes').action(
    action(runtime, async (session) => {
      session.answer(await session.hub.get<{ data: LaneStatus[] }>('/v1/lanes'), ({ data }) => {
        const now = Date.now();
        session.terminal.table(
          [
            { title: 'CART', of: (row) => row.cartId },
            { title: 'LIGHT', of: (row) => row.light },
            { title: 'WAITING', of: (row) => formatNumber(row.waiting), right: true },
            {
              title: 'NEXT',
              of: (row) => (row.cadence.kind === 'on-demand' ? 'on demand' : formatTime(row.nextMomentAt)),
            },
            { title: 'OLDEST', of: (row) => formatAge(row.oldestWaitingAt, now) },
            { title: 'IN FLIGHT', of: (row) => row.inFlight, right: true },
            { title: 'IN DOUBT', of: (row) => row.inDoubt, right: true },
            { title: 'QUARANTINED', of: (row) => row.quarantined, right: true },
            { title: 'DEAD', of: (row) => row.deadLettered, right: true },
            { title: 'LAST SUCCESS', of: (row) => formatTime(row.lastSuccessAt) },
            { title: 'WHY', of: (row) => row.why },
          ],
          data,
          'No cart yet.',
        );
      });
    }),
  );
}

function addSystem(program: Command, runtime: Runtime): void {
  const system = program.command('system').description('The system switch (SynchQOH): show, on, off');
  examples(system, 'system show', 'system off --yes');
  const show = (session: Session, { on, cartsOff }: SystemSwitch) => {
    const carts = cartsOff.length === 0 ? '' : ` Carts switched off: ${cartsOff.join(', ')}.`;
    session.terminal.out(`The system switch is ${on ? 'on' : 'off: nothing is sent to any cart'}.${carts}`);
  };
  examples(system.command('show').description('Whether it is on, and which carts are off'), 'system show').action(
    action(runtime, async (session) => {
      session.answer(await session.hub.get<SystemSwitch>('/v1/system/switch'), (body) => show(session, body));
    }),
  );
  addProcesses(system, runtime);
  for (const name of ['on', 'off'] as const) {
    const on = name === 'on';
    const command = system
      .command(name)
      .description(on ? 'Carts that are switched on follow again' : 'Nothing is sent to any cart; it is kept');
    examples(on ? changes(command) : dangerous(command), `system ${name}`).action(
      action<ChangeOptions & { yes?: boolean }>(runtime, async (session, options) => {
        if (!on && options.dryRun !== true) {
          await confirm(
            session.terminal,
            options.yes,
            'Switch the whole system off? No cart hears of any change then.',
          );
        }
        const request = { method: 'PUT', path: '/v1/system/switch', body: { on } } as const;
        const answer = await change<SystemSwitch>(session, options, request, async () => {
          const { body } = await session.hub.get<SystemSwitch>('/v1/system/switch');
          return [{ what: 'System switch', before: body.on ? 'on' : 'off', after: name }];
        });
        if (answer !== null) session.answer(answer, (body) => show(session, body));
      }),
    );
  }
}

function addProcesses(system: Command, runtime: Runtime): void {
  examples(
    system
      .command('processes')
      .description(
        'Every process of the hub: what it does, its version, when it was last awake, which projector works',
      ),
    'system processes',
  ).action(
    action(runtime, async (session) => {
      session.answer(await session.hub.get<{ processes: HubProcess[] }>('/v1/status'), ({ processes }) => {
        session.terminal.table(
          [
            { title: 'PROCESS', of: (row) => row.name.split(' ').at(-1) ?? row.name },
            { title: 'ROLES', of: (row) => row.roles.join(', ') },
            { title: 'VERSION', of: (row) => row.version },
            { title: 'SINCE', of: (row) => formatTime(row.since) },
            { title: 'LAST SEEN', of: (row) => `${formatDuration(row.silentMs)} ago` },
            { title: 'PROJECTOR', of: (row) => projectorWord(row) },
          ],
          processes,
          'No process is connected to the database.',
        );
      });
    }),
  );
}

const projectorWord = ({ roles, effectiveProjector }: HubProcess) =>
  effectiveProjector ? 'effective' : roles.includes('projector') ? 'stands by' : '';

/** A process as /v1/status tells of it. */
export interface HubProcess {
  readonly name: string;
  readonly version: string;
  readonly roles: readonly string[];
  readonly since: string;
  readonly lastSeenAt: string;
  readonly silentMs: number;
  readonly effectiveProjector: boolean;
}
