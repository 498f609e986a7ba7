import type { Database } from '../database.js';
import type { CartDirectory, ReachableCart } from './cart-directory.js';
import { claim, type Claim, type ClaimTerms } from './claim.js';
import { CartError, OutcomeUnknownError } from './connectors/cart-error.js';
import type { LineAnswer } from './connectors/connector.js';
import { databaseNow } from './database-clock.js';
import { downFor } from './lane-down.js';
import type { LaneJobData } from './lane-job.js';
import { recordOutcome, type LineEnd } from './outcome.js';
import { readQuantities } from './read-cart.js';
import { judge, judgeRefusal, mayResend, probeDelayMs, throttleMs } from './retry-policy.js';
import { settleDelivery, type OrdersUpToDate } from './settle-delivery.js';

/** What the lane does with the job afterwards. `again`: the same job, later; nothing else keeps the delivery alive. */
export type JobEnd = { readonly kind: 'done' } | { readonly kind: 'busy' | 'resend'; readonly inMs: number };

export interface CartWorkerDependencies {
  readonly database: Database;
  readonly directory: CartDirectory;
  readonly ordersUpToDate: OrdersUpToDate;
  /** Under which name this worker says that it lives: see WorkerPresence. */
  readonly workerName: string;
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
  const cart = await dependencies.directory.cart(cartId);
  const terms = termsOf(cart, dependencies.workerName);
  for (let reads = 0; ;) {
    const claimed = await claim(dependencies.database, job, terms);
    if (claimed.kind === 'gone') return { kind: 'done' };
    if (claimed.kind === 'busy') return { kind: 'busy', inMs: claimed.retryInMs };
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
        return claimed.ambiguous && !mayResend(ageOf(cart, claimed))
          ? await giveUpKey(dependencies.database, cart, claimed)
          : await send(dependencies, cart, claimed, signal);
      default:
        return claimed.purpose satisfies never;
    }
  }
}

const isSerial = (cart: ReachableCart) => cart.connector.capabilities.parallelCallsMax === 1;

