/**
 * The only writer of the log. One call, one transaction, and in it always the same order, which is what keeps any number
 * of writers correct and free of deadlocks:
 *
 *   1. claim the idempotency keys, sorted          who inserts a key decides it
 *   2. read the answers of keys claimed before     a second statement, whose snapshot sees them
 *   3. create, then lock the stream heads          papers and settings first, then stock, each sorted by name
 *   4. decide every command on the locked states   in the order of their arrival
 *   5. write heads, events and answers             one statement
 *
 * A plain movement needs no read before and never conflicts: it waits for the head's lock and adds. Statements run at READ
 * COMMITTED, so that each sees what was committed while it waited.
 */
import type { Pool, PoolClient } from 'pg';
import { reached } from '../moments.js';
import { appendBatch, CommitUnknownError, KitsChangedError, type Account } from './append-batch.js';
import type { CommandEnvelope, CommandOutcome } from './commands.js';
import { KnownHeads } from './known-heads.js';
import { HeadsMissingError } from './lock-heads.js';
import { isTransient, sqlState } from './sql-state.js';

export interface EventStoreOptions {
  /** Told after a commit that appended something: the place for wake-ups, which must not be part of the transaction. */
  readonly onAppended?: (() => void) | undefined;
}

/** How often a transaction is begun anew after a deadlock or a serialization failure; the last one is thrown. */
const attemptsMax = 5;
const knownHeadsMax = 100_000;

export class EventStore {
  readonly #pool: Pool;
  readonly #onAppended: () => void;
  readonly #known = new KnownHeads(knownHeadsMax);

  constructor(pool: Pool, options: EventStoreOptions = {}) {
    this.#pool = pool;
    this.#onAppended = options.onAppended ?? (() => undefined);
  }

  /**
   * Decides the commands and appends what follows, in one transaction; when it fails unexpectedly and there was more than
   * one command, each is tried by itself.
   * @returns one outcome per command, in order. A refusal is an outcome.
   * @throws what the database threw, or an AggregateError when several commands failed by themselves; use
   *   {@link appendSettled} to learn which of them
   */
  async append(envelopes: readonly CommandEnvelope[]): Promise<CommandOutcome[]> {
    const settled = await this.appendSettled(envelopes);
    const errors = settled.filter((result) => result.status === 'rejected').map((result) => result.reason as unknown);
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, `${errors.length} of ${envelopes.length} commands failed`);
    return settled.filter((result) => result.status === 'fulfilled').map((result) => result.value);
  }

  /** Like {@link append}, but a command that fails by itself takes nothing from its neighbours' outcomes. Never throws. */
  async appendSettled(envelopes: readonly CommandEnvelope[]): Promise<PromiseSettledResult<CommandOutcome>[]> {
    if (envelopes.length === 0) return [];
    try {
      const outcomes = (await this.#appendWithRetries(envelopes)) ?? [];
      return outcomes.map((value) => ({ status: 'fulfilled', value }));
    } catch (reason) {
      if (envelopes.length === 1) return [{ status: 'rejected', reason }];
      return this.#appendSingly(envelopes, reason);
    }
  }

  /**
   * All of it together with the account that it is entered in, or nothing. For bulk, whose place is its key: whatever dies
   * in between finds the account where the log is.
   * @returns null where the account stands elsewhere by now
   * @throws what the database threw; where that is a CommitUnknownError, the account tells whether it was committed
   */
  appendOnAccount(envelopes: readonly CommandEnvelope[], account: Account): Promise<CommandOutcome[] | null> {
    return this.#appendWithRetries(envelopes, account);
  }

  async #appendSingly(
    envelopes: readonly CommandEnvelope[],
    reason: unknown,
  ): Promise<PromiseSettledResult<CommandOutcome>[]> {
    const settled: PromiseSettledResult<CommandOutcome>[] = [];
    for (const envelope of envelopes) {
      if (reason instanceof CommitUnknownError && envelope.idempotencyKey === null)
        settled.push({ status: 'rejected', reason });
      else settled.push(...(await this.appendSettled([envelope])));
    }
    return settled;
  }

  async #appendWithRetries(envelopes: readonly CommandEnvelope[], account?: Account): Promise<CommandOutcome[] | null> {
    for (let attempt = 1; ; attempt++) {
      try {
        reached('append:begin');
        const batch = await this.#inTransaction((client) => appendBatch(client, this.#known, envelopes, account));
        if (batch === null) return null;
        const { outcomes, appended } = batch;
        if (appended) {
          reached('append:committed');
          this.#onAppended();
        }
        return outcomes;
      } catch (error) {
        if (error instanceof HeadsMissingError) this.#known.missed();
        else if (!(error instanceof KitsChangedError) && !isTransient(error)) throw error;
        if (attempt >= attemptsMax) throw error;
      }
    }
  }

  /** @param work begins and commits by itself, because it sends both along with its own statements */
  async #inTransaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    let fault: unknown;
    // A borrowed connection that breaks says so twice: the statement fails, which is dealt with below, and it emits this.
    client.on('error', ignore);
    try {
      return await work(client);
    } catch (error) {
      fault = error;
      await client.query('ROLLBACK').catch(() => undefined);
      throw error;
    } finally {
      client.off('error', ignore);
      // A connection that failed for a reason of its own, not the statement's, is not used again.
      client.release(fault !== undefined && sqlState(fault) === undefined);
    }
  }
}

const ignore = () => undefined;
