import type { Database } from '../database.js';
import type { ReachableCart } from './cart-directory.js';
import type { Claim, ClaimedLine } from './claim.js';
import { CartError } from './connectors/cart-error.js';
import { databaseNow } from './database-clock.js';
import { downFor } from './lane-down.js';
import { recordOutcome, type LineEnd } from './outcome.js';
import { readQuantities } from './read-cart.js';
import { throttleMs } from './retry-policy.js';
import { mayHaveClamped, relativeTo, settle, type Between } from './settlement.js';

/**
 * Imports the cart's orders of up to now and waits until the projector has heard them.
 * @param keys that no checkout may be in the middle of taking, where the cart can tell
 * @returns false when the order feed could not be read to its end, or a checkout does not end
 */
export type OrdersUpToDate = (cartId: string, keys: readonly string[]) => Promise<boolean>;

/**
 * Makes readings the baselines of their listings, and ends the lines in doubt that they settle.
 * @param readFrom by the database's clock; orders seen before it were in the quantities already
 * @returns the keys that are baselined now; not those that something was sold of since
 */
export type BaselineReading = (
  cartId: string,
  readFrom: Date,
  rows: readonly { readonly key: string; readonly quantity: number; readonly settles: string }[],
) => Promise<ReadonlySet<string>>;

/** A shop that closes between a reading and its orders is open again some time; only then is the doubt for a person. */
const ordersPatienceMs = 15 * 60_000;
const lookAgainMsMin = 1_000;

/**
 * Finds out whether the lines in doubt were applied: orders → read → read again → orders. Claimed only after the call's
 * deadline and the cart's quiet time, when nothing of it can still be under way.
 *
 * Two equal readings and exactly one hypothesis that fits are proof. Different readings mean that something moves: it
 * is tried again later. Anything else is quarantined with its evidence, for a person.
 *
 * Where a quantity was *set*, two equal readings are always an answer: if the cart shows it and sold nothing meanwhile, it
 * is delivered; else what the cart shows becomes the listing's new baseline, and what is lacking leaves as a new delta. So
 * is a listing taken that a cart may have clamped at zero, where no sum says anything.
 */
export async function settleDelivery(
  dependencies: {
    readonly database: Database;
    readonly ordersUpToDate: OrdersUpToDate;
    readonly baselineReading: BaselineReading;
  },
  cart: ReachableCart,
  claimed: Claim,
  signal: AbortSignal,
): Promise<void> {
  const end = { attemptId: claimed.attemptId, deliveryId: claimed.deliveryId, cartId: claimed.cartId };
  try {
    const keys = claimed.lines.map((line) => line.key);
    const before = await dependencies.ordersUpToDate(claimed.cartId, keys);
    const from = await databaseNow(dependencies.database);
    const toTheEnd = { toTheEnd: true };
    const first = await readQuantities(cart, keys, claimed.deadlineMs, signal, toTheEnd);
    const second = await readQuantities(cart, keys, claimed.deadlineMs, signal, toTheEnd);
    const to = await databaseNow(dependencies.database);
    const after = await dependencies.ordersUpToDate(claimed.cartId, keys);
    const reading = { from, to };
    const verdicts: Verdict[] = [];
    const ordersAreTold = cart.capabilities.orders !== 'none' && claimed.keyAgeMs < ordersPatienceMs;
    for (const line of claimed.lines) {
      const changes = await changesOf(dependencies.database, claimed.cartId, line);
      const refused = await isInRefusedOrder(dependencies.database, claimed.cartId, line.key);
      verdicts.push(
        judgeLine(line, {
          first: first.get(line.key) ?? null,
          second: second.get(line.key) ?? null,
          reading,
          changes,
          ordersKnown: before && after && !refused,
          ordersMayFollow: ordersAreTold && !refused,
          quietTimeMs: cart.settings.quietTimeMs,
          wasSet: cart.capabilities.delivery === 'set-only',
          clampsAtZero: cart.settings.clampsAtZero,
        }),
      );
    }
    const lines = await takeAsBaselines(dependencies.baselineReading, claimed, from, verdicts);
    const outcomes = lines.map((line) => ('outcome' in line ? line.outcome : line.end));
    await recordOutcome(dependencies.database, {
      ...end,
      outcome: outcomes.join(', ') || 'baseline',
      response: (lines[0] ?? verdicts[0])?.response ?? '',
      lines,
      cart: 'up',
    });
  } catch (error) {
    if (!(error instanceof CartError)) throw error;
    const { code, response } = error;
    const down = await downFor(dependencies.database, claimed, Math.random(), throttleMs(error) ?? 0);
    await recordOutcome(dependencies.database, {
      ...end,
      outcome: code,
      response,
      // Looked at again with the lane's own growing pauses: a cart that is down is not asked more often for being in doubt.
      lines: claimed.lines.map((line): LineEnd => ({
        key: line.key,
        response,
        end: 'in-doubt',
        settleInMs: down.probeInMs ?? 0,
      })),
      ...down,
    });
  }
}

/** Lines whose reading becomes a baseline end with it; @returns the ends of the others. */
async function takeAsBaselines(
  baselineReading: BaselineReading,
  claimed: Claim,
  readFrom: Date,
  verdicts: readonly Verdict[],
): Promise<LineEnd[]> {
  const rows = verdicts.flatMap((verdict) =>
    verdict.end === 'baseline' ? [{ key: verdict.key, quantity: verdict.quantity, settles: claimed.deliveryId }] : [],
  );
  const ended = rows.length === 0 ? new Set() : await baselineReading(claimed.cartId, readFrom, rows);
  return verdicts.flatMap((verdict): LineEnd[] => {
    if (verdict.end !== 'baseline') return [verdict];
    if (ended.has(verdict.key)) return [];
    const response = 'Something was sold while it was read back; looking again';
    return [{ key: verdict.key, response, end: 'in-doubt', settleInMs: 0 }];
  });
}

