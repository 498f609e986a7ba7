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
import { randomUUID } from 'node:crypto';
import type { Pool, PoolClient } from 'pg';
import { BatchDecision } from './batch-decision.js';
import { claimCommands } from './claim-commands.js';
import type { CommandKey } from './claim-commands.js';
import { handlerOf } from './command-table.js';
import type { CommandAnswer, CommandEnvelope, CommandOutcome } from './commands.js';
import { refuse } from './decision.js';
import type { AsOfRead } from './decision.js';
import { existingStreams } from './existing-streams.js';
import { createHeads, lockHeads } from './lock-heads.js';
import { readAnswers } from './read-answers.js';
import type { StreamName } from './streams.js';
import { sumMovedAfter } from './sum-moved-after.js';
import { writeBatch } from './write-batch.js';
import type { NewAnswer } from './write-batch.js';

export interface EventStoreOptions {
  /** Told after a commit that appended something: the place for wake-ups, which must not be part of the transaction. */
  readonly onAppended?: (() => void) | undefined;
}

/**
 * The connection was lost while the transaction was being committed, so nobody knows whether it was. A command with an
 * idempotency key may be sent again and learns it; one without a key must not be.
 */
export class CommitUnknownError extends Error {
  override readonly name = 'CommitUnknownError';
}

/** How often a transaction is begun anew after a deadlock or a serialization failure; the last one is thrown. */
const attemptsMax = 5;

