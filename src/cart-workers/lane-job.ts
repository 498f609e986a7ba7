import type { JobsOptions } from 'bullmq';
import { z } from 'zod';

/**
 * What a lane job carries: which delivery, and the how-manieth time it was put into the lane. Nothing else: what is to
 * be sent stands in Postgres and is read by whoever claims it, so a queue that forgets or repeats jobs changes nothing.
 */
export const laneJobData = z.object({ deliveryId: z.uuid(), take: z.int().min(1) }).strict();
export type LaneJobData = z.infer<typeof laneJobData>;

export const laneJobName = 'deliver';

/** BullMQ's custom ids may be neither integers nor contain a colon. */
export const laneJobId = ({ deliveryId, take }: LaneJobData) => `${deliveryId}-${take}`;

export const laneQueueName = (cartId: string) => `lane-${cartId}`;

/** Resends of one take go through BullMQ's own attempts; after the last, the sweeper puts the delivery in again. */
export const laneJobOptions = (data: LaneJobData, delayMs = 0): JobsOptions => ({
  jobId: laneJobId(data),
  attempts: 20,
  backoff: { type: 'custom' },
  delay: delayMs,
  removeOnComplete: { count: 200 },
  removeOnFail: { count: 200 },
});

/** A worker that died holds a job for this long at most before another one gets it. */
export const laneWorkerTimes = {
  lockDuration: 4_000,
  stalledInterval: 2_000,
  /** Being stalled is nobody's fault here: a claim decides what may be done, so a job may be taken over any number of times. */
  maxStalledCount: 1_000_000,
} as const;
