import { Inject, Injectable } from '@nestjs/common';
import { eq } from 'drizzle-orm';
import type { PoolClient } from 'pg';
import { inTransaction, type Database } from '../../database.js';
import { compare, endRebuild, type Comparison, type RebuildName } from '../../projections/rebuild.js';
import { nextSkuRange, verifyRange, verifyUnderWay, type Findings } from '../../projections/verify.js';
import { DATABASE } from '../tokens.js';
import { projectionRuns, type RunState } from './projection-runs.table.js';
import type { StoredRun } from './projection-runs.js';

/** Differences that are kept to be shown; all are counted. */
export const differencesMax = 100;
/** One look at a range of SKUs, and one transaction of mending, are held near this: nobody waits long for either. */
const stepMsAim = 200;
const skusMax = 5_000;
const mendRowsMax = 2_000;
/** Comparisons of one rebuild; each must find less than the one before. */
const comparisonsMax = 1_000;
const cancelPollMs = 250;

/** Brings one run to its end, from wherever a process that died left it. */
@Injectable()
export class ProjectionWork {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  /**
   * @param stopping asked between two steps; true: leave it as it is, another worker goes on
   * @returns the state in which it was left; null: there is no such run
   * @throws what the database threw; the run says so, too
   */
  async run(id: string, stopping: () => boolean): Promise<RunState | null> {
    const found = await this.find(id);
    if (found?.state !== 'running') return found?.state ?? null;
    const abort = new AbortController();
    const watch = setInterval(() => {
      if (stopping()) return abort.abort();
      this.find(id).then(
        (run) => run?.state !== 'running' && abort.abort(),
        () => undefined,
      );
    }, cancelPollMs);
    try {
      await (found.kind === 'verify' ? this.verify(found, abort.signal) : this.rebuild(found, abort.signal));
    } catch (error) {
      if (!abort.signal.aborted) {
        const fault = error instanceof Error ? error.message : String(error);
        await this.database.orm
          .update(projectionRuns)
          .set({ fault })
          .where(eq(projectionRuns.id, id))
          .catch(() => undefined);
        throw error;
      }
    } finally {
      clearInterval(watch);
    }
    return (await this.find(id))?.state ?? null;
  }

  private async verify(run: StoredRun, signal: AbortSignal): Promise<void> {
    const { pool } = this.database;
    const items = await pool.query<{ total: string }>('SELECT count(*) AS total FROM items');
    const total = Number(items.rows[0]?.total ?? 0);
    let { cursor: after, done } = run;
    for (let skus = 50; ;) {
      signal.throwIfAborted();
      const range = await nextSkuRange(pool, after, skus);
      const startedAt = performance.now();
      const findings = await verifyRange(pool, range, differencesMax);
      done += range.skus;
      if (!(await this.noteVerified(run.id, after, range.through ?? after, done, Math.max(total, done), findings)))
        return;
      if (range.through === null) break;
      after = range.through;
      skus = nextSize(skus, performance.now() - startedAt, skusMax);
    }
    signal.throwIfAborted();
    const listings = await pool.query<{ n: string }>('SELECT count(*) AS n FROM listings WHERE expected IS NOT NULL');
    const underWay = await verifyUnderWay(pool, differencesMax);
    await this.noteVerified(run.id, after, after, done, done, underWay);
    await this.end(run.id, Number(listings.rows[0]?.n ?? 0));
  }

  /** @returns false when the run is no longer ours: cancelled, or another worker has gone on with it */
  private async noteVerified(id: string, from: string, to: string, done: number, total: number, findings: Findings) {
    return inTransaction(this.database, async (client) => {
      const noted = await client.query(
        `UPDATE projection_runs SET cursor = $3, done = $4, total = $5, found = found + $6, fault = NULL, updated_at = now()
          WHERE id = $1 AND cursor = $2 AND state = 'running'`,
        [id, from, to, done, total, findings.total],
      );
      if (noted.rowCount === 1) await keepDifferences(client, id, findings);
      return noted.rowCount === 1;
    });
  }

