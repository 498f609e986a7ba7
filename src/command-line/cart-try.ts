import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { AppendedFact } from '../events/commands.js';
import type { Cart } from './cart-table.js';
import { CommandLineError, exitCodes, UsageError, type ExitCode } from './exit-codes.js';
import { formatDuration, formatNumber, parseSeconds } from './format.js';
import { HubRefusedError, newIdempotencyKey } from './hub-client.js';
import { examples, segment } from './options.js';
import { action, previewLine, refuse, type Runtime, type Session } from './session.js';
import { onHandAt, onHandPreview, type Accepted, type Item } from './stock.js';
import { blockedBefore, type Seen, type StandsStill } from './try-diagnosis.js';
import { lookAround, readShown, watchStep, type StepReport, type Trial } from './try-watch.js';
import { showHops } from './web-stack.js';

interface TryOptions {
  readonly sku: string;
  readonly key?: string;
  readonly location?: string;
  readonly lateAfter: string;
  readonly giveUpAfter: string;
  readonly anyway?: boolean;
  readonly dryRun?: boolean;
}

interface TryReport {
  readonly cart: string;
  readonly key: string;
  readonly sku: string;
  readonly location: string;
  readonly before: number | null;
  readonly inTime: boolean;
  readonly interrupted: boolean;
  readonly putBack: boolean;
  readonly steps: readonly StepReport[];
}

/** The sources' own test: change the stock by one, watch the cart itself, and change it back. */
export function addTryCommand(carts: Command, runtime: Runtime): void {
  examples(
    carts
      .command('try')
      .description(
        'Add one piece, wait until the cart itself shows it, take it away again; prints the time of every hop',
      )
      .argument('<cart>')
      .requiredOption('--sku <sku>', 'an item that is in stock and that the cart lists')
      .option('--key <key>', 'the cart’s own key, where it lists the item more than once')
      .option('-l, --location <code>', 'left out: where the cart’s orders take their pieces')
      .option('--late-after <seconds>', 'say "late" then', '20')
      .option('--give-up-after <seconds>', 'name the hop that stands still then, and put the piece back', '120')
      .option('--anyway', 'also when something is known to stand in the way')
      .option('--dry-run', 'look at everything, change nothing'),
    'carts try main-shop --sku MUG',
  ).action(
    action<TryOptions, [string]>(runtime, async (session, options, id) => {
      const trial = await prepare(session, options, id);
      const before = await readShown(session, id, trial.key);
      const blocked = blockedBefore(await lookAround(session, trial, null, before, null));
      if (options.dryRun === true) return dryRun(session, trial, before, blocked);
      if (blocked !== null && options.anyway !== true) {
        refuse(
          `Nothing was tried, because it cannot arrive. It would stand still before "${blocked.hop}": ${blocked.why}`,
        );
      }
      return run(session, trial, before);
    }),
  );
}

async function prepare(session: Session, options: TryOptions, id: string): Promise<Trial> {
  const { body: cart } = await session.hub.get<Cart>(`/v1/carts/${segment(id)}`);
  const { body: item } = await session.hub.get<Item>(`/v1/items/${segment(options.sku)}`);
  const keys = item.listings.filter((row) => row.cartId === id).map(({ key }) => key);
  const key = options.key ?? keys[0];
  if (key === undefined || !keys.includes(key)) {
    refuse(
      `${id} does not list ${options.sku}${key === undefined ? '' : ` under the key "${key}"`}; map it: onhand carts map ${id} KEY=${options.sku}`,
    );
  }
  if (options.key === undefined && keys.length > 1) {
    throw new UsageError(`${id} lists ${options.sku} more than once; say which with --key: ${keys.join(', ')}`);
  }
  const lateAfterMs = parseSeconds(options.lateAfter, '--late-after');
  const giveUpAfterMs = parseSeconds(options.giveUpAfter, '--give-up-after');
  return { cart, key, sku: options.sku, location: options.location ?? cart.orderLocation, lateAfterMs, giveUpAfterMs };
}

