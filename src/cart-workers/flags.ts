/**
 * Carries to carts what rules ask of their flags (`listings.shown`): hidden, visible, or open to back-orders. It goes behind
 * the quantity: a listing with a change under way is told its flag afterwards. Nothing is said of listings that no rule
 * ever asked about, nor to carts that have no such flags.
 *
 * Each call stands in `flag_calls` before it is made, and what the cart was known to show is forgotten until it answers.
 * A cart with a cadence is told its flags at its openings, like its numbers. Saying the same again is harmless; something else waits until a call without an answer can no longer run at the cart.
 */
import { randomUUID } from 'node:crypto';
import type { PoolClient } from 'pg';
import type { Database } from '../database.js';
import type { ListingFlag } from '../projections/listings.table.js';
import { callFor, type CartDirectory, type ReachableCart } from './cart-directory.js';
import { CartError } from './connectors/cart-error.js';
import type { Flag } from './connectors/connector.js';
import { cartTypes } from './connectors/index.js';
import { backoffMs, retryLimits } from './retry-policy.js';
import { Rounds } from './rounds.js';
import { steadyNow } from '../steady-clock.js';

const roundEveryMs = 250;
const rowsPerCallMax = 100;
/** Each holds a connection while its cart answers. */
const cartsAtOnceMax = 4;
/** A cart that could not be asked at all (its secret cannot be read, say) is not asked again sooner; nor is it warned of. */
const restMs = 5_000;
/** "flag", so that two workers are not at one cart's flags at once. */
const flagLocks = 0x666c6167;

interface Due {
  readonly key: string;
  readonly wanted: ListingFlag;
  readonly attempts: number;
}

interface Ended extends Due {
  readonly confirmed: boolean;
  readonly response: string;
  /** Whether the cart said no to this very item. */
  readonly refused: boolean;
  /** Whether the call may still run at the cart. */
  readonly mayRun: boolean;
}

export class Flags {
  private readonly rounds = new Rounds(roundEveryMs, () => this.round());
  /** Carts with a call under way: the others do not wait for a slow one, nor for one that cannot be asked at all. */
  private readonly telling = new Map<string, Promise<void>>();
  private readonly restsUntil = new Map<string, number>();
  /** The cart that was begun with last; the next round begins behind it, so that each has its turn. */
  private last = '';

  constructor(
    private readonly dependencies: {
      readonly database: Database;
      readonly directory: CartDirectory;
      readonly log: { warn(text: string): void };
    },
  ) {}

  start(): void {
    this.rounds.start();
  }

  async stop(): Promise<void> {
    await this.rounds.stop();
    await Promise.all(this.telling.values());
  }

  private async round(): Promise<void> {
    try {
      const carts = await cartsWithFlags(this.dependencies.database);
      const behind = carts.findIndex((cartId) => cartId > this.last);
      for (const cartId of [...carts.slice(Math.max(behind, 0)), ...carts.slice(0, Math.max(behind, 0))]) {
        if (this.rounds.stopping || this.telling.size >= cartsAtOnceMax) return;
        if (this.telling.has(cartId) || (this.restsUntil.get(cartId) ?? 0) > steadyNow()) continue;
        this.last = cartId;
        const told = this.tell(cartId)
          .catch((error: unknown) => {
            this.restsUntil.set(cartId, steadyNow() + restMs);
            this.warn(`cart ${cartId}`, error);
          })
          .finally(() => this.telling.delete(cartId));
        this.telling.set(cartId, told);
      }
    } catch (error) {
      this.warn('carts', error);
    }
  }

  private warn(whom: string, error: unknown): void {
    this.dependencies.log.warn(`Flags could not be told to ${whom} and are told again: ${String(error)}`);
  }

