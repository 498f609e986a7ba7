import type { Database } from '../../database.js';
import { steadyNow } from '../../steady-clock.js';
import type { CartDirectory, ReachableCart } from '../cart-directory.js';
import { CartError } from '../connectors/cart-error.js';
import { databaseNow } from '../database-clock.js';
import type { QohTransfer } from '../qoh-transfer.js';
import { addDoubledKeys } from '../doubled-keys.js';
import { readQuantities, type DoubledKeys } from '../read-cart.js';
import type { OrdersUpToDate } from '../settle-delivery.js';
import { Rounds } from '../rounds.js';
import { repairDrifts } from './drift-repair.js';
import { endOverwritten, takeOverwritten } from './overwritten-lines.js';
import { layBeside, type LookedAt, type Shown } from './quiet-listings.js';
import { recordLook, type OpenDrift } from './record-looks.js';

const lookEveryMs = 500;
/** Listings of one look. */
const keysMax = 200;
/** Whoever took a suspicion and died has it taken over after this long. */
const takenSeconds = 60;
/** A cart is left alone for so many times as long as the look at it took. */
const restFactor = 5;
/** A cart whose orders cannot be read, or that does not answer, is looked at again after this long. */
const afterFaultSeconds = 10;

export interface LookDependencies {
  readonly database: Database;
  readonly directory: CartDirectory;
  readonly qohTransfer: QohTransfer;
  /** Imports the cart's orders of up to now; false where those of these keys cannot be known to be complete. */
  readonly ordersUpToDate: OrdersUpToDate;
  readonly log: { info(text: string): void; warn(text: string): void };
}

/** Told what a look laid beside each other, before anything follows from it. */
export type OnLook = (listings: readonly LookedAt[]) => void;

interface ToLookAt {
  readonly suspected: readonly string[];
  /** A checkout may have written over a line of theirs: nobody suspects anything yet. */
  readonly overwritten: readonly string[];
}

/** Looks again at what was suspected: orders → read → orders, only while nothing is under way. */
export class DriftLooks {
  private readonly rounds = new Rounds(lookEveryMs, () => this.round());
  /** By this process's steady clock, per cart. */
  private readonly restUntil = new Map<string, number>();

  constructor(private readonly dependencies: LookDependencies) {}

  start(): void {
    this.rounds.start();
  }

  async stop(): Promise<void> {
    await this.rounds.stop();
  }

  private async round(): Promise<void> {
    const { log } = this.dependencies;
    try {
      for (const [cartId, toLookAt] of await this.take()) {
        if (this.rounds.stopping) return;
        const began = steadyNow();
        await this.look(cartId, toLookAt).catch((error: unknown) => {
          log.warn(`Cart ${cartId}: listings could not be looked at again, and will be: ${messageOf(error)}`);
        });
        this.restUntil.set(cartId, steadyNow() + restFactor * (steadyNow() - began));
      }
    } catch (error) {
      log.warn(`Suspected listings could not be read, and will be: ${messageOf(error)}`);
    }
  }

  /** Taken so that no other process looks at the same ones; what is not judged in time comes up again. */
  private async take(): Promise<Map<string, ToLookAt>> {
    const now = steadyNow();
    const resting = [...this.restUntil].filter(([, until]) => until > now).map(([cartId]) => cartId);
    const [suspected, overwritten] = [
      await this.takeSuspected(resting),
      await takeOverwritten(this.dependencies.database, resting),
    ];
    const keysOf = (rows: readonly { cart_id: string; key: string }[], cartId: string) =>
      rows.filter((row) => row.cart_id === cartId).map((row) => row.key);
    const cartIds = new Set([...suspected, ...overwritten].map((row) => row.cart_id));
    return new Map(
      [...cartIds].map((cartId) => [
        cartId,
        { suspected: keysOf(suspected, cartId), overwritten: keysOf(overwritten, cartId) },
      ]),
    );
  }

  private async takeSuspected(resting: readonly string[]) {
    const found = await this.dependencies.database.pool.query<{ cart_id: string; key: string }>({
      name: 'take-suspicions',
      text: `UPDATE drifts t SET look_at = clock_timestamp() + interval '${takenSeconds} seconds'
              WHERE t.id IN (SELECT d.id FROM drifts d JOIN carts c USING (cart_id) JOIN lanes n USING (cart_id)
                              WHERE d.ended_at IS NULL AND d.look_at <= clock_timestamp() AND c.is_on AND n.down_since IS NULL
                                AND d.cart_id <> ALL ($1::text[])
                              ORDER BY d.look_at LIMIT ${keysMax} FOR UPDATE OF d SKIP LOCKED)
              RETURNING t.cart_id, t.key`,
      values: [resting],
    });
    return found.rows;
  }

