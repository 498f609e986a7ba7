import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { ProjectionRuns } from '../modules/projections/projection-runs.js';
import type { ProjectorStatus } from '../projections/projector-status.js';
import { CommandLineError, exitCodes } from './exit-codes.js';
import { formatDuration, formatNumber, parseSeconds } from './format.js';
import type { HubAnswer } from './hub-client.js';
import { changes, examples, segment } from './options.js';
import { startProgress } from './progress.js';
import { confirm } from './prompt.js';
import { action, change, type ChangeOptions, type Runtime, type Session } from './session.js';
import { factLines } from './table.js';

type Run = Awaited<ReturnType<ProjectionRuns['shown']>>;

const POLL_MS = 200;

/** projections: what follows from the log. */
export function addProjectionCommands(program: Command, runtime: Runtime): void {
  const projections = program
    .command('projections')
    .description('What follows from the log: status, verify, rebuild, resume');
  examples(projections, 'projections status', 'projections verify', 'projections rebuild quantity-on-hand --dry-run');
  addStatus(projections, runtime);
  addVerify(projections, runtime);
  addRebuild(projections, runtime);
  addResume(projections, runtime);
}

interface WatchOptions {
  readonly giveUpAfter: string;
}

const watched = (command: Command) =>
  command.option('--give-up-after <seconds>', 'stop watching then; it goes on in the background', '7200');

function addVerify(projections: Command, runtime: Runtime): void {
  examples(
    watched(
      projections
        .command('verify')
        .description('Check, while everything runs, that all that is stored follows from the log; exit code 1 if not'),
    ),
    'projections verify',
  ).action(
    action<WatchOptions>(runtime, async (session, { giveUpAfter }) => {
      const run = await follow(session, { path: '/v1/projections/verify', body: {} }, giveUpAfter);
      session.answer(run, (body) => showRun(session, body));
      return run.body.state === 'done' && run.body.found === 0 ? exitCodes.ok : exitCodes.refused;
    }),
  );
}

function addRebuild(projections: Command, runtime: Runtime): void {
  examples(
    watched(
      projections
        .command('rebuild')
        .description('Compare quantity-on-hand, velocity or availability with the log, and mend what differs')
        .argument('<projection>')
        .option('--dry-run', 'show what differs; change nothing')
        .option('-y, --yes', 'do not ask'),
    ),
    'projections rebuild quantity-on-hand --dry-run',
    'projections rebuild velocity --yes',
  ).action(
    action<WatchOptions & { dryRun?: boolean; yes?: boolean }, [string]>(runtime, async (session, options, name) => {
      const path = `/v1/projections/${segment(name)}/rebuild`;
      const preview = await follow(session, { path, body: { apply: false } }, options.giveUpAfter);
      const found = preview.body.state === 'done' ? preview.body.found : null;
      if (options.dryRun === true || found === null || found === 0) {
        session.answer(preview, (body) => showRun(session, body));
        return found === 0 ? exitCodes.ok : exitCodes.refused;
      }
      if (!session.json) showRun(session, preview.body);
      const sent = name === 'velocity' ? '' : ' Carts are sent what differs for them.';
      await confirm(session.terminal, options.yes, `Mend ${formatNumber(found)} rows of ${name}?${sent}`);
      const mended = await follow(session, { path, body: { apply: true } }, options.giveUpAfter);
      session.answer(mended, (body) => session.terminal.out(body.verdict ?? `It is ${body.state}.`));
      return mended.body.state === 'done' && mended.body.mended >= mended.body.found ? exitCodes.ok : exitCodes.refused;
    }),
  );
}

/** Begins a run and watches it to its end. Ctrl-C leaves it running: the hub does the work. */
async function follow(
  session: Session,
  { path, body }: { path: string; body: unknown },
  giveUpAfter: string,
): Promise<HubAnswer<Run>> {
  const giveUpAfterMs = parseSeconds(giveUpAfter, '--give-up-after');
  let answer = await session.hub.send<Run>({ method: 'POST', path, body, repeatable: false });
  const until = Date.now() + giveUpAfterMs;
  let phase = '';
  let progress: ReturnType<typeof startProgress> | undefined;
  try {
    while (answer.body.state === 'running') {
      const { id, statusUrl, progress: now } = answer.body;
      if (answer.body.phase !== phase) {
        progress?.end();
        phase = answer.body.phase;
        progress = startProgress(session.terminal, phases[answer.body.phase]);
      }
      progress?.tell(now.done, now.total);
      if (Date.now() >= until) {
        throw new CommandLineError(
          exitCodes.late,
          `Not finished within ${formatDuration(giveUpAfterMs)}; it goes on. GET ${statusUrl} tells more, POST /v1/projections/runs/${id}/cancel ends it.`,
        );
      }
      await sleep(POLL_MS);
      answer = await session.hub.get<Run>(statusUrl);
    }
    return answer;
  } finally {
    progress?.end();
  }
}

