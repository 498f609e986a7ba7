import { randomUUID } from 'node:crypto';
import type { Database } from '../database.js';
import { reached } from '../moments.js';
import type { AbandonedAttempts } from './abandoned-attempts.js';
import type { CartDirectory, KnownCart, ReachableCart } from './cart-directory.js';
import { claim, type Claim, type ClaimTerms } from './claim.js';
import { CartError } from './connectors/cart-error.js';
import { databaseNow } from './database-clock.js';
import type { LaneJobData } from './lane-job.js';
import { isSerial } from './cart-directory.js';
import { inDoubt, notListed } from './line-ends.js';
import { recordOutcome, type LineEnd } from './outcome.js';
import { readQuantities } from './read-cart.js';
import { mayResend } from './retry-policy.js';
import { endOf, openLines, recordAnswers, recordError, recordUnsent } from './record-answers.js';
import { sendQuantities } from './set-delivery.js';
import { settleDelivery, type BaselineReading, type OrdersUpToDate } from './settle-delivery.js';

/** What the lane does with the job afterwards. `again`: the same job, later; nothing else keeps the delivery alive. */
export type JobEnd = { readonly kind: 'done' } | { readonly kind: 'busy' | 'resend'; readonly inMs: number };

export interface CartWorkerDependencies {
  readonly database: Database;
  readonly directory: CartDirectory;
  readonly ordersUpToDate: OrdersUpToDate;
  readonly baselineReading: BaselineReading;
  /** Under which name this worker says that it lives: see Presence. */
  readonly workerName: string;
  readonly abandoned: AbandonedAttempts;
  readonly log: { warn(text: string): void };
}

/** Reading before sending again and again means that the reading does not stick; the lane goes on with others meanwhile. */
const readsMax = 2;
const readAgainMs = 1_000;
/** A settlement looks at the orders twice and reads the cart twice: that many calls' time. */
const settleCalls = 8;

/**
 * Works on one lane job: claims the delivery, makes the call, records what came of it. Everything it decides on stands in
 * Postgres, so it may die at any line, be run twice, or be run long after it was meant.
 */
export async function workOn(
  dependencies: CartWorkerDependencies,
  cartId: string,
  job: LaneJobData,
  signal: AbortSignal,
): Promise<JobEnd> {
  const { likely, sure } = dependencies.directory.ask(cartId);
  const sureTerms = async () => termsOf(await sure, dependencies.workerName);
  let terms = likely === undefined ? await sureTerms() : termsOf(likely, dependencies.workerName);
  for (let reads = 0; ;) {
    reached('worker:job-taken', cartId);
    const claimed = await claimOrAbandon(dependencies, job, terms, sureTerms);
    const cart = await sure;
    if (claimed.kind === 'changed') {
      terms = await sureTerms();
      continue;
    }
    if (claimed.kind === 'gone') return { kind: 'done' };
    if (claimed.kind === 'busy') return { kind: 'busy', inMs: claimed.retryInMs };
    reached('worker:attempt-written', cartId);
    try {
      switch (claimed.purpose) {
        case 'read':
          if (!(await readBefore(dependencies, cart, claimed, signal))) return { kind: 'done' };
          reads += 1;
          if (reads === readsMax) return { kind: 'busy', inMs: readAgainMs };
          continue;
        case 'settle':
          await settleDelivery(dependencies, cart, claimed, signal);
          return { kind: 'done' };
        case 'send':
          if (setsOnly(cart)) {
            // What was set is read back at once: the next claim is a settlement.
            await sendQuantities(dependencies.database, cart, claimed, signal);
            continue;
          }
          return claimed.ambiguous && !mayResend(ageOf(cart, claimed))
            ? await giveUpKey(dependencies.database, cart, claimed)
            : await send(dependencies, cart, claimed, signal);
        default:
          return claimed.purpose satisfies never;
      }
    } catch (error) {
      if (claimed.purpose !== 'send') dependencies.abandoned.add(claimed.attemptId);
      throw error;
    }
  }
}

async function claimOrAbandon(
  { database, abandoned }: CartWorkerDependencies,
  job: LaneJobData,
  terms: ClaimTerms,
  sure: () => Promise<ClaimTerms>,
) {
  const attemptId = randomUUID();
  try {
    return await claim(database, job, terms, attemptId, sure);
  } catch (error) {
    // It may stand there all the same: the answer to its COMMIT is what got lost.
    abandoned.add(attemptId);
    throw error;
  }
}

const setsOnly = (cart: KnownCart) => cart.capabilities.delivery === 'set-only';

function termsOf(cart: KnownCart, worker: string): ClaimTerms {
  const { capabilities } = cart;
  const { requestTimeoutMs, quietTimeMs } = cart.settings;
  return {
    cartId: cart.settings.cartId,
    keyed: capabilities.delivery === 'idempotency-key',
    needsQ0: capabilities.delivery !== 'idempotency-key',
    readsFirst: setsOnly(cart),
    serial: isSerial(cart),
    requestTimeoutMs,
    settleTimeoutMs: requestTimeoutMs * settleCalls,
    quietTimeMs,
    worker,
  };
}

