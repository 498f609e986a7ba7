import type { Database } from '../../database.js';
import { databaseNow } from '../database-clock.js';
import type { QohTransfer } from '../qoh-transfer.js';
import type { DriftClass } from './drift-class.js';
import type { DriftState } from './drifts.table.js';

export interface Drift {
  readonly id: number;
  readonly cartId: string;
  readonly key: string;
  readonly sku: string;
  readonly state: DriftState;
  /** null: only suspected so far. */
  readonly class: DriftClass | null;
  /** All that fit the evidence; more than one, and the class is unknown. */
  readonly candidates: readonly DriftClass[];
  readonly raisedBy: 'reply' | 'comparison';
  readonly deliveryId: string | null;
  /** null: not listed, or not tracked. */
  readonly shown: number | null;
  readonly should: number;
  readonly difference: number | null;
  readonly looks: number;
  readonly suspectedAt: string;
  readonly confirmedAt: string | null;
  readonly endedAt: string | null;
  readonly resolution: string | null;
  readonly by: string | null;
  readonly reason: string | null;
}

/** One comparison of a whole cart; several of them are its trend. */
export interface ComparisonRow {
  readonly id: string;
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly error: string | null;
  readonly looked: number;
  readonly equal: number;
  readonly differing: number;
  readonly busy: number;
}

export interface CartAgreement {
  readonly cartId: string;
  /** False: seven days without a comparison that found nothing. */
  readonly healthy: boolean;
  readonly why: string | null;
  readonly lastCleanAt: string | null;
  readonly lastComparedAt: string | null;
  readonly suspected: number;
  readonly confirmed: number;
  readonly parked: number;
  /** Within the last 24 hours. */
  readonly corrected: number;
}

export const driftActions = ['repair', 'take-over', 'accept'] as const;
export type DriftAction = (typeof driftActions)[number];

/** Days without a clean comparison after which a cart is called unhealthy. */
const unhealthyDays = 7;

/** Drifts as people see and decide them. */
export class Drifts {
  constructor(private readonly dependencies: { readonly database: Database; readonly qohTransfer: QohTransfer }) {}

  /** The newest first. */
  async list(request: {
    readonly cartId?: string | undefined;
    readonly state?: DriftState | undefined;
    readonly class?: DriftClass | undefined;
    /** Only what is not over. */
    readonly open: boolean;
    readonly before?: number | undefined;
    readonly limit: number;
  }): Promise<Drift[]> {
    const found = await this.dependencies.database.pool.query<DriftRow>(
      `SELECT ${columns} FROM drifts
        WHERE ($1::text IS NULL OR cart_id = $1) AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR class = $3)
          AND (NOT $4 OR ended_at IS NULL) AND ($5::bigint IS NULL OR id < $5)
        ORDER BY id DESC LIMIT $6`,
      [request.cartId, request.state, request.class, request.open, request.before, request.limit],
    );
    return found.rows.map(driftOf);
  }

  async get(id: number): Promise<(Drift & { readonly evidence: unknown }) | null> {
    const found = await this.dependencies.database.pool.query<DriftRow & { evidence: unknown }>(
      `SELECT ${columns}, evidence FROM drifts WHERE id = $1`,
      [id],
    );
    const row = found.rows[0];
    return row === undefined ? null : { ...driftOf(row), evidence: row.evidence };
  }

  /**
   * A person decides. repair: the cart is made to show what it should; take-over: our stock follows the cart; accept: it stays
   * as it is, and is not told again while the difference is the same.
   * @returns null where it is unknown or over; with `state` unchanged where the listing was too busy
   */
  async resolve(request: {
    readonly id: number;
    readonly action: DriftAction;
    readonly reason: string;
    readonly by: string;
  }): Promise<Drift | null> {
    const { id, action, reason, by } = request;
    const drift = await this.get(id);
    if (drift === null || drift.endedAt !== null) return null;
    const began = await databaseNow(this.dependencies.database);
    if (action !== 'accept') {
      const report = await this.dependencies.qohTransfer.run({
        cartId: drift.cartId,
        direction: action === 'repair' ? 'send' : 'get',
        keys: [drift.key],
        reason: `drift ${id}: ${reason}`,
      });
      if (report.unsettled.includes(drift.key)) return drift;
    }
    // Another look may have found it equal in the meantime: it is so because of this.
    await this.dependencies.database.pool.query(
      `UPDATE drifts SET state = $2, ended_at = clock_timestamp(), look_at = NULL, resolution = $3, ended_by = $4, reason = $5
        WHERE id = $1 AND (ended_at IS NULL OR state = 'cleared' AND ended_at >= $6)`,
      [id, action === 'accept' ? 'accepted' : 'repaired', words[action], by, reason, began],
    );
    return this.get(id);
  }

  /** How well each cart agrees with us, the worst first. */
  async agreement(cartId: string | null = null): Promise<CartAgreement[]> {
    const found = await this.dependencies.database.pool.query<AgreementRow>({
      name: 'cart-agreement',
      text: agreementSql,
      values: [cartId],
    });
    return found.rows.map(agreementOf);
  }

