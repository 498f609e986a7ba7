import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../../database.js';
import { isOfTheSurroundings } from '../../database-fault.js';
import { CommitUnknownError } from '../../events/append-batch.js';
import type { CommandOutcome } from '../../events/commands.js';

/** A chunk's transaction: readers of the log wait behind it, and so do single commands on the same stock. */
const chunkMsGoal = 150;
const chunkCommandsMin = 50;
/** As many as the projector takes at once. */
const chunkCommandsMax = 1_000;
/** The log has one order: what a shop sells meanwhile reaches the carts behind what the import has appended before. */
const lagMsMax = 1_000;
/** Of one chunk, so that an import ends also where nobody projects. */
const waitMsMax = 2_000;
const lookEveryMs = 20;

/**
 * How fast an import may go: chunks that take a fraction of a second each, and no further ahead of the projector than a
 * second, so that the changes of everybody else still reach carts at once.
 */
export class ApplyPace {
  #chunkCommands = 250;

  constructor(private readonly database: Database) {}

  get chunkCommands(): number {
    return this.#chunkCommands;
  }

  /** Measures the append of a chunk and sizes the next ones by it. */
  async timed<T>(commands: number, appending: Promise<T>): Promise<T> {
    const start = performance.now();
    const result = await appending;
    const perCommandMs = (performance.now() - start) / Math.max(1, commands);
    // A short chunk, such as the last one, says little about long ones.
    if (commands < this.#chunkCommands / 2) return result;
    const fitting = Math.round(chunkMsGoal / perCommandMs);
    const next = Math.min(fitting, this.#chunkCommands * 2, chunkCommandsMax);
    this.#chunkCommands = Math.max(chunkCommandsMin, next);
    return result;
  }

  /**
   * After a chunk that failed: whatever one of its commands fails on by itself, all before it is to be applied.
   * @returns null: begin again where the import stands
   * @throws the fault, where smaller chunks would meet it as well
   */
  smaller(commands: number, fault: unknown): null {
    if (fault instanceof CommitUnknownError) return null;
    if (commands <= 1 || isOfTheSurroundings(fault)) throw fault;
    this.#chunkCommands = Math.ceil(commands / 2);
    return null;
  }

  /** Waits while the projector is more than a second behind what was just appended. */
  async wait(outcomes: readonly CommandOutcome[], stopped: () => boolean): Promise<void> {
    const recordedAt = newestFact(outcomes);
    const end = performance.now() + waitMsMax;
    while (performance.now() < end && !stopped()) {
      const { rows } = await this.database.pool.query<{ lag_ms: string | null }>({
        name: 'import-projector-lag',
        text: `SELECT greatest(extract(epoch FROM $1::timestamptz - recorded_at),
                               extract(epoch FROM clock_timestamp() - (SELECT i.accepted_at FROM late_items i ORDER BY i.id LIMIT 1))) * 1000 AS lag_ms
                 FROM projection_checkpoints WHERE name = 'main' AND stopped IS NULL`,
        values: [recordedAt],
      });
      if (Number(rows[0]?.lag_ms ?? 0) <= lagMsMax) return;
      await sleep(lookEveryMs);
    }
  }
}

function newestFact(outcomes: readonly CommandOutcome[]): string | null {
  const last = outcomes.findLast((outcome) => outcome.kind === 'accepted' && !outcome.replayed);
  return last?.kind === 'accepted' ? (last.facts.at(-1)?.recordedAt ?? null) : null;
}
