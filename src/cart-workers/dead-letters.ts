import type { PoolClient } from 'pg';
import { inTransaction, type Database } from '../database.js';
import type { CommandBatcher } from '../events/command-batcher.js';
import { isTransient } from '../events/sql-state.js';
import { triesSql } from '../projections/listings.table.js';
import type { Wakeups } from '../wakeups.js';
import type { CartDirectory } from './cart-directory.js';
import { CartError } from './connectors/cart-error.js';
import { callFor } from './cart-directory.js';
import type { QohTransfer } from './qoh-transfer.js';
import { readQuantities } from './read-cart.js';

/** One listing's dead letter: everything that is owed to it and was definitely refused. */
export interface DeadLetter {
  readonly cartId: string;
  readonly key: string;
  readonly sku: string;
  /** Sum of its records: what a redrive would send. */
  readonly delta: number;
  readonly records: number;
  readonly attempts: number;
  readonly lastResponse: string | null;
  /** Set when the cart does not know, or not track, the item. */
  readonly unlisted: 'not-found' | 'not-tracked' | null;
  readonly since: string;
}

export interface QuarantinedLine {
  readonly cartId: string;
  readonly key: string;
  readonly sku: string;
  readonly delta: number;
  readonly deliveryId: string;
  readonly response: string | null;
  /** What was read, when, and what the cart sold meanwhile. */
  readonly evidence: unknown;
  readonly since: string;
}

export type QuarantineAction = 'was-applied' | 'was-not-applied' | 'set-to-target';

interface PageRequest {
  readonly cartId?: string | undefined;
  /** cart and key of the last one seen */
  readonly after?: { readonly cartId: string; readonly key: string } | undefined;
  readonly limit: number;
}

/** How often a person's action is begun anew after a deadlock. */
const attemptsMax = 5;

/** What waits for a person: dead letters and quarantined lines, and the actions on them. */
export class DeadLetters {
  constructor(
    private readonly dependencies: {
      readonly database: Database;
      readonly batcher: CommandBatcher;
      readonly directory: CartDirectory;
      readonly qohTransfer: QohTransfer;
      readonly wakeups: Wakeups;
    },
  ) {}

  async list({ cartId, after, limit }: PageRequest): Promise<DeadLetter[]> {
    const found = await this.dependencies.database.pool.query<{
      cart_id: string;
      key: string;
      sku: string;
      delta: string;
      records: string;
      attempts: number;
      last_response: string | null;
      unlisted: DeadLetter['unlisted'];
      since: Date;
    }>(
      `SELECT w.cart_id, w.key, max(w.sku) AS sku, sum(w.delta) AS delta, count(*) AS records, max(w.attempts) AS attempts,
              (array_agg(w.last_response ORDER BY w.attempts DESC, w.id))[1] AS last_response, max(l.unlisted) AS unlisted,
              min(w.accepted_at) AS since
         FROM web_stack w JOIN listings l ON l.cart_id = w.cart_id AND l.key = w.key
        WHERE w.state = 'dead-lettered' AND ($1::text IS NULL OR w.cart_id = $1)
          AND ($2::text IS NULL OR (w.cart_id, w.key) > ($2, $3))
        GROUP BY w.cart_id, w.key ORDER BY w.cart_id, w.key LIMIT $4`,
      [cartId ?? null, after?.cartId ?? null, after?.key ?? null, limit],
    );
    return found.rows.map((row) => ({
      cartId: row.cart_id,
      key: row.key,
      sku: row.sku,
      delta: Number(row.delta),
      records: Number(row.records),
      attempts: row.attempts,
      lastResponse: row.last_response,
      unlisted: row.unlisted,
      since: row.since.toISOString(),
    }));
  }

  /** Puts dead letters back on the Web Stack; a listing that its cart did not know is looked for again. */
  async redrive({
    cartId,
    key = null,
  }: {
    readonly cartId: string;
    readonly key?: string | null;
  }): Promise<{ records: number }> {
    const records = await this.untilCommitted(async (client) => {
      // Locked in a statement of its own, so that what the projector just added to the dead letter is seen by the next one.
      await client.query(
        `SELECT FROM listings WHERE cart_id = $1 AND ($2::text IS NULL OR key = $2) ORDER BY cart_id, key FOR UPDATE`,
        [cartId, key],
      );
      await client.query(
        `UPDATE listings SET unlisted = NULL WHERE cart_id = $1 AND ($2::text IS NULL OR key = $2) AND unlisted IS NOT NULL`,
        [cartId, key],
      );
      const put = await client.query(
        `UPDATE web_stack SET state = 'waiting', attempts_counted = 0, not_before = NULL, delivery_id = NULL
          WHERE cart_id = $1 AND ($2::text IS NULL OR key = $2) AND state = 'dead-lettered'`,
        [cartId, key],
      );
      return put.rowCount ?? 0;
    });
    this.dependencies.wakeups.signal('web-stack');
    return { records };
  }

  /**
   * Gives a listing's dead letters up, for a reason. Where the cart shows the item, what it shows is accepted by a
   * comparison of that one listing, with its lane held; where it cannot be read or does not list the item, the listing
   * is left alone until a comparison finds it again.
   */
  async discard(request: {
    readonly cartId: string;
    readonly key: string;
    readonly reason: string;
    readonly by: string;
  }): Promise<{ records: number }> {
    const { cartId, key } = request;
    const quantity = await this.readOne(cartId, key);
    if (quantity === null) return { records: await this.submitDiscard(request, null) };
    let records = 0;
    await this.dependencies.qohTransfer.run({
      cartId,
      direction: 'send',
      keys: [key],
      whileHeld: async () => {
        records = await this.submitDiscard(request, quantity);
      },
    });
    return { records };
  }

