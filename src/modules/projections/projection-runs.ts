import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { and, asc, desc, eq, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../../database.js';
import type { RebuildName } from '../../projections/rebuild.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { DATABASE } from '../tokens.js';
import { ProjectionJobs } from './projection-jobs.js';
import { projectionDifferences, projectionRuns, type RunState } from './projection-runs.table.js';

export type StoredRun = typeof projectionRuns.$inferSelect;

export type NewRun =
  | { readonly kind: 'verify'; readonly by: string }
  | { readonly kind: 'rebuild'; readonly projection: RebuildName; readonly apply: boolean; readonly by: string };

/** What people do with verify and rebuild: begin one, look at it, cancel it. The work is projection-work.ts's. */
@Injectable()
export class ProjectionRuns {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly jobs: ProjectionJobs,
  ) {}

  /** @throws Problem while another one is under way */
  async begin(run: NewRun) {
    const id = randomUUID();
    const projection = run.kind === 'verify' ? 'all' : run.projection;
    const begun = await this.database.orm
      .insert(projectionRuns)
      .values({
        id,
        kind: run.kind,
        projection,
        apply: run.kind === 'rebuild' && run.apply,
        by: run.by,
        phase: run.kind === 'verify' ? 'verifying' : 'comparing',
      })
      .onConflictDoNothing()
      .returning({ id: projectionRuns.id });
    if (begun.length === 0) {
      const [other] = await this.database.orm
        .select({ id: projectionRuns.id, by: projectionRuns.by })
        .from(projectionRuns)
        .where(
          and(
            eq(projectionRuns.kind, run.kind),
            eq(projectionRuns.projection, projection),
            eq(projectionRuns.state, 'running'),
          ),
        );
      const what = run.kind === 'verify' ? 'A verify' : `A rebuild of ${projection}`;
      throw new Problem(
        'not-allowed-now',
        other === undefined
          ? `${what} was under way and has just ended; ask again.`
          : `${what} is under way, begun by ${other.by}: GET /v1/projections/runs/${other.id}. Wait for its end, or cancel it.`,
      );
    }
    await this.jobs.work(id);
    return this.shown(id);
  }

  /** What was mended before stays mended: each row is right by itself. @throws Problem when it has ended otherwise */
  async cancel(id: string) {
    await this.database.pool.query(
      `UPDATE projection_runs SET state = 'cancelled', ended_at = now(), updated_at = now() WHERE id = $1 AND state = 'running'`,
      [id],
    );
    const run = await this.shown(id);
    if (run.state === 'cancelled') return run;
    throw new Problem('not-allowed-now', `It has ended already: ${run.state}.`);
  }

  async list(query: { state?: RunState | undefined; cursor?: string | undefined; limit: number }) {
    const before = decodeCursor(query.cursor, z.tuple([z.iso.datetime(), z.uuid()]));
    const rows = await this.database.orm
      .select()
      .from(projectionRuns)
      .where(
        and(
          query.state === undefined ? undefined : eq(projectionRuns.state, query.state),
          before === null
            ? undefined
            : sql`(${projectionRuns.createdAt}, ${projectionRuns.id}) < (${before[0]}::timestamptz, ${before[1]}::uuid)`,
        ),
      )
      .orderBy(desc(projectionRuns.createdAt), desc(projectionRuns.id))
      .limit(query.limit + 1);
    return pageOf(rows, query.limit, (row) => [row.createdAt.toISOString(), row.id], shownRun);
  }

  /** With the first of its differences. @throws Problem */
  async shown(id: string) {
    const [run] = await this.database.orm.select().from(projectionRuns).where(eq(projectionRuns.id, id));
    if (run === undefined)
      throw new Problem(
        'not-found',
        `There is no run ${id}; GET /v1/projections/runs lists them. Old ones are removed.`,
      );
    const differences = await this.database.orm
      .select({
        promise: projectionDifferences.promise,
        subject: projectionDifferences.subject,
        stored: projectionDifferences.stored,
        follows: projectionDifferences.follows,
      })
      .from(projectionDifferences)
      .where(eq(projectionDifferences.runId, id))
      .orderBy(asc(projectionDifferences.n));
    return { ...shownRun(run), differences };
  }
}

function shownRun(run: StoredRun) {
  return {
    id: run.id,
    kind: run.kind,
    projection: run.projection,
    apply: run.apply,
    state: run.state,
    phase: run.phase,
    by: run.by,
    /** Of a verify: SKUs; of a rebuild: rows that differ. */
    progress: { done: run.done, total: run.total },
    /** Of a verify that is done: how many listings it looked at. */
    listings: run.listings,
    found: run.found,
    mended: run.mended,
    /** Put onto the Web Stack by a rebuild. */
    records: run.records,
    verdict: verdictOf(run),
    /** Why the projector stood: what was looked at is true as of the fact before that one. */
    projectorStopped: run.stopped,
    /** What it stumbled over last; while it runs, it tries again by itself. */
    fault: run.fault,
    createdAt: run.createdAt.toISOString(),
    updatedAt: run.updatedAt.toISOString(),
    endedAt: run.endedAt?.toISOString() ?? null,
    statusUrl: `/v1/projections/runs/${run.id}`,
  };
}

/** A sentence for people; null while nobody can say. */
function verdictOf(run: StoredRun): string | null {
  if (run.state === 'failed') return run.fault;
  if (run.state === 'cancelled')
    return run.mended === 0
      ? 'Cancelled; nothing was changed.'
      : `Cancelled; the ${run.mended} rows that were mended stay so.`;
  if (run.state === 'running') return null;
  const stood =
    run.stopped === null
      ? ''
      : ` The projector stands at ${run.stopped.type} (${run.stopped.stream}, version ${run.stopped.version}); this is true up to there.`;
  return `${outcomeOf(run)}${stood}`;
}

function outcomeOf({ kind, apply, projection, found, mended, records, done, listings }: StoredRun): string {
  if (kind === 'verify') {
    return found === 0
      ? `I1–I3 hold for ${done} SKUs and ${listings} listings.`
      : `${found} of what is stored ${found === 1 ? 'does' : 'do'} not follow from the log.`;
  }
  if (found === 0) return `${projection} is what follows from the log; there is nothing to mend.`;
  if (!apply) return `${found} rows of ${projection} differ; nothing was changed.`;
  const left = found - mended;
  return `${mended} rows of ${projection} were mended, ${records} records put onto the Web Stack.${left > 0 ? ` ${left} were left alone: compare their carts (Send QOH).` : ''}`;
}
