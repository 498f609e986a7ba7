import { randomUUID } from 'node:crypto';
import { InjectQueue } from '@nestjs/bullmq';
import { Inject, Injectable } from '@nestjs/common';
import { Queue } from 'bullmq';
import { and, asc, desc, eq, gt, inArray, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Direction } from '../../cart-workers/baselining.js';
import {
  qohRunRows,
  qohRuns,
  type QohRunScope,
  type QohRunState,
  type StoredQohRun,
} from '../../cart-workers/qoh-runs/qoh-runs.table.js';
import { pushOf } from '../../cart-workers/qoh-runs/run-states.js';
import type { QueueBackend } from '../../cart-workers/queue-backend.js';
import type { Database } from '../../database.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { DATABASE, QUEUE_BACKEND } from '../tokens.js';
import { COMPARISONS } from './queue-names.js';

export interface WishedRun {
  readonly cartId: string;
  readonly direction: Direction;
  readonly scope: QohRunScope;
  readonly preview: boolean;
  readonly createNewProducts: boolean;
  readonly by: string;
  readonly repeatKey: string | null;
}

const nothingMet = { notListed: [], unknownAtHub: [], doubled: [], unsettled: [] };

/** Send and Get QOH as people ask for them: begin one, look at it, cancel it, begin it again. The work is qoh-run-work.ts's. */
@Injectable()
export class QohRuns {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    @InjectQueue(COMPARISONS) private readonly queue: Queue,
    @Inject(QUEUE_BACKEND) private readonly backend: QueueBackend,
  ) {}

  /** Begins one; where one of the same cart is under way already, that one is answered and nothing is begun. */
  async begin(wished: WishedRun) {
    this.checkQueue();
    const begun = await this.database.orm
      .insert(qohRuns)
      .values({ id: randomUUID(), ...wished, notes: nothingMet })
      .onConflictDoNothing()
      .returning();
    const [run] = begun.length > 0 ? begun : await this.obstacle(wished);
    if (run === undefined)
      throw new Problem('not-allowed-now', 'Another Send or Get of this cart has just ended; ask again.');
    if (begun.length > 0) await this.work(run.id);
    return shownRun(run);
  }

  /** At most one job per run waits or is worked on; another one is not added. */
  async work(runId: string): Promise<void> {
    await this.queue.add(
      'qoh-run',
      { runId },
      {
        jobId: `${runId}-${randomUUID()}`,
        deduplication: { id: runId },
        attempts: 3,
        backoff: { type: 'exponential', delay: 5_000 },
        removeOnComplete: { count: 100 },
        removeOnFail: { count: 100 },
      },
    );
  }

  /** What was made equal stays so, and what is owed by then goes; nothing more is begun. @throws Problem when it has ended */
  async cancel(id: string, by: string) {
    const cancelled = await this.database.pool.query(
      `UPDATE qoh_runs SET state = 'cancelled', why = $2, ended_at = clock_timestamp(), updated_at = clock_timestamp()
        WHERE id = $1 AND state IN ('running', 'held')`,
      [id, `Cancelled by ${by}`],
    );
    const run = await this.found(id);
    if (cancelled.rowCount === 0 && run.state !== 'cancelled')
      throw new Problem('not-allowed-now', `It has ended already: ${run.state}.`);
    return shownRun(run);
  }

  /** One that failed or was cancelled goes on where it was. @throws Problem */
  async resume(id: string) {
    this.checkQueue();
    const run = await this.found(id);
    if (run.state !== 'failed' && run.state !== 'cancelled')
      throw new Problem(
        'not-allowed-now',
        `Only a run that failed or was cancelled can go on; this one is ${run.state}.`,
      );
    const resumed = await this.database.pool
      .query(
        `UPDATE qoh_runs SET state = 'running', why = NULL, fault = NULL, ended_at = NULL, updated_at = clock_timestamp() WHERE id = $1 AND ended_at IS NOT NULL`,
        [id],
      )
      .catch((error: unknown) => {
        if ((error as { code?: string }).code !== uniqueViolation) throw error;
        throw new Problem(
          'not-allowed-now',
          'Another Send or Get of this cart is under way; wait for its end, or cancel it.',
        );
      });
    if (resumed.rowCount === 1) await this.work(id);
    return shownRun(await this.found(id));
  }

  /** The newest first. */
  async list(query: {
    readonly cartId?: string | undefined;
    readonly state?: QohRunState | undefined;
    readonly open?: boolean | undefined;
    readonly cursor?: string | undefined;
    readonly limit: number;
  }) {
    const before = decodeCursor(query.cursor, z.tuple([z.iso.datetime(), z.uuid()]));
    const rows = await this.database.orm
      .select()
      .from(qohRuns)
      .where(
        and(
          query.cartId === undefined ? undefined : eq(qohRuns.cartId, query.cartId),
          query.state === undefined ? undefined : eq(qohRuns.state, query.state),
          query.open === true ? inArray(qohRuns.state, ['running', 'held']) : undefined,
          before === null
            ? undefined
            : sql`(${qohRuns.createdAt}, ${qohRuns.id}) < (${before[0]}::timestamptz, ${before[1]}::uuid)`,
        ),
      )
      .orderBy(desc(qohRuns.createdAt), desc(qohRuns.id))
      .limit(query.limit + 1);
    return pageOf(rows, query.limit, (row) => [row.createdAt.toISOString(), row.id], shownRun);
  }

  /** @throws Problem */
  async get(id: string) {
    return shownRun(await this.found(id));
  }

  /** @returns null: no such run of that cart */
  async ofCart(cartId: string, id: string) {
    const isId = z.uuid().safeParse(id).success;
    const [run] = isId ? await this.database.orm.select().from(qohRuns).where(eq(qohRuns.id, id)) : [];
    return run?.cartId === cartId ? shownRun(run) : null;
  }

  /** What its look found to differ, in the order of the cart's keys. */
  async differences(id: string, query: { readonly cursor?: string | undefined; readonly limit: number }) {
    await this.found(id);
    const after = decodeCursor(query.cursor, z.tuple([z.string()]));
    const rows = await this.database.orm
      .select()
      .from(qohRunRows)
      .where(and(eq(qohRunRows.runId, id), after === null ? undefined : gt(qohRunRows.key, after[0])))
      .orderBy(asc(qohRunRows.key))
      .limit(query.limit + 1);
    return pageOf(
      rows,
      query.limit,
      (row) => [row.key],
      ({ runId: _runId, ...row }) => row,
    );
  }

  private async found(id: string): Promise<StoredQohRun> {
    const [run] = await this.database.orm.select().from(qohRuns).where(eq(qohRuns.id, id));
    if (run !== undefined) return run;
    throw new Problem('not-found', `There is no run ${id}; GET /v1/qoh-runs lists them. Old ones are removed.`);
  }

  /** Why another one was not begun: the same was asked for before, or one is under way. */
  private async obstacle({ cartId, repeatKey }: WishedRun): Promise<StoredQohRun[]> {
    const same =
      repeatKey === null ? [] : await this.database.orm.select().from(qohRuns).where(eq(qohRuns.repeatKey, repeatKey));
    if (same.length > 0) return same;
    return this.database.orm
      .select()
      .from(qohRuns)
      .where(and(eq(qohRuns.cartId, cartId), eq(qohRuns.preview, false), inArray(qohRuns.state, ['running', 'held'])));
  }

  /** Asked without Redis, the queue would wait for it, and start something after its caller has given up. */
  private checkQueue(): void {
    if (this.backend.available()) return;
    throw new Problem('unavailable', 'Redis does not answer; nothing was started. Try again when it is back.');
  }
}