  private async look(cartId: string, { suspected, overwritten }: ToLookAt): Promise<void> {
    const { database } = this.dependencies;
    const cart = await this.dependencies.directory.cart(cartId);
    const tellsOrders = cart.capabilities.orders !== 'none';
    const before = await this.dependencies.ordersUpToDate(cartId, [...suspected, ...overwritten]);
    if (before) await endExplained(database, cartId, suspected);
    const open = before ? await stillOpen(database, cartId, suspected) : suspected;
    if (tellsOrders && !before) return this.later(cartId, suspected);
    const left = [...new Set([...open, ...overwritten])];
    if (left.length === 0) return;
    const busy: string[] = [];
    const { signal } = new AbortController();
    await lookAt(this.dependencies, cart, left, signal, (listings) =>
      busy.push(...listings.filter((listing) => listing.busy).map(({ key }) => key)),
    );
    await endOverwritten(database, cartId, overwritten, busy);
  }

  private async later(cartId: string, keys: readonly string[]): Promise<void> {
    await this.dependencies.database.pool.query(
      `UPDATE drifts SET look_at = clock_timestamp() + interval '${afterFaultSeconds} seconds'
        WHERE cart_id = $1 AND key = ANY ($2::text[]) AND ended_at IS NULL AND look_at IS NOT NULL`,
      [cartId, keys],
    );
  }
}

/** One look at some listings, from the reading to what the policy makes of it; the orders have just been imported. */
export async function lookAt(
  dependencies: LookDependencies,
  cart: ReachableCart,
  keys: readonly string[],
  signal: AbortSignal = new AbortController().signal,
  onLook: OnLook = () => undefined,
): Promise<OpenDrift[]> {
  const { database } = dependencies;
  const from = await databaseNow(database);
  const doubled: DoubledKeys = new Map();
  const read = await readQuantities(cart, keys, Number.POSITIVE_INFINITY, signal, { doubled, toTheEnd: true });
  await addDoubledKeys(database, cart.settings.cartId, doubled);
  await endDoubled(database, cart.settings.cartId, doubled);
  const shown = keys.map((key): Shown => ({ key, listed: read.has(key), quantity: read.get(key) ?? null }));
  return judge(dependencies, cart, { from, shown }, onLook);
}

/** What was read is laid beside what should be there, once the orders of up to now are known. */
export async function judge(
  dependencies: LookDependencies,
  cart: ReachableCart,
  reading: { readonly from: Date; readonly shown: readonly Shown[] },
  onLook: OnLook = () => undefined,
): Promise<OpenDrift[]> {
  const { database } = dependencies;
  const { cartId, quietTimeMs, driftPolicy = 'report' } = cart.settings;
  const to = await databaseNow(database);
  const ordersComplete = await dependencies.ordersUpToDate(
    cartId,
    reading.shown.map(({ key }) => key),
  );
  if (!ordersComplete && cart.capabilities.orders !== 'none')
    throw new Error('its orders could not be read to their end');
  const listings = await layBeside(database, cartId, reading.shown, reading.from);
  onLook(listings);
  const poll = await database.pool.query<{ mark: string | null }>('SELECT mark FROM order_polls WHERE cart_id = $1', [
    cartId,
  ]);
  const mark = poll.rows[0]?.mark ?? null;
  const differing = await recordLook(database, {
    cartId,
    from: reading.from,
    to,
    mark,
    ordersComplete,
    quietTimeMs,
    listings,
  });
  await repairDrifts(dependencies, { cartId, policy: driftPolicy }, reading.from, differing);
  return differing;
}

/** Where several products share a key, nobody can say which of them was meant, and nothing is to be looked at again. */
export async function endDoubled(database: Database, cartId: string, doubled: DoubledKeys): Promise<void> {
  if (doubled.size === 0) return;
  await database.pool.query(
    `UPDATE drifts SET state = 'cleared', ended_at = clock_timestamp(), look_at = NULL, resolution = 'Several products of the cart share this SKU'
      WHERE cart_id = $1 AND key = ANY ($2::text[]) AND ended_at IS NULL`,
    [cartId, [...doubled.keys()]],
  );
}

/** A reply that an order explains to the piece, now that it is imported: the cart had sold it when it answered. */
async function endExplained(database: Database, cartId: string, keys: readonly string[]): Promise<void> {
  await database.pool.query({
    name: 'end-explained',
    text: `UPDATE drifts d SET state = 'cleared', ended_at = clock_timestamp(), look_at = NULL, resolution = 'An order that came in since explains it'
            WHERE d.cart_id = $1 AND d.key = ANY ($2::text[]) AND d.ended_at IS NULL AND d.state = 'suspected' AND d.raised_by = 'reply' AND d.looks = 1
              AND d.difference = (SELECT sum(e.expected_delta) FROM echoes e
                                   WHERE e.cart_id = d.cart_id AND e.key = d.key AND e.seen_by >= d.suspected_at)`,
    values: [cartId, keys],
  });
}

async function stillOpen(database: Database, cartId: string, keys: readonly string[]): Promise<string[]> {
  const found = await database.pool.query<{ key: string }>(
    'SELECT key FROM drifts WHERE cart_id = $1 AND key = ANY ($2::text[]) AND ended_at IS NULL ORDER BY key',
    [cartId, keys],
  );
  return found.rows.map((row) => row.key);
}

const messageOf = (error: unknown) =>
  error instanceof CartError ? error.response : error instanceof Error ? error.message : String(error);
