import { InjectQueue } from '@nestjs/bullmq';
import { Inject, Injectable } from '@nestjs/common';
import { Queue } from 'bullmq';
import { z } from 'zod';
import type { QueueBackend } from '../../cart-workers/queue-backend.js';
import type { ResetSourceSettings } from '../../events/facts.js';
import { KeptSchedules } from '../jobs/kept-schedules.js';
import { QUEUE_BACKEND } from '../tokens.js';

/** A fixed queue, as those of the folder jobs. */
export const RESETS = 'resets';

export const resetJobData = z.object({ sourceId: z.string(), by: z.string() });

/** Schedules and looks, as jobs: of several processes one does each. What is to be done stands in the tables. */
@Injectable()
export class ResetJobs {
  private readonly schedules: KeptSchedules;

  constructor(
    @InjectQueue(RESETS) private readonly queue: Queue,
    @Inject(QUEUE_BACKEND) private readonly backend: QueueBackend,
  ) {
    this.schedules = new KeptSchedules(queue);
  }

  /** At most one look per source waits or runs. */
  async look(sourceId: string, by: string): Promise<void> {
    if (!this.backend.available()) return;
    await this.queue.add('look', { sourceId, by }, { deduplication: { id: `look-${sourceId}` }, ...kept });
  }

  async finish(): Promise<void> {
    if (!this.backend.available()) return;
    await this.queue.add('finish', {}, { deduplication: { id: 'finish' }, ...kept });
  }

  /** Brings the queue's schedules in step with the sources'. */
  async keepSchedules(sources: readonly ResetSourceSettings[]): Promise<void> {
    if (!this.backend.available()) return;
    const due = (sourceId: string, schedule: Schedule) => ({
      ...schedule,
      name: 'due',
      data: { sourceId, by: 'schedule' },
      opts: kept,
    });
    await this.schedules.keep(
      new Map(sources.flatMap(scheduleOf).map(([sourceId, schedule]) => [sourceId, due(sourceId, schedule)])),
    );
  }
}

const kept = { removeOnComplete: { count: 100 }, removeOnFail: { count: 100 } } as const;

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
