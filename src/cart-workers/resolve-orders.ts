import type { Database } from '../database.js';
import type { CommandBatcher } from '../events/command-batcher.js';
import { Rounds } from './rounds.js';

const lookEveryMs = 1_000;
const ordersPerRound = 200;

/**
 * Orders that named an unknown key, once the key is mapped: their pieces move to the item it is. What is to be done stands
 * in PostgreSQL since the mapping was applied, and deciding it twice does nothing, so that neither a crash nor a second
 * worker loses or doubles a piece.
 */
export class ResolveOrders {
  private readonly rounds = new Rounds(lookEveryMs, () => this.look());

  constructor(
    private readonly dependencies: {
      readonly database: Database;
      readonly batcher: CommandBatcher;
      readonly log: { info(text: string): void; warn(text: string): void };
    },
  ) {}

  start(): void {
    this.rounds.start();
  }

  async stop(): Promise<void> {
    await this.rounds.stop();
  }

  private async look(): Promise<void> {
    const { database, batcher, log } = this.dependencies;
    try {
      const orders = await resolveOrders({ database, batcher }, null);
      if (orders > 0) log.info(`${orders} orders took their pieces from items whose keys were unknown when they came`);
    } catch (error) {
      log.warn(`Orders with keys that were unknown could not be resolved and are looked at again: ${String(error)}`);
    }
  }
}

/**
 * One round. A comparison makes one for its cart before it reads: what was sold under an unknown key is in the reading.
 * @param cartId null: every cart
 * @returns how many orders were looked at; the projector takes them off the list
 * @throws Error when one was refused, which is a fault in the program: what a key is mapped to exists
 */
export async function resolveOrders(
  { database, batcher }: { readonly database: Database; readonly batcher: CommandBatcher },
  cartId: string | null,
): Promise<number> {
  const found = await database.pool.query<WaitingOrder>({
    name: 'orders-to-resolve',
    text: `SELECT cart_id AS "cartId", number, jsonb_agg(DISTINCT jsonb_build_object('key', key, 'sku', mapped_to)) AS rows
             FROM unknown_order_lines WHERE mapped_to IS NOT NULL AND ($1::text IS NULL OR cart_id = $1)
            GROUP BY cart_id, number ORDER BY cart_id, number LIMIT ${ordersPerRound}`,
    values: [cartId],
  });
  const outcomes = await Promise.all(
    found.rows.map((order) =>
      batcher.submit({
        client: 'resolve-orders',
        idempotencyKey: null,
        bodyHash: null,
        command: { type: 'ResolveOrderLines', source: `cart:${order.cartId}`, number: order.number, rows: order.rows },
      }),
    ),
  );
  for (const outcome of outcomes) if (outcome.kind === 'refused') throw new Error(outcome.refusal.detail);
  return found.rows.length;
}

interface WaitingOrder {
  readonly cartId: string;
  readonly number: string;
  readonly rows: readonly { readonly key: string; readonly sku: string }[];
}
