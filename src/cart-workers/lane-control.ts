import type { Cadence } from '../events/facts.js';
import { KnownMoments } from './cadence.js';
import { mayBeginSql } from './lane-openings.js';
import type { Database } from '../database.js';
import { waitStatesSql } from '../projections/listings.table.js';
import type { Wakeups } from '../wakeups.js';

export type Light = 'green' | 'amber' | 'red' | 'off';

export interface LaneStatus {
  readonly cartId: string;
  readonly name: string;
  /** green: running · amber: the cart is down, probes go · red: paused by a person · off: a switch is off, or no worker has a lane for it */
  readonly light: Light;
  /** A sentence when the light is not green. */
  readonly why: string | null;
  readonly waiting: number;
  /** When it is told of changes. */
  readonly cadence: Cadence;
  /** Of those that wait: for the cart's next moment, or for somebody to say so. */
  readonly paced: number;
  /** What was accepted up to here may leave; null: told at once, or never opened yet. */
  readonly openedAt: string | null;
  /** null: told at once, or only on demand. */
  readonly nextMomentAt: string | null;
  readonly inFlight: number;
  readonly inDoubt: number;
  readonly quarantined: number;
  /** Listings with a dead letter: there is one per listing, however many records it sums up. */
  readonly deadLettered: number;
  /** Of those that may leave. */
  readonly oldestWaitingAt: string | null;
  readonly downSince: string | null;
  readonly nextProbeAt: string | null;
  readonly lastResponse: string | null;
  readonly lastSuccessAt: string | null;
  readonly paused: { readonly by: string | null; readonly reason: string | null; readonly at: string } | null;
}

interface LaneRow {
  readonly cart_id: string;
  readonly name: string;
  readonly cart_on: boolean;
  readonly system_on: boolean;
  readonly has_lane: boolean;
  /** Why no worker that lives serves it; null where one does. */
  readonly refusal: string | null;
  readonly paused: boolean | null;
  readonly paused_by: string | null;
  readonly paused_reason: string | null;
  readonly paused_at: Date | null;
  readonly down_since: Date | null;
  readonly next_probe_at: Date | null;
  readonly comparing: boolean | null;
  readonly last_response: string | null;
  readonly last_success_at: Date | null;
  readonly waiting: string;
  readonly in_flight: string;
  readonly in_doubt: string;
  readonly quarantined: string;
  readonly dead_lettered: string;
  readonly oldest_waiting_at: Date | null;
  readonly cadence: Cadence | null;
  readonly paced_count: string;
  readonly opened_at: Date | null;
  readonly now: Date;
}

/** A person's hand on the lanes, and the one place that says what each light is. */
export class LaneControl {
  private readonly moments = new KnownMoments();

  constructor(
    private readonly database: Database,
    private readonly wakeups: Wakeups,
  ) {}

  /** Nothing more is sent to the cart; what waits stays on the Web Stack and merges. @returns null: no such cart */
  async pause(cartId: string, by: string, reason: string | null): Promise<LaneStatus | null> {
    await this.database.pool.query(
      `INSERT INTO lanes (cart_id, paused, paused_by, paused_reason, paused_at)
       SELECT cart_id, true, $2, $3, clock_timestamp() FROM carts WHERE cart_id = $1
       ON CONFLICT (cart_id) DO UPDATE SET paused = true, paused_by = $2, paused_reason = $3, paused_at = clock_timestamp()`,
      [cartId, by, reason],
    );
    return this.status(cartId);
  }

  async resume(cartId: string): Promise<LaneStatus | null> {
    await this.database.pool.query(
      `UPDATE lanes SET paused = false, paused_by = NULL, paused_reason = NULL, paused_at = NULL, next_probe_at = NULL WHERE cart_id = $1`,
      [cartId],
    );
    this.wakeups.signal('web-stack');
    return this.status(cartId);
  }

  /** What waits by now leaves, whatever the cart's cadence. Asked again it lets go what came since. @returns null: no such cart */
  async sendNow(cartId: string): Promise<LaneStatus | null> {
    await this.database.pool.query(
      `INSERT INTO lanes AS l (cart_id, opened_at)
       SELECT c.cart_id, greatest(clock_timestamp(), (SELECT max(paced_at) FROM web_stack w WHERE w.cart_id = c.cart_id AND w.state = 'waiting'))
         FROM carts c WHERE c.cart_id = $1 AND c.is_paced
       ON CONFLICT (cart_id) DO UPDATE SET opened_at = greatest(l.opened_at, excluded.opened_at)`,
      [cartId],
    );
    this.wakeups.signal('web-stack');
    return this.status(cartId);
  }

  async status(cartId: string): Promise<LaneStatus | null> {
    return (await this.statuses(cartId))[0] ?? null;
  }

  async statuses(cartId: string | null = null): Promise<LaneStatus[]> {
    const found = await this.database.pool.query<LaneRow>({ name: 'lane-statuses', text: statusSql, values: [cartId] });
    return found.rows.map((row) => statusOf(row, this.moments));
  }
}

