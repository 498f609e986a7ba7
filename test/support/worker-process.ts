import { CartDirectory } from '../../src/cart-workers/cart-directory.js';
import { CartSecrets } from '../../src/cart-workers/cart-secrets.js';
import { OrderImport } from '../../src/cart-workers/order-import.js';
import { QohRunWork } from '../../src/cart-workers/qoh-runs/qoh-run-work.js';
import { QohTransfer } from '../../src/cart-workers/qoh-transfer.js';
import { createQueueBackend } from '../../src/cart-workers/queue-backend.js';
import { WorkerRuntime } from '../../src/cart-workers/worker-runtime.js';
import { createDatabase } from '../../src/database.js';
import { CommandBatcher } from '../../src/events/command-batcher.js';
import { EventStore } from '../../src/events/event-store.js';
import { Presence } from '../../src/presence.js';
import { Projector } from '../../src/projections/projector.js';
import { Wakeups } from '../../src/wakeups.js';

/** Starts what the role `worker` starts, on a database and a Redis that a test has prepared; runs until it is killed. */
export async function startWorkerProcess(given: {
  readonly databaseUrl: string;
  readonly redisUrl: string | null;
  readonly prefix: string;
  readonly encryptionKey: string;
  /** A Send or Get that it works on. */
  readonly qohRun?: string | undefined;
}): Promise<void> {
  const log = { info: () => undefined, warn: () => undefined, error: (text: string) => console.error(text) };
  const database = createDatabase({ url: given.databaseUrl, poolMax: 10, applicationName: 'onhand-test-worker' });
  const backend = await createQueueBackend({
    config: { redisUrl: given.redisUrl ?? undefined, lanesMax: 8 },
    databaseUrl: given.databaseUrl,
    prefix: given.prefix,
    onError: () => undefined,
  });
  const presence = new Presence(database, { version: 'test', roles: ['worker'] });
  await presence.start();
  const wakeups = new Wakeups(database);
  await wakeups.start();
  const batcher = new CommandBatcher(new EventStore(database.pool, { onAppended: () => wakeups.signal('events') }));
  const secrets = new CartSecrets(database, { current: Buffer.from(given.encryptionKey, 'base64'), previous: [] });
  const directory = new CartDirectory(database, secrets, { allowPrivateCartUrls: true });
  // Not started: it only tells how far the log has been applied, which the test's own process does.
  const projector = new Projector({ database, wakeups, presence, log });
  const orderImport = new OrderImport(database, batcher, directory);
  const caughtUp = (timeoutMs: number) => projector.caughtUp(timeoutMs);
  const qohTransfer = new QohTransfer({ database, batcher, directory, orderImport, caughtUp });
  const runtime = new WorkerRuntime({
    database,
    presence,
    backend,
    directory,
    wakeups,
    batcher,
    orderImport,
    qohTransfer,
    caughtUp,
    shutdownTimeoutMs: 5_000,
    log,
  });
  await runtime.start();
  if (given.qohRun !== undefined)
    void new QohRunWork({ database, directory, orderImport, qohTransfer }).run(given.qohRun).catch(console.error);
}
