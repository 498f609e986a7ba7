import { InjectQueue } from '@nestjs/bullmq';
import { Inject, Injectable } from '@nestjs/common';
import { Queue } from 'bullmq';
import { z } from 'zod';
import type { QueueBackend } from '../../cart-workers/queue-backend.js';
import type { ResetSourceSettings } from '../../events/facts.js';
import { QUEUE_BACKEND } from '../tokens.js';

/** A fixed queue, as those of the folder jobs. */
export const RESETS = 'resets';

export const resetJobData = z.object({ sourceId: z.string(), by: z.string() });

/** Schedules and looks, as jobs: of several processes one does each. What is to be done stands in the tables. */
@Injectable()
export class ResetJobs {
  constructor(
    @InjectQueue(RESETS) private readonly queue: Queue,
    @Inject(QUEUE_BACKEND) private readonly backend: QueueBackend,
  ) {}

  /** At most one look per source waits or runs. */
  async look(sourceId: string, by: string): Promise<void> {
    if (!this.backend.available()) return;
    await this.queue.add('look', { sourceId, by }, { deduplication: { id: `look-${sourceId}` }, ...kept });
  }

  async finish(): Promise<void> {
    if (!this.backend.available()) return;
    await this.queue.add('finish', {}, { deduplication: { id: 'finish' }, ...kept });
  }

  /** Brings the queue's schedules in step with the sources'. Every worker process does this, and comes to the same result. */
  async keepSchedules(sources: readonly ResetSourceSettings[]): Promise<void> {
    if (!this.backend.available()) return;
    const wanted = new Map(sources.flatMap((source) => scheduleOf(source)));
    const present = await this.queue.getJobSchedulers(0, SCHEDULERS_MAX);
    const told = new Map(present.map((one) => [one.key, scheduleText(one)]));
    for (const { key, next, every } of present) {
      // Due later than its interval: the clock was set back, and nothing would be looked for until it is there again.
      if ((next ?? 0) <= Date.now() + (Number(every) || DAY_MS) + HOUR_MS) continue;
      await this.queue.removeJobScheduler(key);
      told.delete(key);
    }
    for (const [sourceId, schedule] of wanted) {
      // Setting a schedule anew begins its interval anew, so one that fits is left alone.
      if (told.get(sourceId) === scheduleText(schedule)) continue;
      await this.queue.upsertJobScheduler(sourceId, schedule, {
        name: 'due',
        data: { sourceId, by: 'schedule' },
        opts: kept,
      });
    }
    for (const key of told.keys()) if (!wanted.has(key)) await this.queue.removeJobScheduler(key);
  }
}

const kept = { removeOnComplete: { count: 100 }, removeOnFail: { count: 100 } } as const;
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const SCHEDULERS_MAX = 10_000;

interface Schedule {
  readonly pattern?: string;
  readonly tz?: string;
  readonly every?: number;
}

/** A day's time is the clock's on the wall: BullMQ reckons with the time zone, so that it stays when the clocks are changed. */
export function scheduleOf({ sourceId, on, from, schedule, timeZone }: ResetSourceSettings): [string, Schedule][] {
  if (!on || from.kind === 'upload' || schedule.kind === 'by-hand') return [];
  if (schedule.kind === 'every') return [[sourceId, { every: schedule.minutes * 60_000 }]];
  const [hour = '4', minute = '0'] = schedule.at.split(':');
  return [[sourceId, { pattern: `${Number(minute)} ${Number(hour)} * * *`, tz: timeZone }]];
}

const scheduleText = ({ pattern, tz, every }: { pattern?: unknown; tz?: unknown; every?: unknown }) =>
  every === undefined || every === null ? `${String(pattern)} ${String(tz)}` : `every ${Number(every)}`;
