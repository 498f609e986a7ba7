/**
 * One batch of commands in one transaction. Statements that do not need each other's results are sent together, without
 * waiting in between (the pool's connections are pipelined): the server runs them one after the other all the same, each
 * on a snapshot of its own. So a batch of movements is two round trips, and its locks are held during one.
 */
import { randomUUID } from 'node:crypto';
import type { PoolClient, QueryConfig } from 'pg';
import { allOf, inOnePacket, together } from '../packets.js';
import { BatchDecision } from './batch-decision.js';
import { Claims } from './claims.js';
import { handlerOf } from './command-table.js';
import type { CommandAnswer, CommandEnvelope, CommandOutcome } from './commands.js';
import type { AsOfRead } from './decision.js';
import { existingStreams } from './existing-streams.js';
import type { KnownHeads } from './known-heads.js';
import { createHeads, deleteEmptyHeads, lockHeads } from './lock-heads.js';
import { lockStockAnywhere, readKits, readKitsUsing } from './read-kits.js';
import { isTransient, sqlState } from './sql-state.js';
import { kitStream } from './streams.js';
import type { StreamName } from './streams.js';
import { sumMovedAfter } from './sum-moved-after.js';
import { writeBatch } from './write-batch.js';
import type { NewAnswer } from './write-batch.js';

/**
 * The connection was lost while the transaction was being committed, so nobody knows whether it was. A command with an
 * idempotency key may be sent again and learns it; one without a key must not be.
 */
export class CommitUnknownError extends Error {
  override readonly name = 'CommitUnknownError';
}

/** Somebody changed a kit between our looking it up and our locking of what it is made of; the transaction is begun anew. */
export class KitsChangedError extends Error {
  override readonly name = 'KitsChangedError';
}

/**
 * Somebody's account of how far it has come, kept in the transaction that goes further: so what is recorded in it is
 * appended exactly once, without a key for each command.
 */
export interface Account {
  /** Locks the account where it still stands as it was read; no row: somebody was faster, and nothing is appended. */
  readonly claim: QueryConfig;
  readonly note: (outcomes: readonly CommandOutcome[]) => QueryConfig;
}

interface AppendedBatch {
  readonly outcomes: CommandOutcome[];
  readonly appended: boolean;
}

/**
 * Every statement of the transaction finds its rows by an index, one look-up per row, however many rows there are. Plans are
 * made once per connection and kept: planning anew for each number of rows costs as much as a small batch itself, and a
 * plan made while the tables were small would read them whole long after they have grown.
 */
const begin =
  'BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off';

/**
 * @param kitsFirst kits are looked up before stock is locked, because a movement of one moves what it is made of
 * @returns null where the account has moved meanwhile: nothing was done
 * @throws what the database threw; the transaction is then to be rolled back, unless it is a CommitUnknownError
 */
export async function appendBatch(
  client: PoolClient,
  known: KnownHeads,
  submitted: readonly CommandEnvelope[],
  account?: Account,
  kitsFirst = false,
): Promise<AppendedBatch | null> {
  // Envelopes are told apart by identity below, and a caller may well send the same object twice.
  const envelopes = submitted.map((envelope) => ({ ...envelope }));
  const claims = new Claims(envelopes);
  const batch = new BatchDecision();
  const lock = (streams: readonly StreamName[]) => lockStreams(client, batch, known, streams);
  const papers = envelopes.flatMap(({ command }) => handlerOf(command).streams(command));
  const mayBeKits = kitsOf(envelopes);
  // Without papers nothing has to be known before the stock can be locked, unless a kit is moved, which is seldom.
  const inOneStep = papers.length === 0 && !kitsFirst;
  const lockedFirst = inOneStep ? stockOf(envelopes, batch) : papers;
  const [, stands, allFree, , kits] = await inOnePacket(client, () => [
    client.query(begin),
    account === undefined ? true : client.query(account.claim).then(({ rowCount }) => rowCount === 1),
    claims.claim(client),
    lock(lockedFirst),
    lookUp(client, mayBeKits),
  ]);
  if (!stands) {
    await client.query('ROLLBACK');
    return null;
  }
  batch.addKits(kits);
  if (!allFree) await claims.readEarlier(client);
  const decided = claims.decided();
  if (inOneStep) {
    if (stockOf(decided, batch).some((stream) => !batch.isLocked(stream))) {
      await client.query('ROLLBACK');
      return appendBatch(client, known, submitted, account, true);
    }
  } else {
    // Looked up again behind the lock: whoever makes an item a kit locks its stock, too.
    const [, now] = await inOnePacket(client, () => [lock(stockOf(decided, batch)), lookUp(client, mayBeKits)]);
    if (!batch.kitsAreStill(now)) throw new KitsChangedError('A kit was changed while its parts were being locked');
  }
  await readAside(client, batch, decided);

  const answers = new Map<CommandEnvelope, CommandAnswer>();
  for (const envelope of decided) answers.set(envelope, batch.decide(envelope, causationIdOf(envelope)));
  const { heads, events } = batch.written();
  const stored = answersToStore(answers);
  const empty = batch.stillEmpty();
  const outcomes = claims.outcomes(answers);
  await writeAndCommit(client, [
    ...(events.length > 0 || stored.length > 0 ? [writeBatch(heads, events, stored)] : []),
    ...(account === undefined ? [] : [account.note(outcomes)]),
    ...(empty.length > 0 ? [deleteEmptyHeads(empty)] : []),
  ]);
  known.add(batch.begun());
  return { outcomes, appended: events.length > 0 };
}