const uniqueViolation = '23505';

export type ShownQohRun = ReturnType<typeof shownRun>;

function shownRun(run: StoredQohRun) {
  const { id, cartId, direction, scope, preview, createNewProducts, by, phase } = run;
  const looking = phase === 'looking';
  const done = looking ? run.looked : run.equal;
  const elapsedMs = (run.endedAt ?? new Date()).getTime() - run.phaseAt.getTime();
  const perSecond = done > 0 && elapsedMs > 0 ? (done * 1_000) / elapsedMs : null;
  const left =
    run.state === 'running' && run.total !== null && perSecond !== null ? Math.max(0, run.total - done) : null;
  return {
    id,
    cartId,
    direction,
    scope,
    preview,
    createNewProducts,
    by,
    state: run.state === 'running' && run.startedAt === null ? ('waiting' as const) : run.state,
    /** looking: what would change is worked out, and nothing is changed. equalising: listings are made equal. */
    phase,
    progress: {
      done,
      total: run.total,
      perSecond: perSecond === null ? null : Math.round(perSecond * 10) / 10,
      secondsLeft: left === null || perSecond === null ? null : Math.round(left / perSecond),
    },
    /** What the look found: this is the preview. */
    found: { looked: run.looked, differing: run.differing, zeroed: run.zeroed, inflated: run.inflated },
    /** The push that a person decides on, while it is held. */
    push: run.state === 'held' ? pushOf(run) : null,
    why: run.why,
    result:
      run.state === 'done' || run.state === 'cancelled'
        ? {
            listings: run.equal,
            differences: looking ? run.differing : run.differences,
            created: run.created,
            ...run.notes,
          }
        : null,
    error: run.state === 'failed' ? run.why : run.fault,
    askedAt: run.createdAt.toISOString(),
    startedAt: run.startedAt?.toISOString() ?? null,
    endedAt: run.endedAt?.toISOString() ?? null,
    statusUrl: `/v1/carts/${cartId}/comparison/${id}`,
  };
}
