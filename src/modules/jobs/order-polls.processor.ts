import { Processor, WorkerHost } from '@nestjs/bullmq';
import type { Job } from 'bullmq';
import { z } from 'zod';
import { OrderImport } from '../../cart-workers/order-import.js';
import { ORDER_POLLS } from './queue-names.js';

export const orderPollData = z.object({ cartId: z.string() });

/** Asks carts for their new orders. A failed poll is not retried: the next one is due soon and asks from the same mark. */
@Processor(ORDER_POLLS, { concurrency: 16, lockDuration: 10_000, stalledInterval: 5_000, maxStalledCount: 1_000 })
export class OrderPollsProcessor extends WorkerHost {
  /** A cart that answers slower than it is polled is asked once at a time. */
  private readonly underWay = new Set<string>();

  constructor(private readonly orderImport: OrderImport) {
    super();
  }

  async process(job: Job): Promise<unknown> {
    const { cartId } = orderPollData.parse(job.data);
    if (this.underWay.has(cartId)) return { skipped: 'the poll before is still under way' };
    this.underWay.add(cartId);
    try {
      const { orders, mark } = await this.orderImport.poll(cartId);
      return { orders, mark };
    } finally {
      this.underWay.delete(cartId);
    }
  }
}
