import type { Database } from '../database.js';
import { CartError } from './connectors/cart-error.js';
import { databaseNow } from './database-clock.js';
import type { QohTransfer } from './qoh-transfer.js';

const lookEveryMs = 2_000;
/** Listings compared in one go; each go reads the cart. */
const keysMax = 200;

/**
 * Compares listings whose settlement was overtaken by an older order. What the cart shows then decides: where the verdict
 * was right there is no difference, and where it was wrong the difference goes out as an ordinary delta.
 */
export class ReopenedVerdicts {
  private timer: NodeJS.Timeout | undefined;
  private looking: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(
    private readonly dependencies: {
      readonly database: Database;
      readonly qohTransfer: QohTransfer;
      readonly log: { info(text: string): void; warn(text: string): void };
    },
  ) {}

  start(): void {
    this.timer = setTimeout(() => {
      this.looking = this.look().finally(() => {
        if (!this.stopped) this.start();
      });
    }, lookEveryMs);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.looking;
  }

  private async look(): Promise<void> {
    const { log } = this.dependencies;
    try {
      for (const { cartId, keys } of await this.reopened()) {
        if (this.stopped) return;
        await this.compare(cartId, keys);
      }
    } catch (error) {
      const text = error instanceof CartError ? error.response : String(error);
      log.warn(`Listings whose settlement was reopened could not be compared and are looked at again: ${text}`);
    }
  }

  private async reopened(): Promise<{ cartId: string; keys: string[] }[]> {
    const found = await this.dependencies.database.pool.query<{ cart_id: string; keys: string[] }>({
      name: 'reopened-lines',
      text: `SELECT d.cart_id, (array_agg(DISTINCT d.key))[1:${keysMax}] AS keys
               FROM delivery_lines d JOIN carts c USING (cart_id)
              WHERE d.reopened_at IS NOT NULL AND d.compared_at IS NULL AND c.is_on
              GROUP BY d.cart_id ORDER BY d.cart_id`,
    });
    return found.rows.map((row) => ({ cartId: row.cart_id, keys: row.keys }));
  }

  private async compare(cartId: string, keys: readonly string[]): Promise<void> {
    const { database, qohTransfer, log } = this.dependencies;
    const asOf = await databaseNow(database);
    const report = await qohTransfer.run({ cartId, direction: 'send', keys });
    const compared = keys.filter((key) => !report.unsettled.includes(key));
    await database.pool.query(
      `UPDATE delivery_lines SET compared_at = clock_timestamp()
        WHERE cart_id = $1 AND key = ANY ($2::text[]) AND reopened_at <= $3 AND compared_at IS NULL`,
      [cartId, compared, asOf],
    );
    log.info(
      `Cart ${cartId}: ${compared.length} listings compared again after an older order, ${report.differences} differed`,
    );
  }
}
