import type { PoolClient } from 'pg';
import { beginByKeys, inTransaction, type Database } from '../database.js';
import { isOfTheSurroundings } from '../database-fault.js';
import { readAfter, startOfLog, type Checkpoint, type RecordedFact } from '../events/event-reader.js';
import { reached } from '../moments.js';
import { inOnePacket } from '../packets.js';
import type { Presence } from '../presence.js';
import { steadyNow } from '../steady-clock.js';
import { Doorbell, type Wakeups } from '../wakeups.js';
import { applyBatch, beginBatch, type BatchResult, type BegunBatch } from './apply-batch.js';
import { ChunkSize } from './availability/chunk-size.js';
import { recomputeChunk } from './availability/recompute.js';
import { RunListings } from './availability/run-listings.js';
import { releaseChunk } from './guard.js';
import { ensureCheckpoint, holdProjection, moveCheckpoint, readCheckpoint } from './checkpoint.js';
import { fanOutLate, farBehindFacts, hasFactsAfter } from './late-items.js';
import { readProjectorStatus, type ProjectorStatus } from './projector-status.js';
import { Standby, standbyPollMs, type TakeOver } from './standby.js';

/** The one checkpoint of everything that follows from the log in one transaction: on hand, listings, Web Stack. */
const projection = 'main';
/** Facts in one transaction; a single larger transaction of the log is taken whole. */
const batchFactsMax = 500;
/** The same while it is far behind: then only on hand follows at once, and listings between the batches. */
const farBehindFactsMax = 2_000;
/** The safety net under lost wake-ups. */
const pollMs = 250;
/** After a wake-up: what was announced may still be behind a transaction that is about to end. */
const eagerPollsMs = [2, 5, 10, 20, 40] as const;
const faultPauseMs = 1000;
/** Records of a push that are let go between two batches. */
const releasedMax = 2_000;

export type StepResult = BatchResult & {
  readonly facts: number;
  /** Listings that a setting concerns, or that were put off, are still to be looked at. */
  readonly recomputing: boolean;
};

/** @returns null when there was nothing to do */
type ChunkWork = (
  client: PoolClient,
  max: number,
) => Promise<{ readonly looked: number; readonly records: number } | null>;

/**
 * Follows the log and applies it, batch after batch, each with its checkpoint in one transaction. A fact that cannot be
 * applied stops it in a loud state; it is never skipped. Of several, one is effective and the others stand by.
 */
export class Projector {
  private readonly doorbell = new Doorbell();
  private running: Promise<void> | undefined;
  private stopping = false;
  private unsubscribe: (() => void) | undefined;
  private effective = false;
  private readonly chunkSize = new ChunkSize();
  /** In items, not listings. */
  private readonly lateChunkSize = new ChunkSize();
  private readonly farBehindFacts: number;
  private farBehind = false;
  /** Only a guess, with which the next facts are read in the packet that reads the checkpoint. */
  private lastApplied: Checkpoint = startOfLog;
  private readonly runListings = new RunListings();
  private kitsNext = true;

  constructor(
    private readonly dependencies: {
      readonly database: Database;
      readonly wakeups: Wakeups;
      /** Started before the projector and stopped after it: the others take over when they see it gone. */
      readonly presence: Pick<Presence, 'name'>;
      readonly log: { info(text: string): void; error(text: string): void };
      /** Facts in the log, from which on it is far behind; 0: always, as tests want it. */
      readonly farBehindFacts?: number | undefined;
    },
  ) {
    this.farBehindFacts = dependencies.farBehindFacts ?? farBehindFacts;
  }

  async start(): Promise<void> {
    await prepareProjections(this.dependencies.database);
    this.running = this.follow();
  }