async function send(
  dependencies: CartWorkerDependencies,
  cart: ReachableCart,
  claimed: Claim,
  signal: AbortSignal,
): Promise<JobEnd> {
  const { connector, connection, capabilities } = cart;
  const compares = capabilities.delivery === 'compare-and-set';
  // Under an idempotency key the body never changes; without one, what has its outcome already must not leave again.
  const body = capabilities.delivery === 'idempotency-key' ? claimed.lines : openLines(claimed);
  const lines = body.map(({ key, delta, q0 }) => (compares && q0 !== null ? { key, delta, from: q0 } : { key, delta }));
  try {
    const answers = await connector.sendDeltas(
      connection,
      { idempotencyKey: claimed.deliveryId, createdAtMs: claimed.createdAtMs, lines },
      { deadlineMs: claimed.deadlineMs, signal, onSent: () => reached('worker:request-sent', claimed.cartId) },
    );
    return await recordAnswers(dependencies.database, cart, claimed, answers);
  } catch (error) {
    if (!(error instanceof CartError)) throw error;
    return await recordError(dependencies.database, cart, claimed, error);
  }
}

/** How old the delivery's key will be when a call that begins now has ended. */
function ageOf(cart: ReachableCart, claimed: Claim) {
  const { delivery, keyLifeMs } = cart.capabilities;
  return { delivery, keyLifeMs, keyAgeMs: claimed.keyAgeMs + cart.settings.requestTimeoutMs };
}

/** The cart may have forgotten the key by now, so that the same bytes would be applied a second time: nothing is sent. */
async function giveUpKey(database: Database, cart: ReachableCart, claimed: Claim): Promise<JobEnd> {
  const response = 'The cart may have forgotten the key by now; it is not sent again';
  await recordOutcome(database, {
    ...endOf(claimed),
    outcome: 'key-expired',
    response,
    lines: openLines(claimed).map(({ key }) => inDoubt(cart, key, response)),
    cart: null,
  });
  return { kind: 'done' };
}

/**
 * Reads what the listings of a delivery show before it is sent, because a lost answer could not be settled otherwise, or
 * because the quantities to set are made of it.
 * @returns whether the delivery can be sent now
 */
async function readBefore(
  dependencies: CartWorkerDependencies,
  cart: ReachableCart,
  claimed: Claim,
  signal: AbortSignal,
): Promise<boolean> {
  const { database } = dependencies;
  const open = openLines(claimed);
  const keys = open.map((line) => line.key);
  const end = endOf(claimed);
  try {
    // Orders that are known before the reading need not be told apart from what was sold between reading and setting.
    if (setsOnly(cart)) await dependencies.ordersUpToDate(claimed.cartId, keys);
    const from = await databaseNow(database);
    const read = await readQuantities(cart, keys, claimed.deadlineMs, signal);
    const to = await databaseNow(database);
    const missing = open.filter(({ key }) => (read.get(key) ?? null) === null);
    await recordOutcome(database, {
      ...end,
      outcome: missing.length === 0 ? 'read' : 'not-found',
      response: missing.length === 0 ? 'Read before sending' : 'The cart does not list this item',
      lines: missing.map(({ key }): LineEnd => notListed(key, read)),
      cart: 'up',
      countsAsTry: true,
    });
    await storeQuantities(database, claimed.cartId, read, from, to);
    return missing.length < open.length;
  } catch (error) {
    if (!(error instanceof CartError)) throw error;
    await recordUnsent(database, claimed, error);
    return false;
  }
}

async function storeQuantities(
  database: Database,
  cartId: string,
  read: ReadonlyMap<string, number | null>,
  from: Date,
  to: Date,
): Promise<void> {
  const rows = [...read].filter(([, quantity]) => quantity !== null);
  await database.pool.query({
    name: 'store-quantities',
    text: `UPDATE listings l SET last_quantity = t.quantity, last_quantity_from = $4, last_quantity_to = $5
             FROM (SELECT s.cart_id, s.key, t.quantity FROM unnest($2::text[], $3::bigint[]) AS t (key, quantity)
                     JOIN listings s ON s.cart_id = $1 AND s.key = t.key
                    ORDER BY s.key FOR UPDATE OF s) AS t
            WHERE l.cart_id = t.cart_id AND l.key = t.key
              AND NOT EXISTS (SELECT FROM attempts a JOIN delivery_lines d USING (delivery_id)
                               WHERE a.cart_id = $1 AND a.ended_at IS NULL AND a.kind = 'send' AND d.key = l.key)`,
    values: [cartId, rows.map(([key]) => key), rows.map(([, quantity]) => quantity), from, to],
  });
}