export class EventStore {
  readonly #pool: Pool;
  readonly #onAppended: () => void;

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
      const outcomes = await this.#appendWithRetries(envelopes);
      return outcomes.map((value) => ({ status: 'fulfilled', value }));
    } catch (reason) {
      if (envelopes.length === 1) return [{ status: 'rejected', reason }];
      return this.#appendSingly(envelopes, reason);
    }
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

  async #appendWithRetries(envelopes: readonly CommandEnvelope[]): Promise<CommandOutcome[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        const { outcomes, appended } = await this.#inTransaction((client) => appendBatch(client, envelopes));
        if (appended) this.#onAppended();
        return outcomes;
      } catch (error) {
        if (attempt >= attemptsMax || !isTransient(error)) throw error;
      }
    }
  }

  async #inTransaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    let fault: unknown;
    // A borrowed connection that breaks says so twice: the statement fails, which is dealt with below, and it emits this.
    client.on('error', ignore);
    try {
      await client.query('BEGIN ISOLATION LEVEL READ COMMITTED');
      const result = await work(client);
      await commit(client);
      return result;
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

async function commit(client: PoolClient): Promise<void> {
  try {
    await client.query('COMMIT');
  } catch (error) {
    if (isTransient(error)) throw error;
    throw new CommitUnknownError('The connection failed during a commit; whether it happened is unknown', {
      cause: error,
    });
  }
}

interface AppendedBatch {
  readonly outcomes: CommandOutcome[];
  readonly appended: boolean;
}

async function appendBatch(client: PoolClient, submitted: readonly CommandEnvelope[]): Promise<AppendedBatch> {
  // Envelopes are told apart by identity below, and a caller may well send the same object twice.
  const envelopes = submitted.map((envelope) => ({ ...envelope }));
  const { decided, owners, replays } = await claimKeys(client, envelopes);
  const batch = new BatchDecision();
  await lockStreams(client, batch, decided);
  await readAside(client, batch, decided);

  const answers = new Map<CommandEnvelope, CommandAnswer>();
  const stored: NewAnswer[] = [];
  for (const envelope of decided) {
    const answer = batch.decide(envelope, causationIdOf(envelope));
    answers.set(envelope, answer);
    const key = keyOf(envelope);
    if (key) stored.push({ client: key.client, idempotencyKey: key.idempotencyKey, answer });
  }
  const { heads, events } = batch.written();
  if (events.length > 0 || stored.length > 0) await writeBatch(client, heads, events, stored);

  const outcomes = envelopes.map((envelope) => {
    const answer = answers.get(envelope);
    if (answer) return { ...answer, replayed: false };
    return replays.get(envelope) ?? repeatOf(envelope, owners, answers);
  });
  return { outcomes, appended: events.length > 0 };
}

interface Claims {
  /** Commands this transaction decides, in the order of their arrival. */
  readonly decided: readonly CommandEnvelope[];
  /** Per key, the envelope of this batch that decides it. */
  readonly owners: ReadonlyMap<string, CommandEnvelope>;
  /** Outcomes of commands that were answered before. */
  readonly replays: ReadonlyMap<CommandEnvelope, CommandOutcome>;
}

/** Of several envelopes with one key in the batch, the first claims it; the others get its outcome as if they came later. */
async function claimKeys(client: PoolClient, envelopes: readonly CommandEnvelope[]): Promise<Claims> {
  const firsts = new Map<string, CommandEnvelope>();
  const keys: CommandKey[] = [];
  for (const envelope of envelopes) {
    const key = keyOf(envelope);
    if (key === null || firsts.has(nameOf(key))) continue;
    firsts.set(nameOf(key), envelope);
    keys.push(key);
  }
  const claimed = keys.length === 0 ? [] : await claimCommands(client, keys);
  const owned = new Set(claimed.map(nameOf));
  const lost = keys.filter((key) => !owned.has(nameOf(key)));
  const stored = lost.length === 0 ? [] : await readAnswers(client, lost);
  const storedByName = new Map(stored.map((answer) => [nameOf(answer), answer]));

  const replays = new Map<CommandEnvelope, CommandOutcome>();
  const decided: CommandEnvelope[] = [];
  for (const envelope of envelopes) {
    const key = keyOf(envelope);
    if (key === null || (owned.has(nameOf(key)) && firsts.get(nameOf(key)) === envelope)) {
      decided.push(envelope);
      continue;
    }
    if (owned.has(nameOf(key))) continue;
    const earlier = storedByName.get(nameOf(key));
    if (earlier === undefined) throw new Error(`The answer to ${nameOf(key)} is neither ours nor stored`);
    replays.set(envelope, replay(key, earlier.bodyHash, earlier.answer));
  }
  return { decided, owners: firsts, replays };
}

/** A body is the same when its hash is; a key that comes again with another body is a mistake of its client. */
function replay(key: CommandKey, bodyHash: Buffer, answer: CommandAnswer): CommandOutcome {
  if (key.bodyHash.equals(bodyHash)) return { ...answer, replayed: true };
  const detail = 'This idempotency key was used with another request before; use a new key for a new request.';
  return { ...refuse('idempotency-key-reused', detail), replayed: false };
}

function repeatOf(
  envelope: CommandEnvelope,
  owners: ReadonlyMap<string, CommandEnvelope>,
  answers: ReadonlyMap<CommandEnvelope, CommandAnswer>,
): CommandOutcome {
  const key = keyOf(envelope);
  const owner = key === null ? undefined : owners.get(nameOf(key));
  const answer = owner === undefined ? undefined : answers.get(owner);
  if (key === null || answer === undefined || !owner?.bodyHash)
    throw new Error('A command of the batch has no outcome');
  return replay(key, owner.bodyHash, answer);
}

/**
 * Papers and settings are locked before stock, because which stock an order or a transfer touches stands in its state.
 * Every transaction locks in this order, and sorted by name within each half, so no two can wait for each other.
 */
async function lockStreams(
  client: PoolClient,
  batch: BatchDecision,
  envelopes: readonly CommandEnvelope[],
): Promise<void> {
  const lock = async (streams: readonly StreamName[]) => {
    const distinct = [...new Set(streams)];
    if (distinct.length === 0) return;
    await createHeads(client, distinct);
    const { heads, now } = await lockHeads(client, distinct);
    batch.lock(heads, now);
  };
  await lock(envelopes.flatMap(({ command }) => handlerOf(command).streams(command)));
  await lock(envelopes.flatMap(({ command }) => handlerOf(command).stockStreams?.(command, batch.stateOf) ?? []));
}

/** Reads what some commands need besides their streams: that an item exists, what moved since a count. */
async function readAside(
  client: PoolClient,
  batch: BatchDecision,
  envelopes: readonly CommandEnvelope[],
): Promise<void> {
  const checks = envelopes
    .flatMap(({ command }) => handlerOf(command).checks?.(command, batch.exists) ?? [])
    .filter((stream) => !batch.exists(stream));
  if (checks.length > 0) batch.addExisting(await existingStreams(client, [...new Set(checks)]));

  const reads: AsOfRead[] = envelopes.flatMap(
    ({ command }) => handlerOf(command).asOfReads?.(command, batch.stateOf) ?? [],
  );
  if (reads.length > 0) batch.addMovedAfter(reads, await sumMovedAfter(client, reads));
}

function keyOf({ client, idempotencyKey, bodyHash }: CommandEnvelope): CommandKey | null {
  if (idempotencyKey === null) return null;
  return { client, idempotencyKey, bodyHash: bodyHash ?? Buffer.alloc(0) };
}

/** A newline is in neither part, so two pairs never share a name. */
const nameOf = ({ client, idempotencyKey }: { client: string; idempotencyKey: string }) =>
  `${client}\n${idempotencyKey}`;

const causationIdOf = ({ client, idempotencyKey }: CommandEnvelope) => `${client}/${idempotencyKey ?? randomUUID()}`;

/** Another order of locking (a migration, a person at the console) may still end in a deadlock; the loser tries again. */
const isTransient = (error: unknown) => ['40001', '40P01'].includes(sqlState(error) ?? '');

function sqlState(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}
