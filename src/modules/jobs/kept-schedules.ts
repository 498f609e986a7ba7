import type { Queue } from 'bullmq';
import { steadyNow } from '../../steady-clock.js';

/** One job scheduler of a queue: a cron pattern in a time zone, or every so many milliseconds. */
export interface KeptSchedule {
  readonly pattern?: string;
  readonly tz?: string;
  readonly every?: number;
  readonly name: string;
  readonly data?: unknown;
  readonly opts: object;
}

/** A queue may forget all it knows; it is asked so often whether it did. What changes here is brought in step at once. */
const askEveryMs = 60_000;
const schedulersMax = 10_000;
const dayMs = 86_400_000;
const hourMs = 3_600_000;

/**
 * Keeps the schedulers of a queue in step with what is wanted, and no others. Every worker process does this, as often as it
 * likes, and they all come to the same result; what was set is remembered, so that the queue is seldom asked.
 */
export class KeptSchedules {
  #set = '';
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly queue: Queue,
    private readonly everyMs = askEveryMs,
  ) {}

  /** @throws what the queue threw; the next call tries again */
  async keep(wanted: ReadonlyMap<string, KeptSchedule>): Promise<void> {
    const set = JSON.stringify([...wanted]);
    if (set === this.#set && steadyNow() - this.#askedAt < this.everyMs) return;
    const present = await this.queue.getJobSchedulers(0, schedulersMax);
    const told = new Map(present.map((one) => [one.key, timing(one)]));
    for (const { key, next, every } of present) {
      // Due later than its interval: the clock was set back, and nothing would happen until it is there again.
      if ((next ?? 0) <= Date.now() + (Number(every) || dayMs) + hourMs) continue;
      await this.queue.removeJobScheduler(key);
      told.delete(key);
    }
    for (const [key, { name, data, opts, ...schedule }] of wanted) {
      // Setting a schedule anew begins its interval anew, so one that fits is left alone.
      if (told.get(key) === timing(schedule)) continue;
      await this.queue.upsertJobScheduler(key, schedule, { name, data, opts });
    }
    for (const key of told.keys()) if (!wanted.has(key)) await this.queue.removeJobScheduler(key);
    this.#set = set;
    this.#askedAt = steadyNow();
  }
}

interface Timing {
  readonly pattern?: string | null;
  readonly tz?: string | null;
  readonly every?: number | null;
}

const timing = ({ pattern, tz, every }: Timing) =>
  (every ?? null) === null ? `${pattern ?? ''} ${tz ?? ''}` : `every ${Number(every)}`;