  /** Ends with the batch that is under way, and leaves the place to another one. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.doorbell.press();
    await this.running;
    this.standBy();
    const { database, presence, log } = this.dependencies;
    await database.pool
      .query(
        'UPDATE projection_checkpoints SET projector = NULL, projector_since = NULL WHERE name = $1 AND projector = $2',
        [projection, presence.name],
      )
      // The others see that this process is gone.
      .catch((error: unknown) => log.error(`The projector could not leave its place in order: ${String(error)}`));
  }

  /**
   * One batch, or where there is none one chunk of what has to be recomputed.
   * @returns null when there is nothing to do, or another projector is at it or was faster
   */
  async step(factsMax: number = batchFactsMax): Promise<StepResult | null> {
    const applied = await this.applyNext(factsMax);
    return applied === 'recomputing' ? this.recompute() : applied;
  }

  /** @returns 'recomputing' when nothing is to be applied, but listings are to be looked at */
  private async applyNext(factsMax: number): Promise<StepResult | 'recomputing' | null> {
    const self = this.dependencies.presence.name;
    const client = await this.dependencies.database.pool.connect();
    let first: RecordedFact | undefined;
    try {
      const wanted = this.farBehind && factsMax === batchFactsMax ? farBehindFactsMax : factsMax;
      const guessed = this.lastApplied;
      const [, from, held, next] = await inOnePacket(client, () => [
        client.query(beginByKeys),
        readCheckpoint(client, projection, self),
        holdProjection(client, projection),
        readAfter(client, guessed, wanted),
      ]);
      const replaced = from.projector !== null && from.projector !== self;
      if (replaced) this.standBy();
      const mine = !replaced && !from.stopped && held;
      this.lastApplied = from;
      const facts = !mine ? [] : isSamePlace(guessed, from) ? next : await readAfter(client, from, wanted);
      const last = facts.at(-1);
      if (last === undefined) {
        await client.query('ROLLBACK');
        return mine && from.recomputing !== null ? 'recomputing' : null;
      }
      first = facts[0];
      // Whole transactions: a batch that was filled may be a good deal smaller.
      this.farBehind = facts.length > wanted / 2 && (await hasFactsAfter(client, last, this.farBehindFacts));
      const later = this.farBehind || facts.length > Math.min(batchFactsMax, this.farBehindFacts);
      // Moved first, so that nobody waits for the answer by itself; it counts with the COMMIT.
      const [moved, { written, ...result }] = await inOnePacket(client, () => [
        moveCheckpoint(client, projection, from, last),
        factsMax > 1 ? beginBatch(client, facts, later) : applyOneByOne(client, facts, (fact) => (first = fact)),
      ]);
      reached('projector:applied');
      if (!moved) {
        await client.query('ROLLBACK');
        return null;
      }
      await inOnePacket(client, () => [written, client.query('COMMIT')]);
      this.lastApplied = last;
      reached('projector:committed');
      return { facts: facts.length, ...result, recomputing: later || from.recomputing !== null };
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined);
      throw new BatchFailedError(first, error);
    } finally {
      client.release();
    }
  }

  /** A chunk of what was put off, and one of what has to be looked at once more. */
  private async recompute(): Promise<StepResult | null> {
    const late = await this.betweenBatches(this.lateChunkSize, async (client, itemsMax) => {
      const done = await fanOutLate(client, itemsMax);
      return done === null ? null : { looked: done.items, records: done.records };
    });
    const again = await this.betweenBatches(this.chunkSize, async (client, listingsMax) => {
      const released = await releaseChunk(client, releasedMax);
      if (released !== null) return { looked: 0, records: released };
      const done = await recomputeChunk(client, listingsMax, this.runListings, this.kitsNext);
      if (done === null) return null;
      reached('projector:recomputing');
      return { looked: done.listings, records: done.records };
    });
    if (late === null && again === null) return null;
    if (again !== null) this.kitsNext = !this.kitsNext;
    const records = (late?.records ?? 0) + (again?.records ?? 0);
    return { facts: 0, records, lanesChanged: false, recomputing: true };
  }

  /** One chunk, for which this projector holds the projection as for a batch: nobody else applies anything meanwhile. */
  private async betweenBatches(size: ChunkSize, work: ChunkWork): Promise<Awaited<ReturnType<ChunkWork>>> {
    const startedAt = performance.now();
    const max = size.now;
    const done = await inTransaction(
      this.dependencies.database,
      async (client) => ((await holdProjection(client, projection)) ? work(client, max) : null),
      beginByKeys,
    );
    if (done === null) return null;
    if (done.looked === max) size.took(performance.now() - startedAt);
    reached('projector:recomputed');
    return done;
  }

  async status(): Promise<ProjectorStatus> {
    return readProjectorStatus(this.dependencies.database, projection);
  }

  /**
   * Resolves with true when everything appended before the call has been applied, and every listing that it concerns was
   * looked at; with false after the time-out.
   */
  async caughtUp(timeoutMs: number): Promise<boolean> {
    const end = steadyNow() + timeoutMs;
    if (!(await this.applied(timeoutMs))) return false;
    return isSoon(end, async () => {
      const { rows } = await this.dependencies.database.pool.query<{ running: boolean }>(
        `SELECT EXISTS (SELECT FROM recompute_runs WHERE state = 'running') OR EXISTS (SELECT FROM late_items) AS running`,
      );
      return rows[0]?.running === false;
    });
  }

  /** Like {@link caughtUp}, but what a setting changes for other listings may still be on its way to them. */
  async applied(timeoutMs: number): Promise<boolean> {
    const end = steadyNow() + timeoutMs;
    const { pool } = this.dependencies.database;
    const newest = await pool.query<{ generation: number; transaction_id: string }>(
      // The cast has a name of its own: ordering by the output column would compare the ids as text.
      'SELECT e.generation, e.transaction_id::text AS transaction_id FROM events e ORDER BY e.generation DESC, e.transaction_id DESC LIMIT 1',
    );
    const goal = newest.rows[0];
    if (goal === undefined) return true;
    const isApplied = await isSoon(end, async () => {
      const reached = await pool.query<{ reached: boolean }>(
        `SELECT (generation, transaction_id) >= ($2::int, $3::xid8) AS reached FROM projection_checkpoints WHERE name = $1`,
        [projection, goal.generation, goal.transaction_id],
      );
      return reached.rows[0]?.reached === true;
    });
    if (!isApplied) return false;
    const late = await pool.query<{ last: string | null }>('SELECT max(id) AS last FROM late_items');
    const last = late.rows[0]?.last ?? null;
    if (last === null) return true;
    return isSoon(end, async () => {
      const left = await pool.query('SELECT FROM late_items WHERE id <= $1 LIMIT 1', [last]);
      return left.rowCount === 0;
    });
  }

  /** After somebody mended what a fact failed on: forgets the stop and tries that fact again. It is never skipped. */
  async resume(): Promise<void> {
    await this.dependencies.database.pool.query('UPDATE projection_checkpoints SET stopped = NULL WHERE name = $1', [
      projection,
    ]);
    this.doorbell.press();
  }

  private async follow(): Promise<void> {
    const { database, presence } = this.dependencies;
    const watch = new Standby(database, projection, presence.name);
    let idle = 0;
    let factsMax = batchFactsMax;
    while (!this.stopping) {
      try {
        if (!this.effective) {
          const taken = await watch.takeOver();
          if (taken === null) await this.doorbell.wait(standbyPollMs);
          else this.becomeEffective(taken);
          continue;
        }
        const applied = await this.step(factsMax);
        if (applied === null) {
          await this.doorbell.wait(eagerPollsMs[idle++] ?? pollMs);
          continue;
        }
        idle = 0;
        factsMax = Math.min(batchFactsMax, factsMax * 2);
        this.announce(applied);
        // In turns, so that neither a long run nor a busy day holds the other up.
        if (applied.facts > 0 && applied.recomputing) this.announce(await this.recompute());
      } catch (error) {
        factsMax = await this.handleFault(error, factsMax);
      }
    }
  }

  private announce(done: StepResult | null): void {
    if (done !== null && done.records > 0) this.dependencies.wakeups.signal('web-stack');
    if (done?.lanesChanged === true) this.dependencies.wakeups.signal('lanes');
  }

  /** Hints are for the effective one alone: the others would look at every change for nothing. */
  private becomeEffective(taken: TakeOver): void {
    const { wakeups, log } = this.dependencies;
    this.effective = true;
    this.unsubscribe = wakeups.on('events', this.doorbell.press);
    if (taken.why === 'gone') log.info(`This projector is effective now, because ${taken.from} is gone.`);
    else if (taken.why === 'idle')
      log.info(`This projector is effective now, because ${taken.from} is connected and leaves facts lying.`);
    else log.info('This projector is effective now.');
  }

  private standBy(): void {
    if (this.effective && !this.stopping)
      this.dependencies.log.info('Another projector is effective; this one stands by.');
    this.effective = false;
    this.unsubscribe?.();
    this.unsubscribe = undefined;
  }

  /**
   * A fault of the surroundings (lost connection, deadlock, time-out) is waited out. What fails on its own data is tried
   * again in ever smaller batches, so that everything before it is applied, and at last fact by fact, so that the stop
   * names the right one.
   * @returns how many facts the next step may take
   */
  private async handleFault(error: unknown, factsMax: number): Promise<number> {
    const cause = error instanceof BatchFailedError ? error.cause : error;
    const text = cause instanceof Error ? cause.message : String(cause);
    const poison = error instanceof BatchFailedError && !isOfTheSurroundings(cause) ? error.first : undefined;
    if (poison === undefined) {
      this.dependencies.log.error(`The projector could not apply a batch and tries again: ${text}`);
      await this.doorbell.wait(this.stopping ? 0 : faultPauseMs);
      return factsMax;
    }
    if (factsMax > 1) return Math.floor(factsMax / 2);
    await this.stopAt(poison, text);
    return 1;
  }

  private async stopAt(poison: RecordedFact, why: string): Promise<void> {
    const { stream, version } = poison;
    const stopped = { stream, version, type: poison.fact.type, error: why, at: new Date().toISOString() };
    this.dependencies.log.error(
      `The projector STOPPED at ${stopped.type} (${stream}, version ${version}): ${why}. Nothing was skipped; mend the cause, then resume it.`,
    );
    try {
      await this.dependencies.database.pool.query('UPDATE projection_checkpoints SET stopped = $2 WHERE name = $1', [
        projection,
        JSON.stringify(stopped),
      ]);
    } catch {
      // The next step meets the same fact and stops at it again.
    }
  }
}

