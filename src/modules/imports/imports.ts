import { createHash, randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { and, eq, inArray } from 'drizzle-orm';
import type { Database } from '../../database.js';
import { Problem } from '../http/problem.js';
import { DATABASE } from '../tokens.js';
import { ImportProblem } from './import-problem.js';
import { ImportJobs } from './import-jobs.js';
import { imports, type RowsKind } from './imports.table.js';
import type { ResetPlan } from './reset-plan.js';
import { hashed, ReceivingStoppedError, receiveImport } from './receive-import.js';

export interface NewImport {
  readonly kind: RowsKind;
  readonly onError: 'stop' | 'skip';
  readonly preview: boolean;
  readonly cartId: string | null;
  readonly client: string;
  readonly by: string;
  readonly idempotencyKey: string | null;
}

export type StoredImport = typeof imports.$inferSelect;

/** What people do with an import: send it, say "apply", say "cancel". The work in between is import-work.ts's. */
@Injectable()
export class Imports {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly jobs: ImportJobs,
  ) {}

  /**
   * Takes a file in. When this resolves, all of it is stored and its checks are under way.
   * @returns the import; `replayed` where the same request had made it before
   * @throws Problem when the file as a whole is wrong; whatever was stored of it is never applied
   */
  async receive(
    asked: NewImport,
    bytes: AsyncIterable<Uint8Array>,
    charset: string | undefined,
  ): Promise<{ id: string; replayed: boolean }> {
    await this.checkCart(asked);
    const id = randomUUID();
    const begun = await this.database.orm
      .insert(imports)
      .values({ id, ...asked })
      .onConflictDoNothing()
      .returning({ id: imports.id });
    if (begun.length === 0) return { id: await this.repeated(asked, bytes), replayed: true };
    try {
      const bodyHash = await receiveImport(this.database, { id, kind: asked.kind, reset: null }, bytes, charset);
      await this.endReceiving(id, bodyHash);
    } catch (error) {
      throw await this.brokenOff(id, error);
    }
    await this.jobs.work(id, 'validating');
    return { id, replayed: false };
  }

  /**
   * Takes a reset file in; what it means stands in its plan.
   * @throws Problem when the file as a whole is wrong
   */
  async receiveReset(
    asked: Pick<NewImport, 'onError' | 'client' | 'by'> & { readonly id: string; readonly reset: ResetPlan },
    bytes: AsyncIterable<Uint8Array>,
    charset: string | undefined,
  ): Promise<void> {
    const { id, reset } = asked;
    await this.database.orm.insert(imports).values({ kind: 'reset', preview: reset.preview, cartId: null, ...asked });
    try {
      const bodyHash = await receiveImport(this.database, { id, kind: 'reset', reset }, bytes, charset);
      await this.endReceiving(id, bodyHash);
    } catch (error) {
      throw await this.brokenOff(id, error);
    }
    await this.jobs.work(id, 'validating');
  }

  /** @throws Problem unless it waits for this, or was told so before */
  async apply(id: string): Promise<void> {
    const begun = await this.database.pool.query(
      `UPDATE imports SET state = 'applying', apply_started_at = now(), updated_at = now() WHERE id = $1 AND state = 'ready'`,
      [id],
    );
    if (begun.rowCount === 0) {
      const { state } = await this.get(id);
      if (state === 'applying' || state === 'done') return;
      const why =
        state === 'receiving' || state === 'validating'
          ? `It is ${state} still; ask again when its state is ready.`
          : `It was ${state}; send the file again.`;
      throw new Problem('not-allowed-now', why);
    }
    await this.jobs.work(id, 'applying');
  }

  /** @throws Problem once it is being applied: then it goes to its end */
  async cancel(id: string): Promise<void> {
    const cancelled = await this.database.pool.query(
      `UPDATE imports SET state = 'cancelled', ended_at = now(), updated_at = now()
        WHERE id = $1 AND state IN ('receiving', 'validating', 'ready')`,
      [id],
    );
    if (cancelled.rowCount === 1) return;
    const { state } = await this.get(id);
    if (state === 'cancelled') return;
    const why =
      state === 'applying'
        ? 'It is being applied and goes to its end, so that nothing is half done. Its rows.csv tells what to take back.'
        : `It has ended already: ${state}.`;
    throw new Problem('not-allowed-now', why);
  }

  /** @throws Problem */
  async get(id: string): Promise<StoredImport> {
    const [found] = await this.database.orm.select().from(imports).where(eq(imports.id, id));
    if (found === undefined)
      throw new Problem('not-found', `There is no import ${id}; GET /v1/imports lists them. Old ones are removed.`);
    return found;
  }

  private async checkCart({ kind, cartId }: NewImport): Promise<void> {
    const wrong = (detail: string) => new Problem('invalid-request', detail, [{ field: 'cart', detail }]);
    if (kind === 'mappings' && cartId === null) throw wrong('Name the cart whose keys these are: cart=<id>.');
    if (kind !== 'mappings' && cartId !== null)
      throw wrong(`A file of ${kind} belongs to no cart; leave cart out. Carts tell their own orders.`);
    if (cartId === null) return;
    const found = await this.database.pool.query('SELECT FROM stream_heads WHERE stream = $1 AND version > 0', [
      `cart:${cartId}`,
    ]);
    if (found.rowCount === 0)
      throw new Problem('unknown-cart', `There is no cart "${cartId}"; GET /v1/carts lists them.`);
  }

  /** The same key names the same file; that it is the same is known when it has been read. */
  private async repeated(asked: NewImport, bytes: AsyncIterable<Uint8Array>): Promise<string> {
    const hash = createHash('sha256');
    const rest = hashed(bytes, hash);
    while ((await rest.next()).done !== true) continue;
    const [earlier] = await this.database.orm
      .select()
      .from(imports)
      .where(and(eq(imports.client, asked.client), eq(imports.idempotencyKey, asked.idempotencyKey ?? '')));
    if (earlier?.state === 'receiving')
      throw new Problem('unavailable', 'The same request is being received; ask again in a moment.');
    const same =
      earlier?.bodyHash?.equals(hash.digest()) === true &&
      earlier.kind === asked.kind &&
      earlier.onError === asked.onError &&
      earlier.preview === asked.preview &&
      earlier.cartId === asked.cartId;
    if (same) return earlier.id;
    throw new Problem(
      'idempotency-key-reused',
      'This idempotency key was used with another file before; use a new key for a new file.',
    );
  }

  private async endReceiving(id: string, bodyHash: Buffer): Promise<void> {
    const ended = await this.database.orm
      .update(imports)
      .set({ state: 'validating', bodyHash, updatedAt: new Date() })
      .where(and(eq(imports.id, id), eq(imports.state, 'receiving')))
      .returning({ id: imports.id });
    if (ended.length === 0) throw new ReceivingStoppedError('The import is no longer being received');
  }

  /** Ends the import and says why. Its idempotency key is free again: nothing of the file will be applied under it. */
  private async brokenOff(id: string, error: unknown): Promise<unknown> {
    if (error instanceof ReceivingStoppedError) return new Problem('not-allowed-now', 'The import was cancelled.');
    const problem = error instanceof ImportProblem ? error.message : brokenOffSentence;
    await this.database.orm
      .update(imports)
      .set({ state: 'refused', problem, idempotencyKey: null, endedAt: new Date(), updatedAt: new Date() })
      .where(and(eq(imports.id, id), inArray(imports.state, ['receiving'])));
    if (error instanceof ImportProblem) return new Problem('invalid-request', problem);
    // The sender is gone, which is no fault of ours; nobody reads this answer.
    const gone = error instanceof Error && 'code' in error && error.code === 'ECONNRESET';
    return gone ? new Problem('malformed-request', problem) : error;
  }
}

export const brokenOffSentence = 'The upload broke off; nothing of it is applied. Send the file again.';
