import { BullModule } from '@nestjs/bullmq';
import { Module } from '@nestjs/common';
import { CleanUpProcessor } from './clean-up.processor.js';
import { CleanUpSchedule } from './clean-up-schedule.js';
import { Comparisons } from './comparisons.js';
import { ComparisonsProcessor, QohRunsTakenUp } from './comparisons.processor.js';
import { OrderPollSchedules } from './order-poll-schedules.js';
import { OrderPollsProcessor } from './order-polls.processor.js';
import { registerQueues } from './fixed-queues.js';
import { QohRuns } from './qoh-runs.js';
import { Probes } from './probes.js';
import { ProbesProcessor, ProbesTakenUp } from './probes.processor.js';
import { CLEAN_UP, COMPARISONS, ORDER_POLLS, PROBES } from './queue-names.js';

/** The fixed queues themselves: whoever starts or looks at a job needs them. */
@Module({
  imports: [registerQueues(ORDER_POLLS, COMPARISONS, CLEAN_UP, PROBES)],
  providers: [Comparisons, QohRuns, Probes],
  exports: [BullModule, Comparisons, QohRuns, Probes],
})
export class JobsModule {}

/** Whoever works on them: only in processes with the role `worker`. */
@Module({
  imports: [JobsModule],
  providers: [
    OrderPollsProcessor,
    OrderPollSchedules,
    ComparisonsProcessor,
    QohRunsTakenUp,
    ProbesProcessor,
    ProbesTakenUp,
    CleanUpProcessor,
    CleanUpSchedule,
  ],
})
export class JobProcessorsModule {}