/** Looks again and again. @returns false: it was not so until `end`, by the steady clock */
async function isSoon(end: number, look: () => Promise<boolean>): Promise<boolean> {
  for (;;) {
    if (await look()) return true;
    if (steadyNow() >= end) return false;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A transaction of the log is applied whole, however many facts it has; this way it is known which one fails. */
async function applyOneByOne(
  client: PoolClient,
  facts: readonly RecordedFact[],
  next: (fact: RecordedFact) => void,
): Promise<BegunBatch> {
  let records = 0;
  let lanesChanged = false;
  for (const fact of facts) {
    next(fact);
    const applied = await applyBatch(client, [fact]);
    records += applied.records;
    lanesChanged ||= applied.lanesChanged;
  }
  return { records, lanesChanged, written: Promise.resolve() };
}

const isSamePlace = (a: Checkpoint, b: Checkpoint) =>
  a.generation === b.generation && a.transactionId === b.transactionId && a.position === b.position;

class BatchFailedError extends Error {
  constructor(
    readonly first: RecordedFact | undefined,
    override readonly cause: unknown,
  ) {
    super('A batch could not be applied');
  }
}

/** The rows that must exist before the first fact: the checkpoint, and the system switch, which starts on. */
export async function prepareProjections(database: Database): Promise<void> {
  const client: PoolClient = await database.pool.connect();
  try {
    await ensureCheckpoint(client, projection);
    await client.query('INSERT INTO system_switch (id, is_on, version) VALUES (1, true, 0) ON CONFLICT DO NOTHING');
  } finally {
    client.release();
  }
}
