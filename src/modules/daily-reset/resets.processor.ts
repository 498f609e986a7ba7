import { Processor, WorkerHost } from '@nestjs/bullmq';
import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { Job } from 'bullmq';
import { Rounds } from '../../cart-workers/rounds.js';
import type { Database } from '../../database.js';
import { DATABASE } from '../tokens.js';
import { FinishFiles } from './finish-files.js';
import { LookForFiles } from './look-for-files.js';
import { ResetJobs, resetJobData, RESETS } from './reset-jobs.js';
import { ResetSources } from './reset-sources.js';

/** A job that was cut off by a crash stalls and is taken over from its beginning: what was done stands in the tables. */
@Processor(RESETS, { concurrency: 4, lockDuration: 10_000, stalledInterval: 5_000, maxStalledCount: 1_000 })
export class ResetsProcessor extends WorkerHost {
  constructor(
    private readonly looks: LookForFiles,
    private readonly files: FinishFiles,
    private readonly jobs: ResetJobs,
    private readonly sources: ResetSources,
    @Inject(DATABASE) private readonly database: Database,
  ) {
    super();
  }

  async process(job: Job): Promise<unknown> {
    switch (job.name) {
      case 'due':
        return this.due(resetJobData.parse(job.data).sourceId);
      case 'look': {
        const { sourceId, by } = resetJobData.parse(job.data);
        return this.looks.look(sourceId, by);
      }
      case 'finish': {
        const ready = await this.files.finish();
        return { ended: ready };
      }
      default:
        throw new Error(`No such job: ${job.name}`);
    }
  }

  /** The hour of a schedule: a daily file is waited for from now on, because exports are late at times. */
  private async due(sourceId: string): Promise<unknown> {
    const source = await this.sources.find(sourceId);
    if (source === null) return { removed: true };
    const minutes = source.schedule.kind === 'daily' ? source.schedule.lateMinutes : 0;
    await this.database.pool.query(
      `INSERT INTO reset_looks AS l (source_id, expected_since, expected_until)
       VALUES ($1, now(), now() + $2 * interval '1 minute')
       ON CONFLICT (source_id) DO UPDATE SET expected_since = now(), expected_until = now() + $2 * interval '1 minute'`,
      [sourceId, minutes],
    );
    await this.jobs.look(sourceId, 'schedule');
    return { expected: minutes > 0 };
  }
}

const EVERY_MS = 2_000;
/** While a daily file is waited for. */
const WAITING_EVERY_S = 30;

/** Sees to it that schedules fit, watched files are looked at again, and ended ones leave. Every worker process does it. */
@Injectable()
export class ResetSchedule implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger('Resets');
  private readonly rounds = new Rounds(EVERY_MS, () => this.look());

  constructor(
    private readonly jobs: ResetJobs,
    private readonly sources: ResetSources,
    @Inject(DATABASE) private readonly database: Database,
  ) {}

  onApplicationBootstrap(): void {
    this.rounds.start(0);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.rounds.stop();
  }

  private async look(): Promise<void> {
    await this.see().catch((error: unknown) =>
      this.logger.warn(`Resets were not looked after, and will be: ${String(error)}`),
    );
  }

  private async see(): Promise<void> {
    await this.jobs.keepSchedules(await this.sources.all());
    const ending = await this.database.pool.query(
      `SELECT FROM reset_files f LEFT JOIN imports i ON i.id = f.import_id
        WHERE f.state = 'taken' AND (i.state IN ('done', 'refused', 'cancelled') OR i.id IS NULL AND f.taken_at < now() - interval '10 minutes')
           OR f.state NOT IN ('seen', 'taken') AND f.archived_as IS NULL AND f.archive_tries BETWEEN 0 AND 4 AND f.ended_at > now() - interval '1 day'
              AND f.by <> '' AND EXISTS (SELECT FROM reset_sources s WHERE s.source_id = f.source_id AND NOT s.removed
                  AND s.settings->>'archive' = 'source' AND s.settings->'from'->>'kind' <> 'upload')
        LIMIT 1`,
    );
    if ((ending.rowCount ?? 0) > 0) await this.jobs.finish();
    for (const sourceId of await this.dueAgain()) await this.jobs.look(sourceId, 'schedule');
    await this.giveUpWaiting();
  }

  /** Files that stand still by now, and folders in which a daily file is late. */
  private async dueAgain(): Promise<string[]> {
    const { rows } = await this.database.pool.query<{ source_id: string }>(
      `SELECT s.source_id FROM reset_sources s LEFT JOIN reset_looks l ON l.source_id = s.source_id
        WHERE NOT s.removed AND (s.settings->>'on')::boolean AND s.settings->'from'->>'kind' <> 'upload'
          AND (l.expected_until > now() AND coalesce(l.looked_at, '-infinity') < now() - $1 * interval '1 second'
               OR EXISTS (SELECT FROM reset_files f WHERE f.source_id = s.source_id AND f.state = 'seen'
                             AND f.seen_at < now() - (s.settings->>'settleSeconds')::integer * interval '1 second'
                             AND coalesce(l.looked_at, '-infinity') < now() - interval '2 seconds')
                  AND NOT EXISTS (SELECT FROM reset_files f JOIN imports i ON i.id = f.import_id
                                   WHERE f.source_id = s.source_id AND f.state = 'taken' AND i.state IN ('receiving', 'validating', 'applying')))
        LIMIT 100`,
      [WAITING_EVERY_S],
    );
    return rows.map((row) => row.source_id);
  }

  private async giveUpWaiting(): Promise<void> {
    const { rows } = await this.database.pool.query<{ source_id: string; since: string }>(
      `UPDATE reset_looks SET expected_since = NULL, expected_until = NULL,
              problem = coalesce(problem, 'No file came from ' || to_char(expected_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC until '
                                 || to_char(expected_until AT TIME ZONE 'UTC', 'HH24:MI') || ' UTC.')
        WHERE expected_until <= now() AND expected_until > expected_since RETURNING source_id, problem AS since`,
    );
    for (const row of rows) this.logger.warn(`Reset source ${row.source_id}: ${row.since}`);
  }
}