/** A sale that could not be imported is one that the arithmetic does not know. */
async function isInRefusedOrder(database: Database, cartId: string, key: string): Promise<boolean> {
  const found = await database.pool.query({
    name: 'is-in-refused-order',
    text: `SELECT FROM order_refusals WHERE cart_id = $1 AND (keys ? $2 OR keys = '[]') LIMIT 1`,
    values: [cartId, key],
  });
  return found.rowCount === 1;
}

interface Change extends Between {
  readonly delta: number;
  readonly order: string;
}

interface Findings {
  readonly first: number | null;
  readonly second: number | null;
  readonly reading: { readonly from: Date; readonly to: Date };
  readonly changes: readonly Change[];
  readonly ordersKnown: boolean;
  /** Not known now, and may be at another look. */
  readonly ordersMayFollow: boolean;
  readonly quietTimeMs: number;
  /** The cart was told an absolute quantity, not a delta. */
  readonly wasSet: boolean;
  /** It lowers a quantity to 0 at most. */
  readonly clampsAtZero: boolean;
}

type Verdict =
  | LineEnd
  | { readonly key: string; readonly response: string; readonly end: 'baseline'; readonly quantity: number };

function judgeLine(line: ClaimedLine, findings: Findings): Verdict {
  const { key } = line;
  const { first, second, reading, changes } = findings;
  const evidence = {
    q0: line.q0,
    q0From: line.q0From,
    q0To: line.q0To,
    delta: line.delta,
    readings: [first, second],
    readFrom: reading.from,
    readTo: reading.to,
    changes: changes.map((change) => ({ order: change.order, delta: change.delta, after: change.from, by: change.to })),
    ordersKnown: findings.ordersKnown,
  };
  const quarantine = (response: string): LineEnd => ({
    key,
    response,
    end: 'quarantined',
    evidence: { ...evidence, why: response },
  });
  if (first === null || second === null)
    return quarantine(
      'The cart shows no quantity of this item: it does not list it, does not track it, or several of its products share the SKU',
    );
  const lookAgain = (response: string) => ({
    key,
    response,
    end: 'in-doubt' as const,
    settleInMs: findings.quietTimeMs,
  });
  if (first !== second) return lookAgain(`Two readings differ (${first}, ${second}); looking again`);
  if (line.q0 === null || line.q0To === null) return quarantine('What the listing showed before is not known');
  if (!findings.ordersKnown) {
    const response = 'The cart’s orders could not be read to their end';
    if (!findings.ordersMayFollow) return quarantine(response);
    return { ...lookAgain(`${response}; looking again`), settleInMs: Math.max(findings.quietTimeMs, lookAgainMsMin) };
  }

  const q0: Between = { from: line.q0From, to: line.q0To };
  // An order that came up while the cart was read may or may not be in the readings.
  if (changes.some((change) => relativeTo(reading, change) === 'uncertain'))
    return lookAgain('An order came in while reading; looking again');
  const sinceQ0 = changes.filter(
    (change) => relativeTo(reading, change) === 'before' && relativeTo(q0, change) !== 'before',
  );
  const certain = sinceQ0.filter((change) => relativeTo(q0, change) === 'after');
  const verdict = settle({
    q0: line.q0,
    delta: line.delta,
    read: second,
    certain: certain.reduce((sum, change) => sum + change.delta, 0),
    uncertain: sinceQ0.filter((change) => !certain.includes(change)).map((change) => change.delta),
  });
  const known = { quantity: second, seen: { from: reading.from, to: reading.to } };
  if (findings.wasSet) {
    return second === line.q0 + line.delta && sinceQ0.length === 0
      ? { key, response: `Set to ${second} and read back`, end: 'delivered', outcome: 'settled as applied', ...known }
      : { key, response: `Set, and now ${second}: taken as it is`, end: 'baseline', quantity: second };
  }
  const clamped =
    findings.clampsAtZero &&
    mayHaveClamped({ q0: line.q0, delta: line.delta, changes: sinceQ0.map((change) => change.delta) });
  if (clamped)
    return { key, response: `Clamped at zero, and now ${second}: taken as it is`, end: 'baseline', quantity: second };
  const story = `${line.q0} before, ${second} now, ${line.delta > 0 ? '+' : ''}${line.delta} sent`;
  if (verdict === 'applied') {
    return {
      key,
      response: `Settled: it had been applied (${story})`,
      end: 'delivered',
      outcome: 'settled as applied',
      ...known,
    };
  }
  if (verdict === 'not-applied') {
    return {
      key,
      response: `Settled: it had not been applied (${story})`,
      end: 'returned',
      outcome: 'settled as not applied',
      delayMs: 0,
      counted: false,
      ...known,
    };
  }
  return quarantine(`Both or neither story fits (${story}, ${changes.length} orders since)`);
}

/** What the cart did itself to the listing since shortly before q0, as its orders told. */
async function changesOf(database: Database, cartId: string, line: ClaimedLine): Promise<Change[]> {
  const found = await database.pool.query<{
    delta: string;
    order_number: string;
    seen_after: Date | null;
    seen_by: Date;
  }>({
    name: 'changes-since',
    text: `SELECT delta, order_number, seen_after, seen_by FROM echoes
            WHERE cart_id = $1 AND key = $2 AND seen_by > coalesce($3::timestamptz, '-infinity') ORDER BY id`,
    values: [cartId, line.key, line.q0From],
  });
  return found.rows.map((row) => ({
    delta: Number(row.delta),
    order: row.order_number,
    from: row.seen_after,
    to: row.seen_by,
  }));
}
