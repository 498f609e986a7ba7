import type { Database } from '../../database.js';
import type { DriftPolicy } from '../../events/facts.js';
import type { QohTransfer } from '../qoh-transfer.js';
import type { OpenDrift } from './record-looks.js';

/** A listing that was corrected that often within the window and differs again is parked: something else is wrong with it. */
export const correctionsMax = 3;
export const correctionsWindowHours = 24;
export const correctedByPolicy = "Corrected by the cart's policy";
/** Where something was under way at the wrong moment, it is tried again with the next look, so soon. */
const againMs = 2_000;

interface Dependencies {
  readonly database: Database;
  readonly qohTransfer: QohTransfer;
  readonly log: { info(text: string): void; warn(text: string): void };
}

/**
 * Corrects what a look found, as the cart's policy says. What lowers is done at once, since pieces too many are sold twice;
 * what raises only when the difference was seen a second time. A correction is a baseline with its reason: a fact, which
 * supersedes what was owed; what is lacking leaves as an ordinary delta.
 *
 * @param readFrom when the reading began that found them, by the database's clock
 */
export async function repairDrifts(
  dependencies: Dependencies,
  cart: { readonly cartId: string; readonly policy: DriftPolicy },
  readFrom: Date,
  drifts: readonly OpenDrift[],
): Promise<void> {
  const { cartId, policy } = cart;
  if (policy === 'report') return;
  const wanted = drifts.filter((drift) => drift.state !== 'parked' && isRipe(policy, drift));
  const parked = await park(dependencies, cartId, wanted);
  const due = wanted.filter((drift) => !parked.has(drift.id));
  if (due.length === 0) return;
  await dependencies.database.pool.query(
    `UPDATE drifts SET correcting_from = $3, class = t.class
       FROM unnest($1::bigint[], $2::text[]) AS t (id, class) WHERE drifts.id = t.id AND drifts.ended_at IS NULL`,
    [due.map(({ id }) => id), due.map((drift) => drift.class), readFrom],
  );
  const done = await correct(dependencies, cartId, policy, readFrom, due);
  await dependencies.database.pool.query(
    `UPDATE drifts SET state = 'repaired', ended_at = clock_timestamp(), look_at = NULL, class = t.class, resolution = $4, ended_by = 'policy',
            confirmed_at = coalesce(confirmed_at, clock_timestamp())
       FROM unnest($1::bigint[], $2::text[]) AS t (id, class) WHERE drifts.id = t.id AND drifts.ended_at IS NULL AND drifts.key = ANY ($3::text[])`,
    [due.map(({ id }) => id), due.map((drift) => drift.class), [...done], `${correctedByPolicy}: ${policy}`],
  );
  await dependencies.database.pool.query(
    `UPDATE drifts SET look_at = clock_timestamp() + $2 * interval '1 millisecond', correcting_from = NULL, class = CASE WHEN state <> 'suspected' THEN class END
      WHERE id = ANY ($1::bigint[]) AND ended_at IS NULL AND correcting_from = $3`,
    [due.map(({ id }) => id), againMs, readFrom],
  );
  for (const drift of due.filter(({ key }) => done.has(key)))
    dependencies.log.info(`Cart ${cartId}: ${drift.key} ${words(drift)}, corrected (${policy})`);
}

/** By whatever the policy raises: the shop when it follows, our stock when we do. */
function isRipe(policy: DriftPolicy, { state, difference }: OpenDrift): boolean {
  if (difference === null) return false;
  const lowers = policy === 'take-over' ? difference < 0 : difference > 0;
  return lowers || state === 'confirmed';
}

async function correct(
  { qohTransfer }: Dependencies,
  cartId: string,
  policy: Exclude<DriftPolicy, 'report'>,
  readFrom: Date,
  due: readonly OpenDrift[],
): Promise<ReadonlySet<string>> {
  const reason = due.length === 1 ? `drift: ${words(due[0] as OpenDrift)}` : `drift of ${due.length} listings`;
  if (policy === 'repair') {
    const rows = due.flatMap(({ key, shown }) => (shown === null ? [] : [{ key, quantity: shown }]));
    return qohTransfer.baselineReading(cartId, readFrom, rows, reason);
  }
  const keys = due.map(({ key }) => key);
  const report = await qohTransfer.run({ cartId, direction: policy === 'take-over' ? 'get' : 'send', keys, reason });
  return new Set(keys.filter((key) => !report.unsettled.includes(key)));
}

const words = ({ class: why, difference }: OpenDrift) =>
  `${why}, ${(difference ?? 0) > 0 ? '+' : ''}${difference ?? 'no quantity'}`;

/** @returns those that were corrected too often already; each is said once in the log, and waits for a person */
async function park(
  { database, log }: Dependencies,
  cartId: string,
  drifts: readonly OpenDrift[],
): Promise<ReadonlySet<number>> {
  if (drifts.length === 0) return new Set();
  const found = await database.pool.query<{ id: number; key: string; corrected: number }>(
    `UPDATE drifts d SET state = 'parked', look_at = NULL, class = coalesce(d.class, t.class),
            resolution = 'Corrected ' || t.corrected || ' times within ' || $4 || ' hours, and it differs again'
       FROM (SELECT o.id, u.class, (SELECT count(*) FROM drifts r WHERE r.cart_id = o.cart_id AND r.key = o.key AND r.state = 'repaired'
                                       AND r.ended_at > clock_timestamp() - $4 * interval '1 hour') AS corrected
               FROM drifts o JOIN unnest($1::bigint[], $2::text[]) AS u (id, class) ON u.id = o.id) t
      WHERE d.id = t.id AND t.corrected >= $3 AND d.ended_at IS NULL RETURNING d.id::int AS id, d.key, t.corrected::int AS corrected`,
    [drifts.map(({ id }) => id), drifts.map((drift) => drift.class), correctionsMax, correctionsWindowHours],
  );
  for (const { key, corrected } of found.rows)
    log.warn(
      `Cart ${cartId}: ${key} was corrected ${corrected} times and differs again; it is parked until somebody decides`,
    );
  return new Set(found.rows.map((row) => row.id));
}