async function dryRun(session: Session, trial: Trial, before: Seen, blocked: StandsStill | null): Promise<ExitCode> {
  const onHand = await onHandAt(session, trial.sku, trial.location);
  const preview = onHandPreview(trial.sku, trial.location, onHand, (onHand ?? 0) + 1, 'and back again');
  session.data({ dryRun: true, preview: [preview], cart: before, standsInTheWay: blocked }, () => {
    session.terminal.out(previewLine(preview), `${trial.cart.id} ${seenSentence(before)}.`);
    if (blocked !== null) session.terminal.out(`It would stand still before "${blocked.hop}": ${blocked.why}`);
    session.terminal.note('Nothing was changed (--dry-run).');
  });
  return blocked === null ? exitCodes.ok : exitCodes.refused;
}

async function run(session: Session, trial: Trial, before: Seen): Promise<ExitCode> {
  const { terminal } = session;
  terminal.note(
    `Trying ${trial.sku} at ${trial.cart.id} (key ${trial.key}), location ${trial.location}. It ${seenSentence(before)}.`,
  );
  const interrupt = listenForInterrupts(terminal);
  const piece = new BorrowedPiece(session, trial);
  const steps: StepReport[] = [];
  const watch = async (fact: AppendedFact, delta: number, wanted: number | null) => {
    const onLate = ({ hop, why }: StandsStill) =>
      terminal.note(
        `${signed(delta)} is late (${formatDuration(trial.lateAfterMs)}); it stands before "${hop}": ${why}`,
      );
    const report = await watchStep(session, trial, { fact, delta, wanted }, onLate, interrupt.signal);
    steps.push(report);
    if (!session.json) showStep(session, report);
    return report;
  };
  try {
    const shownBefore = await quantityBefore(session, trial, before);
    const up = await watch(await piece.add(), 1, shownBefore === null ? null : shownBefore + 1);
    const back = await piece.putBack();
    if (up.seen && back !== undefined) await watch(back, -1, up.quantity === null ? null : up.quantity - 1);
    else if (!interrupt.heard()) {
      terminal.note('The piece is taken away again; when the cart follows, both changes cancel each other out.');
    }
  } finally {
    // Without effect when it is back already; reached by a fault in the middle.
    await piece.putBack().finally(interrupt.end);
  }
  return conclude(session, trial, before, steps, interrupt.heard());
}

/** What the cart shows now, or what it should show where it cannot be asked. */
async function quantityBefore(session: Session, trial: Trial, before: Seen): Promise<number | null> {
  if (before.kind === 'shows' && before.quantity !== null) return before.quantity;
  const { body } = await session.hub.get<Item>(`/v1/items/${segment(trial.sku)}`);
  return body.listings.find((row) => row.cartId === trial.cart.id && row.key === trial.key)?.shown ?? null;
}

function conclude(
  session: Session,
  trial: Trial,
  before: Seen,
  steps: readonly StepReport[],
  interrupted: boolean,
): ExitCode {
  const inTime = steps.length === 2 && steps.every(({ seen, late }) => seen && !late);
  const report: TryReport = {
    cart: trial.cart.id,
    key: trial.key,
    sku: trial.sku,
    location: trial.location,
    before: before.kind === 'shows' ? before.quantity : null,
    inTime,
    interrupted,
    putBack: true,
    steps,
  };
  session.data(report, () => {
    const took = steps
      .map(({ delta, totalMs }) => `${signed(delta)} in ${formatDuration(totalMs ?? Number.NaN)}`)
      .join(', ');
    if (inTime) session.terminal.out(session.terminal.colors.green(`In time: ${took}.`));
    else if (interrupted) session.terminal.out('Interrupted. The piece is put back.');
    else session.terminal.out(session.terminal.colors.red('Late.'));
  });
  if (interrupted) return exitCodes.interrupted;
  return inTime ? exitCodes.ok : exitCodes.late;
}

function showStep(session: Session, report: StepReport): void {
  session.terminal.out(session.terminal.colors.bold(signed(report.delta)));
  showHops(session, report.hops);
  if (report.totalMs !== null)
    session.terminal.out(`${formatDuration(report.totalMs)} in all${report.late ? ', which is late' : ''}`);
  if (report.standsStill !== null) {
    session.terminal.out(`It stands still before "${report.standsStill.hop}": ${report.standsStill.why}`);
  }
  session.terminal.out('');
}

const signed = (delta: number) => (delta > 0 ? `+${delta}` : String(delta));