function termsOf(cart: ReachableCart, worker: string): ClaimTerms {
  const { capabilities } = cart.connector;
  const { requestTimeoutMs, quietTimeMs } = cart.settings;
  return {
    keyed: capabilities.delivery === 'idempotency-key' || capabilities.delivery === 'compare-and-set',
    needsQ0: capabilities.delivery === 'settlement',
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
  const { connector, connection } = cart;
  try {
    const answers = await connector.sendDeltas(
      connection,
      { idempotencyKey: claimed.deliveryId, createdAtMs: claimed.createdAtMs, lines: claimed.lines },
      { deadlineMs: claimed.deadlineMs, signal },
    );
    return await recordAnswers(dependencies.database, cart, claimed, answers);
  } catch (error) {
    if (!(error instanceof CartError)) throw error;
    return await recordError(dependencies.database, cart, claimed, error);
  }
}

/** How old the delivery's key will be when a call that begins now has ended. */
function ageOf(cart: ReachableCart, claimed: Claim) {
  const { delivery, keyLifeMs } = cart.connector.capabilities;
  return { delivery, keyLifeMs, keyAgeMs: Date.now() + cart.settings.requestTimeoutMs - claimed.createdAtMs };
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

async function recordAnswers(
  database: Database,
  cart: ReachableCart,
  claimed: Claim,
  answers: readonly LineAnswer[],
): Promise<JobEnd> {
  const answerOf = new Map(answers.map((answer) => [answer.key, answer]));
  const lines = openLines(claimed).map((line): LineEnd => {
    const answer = answerOf.get(line.key);
    if (answer === undefined) return unknownLine(cart, line.key, 'The answer does not speak of this item');
    const { key, response } = answer;
    switch (answer.outcome) {
      case 'applied':
        return { key, response, end: 'delivered', outcome: 'applied', quantity: answer.quantity, seen: null };
      case 'not-found':
      case 'not-tracked':
        return { key, response, end: 'dead-lettered', outcome: answer.outcome, unlisted: answer.outcome };
      case 'rejected':
      case 'stale':
        return refusedLine(key, response, answer.outcome, line.attemptsCounted);
      case 'unknown':
        return unknownLine(cart, key, response);
      default:
        return answer satisfies never;
    }
  });
  const resendInMs = lines.some((line) => line.end === 'open')
    ? probeDelayMs(claimed.resends, Math.random())
    : undefined;
  await recordOutcome(database, {
    ...endOf(claimed),
    outcome: summary(lines),
    response: lines[0]?.response ?? '',
    lines,
    resendInMs,
    cart: 'up',
  });
  return resendInMs === undefined ? { kind: 'done' } : { kind: 'resend', inMs: resendInMs };
}

async function recordError(database: Database, cart: ReachableCart, claimed: Claim, error: CartError): Promise<JobEnd> {
  const { capabilities } = cart.connector;
  const random = Math.random();
  const lines = openLines(claimed);
  const verdict = judge(error, {
    delivery: capabilities.delivery,
    keyLifeMs: capabilities.keyLifeMs,
    keyAgeMs: Date.now() - claimed.createdAtMs,
    ambiguousBefore: claimed.ambiguous,
    resends: claimed.resends,
    attemptsCounted: Math.max(0, ...lines.map((line) => line.attemptsCounted)),
    random,
  });
  const cartDown = verdict.kind === 'settle' || ('cartDown' in verdict && verdict.cartDown);
  const { response } = error;
  const ends = lines.map(({ key }): LineEnd => {
    switch (verdict.kind) {
      case 'resend':
        return { key, response, end: 'open' };
      case 'settle':
        return inDoubt(cart, key, response);
      case 'return':
        return {
          key,
          response,
          end: 'returned',
          outcome: error.code,
          delayMs: verdict.delayMs,
          counted: verdict.counted,
        };
      case 'dead-letter':
        return { key, response, end: 'dead-lettered', outcome: error.code, unlisted: null };
      default:
        return verdict satisfies never;
    }
  });
  const resendInMs = verdict.kind === 'resend' ? verdict.delayMs : undefined;
  await recordOutcome(database, {
    ...endOf(claimed),
    outcome: error.code,
    response,
    lines: ends,
    resendInMs,
    mayStillRun:
      verdict.kind === 'settle' && isSerial(cart) && !(error instanceof OutcomeUnknownError && error.answered),
    ...(cartDown ? await downFor(database, claimed, random, throttleMs(error) ?? 0) : { cart: null }),
  });
  return resendInMs === undefined ? { kind: 'done' } : { kind: 'resend', inMs: resendInMs };
}

const openLines = (claimed: Claim) => claimed.lines.filter((line) => line.open);

const endOf = ({ attemptId, deliveryId, cartId }: Claim) => ({ attemptId, deliveryId, cartId });

/** A line whose fate nobody knows: sent again by its key, or settled by looking at the cart after its quiet time. */
function unknownLine(cart: ReachableCart, key: string, response: string): LineEnd {
  const { delivery } = cart.connector.capabilities;
  if (delivery === 'idempotency-key' || delivery === 'compare-and-set') return { key, response, end: 'open' };
  return inDoubt(cart, key, response);
}

const inDoubt = (cart: ReachableCart, key: string, response: string): LineEnd => ({
  key,
  response,
  end: 'in-doubt',
  settleInMs: cart.settings.quietTimeMs,
});

function refusedLine(key: string, response: string, outcome: string, attemptsCounted: number): LineEnd {
  const verdict = judgeRefusal({ attemptsCounted, random: Math.random() });
  return verdict.kind === 'return'
    ? { key, response, end: 'returned', outcome, delayMs: verdict.delayMs, counted: verdict.counted }
    : { key, response, end: 'dead-lettered', outcome, unlisted: null };
}

function summary(lines: readonly LineEnd[]): string {
  const ends = new Set(lines.map((line) => ('outcome' in line ? line.outcome : line.end)));
  return ends.size === 1 ? ([...ends][0] as string) : 'mixed';
}

/**
 * Reads what the listings of a delivery show before it is sent, because a lost answer could not be settled otherwise.
 * @returns whether the delivery can be sent now
 */
async function readBefore(
  dependencies: CartWorkerDependencies,
  cart: ReachableCart,
  claimed: Claim,
  signal: AbortSignal,
): Promise<boolean> {
  const { database } = dependencies;
  const keys = claimed.lines.map((line) => line.key);
  const end = endOf(claimed);
  try {
    const from = await databaseNow(database);
    const read = await readQuantities(cart, keys, claimed.deadlineMs, signal);
    const to = await databaseNow(database);
    const missing = claimed.lines.filter(({ key }) => (read.get(key) ?? null) === null);
    await recordOutcome(database, {
      ...end,
      outcome: missing.length === 0 ? 'read' : 'not-found',
      response: missing.length === 0 ? 'Read before sending' : 'The cart does not list this item',
      lines: missing.map(({ key }): LineEnd => notListed(key, read)),
      cart: 'up',
      countsAsTry: true,
    });
    await storeQuantities(database, claimed.cartId, read, from, to);
    return missing.length < claimed.lines.length;
  } catch (error) {
    if (!(error instanceof CartError)) throw error;
    const { code, response } = error;
    // Nothing was sent: whatever went wrong with the reading, the lines are free to go back.
    await recordOutcome(database, {
      ...end,
      outcome: code,
      response,
      lines: keys.map((key): LineEnd => ({
        key,
        response,
        end: 'returned',
        outcome: code,
        delayMs: 0,
        counted: false,
      })),
      countsAsTry: true,
      ...(await downFor(database, claimed, Math.random(), throttleMs(error) ?? 0)),
    });
    return false;
  }
}

function notListed(key: string, read: ReadonlyMap<string, number | null>): LineEnd {
  return read.has(key)
    ? {
        key,
        response: 'The cart lists the item but does not track its stock',
        end: 'dead-lettered',
        outcome: 'not-tracked',
        unlisted: 'not-tracked',
      }
    : {
        key,
        response: 'The cart does not list this item',
        end: 'dead-lettered',
        outcome: 'not-found',
        unlisted: 'not-found',
      };
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
