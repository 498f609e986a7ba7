import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { Rounds } from '../../cart-workers/rounds.js';
import type { Database } from '../../database.js';
import { CommandBatcher } from '../../events/command-batcher.js';
import type { CalendarFact } from '../../events/rule.js';
import { DATABASE } from '../tokens.js';

const lookEveryMs = 60_000;
/** After midnight UTC: what was sold at its last second has come by then. */
const lateMinutes = 5;
/** Of each cart's records, the latest count. */
const recordsMax = 10_000;

/**
 * Says that a day is over, once a day, whoever says it first. Days on which the hub did not run are not made up for: only
 * the last one matters to rules.
 */
@Injectable()
export class CloseDays implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger('Calendar');
  private readonly rounds = new Rounds(lookEveryMs, () => this.look());

  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly batcher: CommandBatcher,
  ) {}

  onApplicationBootstrap(): void {
    this.rounds.start(0);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.rounds.stop();
  }

  private async look(): Promise<void> {
    await this.close().catch((error: unknown) =>
      this.logger.warn(`The day was not closed, and will be: ${String(error)}`),
    );
  }

  private async close(): Promise<void> {
    const { rows } = await this.database.pool.query<{ day: string; closed: boolean }>(
      `SELECT d.day::text AS day, EXISTS (SELECT FROM availability_settings a WHERE a.day >= d.day) AS closed
         FROM (SELECT ((clock_timestamp() - $1 * interval '1 minute') AT TIME ZONE 'UTC')::date - 1 AS day) d`,
      [lateMinutes],
    );
    const [row] = rows;
    if (row === undefined || row.closed) return;
    await this.batcher.submit({
      client: 'calendar',
      idempotencyKey: null,
      bodyHash: null,
      command: { type: 'CloseDay', day: row.day, slowestCart: await this.slowestCart(row.day) },
    });
  }

  /** Nine of ten changes reached it within that time; waits of paused and slow lanes included. */
  private async slowestCart(day: string): Promise<CalendarFact['data']['slowestCart']> {
    const { rows } = await this.database.pool.query<{ cart_id: string; ms: number }>(
      `SELECT c.cart_id, percentile_disc(0.9) WITHIN GROUP (ORDER BY told.ms) AS ms
         FROM carts c CROSS JOIN LATERAL (
           SELECT greatest(0, round(extract(epoch FROM latest.ended_at - latest.accepted_at) * 1000))::float8 AS ms
             FROM (SELECT w.accepted_at, w.ended_at FROM web_stack w
                    WHERE w.cart_id = c.cart_id AND w.state >= 'delivered' AND w.state <= 'delivered'
                    ORDER BY w.cart_id DESC, w.state DESC, w.id DESC LIMIT ${recordsMax}) latest
            WHERE latest.ended_at >= $1::date AT TIME ZONE 'UTC' AND latest.ended_at < ($1::date + 1) AT TIME ZONE 'UTC') told
        GROUP BY c.cart_id ORDER BY ms DESC, c.cart_id LIMIT 1`,
      [day],
    );
    const [slowest] = rows;
    return slowest === undefined ? null : { cartId: slowest.cart_id, latencyMs: slowest.ms };
  }
}
