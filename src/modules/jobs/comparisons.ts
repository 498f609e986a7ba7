import { createHash, randomUUID } from 'node:crypto';
import { InjectQueue } from '@nestjs/bullmq';
import { Inject, Injectable } from '@nestjs/common';
import { Queue, type Job } from 'bullmq';
import { z } from 'zod';
import type { QueueBackend } from '../../cart-workers/queue-backend.js';
import { Problem } from '../http/problem.js';
import { QUEUE_BACKEND } from '../tokens.js';
import { COMPARISONS } from './queue-names.js';

export const comparisonData = z.object({ cartId: z.string(), by: z.string() });
export type ComparisonData = z.infer<typeof comparisonData>;

/** Another kind of job in the same queue: a Send or Get QOH, which stands in a table of its own. */
export const qohRunData = z.object({ runId: z.uuid() });

export const comparisonProgress = z.object({ done: z.number(), total: z.number().nullable() });

/** Looks at whole carts that somebody asked for, as jobs: started here, worked on by comparisons.processor.ts in whichever process has the role. */
@Injectable()
export class Comparisons {
  constructor(
    @InjectQueue(COMPARISONS) private readonly queue: Queue,
    @Inject(QUEUE_BACKEND) private readonly backend: QueueBackend,
  ) {}

  /**
   * Starts one; where one of the same cart waits or runs already, that one is answered and nothing is started.
   * @param repeatKey the same key names the same comparison, also when it is over; null: always another one
   */
  async start(wished: ComparisonData, repeatKey: string | null) {
    this.checkQueue();
    const { cartId } = wished;
    const added = await this.queue.add('compare', wished, {
      jobId: `${cartId}-${repeatKey === null ? randomUUID() : nameOf(repeatKey)}`,
      deduplication: { id: cartId },
      attempts: 3,
      backoff: { type: 'exponential', delay: 5_000 },
      removeOnComplete: { age: KEPT_SECONDS, count: KEPT_COUNT },
      removeOnFail: { age: KEPT_SECONDS, count: KEPT_COUNT },
    });
    return (await this.shownById(added.id!)) ?? shown(added, await added.getState());
  }

  async status(cartId: string, id: string) {
    this.checkQueue();
    const status = await this.shownById(id);
    return status?.cartId === cartId ? status : null;
  }

  /** Asked without Redis, the queue would wait for it, and start something after its caller has given up. */
  private checkQueue(): void {
    if (this.backend.available()) return;
    throw new Problem('unavailable', 'Redis does not answer; nothing was started. Try again when it is back.');
  }

  /** The state is asked before the job is loaded: a job that ends in between has its result, never an end without one. */
  private async shownById(id: string) {
    const state = await this.queue.getJobState(id);
    const job = await this.queue.getJob(id);
    return job === undefined ? null : shown(job, state);
  }

  async last(cartId: string) {
    this.checkQueue();
    const jobs = await this.queue.getJobs(['active', 'waiting', 'delayed', 'completed', 'failed'], 0, KEPT_COUNT);
    const own = jobs.filter((job) => comparisonData.safeParse(job?.data).data?.cartId === cartId);
    own.sort((a, b) => b.timestamp - a.timestamp);
    const listed = await Promise.all(own.slice(0, SHOWN_MAX).map((job) => this.shownById(job.id!)));
    return listed.filter((status) => status !== null);
  }
}

const nameOf = (repeatKey: string) => createHash('sha256').update(repeatKey).digest('hex').slice(0, 32);

const KEPT_SECONDS = 7 * 86_400;
const KEPT_COUNT = 500;
const SHOWN_MAX = 20;

function shown(job: Job, jobState: string) {
  const { cartId, by } = comparisonData.parse(job.data);
  const state = stateOf(jobState);
  const progress = comparisonProgress.safeParse(job.progress);
  return {
    id: job.id!,
    cartId,
    direction: 'look' as const,
    by,
    state,
    progress: progress.success ? progress.data : { done: 0, total: null },
    result: state === 'done' ? (job.returnvalue as unknown) : null,
    error: job.failedReason ?? null,
    askedAt: new Date(job.timestamp).toISOString(),
    startedAt: job.processedOn === undefined ? null : new Date(job.processedOn).toISOString(),
    endedAt: job.finishedOn === undefined ? null : new Date(job.finishedOn).toISOString(),
  };
}

function stateOf(state: string): 'waiting' | 'running' | 'done' | 'failed' {
  if (state === 'completed') return 'done';
  if (state === 'failed') return 'failed';
  return state === 'active' ? 'running' : 'waiting';
}