  /** One call to one cart, while no other worker is at its flags. */
  private async tell(cartId: string): Promise<void> {
    const { database, directory } = this.dependencies;
    const cart = await directory.cart(cartId);
    if (cart.connector.setVisibility === undefined) return;
    const client = await database.pool.connect();
    try {
      const held = await client.query<{ held: boolean }>('SELECT pg_try_advisory_lock($1, hashtext($2)) AS held', [
        flagLocks,
        cartId,
      ]);
      if (held.rows[0]?.held !== true) return;
      try {
        const due = await begin(client, cart);
        if (due.length > 0) await end(client, cart, await say(cart, due));
      } finally {
        await client.query('SELECT pg_advisory_unlock($1, hashtext($2))', [flagLocks, cartId]);
      }
    } finally {
      client.release();
    }
  }
}

/** What a cart is asked for: one that takes no back-orders at least shows the item. */
const flagOf = (wanted: ListingFlag, { connector }: ReachableCart): Flag => {
  if (wanted === 'hidden') return 'hidden';
  return wanted === 'backorder' && connector.capabilities.flags?.includes('backorder') === true ? 'backorder' : 'shown';
};

async function say(cart: ReachableCart, due: readonly Due[]): Promise<Ended[]> {
  const { connector, connection } = cart;
  try {
    const answers = await connector.setVisibility?.(
      connection,
      {
        idempotencyKey: `flag_${randomUUID()}`,
        createdAtMs: Date.now(),
        rows: due.map(({ key, wanted }) => ({ key, visibility: flagOf(wanted, cart) })),
      },
      callFor(connection.requestTimeoutMs),
    );
    return due.map((one, at) => {
      const answer = answers?.[at];
      const outcome = answer?.outcome ?? 'unknown';
      const confirmed = outcome === 'applied';
      const response = answer?.response ?? 'The answer does not name this item';
      return { ...one, confirmed, response, refused: !confirmed && outcome !== 'unknown', mayRun: false };
    });
  } catch (error) {
    if (!(error instanceof CartError)) throw error;
    const refused = error.code === 'cart-rejected' && 'scope' in error && error.scope === 'request';
    const mayRun = error.certainty === 'ambiguous';
    return due.map((one) => ({ ...one, confirmed: false, response: error.response, refused, mayRun }));
  }
}

/** Asks for the first listing of each cart, which its index knows; asked whether there is any, all listings were read. */
async function cartsWithFlags(database: Database): Promise<string[]> {
  const { rows } = await database.pool.query<{ cart_id: string }>({
    name: 'carts-with-flags',
    text: `SELECT c.cart_id FROM carts c JOIN lanes n ON n.cart_id = c.cart_id JOIN system_switch s ON s.id = 1
            WHERE c.settings->>'type' = ANY ($1::text[]) AND c.is_on AND s.is_on AND NOT n.paused AND n.down_since IS NULL
              AND coalesce(n.comparing_until <= clock_timestamp(), true)
              AND (SELECT true FROM listings l WHERE l.cart_id = c.cart_id AND l.shown IS DISTINCT FROM l.shown_told ORDER BY l.key LIMIT 1)
            ORDER BY c.cart_id`,
    values: [cartTypes().flatMap((connector) => (connector.setVisibility === undefined ? [] : connector.type))],
  });
  return rows.map(({ cart_id }) => cart_id);
}

/** Since when a rule asks of listing `l` what it asks now: a cart with a cadence is told at its next opening after that. */
const wantedSince = `
                    (SELECT m.since FROM listing_memory m
                      WHERE m.cart_id = l.cart_id AND m.key = l.key
                        AND m.id > coalesce((SELECT x.id FROM listing_memory x
                                              WHERE x.cart_id = l.cart_id AND x.key = l.key AND x.shown IS DISTINCT FROM l.shown
                                              ORDER BY x.id DESC LIMIT 1), 0)
                      ORDER BY m.id LIMIT 1)`;

