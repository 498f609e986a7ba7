import { Processor, WorkerHost } from '@nestjs/bullmq';
import { Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import type { Job } from 'bullmq';
import { CartProbes } from '../../cart-workers/cart-probes.js';
import { probeData, Probes } from './probes.js';
import { PROBES } from './queue-names.js';

/** A probe that was cut off by a crash is stalled, taken over, puts its item back and begins anew. */
@Processor(PROBES, { concurrency: 4, lockDuration: 10_000, stalledInterval: 5_000, maxStalledCount: 1_000 })
export class ProbesProcessor extends WorkerHost {
  constructor(private readonly probes: CartProbes) {
    super();
  }

  async process(job: Job): Promise<void> {
    const { probeId } = probeData.parse(job.data);
    await this.probes.run(probeId);
    const left = (await this.probes.unfinished(null)).find(({ id }) => id === probeId);
    if (left !== undefined) throw new Error(`${left.touched ?? 'the probe'} has to be looked at again`);
  }
}

/** What a queue has forgotten, or no worker was there for, is found again in the database. */
@Injectable()
export class ProbesTakenUp implements OnApplicationBootstrap {
  private readonly logger = new Logger('Probes');

  constructor(private readonly probes: Probes) {}

  async onApplicationBootstrap(): Promise<void> {
    try {
      await this.probes.takeUp();
    } catch (error) {
      this.logger.warn(`Probes that were cut off could not be taken up: ${String(error)}`);
    }
  }
}
