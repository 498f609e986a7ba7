import { Injectable } from '@nestjs/common';
import { CommandBatcher } from '../../events/command-batcher.js';
import type { AppendedFact, Command, CommandEnvelope, CommandOutcome } from '../../events/commands.js';
import { Projector } from '../../projections/projector.js';
import type { Asking } from './asking.js';
import { requestHash } from './hashing.js';
import { refusalProblem, type ProblemBody } from './problem.js';

/** What an accepted command is answered with. */
export interface Accepted {
  /** The facts it recorded; empty when there was nothing left to do. */
  readonly facts: readonly AppendedFact[];
  readonly note?: string;
}

/** One row's answer in a batch. */
export type RowAnswer = { readonly row: number; readonly status: number; readonly replayed: boolean } & (
  | Accepted
  | { readonly problem: ProblemBody }
);

/** Between HTTP and the write side: envelopes in, answers or problems out. */
@Injectable()
export class CommandRunner {
  constructor(
    private readonly batcher: CommandBatcher,
    private readonly projector: Projector,
  ) {}

  /**
   * Runs one command and resolves with its facts.
   * @param part tells several commands of one request apart; each has its own idempotency key, derived from the request's
   * @throws Problem when it was refused, with the refusal's code
   */
  async run(asking: Asking, command: Command, part?: string): Promise<Accepted> {
    const outcome = await this.batcher.submit(envelope(asking, command, part));
    return this.answer(asking, outcome);
  }

  /** What a stored or fresh outcome is answered with; also for commands that somebody else submitted for the request. */
  answer(asking: Asking, outcome: CommandOutcome): Accepted {
    if (outcome.replayed) asking.reply.header('Idempotent-Replayed', 'true');
    if (outcome.kind === 'refused') throw refusalProblem(outcome.refusal);
    return shown(outcome);
  }

  /**
   * Runs the rows of a batch side by side; the batcher makes few transactions of them. A row that is refused does not
   * touch its neighbours. A row's key is its own where it has one, else the request's with the row's number.
   */
  async runRows(
    asking: Asking,
    rows: readonly { command: Command; idempotencyKey: string | undefined }[],
  ): Promise<RowAnswer[]> {
    const outcomes = await Promise.all(
      rows.map(({ command, idempotencyKey }, row) => {
        const key = idempotencyKey ?? (asking.idempotencyKey === null ? null : `${asking.idempotencyKey}#${row}`);
        const bodyHash = key === null ? null : requestHash(asking.method, asking.path, command);
        return this.batcher.submit({ client: asking.client, idempotencyKey: key, bodyHash, command });
      }),
    );
    if (outcomes.length > 0 && outcomes.every((outcome) => outcome.replayed))
      asking.reply.header('Idempotent-Replayed', 'true');
    return outcomes.map((outcome, row): RowAnswer => {
      if (outcome.kind === 'accepted') return { row, status: 201, replayed: outcome.replayed, ...shown(outcome) };
      const problem = refusalProblem(outcome.refusal).body();
      return { row, status: problem.status, replayed: outcome.replayed, problem };
    });
  }

  /**
   * Waits a moment until reads show what was just accepted. Settings are answered with the state they lead to, so they
   * wait; movements do not. Without effect when the projector is behind: the command is accepted all the same.
   */
  async settle(): Promise<void> {
    await this.projector.applied(SETTLE_MS);
  }

  /** Looks again once the projector has caught up: what was created a moment ago is not answered with "no such thing". */
  async found<T>(look: () => Promise<T | null>): Promise<T | null> {
    const first = await look();
    if (first !== null) return first;
    await this.settle();
    return look();
  }
}

const SETTLE_MS = 2_000;

function envelope(asking: Asking, command: Command, part: string | undefined): CommandEnvelope {
  const key = asking.idempotencyKey;
  return {
    client: asking.client,
    idempotencyKey: key === null ? null : part === undefined ? key : `${key}#${part}`,
    bodyHash: key === null ? null : requestHash(asking.method, asking.path, asking.body),
    command,
    ...(asking.expectedVersion !== undefined && { expectedVersion: asking.expectedVersion }),
  };
}

function shown(outcome: CommandOutcome & { kind: 'accepted' }): Accepted {
  return { facts: outcome.facts, ...(outcome.note !== undefined && { note: outcome.note }) };
}
