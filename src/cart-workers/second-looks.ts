import type { Database } from '../database.js';
import { clampedListings } from './clamped-listings.js';
import { CartError } from './connectors/cart-error.js';
import { databaseNow } from './database-clock.js';
import type { QohTransfer } from './qoh-transfer.js';
import { Rounds } from './rounds.js';

const lookEveryMs = 1_000;
/** Listings compared in one go; each go reads the cart. */
const keysMax = 200;

interface Keys {
  readonly cartId: string;
  readonly keys: readonly string[];
}

/** Why listings are compared without anybody having asked. */
interface Reason {
  readonly words: string;
  find(database: Database): Promise<readonly Keys[]>;
  /** Told what is equal now, and the moment before it was read. */
  done?(database: Database, compared: Keys, asOf: Date): Promise<void>;
}

/**
 * A settlement was overtaken by an older order. What the cart shows then decides: where the verdict was right there is no
 * difference, and where it was wrong the difference goes out as an ordinary delta.
 */
const reopenedVerdicts: Reason = {
  words: 'an older order overtook a settlement',
  find: async (database) => {
    const found = await database.pool.query<{ cart_id: string; keys: string[] }>({
      name: 'reopened-lines',
      text: `SELECT d.cart_id, (array_agg(DISTINCT d.key))[1:${keysMax}] AS keys
               FROM delivery_lines d JOIN carts c USING (cart_id)
              WHERE d.reopened_at IS NOT NULL AND d.compared_at IS NULL AND c.is_on
              GROUP BY d.cart_id ORDER BY d.cart_id`,
    });
    return found.rows.map((row) => ({ cartId: row.cart_id, keys: row.keys }));
  },
  done: async (database, { cartId, keys }, asOf) => {
    await database.pool.query(
      `UPDATE delivery_lines SET compared_at = clock_timestamp()
        WHERE cart_id = $1 AND key = ANY ($2::text[]) AND reopened_at <= $3 AND compared_at IS NULL`,
      [cartId, keys, asOf],
    );
  },
};

/** A cart that lowers to 0 at most said 0, which hides how far below it should have gone; its next increase waits for this. */
const zerosOfClampingCarts: Reason = {
  words: 'a cart that clamps at zero is to be raised from there',
  find: (database) => clampedListings(database, keysMax),
};

const reasons = [reopenedVerdicts, zerosOfClampingCarts];

/** Compares single listings whose state cannot be told from answers alone. */
export class SecondLooks {
  private readonly rounds = new Rounds(lookEveryMs, () => this.look());

  constructor(
    private readonly dependencies: {
      readonly database: Database;
      readonly qohTransfer: QohTransfer;
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
    const { database, log } = this.dependencies;
    for (const reason of reasons) {
      try {
        for (const listings of await reason.find(database)) {
          if (this.rounds.stopping) return;
          await this.compare(reason, listings);
        }
      } catch (error) {
        const text = error instanceof CartError ? error.response : String(error);
        log.warn(`Listings could not be compared (${reason.words}) and are looked at again: ${text}`);
      }
    }
  }

  private async compare(reason: Reason, { cartId, keys }: Keys): Promise<void> {
    const { database, qohTransfer, log } = this.dependencies;
    const asOf = await databaseNow(database);
    const report = await qohTransfer.run({ cartId, direction: 'send', keys });
    const compared = keys.filter((key) => !report.unsettled.includes(key));
    await reason.done?.(database, { cartId, keys: compared }, asOf);
    log.info(
      `Cart ${cartId}: ${compared.length} listings compared again (${reason.words}), ${report.differences} differed`,
    );
  }
}
