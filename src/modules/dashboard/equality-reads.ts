import { Inject, Injectable } from '@nestjs/common';
import type { Database } from '../../database.js';
import { QohRuns } from '../jobs/qoh-runs.js';
import { PushReads } from '../reconciliation/push-reads.js';
import { RefusedFlags } from '../rules/refused-flags.js';
import { DATABASE } from '../tokens.js';

/** Of each list; more of them need another look than at a page. */
const SHOWN_MAX = 10;

/** What both sides being equal needs people for: Sends and Gets under way, what the guard holds, reset files that wait, listings that differ, flags that carts refuse. */
@Injectable()
export class EqualityReads {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly runs: QohRuns,
    private readonly pushes: PushReads,
    private readonly flags: RefusedFlags,
  ) {}

  async read() {
    const [runs, pushes, drifts, flags, resets] = await Promise.all([
      this.runs.list({ open: true, limit: SHOWN_MAX }),
      this.pushes.list({ state: 'held', limit: SHOWN_MAX }),
      this.database.pool.query<{ cartId: string; open: number; parked: number }>({
        name: 'drifts-per-cart',
        text: `SELECT cart_id AS "cartId", count(*)::int AS open, (count(*) FILTER (WHERE state = 'parked'))::int AS parked
                 FROM drifts WHERE ended_at IS NULL GROUP BY cart_id ORDER BY cart_id`,
      }),
      this.flags.perCart(),
      this.database.pool.query<{ id: string; source: string; name: string; why: string | null }>({
        name: 'reset-files-held',
        text: `SELECT f.id, f.source_id AS source, f.name, i.held AS why FROM reset_files f JOIN imports i ON i.id = f.import_id
                WHERE f.state = 'taken' AND i.state = 'ready' ORDER BY f.taken_at, f.id LIMIT ${SHOWN_MAX}`,
      }),
    ]);
    return { runs: runs.data, pushes, drifts: drifts.rows, flags, resets: resets.rows };
  }
}