function seenSentence(seen: Seen): string {
  if (seen.kind === 'no-answer') return `cannot be asked now what it shows (${seen.why})`;
  if (!seen.listed) return 'does not list the item';
  return seen.quantity === null ? 'does not track the item' : `shows ${formatNumber(seen.quantity)}`;
}

/** How often the way back is tried before a person has to; the client tries each several times by itself. */
const ROUNDS_MAX = 6;
const ROUND_PAUSE_MS = 5_000;

/**
 * The one piece that is added and must be taken away again. Both changes have a key of their own, so that each can be
 * told as often as needed: also when nobody knows whether the first telling arrived.
 */
class BorrowedPiece {
  private readonly key = newIdempotencyKey();
  private state: 'not added' | 'perhaps added' | 'added' | 'back' = 'not added';
  private back: AppendedFact | undefined;

  constructor(
    private readonly session: Session,
    private readonly trial: Trial,
  ) {}

  async add(): Promise<AppendedFact> {
    this.state = 'perhaps added';
    try {
      const fact = await this.move(1);
      this.state = 'added';
      return fact;
    } catch (error) {
      if (error instanceof HubRefusedError) this.state = 'not added';
      throw error;
    }
  }

  /** @throws CommandLineError with the commands that a person has to give, when the hub stays away */
  async putBack(): Promise<AppendedFact | undefined> {
    if (this.back !== undefined || this.isAway()) return this.back;
    for (let round = 1; ; round += 1) {
      try {
        // Told again under the same key, it counts once; so from here on it is certain.
        if (this.state === 'perhaps added') await this.add();
        this.back = await this.move(-1);
        this.state = 'back';
        return this.back;
      } catch (error) {
        if (!(error instanceof CommandLineError)) throw error;
        if (this.isAway()) throw error;
        if (round >= ROUNDS_MAX || error instanceof HubRefusedError) throw this.left(error);
        this.session.terminal.note(
          `The hub does not answer; putting the piece back is tried again (${round} of ${ROUNDS_MAX}).`,
        );
        await sleep(ROUND_PAUSE_MS);
      }
    }
  }

  /** A refusal says for certain that nothing was added. */
  private isAway(): boolean {
    return this.state === 'not added';
  }

  private async move(delta: 1 | -1): Promise<AppendedFact> {
    const { sku, location } = this.trial;
    const { body } = await this.session.hub.send<Accepted>({
      method: 'POST',
      path: '/v1/movements',
      body: { kind: 'adjusted', sku, location, delta, reason: 'try' },
      idempotencyKey: this.keyOf(delta),
    });
    const fact = body.facts.find((candidate) => candidate.delta === delta) ?? body.facts[0];
    if (fact === undefined) refuse(body.note ?? 'The hub recorded nothing.');
    return fact;
  }

  private left(error: CommandLineError): CommandLineError {
    const why =
      error instanceof HubRefusedError ? error.message : `The hub at ${this.session.hub.address.url} does not answer.`;
    const { sku, location } = this.trial;
    const commands = (this.state === 'perhaps added' ? ([1, -1] as const) : ([-1] as const)).map(
      (delta) =>
        `  onhand adjust '${sku}' ${delta} --location '${location}' --reason try --idempotency-key ${this.keyOf(delta)}`,
    );
    return new CommandLineError(
      error.exitCode,
      `${why}\nThe piece is not put back. When the hub answers again, give:\n${commands.join('\n')}`,
    );
  }

  private keyOf(delta: 1 | -1): string {
    return `${this.key}-${delta === 1 ? 'up' : 'down'}`;
  }
}

/** The first signal stops the watching and puts the piece back; only the second one leaves at once. */
function listenForInterrupts(terminal: Session['terminal']) {
  const controller = new AbortController();
  let heard = false;
  const hear = () => {
    if (heard) process.exit(exitCodes.interrupted);
    heard = true;
    terminal.note('', 'Stopping; the piece is put back first.');
    controller.abort();
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, hear);
  return {
    signal: controller.signal,
    heard: () => heard,
    end: () => {
      // What is still being asked of the cart must not keep the program.
      controller.abort();
      for (const signal of signals) process.off(signal, hear);
    },
  };
}