const phases: Readonly<Record<Run['phase'], string>> = {
  verifying: 'Verifying, SKUs',
  comparing: 'Comparing with the log, rows that differ',
  mending: 'Mending, rows',
};

function showRun(session: Session, run: Run): void {
  session.terminal.out(run.verdict ?? `It is ${run.state}.`);
  if (run.differences.length === 0) return;
  session.terminal.table(
    [
      { title: 'WHAT', of: (row) => valuesOf(row.subject) },
      { title: 'STORED', of: (row) => valuesOf(row.stored) },
      { title: 'FOLLOWS', of: (row) => valuesOf(row.follows) },
      { title: 'PROMISE', of: (row) => row.promise },
    ],
    run.differences,
    '',
  );
  const left = run.found - run.differences.length;
  if (left > 0) session.terminal.note(`And ${formatNumber(left)} more.`);
}

function valuesOf(values: Readonly<Record<string, unknown>> | null): string {
  if (values === null) return 'nothing';
  const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
  return Object.entries(values)
    .map(([name, value]) => `${name} ${text(value)}`)
    .join(', ');
}

function addStatus(projections: Command, runtime: Runtime): void {
  examples(
    projections
      .command('status')
      .description('How far the projector is, what stopped it, who holds it back; exit code 1 when it stands'),
    'projections status',
  ).action(
    action(runtime, async (session) => {
      const answer = await session.hub.get<ProjectorStatus>('/v1/projector');
      session.answer(answer, (status) => showProjector(session, status));
      return answer.body.stopped === null ? exitCodes.ok : exitCodes.refused;
    }),
  );
}

function addResume(projections: Command, runtime: Runtime): void {
  examples(
    changes(
      projections
        .command('resume')
        .description('After its cause was mended: try the fact again that stopped the projector. It is never skipped'),
    ),
    'projections resume',
  ).action(
    action<ChangeOptions>(runtime, async (session, options) => {
      const request = { method: 'POST', path: '/v1/projector/resume' } as const;
      const answer = await change<ProjectorStatus>(session, options, request, async () => {
        const { body } = await session.hub.get<ProjectorStatus>('/v1/projector');
        return [{ what: 'Projector', before: body.state, after: 'following' }];
      });
      if (answer !== null) session.answer(answer, (status) => showProjector(session, status));
    }),
  );
}

function showProjector(
  session: Session,
  { state, effective, lagFacts, lagMs, stopped, horizonHeldBy }: ProjectorStatus,
): void {
  const facts: [string, string][] = [
    ['State', state],
    ['Effective', effectiveOf(effective)],
    ['Behind', lagFacts === 0 ? 'not at all' : `${formatNumber(lagFacts)} facts, ${formatDuration(lagMs)}`],
  ];
  if (stopped !== null) {
    facts.push(
      ['Stopped at', `${stopped.type} (${stopped.stream} version ${stopped.version})`],
      ['Because', stopped.error],
    );
  }
  if (horizonHeldBy !== null) facts.push(['Held back by', holderOf(horizonHeldBy)]);
  session.terminal.out(...factLines(facts));
}

function effectiveOf(effective: ProjectorStatus['effective']): string {
  if (effective === null) return 'none; is a process with the role projector running?';
  return effective.lives ? effective.name : `${effective.name}, which is gone; no other one has taken over yet`;
}

/** Whose open transaction keeps new facts from being read. */
export function holderOf({ pid, application, database, ageMs }: NonNullable<ProjectorStatus['horizonHeldBy']>): string {
  const name = application === '' ? 'a program without a name' : application;
  return `a transaction of ${name} (process ${pid} of PostgreSQL, database ${database}), open for ${formatDuration(ageMs)}`;
}