/** An answer that only names the appended facts can be read from them, and is not stored again. */
function answersToStore(answers: ReadonlyMap<CommandEnvelope, CommandAnswer>): NewAnswer[] {
  return [...answers].flatMap(([{ client, idempotencyKey }, answer]) => {
    const facts = answer.kind === 'accepted' && answer.note === undefined ? answer.facts.length : 0;
    return idempotencyKey === null || facts > 0 ? [] : [{ client, idempotencyKey, answer }];
  });
}

/**
 * Writes and commits in one round trip: where a write fails, the server makes a roll-back of the commit.
 * @param writes made before, because a fault in making them must not leave the commit alone on its way
 */
async function writeAndCommit(client: PoolClient, writes: readonly QueryConfig[]): Promise<void> {
  const sent = await together(client, () =>
    Promise.allSettled([...writes.map((write) => client.query(write)), client.query('COMMIT')]),
  );
  const failures = sent.filter((result) => result.status === 'rejected').map((result) => result.reason as unknown);
  if (failures.length === 0) return;
  const refused = sent
    .slice(0, writes.length)
    .find((result) => result.status === 'rejected' && sqlState(result.reason) !== undefined);
  if (refused?.status === 'rejected') throw refused.reason;
  const cause = failures.at(-1);
  if (isTransient(cause)) throw cause;
  throw new CommitUnknownError('The connection failed during a commit; whether it happened is unknown', { cause });
}

/**
 * Papers and settings are locked before stock, because which stock an order or a transfer touches stands in its state.
 * Every transaction locks in this order, and sorted by name within each half, so no two can wait for each other.
 */
async function lockStreams(
  client: PoolClient,
  batch: BatchDecision,
  known: KnownHeads,
  streams: readonly StreamName[],
): Promise<void> {
  const distinct = [...new Set(streams)];
  if (distinct.length === 0) return;
  // All or none are created first: locking those that exist before the others are created would break the order.
  const creating = known.mayMiss(distinct) ? createHeads(client, distinct) : undefined;
  const [created, { heads, now }] = await allOf([creating, lockHeads(client, distinct)]);
  if (created !== undefined) known.created(distinct, created);
  batch.lock(heads, now);
}

const kitsOf = (envelopes: readonly CommandEnvelope[]) => [
  ...new Set(envelopes.flatMap(({ command }) => handlerOf(command).kits?.(command) ?? []).map(kitStream)),
];

const lookUp = (client: PoolClient, kits: readonly StreamName[]) =>
  kits.length === 0 ? Promise.resolve([]) : readKits(client, kits);

const stockOf = (envelopes: readonly CommandEnvelope[], batch: BatchDecision) =>
  envelopes.flatMap(({ command }) => handlerOf(command).stockStreams?.(command, batch.stateOf) ?? []);

/** Reads what some commands need besides their streams: that an item exists, what moved since a count. */
async function readAside(
  client: PoolClient,
  batch: BatchDecision,
  envelopes: readonly CommandEnvelope[],
): Promise<void> {
  const changed = envelopes.flatMap(({ command }) => handlerOf(command).kitChanged?.(command) ?? []);
  if (changed.length > 0) {
    batch.addKits(await readKitsUsing(client, changed));
    batch.lock(await lockStockAnywhere(client, changed), new Date(0));
  }
  const checks = envelopes
    .flatMap(({ command }) => handlerOf(command).checks?.(command, batch.exists, batch.stateOf) ?? [])
    .filter((stream) => !batch.exists(stream));
  if (checks.length > 0) batch.addExisting(await existingStreams(client, [...new Set(checks)]));

  const reads: AsOfRead[] = envelopes.flatMap(
    ({ command }) => handlerOf(command).asOfReads?.(command, batch.stateOf) ?? [],
  );
  if (reads.length > 0) batch.addMovedAfter(reads, await sumMovedAfter(client, reads));
}

const causationIdOf = ({ client, idempotencyKey, cause }: CommandEnvelope) =>
  `${client}/${idempotencyKey ?? cause ?? randomUUID()}`;
