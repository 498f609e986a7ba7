import type { Database } from '../../database.js';
import { Rounds } from '../rounds.js';

const lookEveryMs = 5_000;
/** A comparison that failed is tried again after this long, not at its next hour or day. */
const afterFaultMinutes = 10;
/** Carts of one round; the others are due in the next. */
const cartsMax = 20;

/**
 * Which carts are due to be compared: hourly in the first three days after they were switched on, then daily. That stands in
 * PostgreSQL (when the last one began), so there is no schedule that a queue could forget.
 */
const dueSql = `
  SELECT c.cart_id
    FROM carts c JOIN lanes n USING (cart_id)
    LEFT JOIN LATERAL (SELECT p.started_at, p.ended_at, p.error FROM cart_comparisons p
                        WHERE p.cart_id = c.cart_id AND p.generation = c.generation ORDER BY p.started_at DESC LIMIT 1) AS last ON true
   WHERE c.is_on AND c.switched_at IS NOT NULL AND n.down_since IS NULL
     AND (last.error IS NOT NULL AND last.ended_at < clock_timestamp() - interval '${afterFaultMinutes} minutes'
       OR last.error IS NULL
          AND greatest(last.started_at, c.switched_at) < clock_timestamp()
              - CASE WHEN c.switched_at > clock_timestamp() - interval '3 days' THEN interval '1 hour' ELSE interval '1 day' END)
   ORDER BY last.started_at NULLS FIRST LIMIT ${cartsMax}`;

/** Compares each cart when it is due; whichever process is first does it. */
export class ComparisonRounds {
  private readonly rounds = new Rounds(lookEveryMs, () => this.round());
  private readonly abort = new AbortController();

  constructor(
    private readonly dependencies: {
      readonly database: Database;
      /** Resolves with null where another process is at it. */
      readonly compare: (cartId: string, signal: AbortSignal) => Promise<{ differing: number; looked: number } | null>;
      readonly log: { info(text: string): void; warn(text: string): void };
    },
  ) {}

  start(): void {
    this.rounds.start();
  }

  async stop(): Promise<void> {
    this.abort.abort();
    await this.rounds.stop();
  }

  private async round(): Promise<void> {
    const { database, compare, log } = this.dependencies;
    try {
      const due = await database.pool.query<{ cart_id: string }>({ name: 'comparisons-due', text: dueSql });
      for (const { cart_id: cartId } of due.rows) {
        if (this.rounds.stopping) return;
        const report = await compare(cartId, this.abort.signal).catch((error: unknown) => {
          if (!this.rounds.stopping) log.warn(`Cart ${cartId} could not be compared, and will be: ${String(error)}`);
          return null;
        });
        if (report !== null && report.differing > 0)
          log.info(
            `Cart ${cartId}: ${report.differing} of ${report.looked} listings differ; they are looked at once more`,
          );
      }
    } catch (error) {
      log.warn(`Which carts are due to be compared could not be read, and will be: ${String(error)}`);
    }
  }
}