  /** Comparisons of a cart, the newest first. */
  async trend(cartId: string, limit: number): Promise<ComparisonRow[]> {
    const found = await this.dependencies.database.pool.query<
      Omit<ComparisonRow, 'startedAt' | 'endedAt'> & { started_at: Date; ended_at: Date | null }
    >(
      `SELECT id, started_at, ended_at, error, looked, equal, differing, busy FROM cart_comparisons
        WHERE cart_id = $1 ORDER BY started_at DESC LIMIT $2`,
      [cartId, limit],
    );
    return found.rows.map(({ started_at: startedAt, ended_at: endedAt, ...row }) => ({
      ...row,
      startedAt: startedAt.toISOString(),
      endedAt: endedAt?.toISOString() ?? null,
    }));
  }
}

const words = {
  repair: 'The cart was made to show what it should',
  'take-over': 'Our stock follows the cart',
  accept: 'It stays as it is',
} as const;

const columns = `id::float8 AS id, cart_id, key, sku, state, class, candidates, raised_by, delivery_id, shown::float8 AS shown, should::float8 AS should,
  difference::float8 AS difference, looks, suspected_at, confirmed_at, ended_at, resolution, ended_by, reason`;

interface DriftRow extends Pick<
  Drift,
  | 'id'
  | 'key'
  | 'sku'
  | 'state'
  | 'class'
  | 'candidates'
  | 'shown'
  | 'should'
  | 'difference'
  | 'looks'
  | 'resolution'
  | 'reason'
> {
  readonly cart_id: string;
  readonly raised_by: 'reply' | 'comparison';
  readonly delivery_id: string | null;
  readonly suspected_at: Date;
  readonly confirmed_at: Date | null;
  readonly ended_at: Date | null;
  readonly ended_by: string | null;
}

function driftOf(row: DriftRow): Drift {
  const { id, key, sku, state, candidates, shown, should, difference, looks, resolution, reason } = row;
  return {
    id,
    cartId: row.cart_id,
    key,
    sku,
    state,
    class: row.class,
    candidates,
    raisedBy: row.raised_by,
    deliveryId: row.delivery_id,
    shown,
    should,
    difference,
    looks,
    suspectedAt: row.suspected_at.toISOString(),
    confirmedAt: row.confirmed_at?.toISOString() ?? null,
    endedAt: row.ended_at?.toISOString() ?? null,
    resolution,
    by: row.ended_by,
    reason,
  };
}

interface AgreementRow {
  readonly cart_id: string;
  readonly is_on: boolean;
  readonly last_clean: Date | null;
  readonly last_compared: Date | null;
  readonly overdue: boolean;
  readonly suspected: string;
  readonly confirmed: string;
  readonly parked: string;
  readonly corrected: string;
}

const agreementSql = `
  SELECT c.cart_id, c.is_on, r.last_clean, r.last_compared,
         greatest(r.last_clean, c.switched_at) < clock_timestamp() - interval '${unhealthyDays} days' AS overdue,
         coalesce(d.suspected, 0) AS suspected, coalesce(d.confirmed, 0) AS confirmed, coalesce(d.parked, 0) AS parked,
         (SELECT count(*) FROM drifts k WHERE k.cart_id = c.cart_id AND k.state = 'repaired'
             AND k.ended_at > clock_timestamp() - interval '24 hours') AS corrected
    FROM carts c
    LEFT JOIN LATERAL (SELECT max(p.ended_at) FILTER (WHERE p.error IS NULL AND p.differing = 0) AS last_clean,
                              max(p.ended_at) FILTER (WHERE p.error IS NULL) AS last_compared
                         FROM cart_comparisons p WHERE p.cart_id = c.cart_id AND p.generation = c.generation) AS r ON true
    LEFT JOIN (SELECT cart_id, count(*) FILTER (WHERE state = 'suspected') AS suspected, count(*) FILTER (WHERE state = 'confirmed') AS confirmed,
                      count(*) FILTER (WHERE state = 'parked') AS parked
                 FROM drifts WHERE ended_at IS NULL GROUP BY cart_id) AS d ON d.cart_id = c.cart_id
   WHERE $1::text IS NULL OR c.cart_id = $1
   ORDER BY coalesce(d.parked, 0) + coalesce(d.confirmed, 0) DESC, c.cart_id`;

function agreementOf(row: AgreementRow): CartAgreement {
  const unhealthy = row.is_on && row.overdue;
  return {
    cartId: row.cart_id,
    healthy: !unhealthy,
    why: unhealthy ? `No comparison of the last ${unhealthyDays} days found both sides equal` : null,
    lastCleanAt: row.last_clean?.toISOString() ?? null,
    lastComparedAt: row.last_compared?.toISOString() ?? null,
    suspected: Number(row.suspected),
    confirmed: Number(row.confirmed),
    parked: Number(row.parked),
    corrected: Number(row.corrected),
  };
}