/** Chooses what is due and writes the calls down; from here on nobody knows what the cart shows. */
async function begin(client: PoolClient, { connection, settings }: ReachableCart): Promise<Due[]> {
  const { rows } = await client.query<Due>({
    name: 'begin-flags',
    text: `WITH due AS (
             SELECT l.key, l.shown AS wanted, CASE WHEN f.said = l.shown THEN f.attempts ELSE 0 END AS attempts
               FROM listings l JOIN carts c ON c.cart_id = l.cart_id
               LEFT JOIN flag_calls f ON f.cart_id = l.cart_id AND f.key = l.key
              WHERE l.cart_id = $1 AND l.shown IS DISTINCT FROM l.shown_told AND l.shown IS NOT NULL
                AND (NOT c.is_paced OR ${wantedSince} <= (SELECT n.opened_at FROM lanes n WHERE n.cart_id = l.cart_id))
                AND l.generation = c.generation AND l.unlisted IS NULL
                AND (f.key IS NULL OR CASE WHEN f.said = l.shown THEN f.retry_at ELSE f.quiet_at END <= clock_timestamp())
                AND NOT EXISTS (SELECT FROM web_stack w WHERE w.cart_id = l.cart_id AND w.key = l.key
                                   AND w.state IN ('waiting', 'in-flight', 'in-doubt'))
              ORDER BY l.key LIMIT ${rowsPerCallMax} FOR UPDATE OF l),
           unknown AS (
             UPDATE listings l SET shown_told = NULL FROM due d WHERE l.cart_id = $1 AND l.key = d.key),
           calls AS (
             INSERT INTO flag_calls AS f (cart_id, key, said, attempts, retry_at, quiet_at)
             SELECT $1, d.key, d.wanted, d.attempts, t.deadline, t.deadline + $3 * interval '1 millisecond'
               FROM due d CROSS JOIN (SELECT clock_timestamp() + $2 * interval '1 millisecond' AS deadline) t
             ON CONFLICT (cart_id, key) DO UPDATE
                SET said = excluded.said, attempts = excluded.attempts, retry_at = excluded.retry_at,
                    quiet_at = excluded.quiet_at, confirmed_at = NULL, refused = f.refused AND f.said = excluded.said)
           SELECT key, wanted, attempts FROM due`,
    values: [connection.cartId, connection.requestTimeoutMs, settings.quietTimeMs],
  });
  return rows;
}

const hourMs = 3_600_000;

/** What was confirmed is what the cart was asked for; if a rule wants another one meanwhile, the next round says that. */
async function end(client: PoolClient, { connection }: ReachableCart, ended: readonly Ended[]): Promise<void> {
  const rows = ended.map(({ key, wanted, attempts, confirmed, response, refused, mayRun }) => {
    const tries = confirmed ? 0 : attempts + 1;
    const parked = refused && tries >= retryLimits.attemptsCountedMax;
    const pause_ms = Math.round(parked ? hourMs : backoffMs(tries, Math.random()));
    return { key, wanted, tries, confirmed, parked, response: response.slice(0, 500), may_run: mayRun, pause_ms };
  });
  await client.query({
    name: 'end-flags',
    text: `WITH rows AS (
             SELECT * FROM jsonb_to_recordset($2::jsonb)
               AS r (key text, wanted text, tries int, confirmed boolean, parked boolean, response text, may_run boolean, pause_ms int)),
           locked AS (
             SELECT l.key, r.wanted FROM listings l JOIN rows r ON r.key = l.key
              WHERE l.cart_id = $1 AND r.confirmed ORDER BY l.key FOR UPDATE OF l),
           told AS (
             UPDATE listings l SET shown_told = k.wanted FROM locked k WHERE l.cart_id = $1 AND l.key = k.key)
           UPDATE flag_calls f
              SET attempts = r.tries, last_response = r.response, refused = r.parked,
                  retry_at = clock_timestamp() + r.pause_ms * interval '1 millisecond',
                  quiet_at = CASE WHEN r.may_run THEN f.quiet_at ELSE clock_timestamp() END,
                  confirmed_at = CASE WHEN r.confirmed THEN clock_timestamp() END
             FROM rows r WHERE f.cart_id = $1 AND f.key = r.key`,
    values: [connection.cartId, JSON.stringify(rows)],
  });
}
