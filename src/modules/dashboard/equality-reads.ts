import { Inject, Injectable } from '@nestjs/common';
import type { Database } from '../../database.js';
import { QohRuns } from '../jobs/qoh-runs.js';
import { PushReads } from '../reconciliation/push-reads.js';
import { RefusedFlags } from '../rules/refused-flags.js';
import { DATABASE } from '../tokens.js';

/** Of each list; more of them need another look than at a page. */
const SHOWN_MAX = 10;

/** What both sides being equal needs people for: Sends and Gets under way, what the guard holds, listings that differ, flags that carts refuse. */
@Injectable()
export class EqualityReads {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly runs: QohRuns,
    private readonly pushes: PushReads,
    private readonly flags: RefusedFlags,
  ) {}

  async read() {
    const [runs, pushes, drifts, flags] = await Promise.all([
      this.runs.list({ open: true, limit: SHOWN_MAX }),
      this.pushes.list({ state: 'held', limit: SHOWN_MAX }),
      this.database.pool.query<{ cartId: string; open: number; parked: number }>({
        name: 'drifts-per-cart',
        text: `SELECT cart_id AS "cartId", count(*)::int AS open, (count(*) FILTER (WHERE state = 'parked'))::int AS parked
                 FROM drifts WHERE ended_at IS NULL GROUP BY cart_id ORDER BY cart_id`,
      }),
      this.flags.perCart(),
    ]);
    return { runs: runs.data, pushes, drifts: drifts.rows, flags };
  }
}