const statusSql = `
  SELECT c.cart_id, c.settings->>'name' AS name, c.is_on AS cart_on, s.is_on AS system_on, l.job_window IS NOT NULL AS has_lane, r.refusal,
         l.paused, l.paused_by, l.paused_reason, l.paused_at, l.down_since, l.next_probe_at, l.last_response, l.last_success_at,
         l.comparing_until > clock_timestamp() AS comparing,
         coalesce(w.waiting, 0) AS waiting, coalesce(w.in_flight, 0) AS in_flight, coalesce(w.in_doubt, 0) AS in_doubt,
         coalesce(w.quarantined, 0) AS quarantined, coalesce(w.dead_lettered, 0) AS dead_lettered, w.oldest_waiting_at,
         c.settings->'cadence' AS cadence, coalesce(w.paced_count, 0) AS paced_count, CASE WHEN c.is_paced THEN l.opened_at END AS opened_at, clock_timestamp() AS now
    FROM carts c
    CROSS JOIN system_switch s
    LEFT JOIN lanes l ON l.cart_id = c.cart_id
    LEFT JOIN (SELECT cart_id, CASE WHEN bool_and(refusal IS NOT NULL) THEN max(refusal) END AS refusal
                 FROM lane_workers
                WHERE worker IN (SELECT application_name FROM pg_stat_activity WHERE datname = current_database())
                GROUP BY cart_id) r ON r.cart_id = c.cart_id
    LEFT JOIN (SELECT o.cart_id,
                      count(*) FILTER (WHERE state = 'waiting') AS waiting,
                      count(*) FILTER (WHERE state = 'in-flight') AS in_flight,
                      count(*) FILTER (WHERE state = 'in-doubt') AS in_doubt,
                      count(*) FILTER (WHERE state = 'quarantined') AS quarantined,
                      count(DISTINCT key) FILTER (WHERE state = 'dead-lettered') AS dead_lettered,
                      count(*) FILTER (WHERE state = 'waiting' AND NOT ${mayBeginSql('o', 'p', 'n')}) AS paced_count,
                      -- From when it could leave on: what waited for its moment is not late.
                      min(greatest(accepted_at, CASE WHEN p.is_paced AND o.paced_at >= accepted_at THEN n.opened_at END))
                        FILTER (WHERE state = 'waiting' AND ${mayBeginSql('o', 'p', 'n')}) AS oldest_waiting_at
                 FROM web_stack o JOIN carts p ON p.cart_id = o.cart_id LEFT JOIN lanes n ON n.cart_id = o.cart_id
                WHERE state IN ${waitStatesSql}
                GROUP BY o.cart_id) w ON w.cart_id = c.cart_id
   WHERE $1::text IS NULL OR c.cart_id = $1
   ORDER BY c.cart_id`;

function statusOf(row: LaneRow, moments: KnownMoments): LaneStatus {
  const { light, why } = lightOf(row);
  const cadence = row.cadence ?? { kind: 'real-time' };
  return {
    cartId: row.cart_id,
    name: row.name,
    light,
    why,
    waiting: Number(row.waiting),
    cadence,
    paced: Number(row.paced_count),
    openedAt: row.opened_at?.toISOString() ?? null,
    nextMomentAt: cadence.kind === 'cron' ? (moments.around(cadence, row.now).next?.toISOString() ?? null) : null,
    inFlight: Number(row.in_flight),
    inDoubt: Number(row.in_doubt),
    quarantined: Number(row.quarantined),
    deadLettered: Number(row.dead_lettered),
    oldestWaitingAt: row.oldest_waiting_at?.toISOString() ?? null,
    downSince: row.down_since?.toISOString() ?? null,
    nextProbeAt: row.next_probe_at?.toISOString() ?? null,
    lastResponse: row.last_response,
    lastSuccessAt: row.last_success_at?.toISOString() ?? null,
    paused:
      row.paused === true && row.paused_at !== null
        ? { by: row.paused_by, reason: row.paused_reason, at: row.paused_at.toISOString() }
        : null,
  };
}

function lightOf(row: LaneRow): { light: Light; why: string | null } {
  if (!row.system_on) return { light: 'off', why: 'The system switch is off' };
  if (!row.cart_on) return { light: 'off', why: 'The cart switch is off' };
  if (row.refusal !== null) return { light: 'off', why: row.refusal };
  if (!row.has_lane) return { light: 'off', why: 'No worker has opened a lane for this cart yet' };
  if (row.paused === true)
    return {
      light: 'red',
      why: `Paused by ${row.paused_by ?? 'somebody'}${row.paused_reason ? `: ${row.paused_reason}` : ''}`,
    };
  if (row.comparing === true) return { light: 'amber', why: 'A comparison is reading the cart' };
  if (row.down_since !== null) return { light: 'amber', why: `The cart is down: ${row.last_response ?? 'no answer'}` };
  return { light: 'green', why: null };
}
