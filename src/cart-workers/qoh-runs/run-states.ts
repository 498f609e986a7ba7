import { eq } from 'drizzle-orm';
import type { PoolClient } from 'pg';
import { inTransaction, type Database } from '../../database.js';
import { holdRun } from '../../projections/guard.js';
import type { Difference } from './look-at-cart.js';
import { countOf } from './listing-groups.js';
import { qohRuns, type QohRunNotes, type StoredQohRun } from './qoh-runs.table.js';

/** The run is no longer this worker's: cancelled, ended, or gone on with elsewhere. */
export class Superseded extends Error {}

export interface LookCounts {
  looked: number;
  differing: number;
  zeroed: number;
  inflated: number;
}

/** Of each list of notes. */
const notesMax = 100;

export async function findRun(database: Database, id: string): Promise<StoredQohRun | null> {
  return (await database.orm.select().from(qohRuns).where(eq(qohRuns.id, id)))[0] ?? null;
}

/** The push by which a run is held: each look is judged by itself. */
export const pushOf = ({ id, looks }: Pick<StoredQohRun, 'id' | 'looks'>) => `qoh-run:${id}/${looks}`;

/** @returns the id of the run behind a push; null: it is none of a run */
export const runOfPush = (push: string): string | null => /^qoh-run:([0-9a-f-]{36})\//.exec(push)?.[1] ?? null;

/** A look begins at the beginning: what one that was cut off had found is forgotten. */
export async function beginLook(database: Database, run: StoredQohRun): Promise<StoredQohRun> {
  const { total } = await countOf(database, run);
  return inTransaction(database, async (client) => {
    await client.query('DELETE FROM qoh_run_rows WHERE run_id = $1', [run.id]);
    const begun = await client.query(
      `UPDATE qoh_runs SET looked = 0, differing = 0, zeroed = 0, inflated = 0, total = $2, looks = looks + 1,
              phase_at = clock_timestamp(), started_at = coalesce(started_at, clock_timestamp()), updated_at = clock_timestamp()
        WHERE id = $1 AND state = 'running' AND phase = 'looking' AND looks = $3`,
      [run.id, total, run.looks],
    );
    if (begun.rowCount === 0) throw new Superseded();
  }).then(async () => (await findRun(database, run.id)) as StoredQohRun);
}

export async function noteLook(
  database: Database,
  run: StoredQohRun,
  counts: LookCounts,
  differences: readonly Difference[],
): Promise<void> {
  await inTransaction(database, async (client) => {
    await change(
      client,
      run,
      `looked = $4, differing = $5, zeroed = $6, inflated = $7, fault = NULL`,
      `phase = 'looking'`,
      [counts.looked, counts.differing, counts.zeroed, counts.inflated],
    );
    if (differences.length === 0) return;
    await client.query({
      name: 'note-qoh-run-rows',
      text: `INSERT INTO qoh_run_rows (run_id, key, sku, shown, should, direction)
             SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[])
             ON CONFLICT (run_id, key) DO UPDATE SET shown = excluded.shown, should = excluded.should`,
      values: [
        run.id,
        differences.map((row) => row.key),
        differences.map((row) => row.sku),
        differences.map((row) => row.shown),
        differences.map((row) => row.should),
        differences.map((row) => row.direction),
      ],
    });
  });
}

/** Keys that turned out to mean several products. @returns how many rows of them were noted */
export async function forgetRows(database: Database, run: StoredQohRun, keys: readonly string[]): Promise<number> {
  if (keys.length === 0) return 0;
  const gone = await database.pool.query('DELETE FROM qoh_run_rows WHERE run_id = $1 AND key = ANY ($2::text[])', [
    run.id,
    keys,
  ]);
  return gone.rowCount ?? 0;
}

/** Looked at and within the guard: from here on listings are made equal. */
export async function goOn(database: Database, run: StoredQohRun, letPass: number): Promise<void> {
  await inTransaction(database, (client) =>
    change(
      client,
      run,
      `phase = 'equalising', phase_at = clock_timestamp(), let_pass = $4, equal = 0, dangerous = 0`,
      `phase = 'looking'`,
      [letPass],
    ),
  );
}

/** Nothing has been changed, and nothing is until a person decides on the push. */
export async function hold(database: Database, run: StoredQohRun, counts: LookCounts, why: string): Promise<void> {
  await inTransaction(database, async (client) => {
    await change(client, run, `state = 'held', why = $4`, `phase = 'looking'`, [why]);
    await holdRun(client, {
      ...counts,
      id: pushOf(run),
      kind: run.direction === 'send' ? 'send' : 'get',
      title: `${run.direction === 'send' ? 'Send' : 'Get'} QOH, asked for by ${run.by}`,
      cartId: run.cartId,
      changed: counts.differing,
      listings: counts.looked,
      why,
    });
  });
}