  /** Whoever goes on after a crash compares again, and finds what was not mended yet. */
  private async rebuild(run: StoredRun, signal: AbortSignal): Promise<void> {
    const name = run.projection as RebuildName;
    let { mended } = run;
    let before = Number.POSITIVE_INFINITY;
    for (let round = 1; round <= comparisonsMax; round += 1) {
      const comparison = await compare(this.database, name, signal);
      await this.noteCompared(run.id, mended, comparison.findings);
      if (!run.apply || comparison.rows.length === 0) return this.end(run.id, 0);
      if (comparison.findings.total >= before) break;
      before = comparison.findings.total;
      try {
        mended += await this.mendAll(run.id, comparison, signal);
      } finally {
        await endRebuild(this.database, name, run.id);
      }
    }
    await this.fail(
      run.id,
      'What was mended differs again. Something else writes to these tables: find it, then rebuild.',
    );
  }

  private async noteCompared(id: string, mended: number, findings: Findings): Promise<void> {
    await inTransaction(this.database, async (client) => {
      await client.query(
        `UPDATE projection_runs
            SET found = greatest(found, $2::bigint + $3::bigint), total = greatest(found, $2::bigint + $3::bigint), done = $2,
                phase = CASE WHEN apply AND $3::bigint > 0 THEN 'mending' ELSE 'comparing' END, fault = NULL, updated_at = now()
          WHERE id = $1`,
        [id, mended, findings.total],
      );
      await keepDifferences(client, id, findings);
    });
  }

  private async mendAll(id: string, comparison: Comparison, signal: AbortSignal): Promise<number> {
    const { rows } = comparison;
    let total = 0;
    for (let at = 0, size = 250; at < rows.length;) {
      signal.throwIfAborted();
      const startedAt = performance.now();
      await comparison.mend(rows.slice(at, at + size), id, async (client, mended) => {
        await client.query(
          `UPDATE projection_runs SET mended = mended + $2, done = mended + $2, records = records + $3, updated_at = now() WHERE id = $1`,
          [id, mended.rows, mended.records],
        );
        total += mended.rows;
      });
      at += size;
      size = nextSize(size, performance.now() - startedAt, mendRowsMax);
    }
    return total;
  }

  private async end(id: string, listings: number): Promise<void> {
    await this.database.pool.query(
      `UPDATE projection_runs
          SET state = 'done', listings = $2, stopped = (SELECT stopped FROM projection_checkpoints WHERE name = 'main'),
              total = done, ended_at = now(), updated_at = now()
        WHERE id = $1 AND state = 'running'`,
      [id, listings],
    );
  }

  private async fail(id: string, fault: string): Promise<void> {
    await this.database.pool.query(
      `UPDATE projection_runs SET state = 'failed', fault = $2, ended_at = now(), updated_at = now() WHERE id = $1 AND state = 'running'`,
      [id, fault],
    );
  }

  private async find(id: string): Promise<StoredRun | undefined> {
    const [found] = await this.database.orm.select().from(projectionRuns).where(eq(projectionRuns.id, id));
    return found;
  }
}

const nextSize = (size: number, tookMs: number, max: number) =>
  Math.min(max, Math.max(1, tookMs < stepMsAim / 2 ? size * 2 : tookMs > stepMsAim * 2 ? Math.floor(size / 2) : size));

/** The first ones are kept; a run that was taken up again keeps those it had. */
async function keepDifferences(client: PoolClient, id: string, { told }: Findings): Promise<void> {
  if (told.length === 0) return;
  await client.query(
    `INSERT INTO projection_differences (run_id, n, promise, subject, stored, follows)
     SELECT $1, k.kept + t.n, t.promise, t.subject, t.stored, t.follows
       FROM (SELECT count(*)::int AS kept FROM projection_differences WHERE run_id = $1) k,
            ROWS FROM (jsonb_to_recordset($2::jsonb) AS (promise text, subject jsonb, stored jsonb, follows jsonb))
              WITH ORDINALITY AS t (promise, subject, stored, follows, n)
      WHERE k.kept + t.n <= $3
     ON CONFLICT DO NOTHING`,
    [id, JSON.stringify(told.slice(0, differencesMax)), differencesMax],
  );
}
