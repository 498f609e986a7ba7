/**
 * Who of a batch's commands decides, and who repeats an answer. A key belongs to whoever inserted its row; of several
 * envelopes with one key in the batch, the first owns it, and the others get its outcome as if they came later.
 */
import type { PoolClient } from 'pg';
import { claimCommands } from './claim-commands.js';
import type { CommandKey } from './claim-commands.js';
import type { CommandAnswer, CommandEnvelope, CommandOutcome } from './commands.js';
import { refuse } from './decision.js';
import { readAnswers } from './read-answers.js';
import type { StoredAnswer } from './read-answers.js';

export class Claims {
  readonly #envelopes: readonly CommandEnvelope[];
  /** Per key, the envelope of this batch that decides it, unless its row was there before. */
  readonly #owners = new Map<string, CommandEnvelope>();
  #earlier: ReadonlyMap<string, StoredAnswer> = new Map();

  /** @param envelopes told apart by identity: an object that was submitted twice has to come as two */
  constructor(envelopes: readonly CommandEnvelope[]) {
    this.#envelopes = envelopes;
    for (const envelope of envelopes) {
      const name = nameOf(envelope);
      if (name !== null && !this.#owners.has(name)) this.#owners.set(name, envelope);
    }
  }

  /** Inserts the keys' rows; waits for transactions that are deciding the same ones. @returns whether all were free */
  async claim(client: PoolClient): Promise<boolean> {
    const keys = this.#keys();
    return keys.length === 0 || (await claimCommands(client, keys)) === keys.length;
  }

  /** After a claim that was not free: a second statement, whose snapshot sees what the first one waited for. */
  async readEarlier(client: PoolClient): Promise<void> {
    const stored = await readAnswers(client, this.#keys());
    this.#earlier = new Map(stored.map((answer) => [`${answer.client}\n${answer.idempotencyKey}`, answer]));
  }

  /** What this transaction decides, in the order of arrival. */
  decided(): readonly CommandEnvelope[] {
    return this.#envelopes.filter((envelope) => {
      const name = nameOf(envelope);
      return name === null || (!this.#earlier.has(name) && this.#owners.get(name) === envelope);
    });
  }

  /** @param answers of what {@link decided} named */
  outcomes(answers: ReadonlyMap<CommandEnvelope, CommandAnswer>): CommandOutcome[] {
    return this.#envelopes.map((envelope) => {
      const own = answers.get(envelope);
      return own === undefined ? this.#repeated(envelope, answers) : { ...own, replayed: false };
    });
  }

  #repeated(envelope: CommandEnvelope, answers: ReadonlyMap<CommandEnvelope, CommandAnswer>): CommandOutcome {
    const name = nameOf(envelope) ?? '';
    const earlier = this.#earlier.get(name);
    if (earlier !== undefined) return replay(envelope, earlier.bodyHash, earlier.answer);
    const owner = this.#owners.get(name);
    const answer = owner === undefined ? undefined : answers.get(owner);
    if (owner === undefined || answer === undefined) throw new Error('A command of the batch has no outcome');
    return replay(envelope, owner.bodyHash ?? noHash, answer);
  }

  #keys(): CommandKey[] {
    return [...this.#owners.values()].map(({ client, idempotencyKey, bodyHash }) => ({
      client,
      idempotencyKey: idempotencyKey ?? '',
      bodyHash: bodyHash ?? noHash,
    }));
  }
}

const noHash = Buffer.alloc(0);

/** A newline is in neither part, so two pairs never share a name. */
const nameOf = ({ client, idempotencyKey }: CommandEnvelope) =>
  idempotencyKey === null ? null : `${client}\n${idempotencyKey}`;

/** A body is the same when its hash is; a key that comes again with another body is a mistake of its client. */
function replay({ bodyHash }: CommandEnvelope, storedHash: Buffer, answer: CommandAnswer): CommandOutcome {
  if ((bodyHash ?? noHash).equals(storedHash)) return { ...answer, replayed: true };
  const detail = 'This idempotency key was used with another request before; use a new key for a new request.';
  return { ...refuse('idempotency-key-reused', detail), replayed: false };
}
