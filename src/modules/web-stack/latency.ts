import { Inject, Injectable } from '@nestjs/common';
import type { Database } from '../../database.js';
import { DATABASE } from '../tokens.js';

/** Of one cart: from "accepted by the hub" to "the cart answered that it took it", in milliseconds. */
export interface CartLatency {
  readonly cartId: string;
  /** How many delivered records the numbers are made of; without any, the others are null. */
  readonly records: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly maxMs: number | null;
}

/**
 * How soon changes reached the carts, waits in red and amber lanes included: it is the time that the merchant saw. What waited for
 * its cart's cadence counts from the moment on at which the lane was opened for it.
 */
@Injectable()
export class LatencyReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  /** @param minutes how far back; of a cart's records the latest {@link latencyRecordsMax} count at most */
  async perCart(minutes: number): Promise<CartLatency[]> {
    const found = await this.database.pool.query<{
      cart_id: string;
      records: number;
      p50: number | null;
      p99: number | null;
      max: number | null;
    }>({ name: 'latency-per-cart', text: latencySql, values: [minutes, latencyRecordsMax] });
    return found.rows.map((row) => ({
      cartId: row.cart_id,
      records: row.records,
      p50Ms: row.p50,
      p99Ms: row.p99,
      maxMs: row.max,
    }));
  }
}

/** Bounds the work by the number of carts, however much a cart was sent: an index scan of this many rows each. */
export const latencyRecordsMax = 2_000;

const latencySql = `
  SELECT c.cart_id, count(recent.ms)::int AS records,
         percentile_disc(0.5) WITHIN GROUP (ORDER BY recent.ms) AS p50,
         percentile_disc(0.99) WITHIN GROUP (ORDER BY recent.ms) AS p99,
         max(recent.ms) AS max
    FROM carts c
    LEFT JOIN LATERAL (
      -- As float8, since what waited for a month is more milliseconds than an integer holds.
      -- Clocks of processes differ a little; nothing was delivered before it was accepted.
      SELECT greatest(0, round(extract(epoch FROM ended_at - greatest(accepted_at, paced_at)) * 1000))::float8 AS ms
        FROM (SELECT accepted_at, paced_at, ended_at
                FROM web_stack
               -- Spelt so that only web_stack_cart_state gives this order: with "state = 'delivered' ORDER BY id" the
               -- planner reads the primary key backwards through everybody else's backlog (seen at 500,000 records).
               WHERE cart_id = c.cart_id AND state >= 'delivered' AND state <= 'delivered'
               ORDER BY cart_id DESC, state DESC, id DESC LIMIT $2) latest
       WHERE ended_at > clock_timestamp() - make_interval(mins => $1::int)) recent ON true
   GROUP BY c.cart_id
   ORDER BY c.cart_id`;
