import { Processor, WorkerHost } from '@nestjs/bullmq';
import type { Job } from 'bullmq';
import { QohTransfer } from '../../cart-workers/qoh-transfer.js';
import { WorkerRuntime } from '../../cart-workers/worker-runtime.js';
import { comparisonData } from './comparisons.js';
import { COMPARISONS } from './queue-names.js';

/**
 * A comparison that was cut off by a crash is stalled and taken over from its beginning: it appends its baseline at the
 * end, in one command, so a beginning that was cut off has changed nothing.
 */
@Processor(COMPARISONS, { concurrency: 4, lockDuration: 10_000, stalledInterval: 5_000, maxStalledCount: 1_000 })
export class ComparisonsProcessor extends WorkerHost {
  constructor(
    private readonly transfer: QohTransfer,
    private readonly workers: WorkerRuntime,
  ) {
    super();
  }

  async process(job: Job): Promise<unknown> {
    const { cartId, direction, createNewProducts } = comparisonData.parse(job.data);
    let told = 0;
    const onProgress = (done: number, total: number | null) => {
      if (done !== total && Date.now() - told < PROGRESS_EVERY_MS) return;
      told = Date.now();
      // Progress is for people who watch; losing one message of it must not fail the comparison.
      job.updateProgress({ done, total }).catch(() => undefined);
    };
    if (direction !== 'look') return this.transfer.run({ cartId, direction, createNewProducts, onProgress });
    const report = await this.workers.compare(cartId, { onProgress });
    if (report === null)
      throw new Error(
        'A comparison of this cart is under way already; its result is the newest of GET /v1/carts/{id}/agreement',
      );
    return report;
  }
}

const PROGRESS_EVERY_MS = 250;