  private async submitDiscard(
    request: { readonly cartId: string; readonly key: string; readonly reason: string; readonly by: string },
    quantity: number | null,
  ): Promise<number> {
    const { database, batcher } = this.dependencies;
    const found = await database.pool.query<{ id: string }>(
      `SELECT id FROM web_stack WHERE cart_id = $1 AND key = $2 AND state = 'dead-lettered' ORDER BY id LIMIT 1000`,
      [request.cartId, request.key],
    );
    if (found.rows.length === 0) return 0;
    const outcome = await batcher.submit({
      client: 'dead-letters',
      idempotencyKey: null,
      bodyHash: null,
      command: { type: 'DiscardRecords', ...request, recordIds: found.rows.map((row) => row.id), quantity },
    });
    if (outcome.kind === 'refused') throw new Error(outcome.refusal.detail);
    return found.rows.length;
  }

  async listQuarantined({ cartId, after, limit }: PageRequest): Promise<QuarantinedLine[]> {
    const found = await this.dependencies.database.pool.query<{
      cart_id: string;
      key: string;
      sku: string;
      delta: string;
      delivery_id: string;
      response: string | null;
      evidence: unknown;
      since: Date;
    }>(
      `SELECT d.cart_id, d.key, l.sku, d.delta, d.delivery_id, d.response, d.evidence, v.created_at AS since
         FROM delivery_lines d JOIN listings l USING (cart_id, key) JOIN deliveries v ON v.id = d.delivery_id
        WHERE d.state = 'quarantined' AND ($1::text IS NULL OR d.cart_id = $1)
          AND ($2::text IS NULL OR (d.cart_id, d.key) > ($2, $3))
        ORDER BY d.cart_id, d.key LIMIT $4`,
      [cartId ?? null, after?.cartId ?? null, after?.key ?? null, limit],
    );
    return found.rows.map((row) => ({
      cartId: row.cart_id,
      key: row.key,
      sku: row.sku,
      delta: Number(row.delta),
      deliveryId: row.delivery_id,
      response: row.response,
      evidence: row.evidence,
      since: row.since.toISOString(),
    }));
  }

  /**
   * A person decides what the evidence could not. `set-to-target` makes the listing equal by a fresh baseline, which
   * supersedes whatever is owed to it.
   * @returns false when no line of that listing is quarantined
   */
  async resolveQuarantined(request: {
    readonly cartId: string;
    readonly key: string;
    readonly action: QuarantineAction;
    readonly by: string;
  }): Promise<boolean> {
    const { cartId, key, action, by } = request;
    if (action === 'set-to-target') {
      const report = await this.dependencies.qohTransfer.run({ cartId, direction: 'send', keys: [key] });
      return report.listings === 1;
    }
    const applied = action === 'was-applied';
    const response = `${by} looked: it was ${applied ? '' : 'not '}applied`;
    const resolved = await this.untilCommitted(async (client) => {
      await client.query('SELECT FROM listings WHERE cart_id = $1 AND key = $2 FOR UPDATE', [cartId, key]);
      const records = await client.query(
        `WITH line AS (
           UPDATE delivery_lines SET state = 'done', outcome = $4, response = $5, ended_at = clock_timestamp()
            WHERE cart_id = $1 AND key = $2 AND state = 'quarantined' RETURNING cart_id, delivery_id, key),
         unknown AS (
           UPDATE listings l SET last_quantity = NULL, last_quantity_from = NULL, last_quantity_to = NULL
             FROM line WHERE l.cart_id = line.cart_id AND l.key = line.key)
         UPDATE web_stack w
            SET state = CASE WHEN $3 THEN 'delivered' ELSE 'waiting' END, last_response = $5,
                ended_at = CASE WHEN $3 THEN date_trunc('milliseconds', clock_timestamp()) END,
                attempts = w.attempts + ${triesSql('w')}, delivery_id = CASE WHEN $3 THEN w.delivery_id END
           FROM line
          WHERE w.delivery_id = line.delivery_id AND w.key = line.key AND w.state = 'quarantined'`,
        [cartId, key, applied, applied ? 'declared applied' : 'declared not applied', response],
      );
      return records.rowCount ?? 0;
    });
    this.dependencies.wakeups.signal('web-stack');
    return resolved > 0;
  }

  /** Begun anew after a deadlock: workers and the projector lock the same listings from other sides. */
  private async untilCommitted<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await inTransaction(this.dependencies.database, work);
      } catch (error) {
        if (attempt >= attemptsMax || !isTransient(error)) throw error;
      }
    }
  }

  private async readOne(cartId: string, key: string): Promise<number | null> {
    const cart = await this.dependencies.directory.cart(cartId);
    try {
      const call = callFor(cart.connection.requestTimeoutMs);
      const read = await readQuantities(cart, [key], call.deadlineMs, new AbortController().signal, {
        toTheEnd: true,
      });
      return read.get(key) ?? null;
    } catch (error) {
      if (error instanceof CartError) return null;
      throw error;
    }
  }
}
