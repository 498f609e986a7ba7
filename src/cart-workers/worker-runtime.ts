import type { Queue } from 'bullmq';
import type { Database } from '../database.js';
import type { CommandBatcher } from '../events/command-batcher.js';
import type { Presence } from '../presence.js';
import type { Wakeups } from '../wakeups.js';
import { AbandonedAttempts } from './abandoned-attempts.js';
import type { CartDirectory } from './cart-directory.js';
import { workOn } from './cart-worker.js';
import { CartError } from './connectors/cart-error.js';
import { compareCart } from './drifts/compare-cart.js';
import { ComparisonRounds } from './drifts/comparison-rounds.js';
import { DriftLooks, type LookDependencies } from './drifts/drift-looks.js';
import { Flags } from './flags.js';
import { Lanes } from './lanes.js';
import type { OrderImport } from './order-import.js';
import type { QohTransfer } from './qoh-transfer.js';
import type { QueueBackend } from './queue-backend.js';
import { ResolveOrders } from './resolve-orders.js';
import { ScriptVersions } from './script-versions.js';
import { SecondLooks } from './second-looks.js';
import { StackController } from './stack-controller.js';

/** How long a settlement waits for the projector to hear the orders it imported. */
const projectorWaitMs = 5_000;

export interface WorkerRuntimeOptions {
  readonly database: Database;
  /** Started before the worker and stopped after it: whoever sees it gone takes over what this process had begun. */
  readonly presence: Pick<Presence, 'name'>;
  readonly backend: QueueBackend;
  readonly directory: CartDirectory;
  readonly wakeups: Wakeups;
  readonly batcher: CommandBatcher;
  readonly orderImport: OrderImport;
  readonly qohTransfer: QohTransfer;
  /** Resolves with true when the projector has applied everything appended so far. */
  readonly caughtUp: (timeoutMs: number) => Promise<boolean>;
  readonly shutdownTimeoutMs: number;
  readonly log: { info(text: string): void; warn(text: string): void; error(text: string): void };
}

/** The worker role of one process: its lanes and its Stack Controller. */
export class WorkerRuntime {
  private readonly lanes: Lanes;
  private readonly controller: StackController;
  private readonly secondLooks: SecondLooks;
  private readonly resolveOrders: ResolveOrders;
  private readonly flags: Flags;
  private readonly driftLooks: DriftLooks;
  private readonly comparisons: ComparisonRounds;
  private readonly versions: ScriptVersions;
  private readonly looks: LookDependencies & { readonly workerName: string };

  constructor(private readonly options: WorkerRuntimeOptions) {
    const { database, backend, directory, wakeups, log } = options;
    const workerName = options.presence.name;
    const abandoned = new AbandonedAttempts();
    this.lanes = new Lanes({
      database,
      backend,
      log,
      workerName,
      process: async (cartId, job, signal) => {
        const end = await workOn(
          {
            database,
            directory,
            log,
            workerName,
            abandoned,
            ordersUpToDate: (id, keys) => this.ordersUpToDate(id, keys),
            baselineReading: (id, readFrom, rows) => options.qohTransfer.baselineReading(id, readFrom, rows),
          },
          cartId,
          job,
          signal,
        );
        // An outcome frees listings and room in the window.
        wakeups.signal('web-stack');
        return end;
      },
    });
    this.controller = new StackController({ database, wakeups, lanes: this.lanes, abandoned, log });
    this.flags = new Flags({ database, directory, log });
    this.resolveOrders = new ResolveOrders({ database, batcher: options.batcher, log });
    const { qohTransfer } = options;
    this.secondLooks = new SecondLooks({ database, qohTransfer, log });
    const ordersUpToDate = (id: string, keys: readonly string[]) => this.ordersUpToDate(id, keys);
    this.versions = new ScriptVersions({ batcher: options.batcher, directory });
    this.looks = { database, directory, qohTransfer, log, workerName, ordersUpToDate };
    this.driftLooks = new DriftLooks(this.looks);
    this.comparisons = new ComparisonRounds({ database, log, compare: (id, signal) => this.compare(id, { signal }) });
  }

  async start(): Promise<void> {
    await this.lanes.keepInStep();
    this.controller.start();
    this.secondLooks.start();
    this.resolveOrders.start();
    this.flags.start();
    this.driftLooks.start();
    this.comparisons.start();
  }

  /** Stops dispatching, lets calls under way finish, then closes the lanes. What is left stands in Postgres. */
  async stop(): Promise<void> {
    await this.controller.stop();
    await this.secondLooks.stop();
    await this.resolveOrders.stop();
    await this.flags.stop();
    await this.driftLooks.stop();
    await this.comparisons.stop();
    await this.lanes.close(this.options.shutdownTimeoutMs / 2);
  }

  /** Looks at a whole cart now. @returns null where a comparison of it is under way already */
  async compare(cartId: string, options: Parameters<typeof compareCart>[2] = {}) {
    await this.versions.look(cartId);
    return compareCart(this.looks, cartId, options);
  }

  laneQueues(): Queue[] {
    return this.lanes.queues();
  }

  onLaneQueuesChanged(listener: () => void): () => void {
    return this.lanes.onChanged(listener);
  }

  private async ordersUpToDate(cartId: string, keys: readonly string[]): Promise<boolean> {
    const { capabilities } = await this.options.directory.cart(cartId);
    // What such a cart sold is not known to anybody, so no doubt can be settled by it.
    if (capabilities.orders === 'none') return false;
    try {
      if (!(await this.options.orderImport.pollSettled(cartId, keys))) return false;
    } catch (error) {
      if (error instanceof CartError) return false;
      throw error;
    }
    return this.options.caughtUp(projectorWaitMs);
  }
}