/**
 * A held run whose push was decided goes on, or ends; as many as were seen are let pass from then on.
 * @returns false: nobody has decided yet
 */
export async function takeDecision(database: Database, run: StoredQohRun): Promise<boolean> {
  const found = await database.pool.query<{ state: string; decided_by: string; reason: string }>(
    `SELECT state, decided_by, reason FROM pushes WHERE push = $1 AND cart_id = $2 AND state IN ('let-through', 'rejected')`,
    [pushOf(run), run.cartId],
  );
  const decided = found.rows[0];
  if (decided === undefined) return false;
  const { decided_by: by, reason } = decided;
  await database.pool.query(
    decided.state === 'rejected'
      ? `UPDATE qoh_runs SET state = 'cancelled', why = $2, ended_at = clock_timestamp(), updated_at = clock_timestamp() WHERE id = $1 AND state = 'held'`
      : `UPDATE qoh_runs SET state = 'running', phase = 'equalising', why = $2, let_pass = zeroed + inflated, equal = 0, dangerous = 0,
                phase_at = clock_timestamp(), updated_at = clock_timestamp() WHERE id = $1 AND state = 'held'`,
    [run.id, `${decided.state === 'rejected' ? 'Rejected' : 'Let through'} by ${by}: ${reason}`],
  );
  return true;
}

/** A group was made equal. @param notes are added, up to the limit */
export async function noteEqual(
  database: Database,
  run: StoredQohRun,
  done: { readonly equal: number; readonly differences: number; readonly dangerous: number; readonly created: number },
  notes: Partial<QohRunNotes>,
): Promise<void> {
  await inTransaction(database, (client) =>
    change(
      client,
      run,
      `equal = equal + $4, differences = differences + $5, dangerous = dangerous + $6, created = created + $7, fault = NULL, notes = ${notesSql('$8')}`,
      `phase = 'equalising'`,
      [done.equal, done.differences, done.dangerous, done.created, JSON.stringify(notes)],
    ),
  );
}

/** More would be brought to zero or doubled than was let pass: it is looked at and judged anew. */
export async function lookAgain(database: Database, run: StoredQohRun): Promise<void> {
  await inTransaction(database, (client) => change(client, run, `phase = 'looking'`, `phase = 'equalising'`, []));
}

export async function endRun(
  database: Database,
  run: StoredQohRun,
  state: 'done' | 'failed',
  { why = null, ...notes }: Partial<QohRunNotes> & { readonly why?: string | null } = {},
): Promise<void> {
  const { equal, total } = await countOf(database, run);
  await inTransaction(database, (client) =>
    change(
      client,
      run,
      `state = $4, why = coalesce($5, why), ended_at = clock_timestamp(), fault = NULL, notes = ${notesSql('$6')},
       equal = CASE WHEN phase = 'equalising' THEN $7 ELSE equal END, total = $8`,
      'true',
      [state, why, JSON.stringify(notes), equal, total],
    ),
  );
}

/** It was tried often enough. What was made equal stays so; begun again, the run goes on from there. */
export async function giveUp(database: Database, id: string): Promise<void> {
  await database.pool.query(
    `UPDATE qoh_runs SET state = 'failed', why = fault, ended_at = clock_timestamp(), updated_at = clock_timestamp()
      WHERE id = $1 AND state = 'running'`,
    [id],
  );
}

export async function noteFault(database: Database, id: string, fault: string): Promise<void> {
  await database.pool.query('UPDATE qoh_runs SET fault = left($2, 500) WHERE id = $1', [id, fault]);
}

/** @param set begins with $4 @throws Superseded where the run is no longer as it was taken up */
async function change(
  client: PoolClient,
  run: StoredQohRun,
  set: string,
  condition: string,
  values: readonly unknown[],
): Promise<void> {
  const changed = await client.query(
    `UPDATE qoh_runs SET updated_at = clock_timestamp(), ${set} WHERE id = $1 AND looks = $2 AND phase = $3 AND state = 'running' AND ${condition}`,
    [run.id, run.looks, run.phase, ...values],
  );
  if (changed.rowCount === 0) throw new Superseded();
}

/** The lists of both, without repetitions, cut off. */
const notesSql = (added: string) => `(
  SELECT jsonb_object_agg(n.name, (SELECT coalesce(jsonb_agg(x.v), '[]') FROM (
           SELECT DISTINCT v FROM jsonb_array_elements((qoh_runs.notes->n.name) || coalesce(${added}::jsonb->n.name, '[]')) AS v ORDER BY v LIMIT ${notesMax}) x))
    FROM jsonb_object_keys(qoh_runs.notes) AS n (name))`;
