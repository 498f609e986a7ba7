import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { setDefaultBackendFactory } from 'bullmq';
import { CartDirectory } from '../../src/cart-workers/cart-directory.js';
import { CartSecrets } from '../../src/cart-workers/cart-secrets.js';
import { DeadLetters } from '../../src/cart-workers/dead-letters.js';
import { LaneControl } from '../../src/cart-workers/lane-control.js';
import { OrderImport } from '../../src/cart-workers/order-import.js';
import { QohTransfer } from '../../src/cart-workers/qoh-transfer.js';
import { createQueueBackend, type QueueBackend } from '../../src/cart-workers/queue-backend.js';
import { WorkerRuntime } from '../../src/cart-workers/worker-runtime.js';
import { CommandBatcher } from '../../src/events/command-batcher.js';
import type { Command, CommandOutcome } from '../../src/events/commands.js';
import { EventStore } from '../../src/events/event-store.js';
import type { CartSettings } from '../../src/events/facts.js';
import { ensureLogGeneration } from '../../src/events/log-generation.js';
import { connectorFor } from '../../src/cart-workers/connectors/index.js';
import { Presence } from '../../src/presence.js';
import { Projector } from '../../src/projections/projector.js';
import { Wakeups } from '../../src/wakeups.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import type { Shop } from './shops.js';

/** The hub without its API: the same classes that app.module.ts wires, in this process, on a database of their own. */
export interface Harness {
  readonly database: TestDatabase;
  readonly backend: QueueBackend;
  readonly encryptionKey: Buffer;
  readonly projector: Projector;
  readonly directory: CartDirectory;
  readonly orderImport: OrderImport;
  readonly qohTransfer: QohTransfer;
  readonly laneControl: LaneControl;
  readonly deadLetters: DeadLetters;
  readonly wakeups: Wakeups;
  readonly runtime: () => WorkerRuntime;
  /** The worker role in a process of its own, to be killed; resolves when its lanes are open. `close` ends what is left. */
  startWorkerProcess(qohRun?: string): Promise<ChildProcess>;
  /** Stops the worker role and starts it anew, as a restarted process would. */
  restartWorkers(): Promise<void>;
  stopWorkers(): Promise<void>;
  /** Appends one command; throws when it is refused. */
  ask(command: Command): Promise<CommandOutcome>;
  /** Items, the location MAIN and their stock. */
  stockUp(items: Readonly<Record<string, number>>): Promise<void>;
  /** Adds a cart that sells MAIN through this shop; it is switched off. */
  addCart(
    cartId: string,
    shop: Pick<Shop, 'kind' | 'url' | 'secret' | 'user' | 'storeCode'>,
    settings?: Partial<Omit<CartSettings, 'type'>>,
  ): Promise<void>;
  /** Adds a cart that sells MAIN through this shop, compares it (Send) and switches it on. */
  connect(
    cartId: string,
    shop: Pick<Shop, 'kind' | 'url' | 'secret' | 'user' | 'storeCode'>,
    settings?: Partial<Omit<CartSettings, 'type'>>,
  ): Promise<void>;
  /** Resolves when nothing waits, is in flight or in doubt any more (dead letters and quarantined lines may be left). */
  quiet(timeoutMs?: number): Promise<void>;
  /** What the worker role of this process logged as an error. */
  errors(): readonly string[];
  rows<T>(sql: string, ...values: unknown[]): Promise<T[]>;
  close(): Promise<void>;
}

const workerProcess = fileURLToPath(new URL('worker-process.mjs', import.meta.url));
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

export async function createHarness(options: {
  readonly backend: 'postgres' | { readonly redisUrl: string };
  readonly lanesMax?: number;
  readonly workers?: boolean;
  /** Facts from which on its projector is far behind and goes by item; 0: always. */
  readonly farBehindFacts?: number;
  /** A database on a server of the test's own; closed with the harness. */
  readonly database?: TestDatabase;
}): Promise<Harness> {
  const database = options.database ?? (await createTestDatabase({ poolMax: 20 }));
  await ensureLogGeneration(database.pool);
  // Files of one run share a Redis and must not meet in it.
  const prefix = `test-${randomBytes(4).toString('hex')}`;
  const encryptionKey = randomBytes(32);
  const processes: ChildProcess[] = [];
  const errors: string[] = [];
  const backend = await createQueueBackend({
    config: {
      redisUrl: options.backend === 'postgres' ? undefined : options.backend.redisUrl,
      lanesMax: options.lanesMax ?? 8,
    },
    databaseUrl: database.url,
    onError: () => undefined,
    prefix,
  });
  setDefaultBackendFactory(backend.factory);
  const hubPresence = new Presence(database, { version: 'test', roles: ['api', 'projector'] });
  await hubPresence.start();
  const wakeups = new Wakeups(database);
  await wakeups.start();
  const store = new EventStore(database.pool, { onAppended: () => wakeups.signal('events') });
  const batcher = new CommandBatcher(store);
  const { farBehindFacts } = options;
  const projector = new Projector({ database, wakeups, presence: hubPresence, log: silent, farBehindFacts });
  const secrets = new CartSecrets(database, { current: encryptionKey, previous: [] });
  const directory = new CartDirectory(database, secrets, { allowPrivateCartUrls: true });
  const orderImport = new OrderImport(database, batcher, directory);
  const caughtUp = (timeoutMs: number) => projector.caughtUp(timeoutMs);
  const qohTransfer = new QohTransfer({ database, batcher, directory, orderImport, caughtUp });
  const makeRuntime = (presence: Presence) =>
    new WorkerRuntime({
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
      log: { ...silent, error: (text) => void errors.push(text) },
    });
  let workerPresence = new Presence(database, { version: 'test', roles: ['worker'] });
  let runtime = makeRuntime(workerPresence);
  let workersRun = false;
  await projector.start();
  const startWorkers = async () => {
    workerPresence = new Presence(database, { version: 'test', roles: ['worker'] });
    await workerPresence.start();
    runtime = makeRuntime(workerPresence);
    await runtime.start();
    workersRun = true;
  };
  const stopWorkers = async () => {
    if (workersRun) {
      await runtime.stop();
      await workerPresence.stop();
    }
    workersRun = false;
  };
  if (options.workers !== false) await startWorkers();

  const rows = async <T>(sql: string, ...values: unknown[]) => (await database.pool.query(sql, values)).rows as T[];
  const ask = async (command: Command) => {
    const outcome = await batcher.submit({ client: 'test', idempotencyKey: null, bodyHash: null, command });
    if (outcome.kind === 'refused') throw new Error(`${command.type} was refused: ${outcome.refusal.detail}`);
    return outcome;
  };

  const addCart: Harness['addCart'] = async (cartId, shop, settings = {}) => {
    await secrets.put(cartId, shop.secret);
    await ask({
      type: 'AddCart',
      cartId,
      name: `Shop ${cartId}`,
      connector: shop.kind,
      url: shop.url,
      username: shop.user,
      storeCode: shop.storeCode,
      locations: ['MAIN'],
      orderLocation: 'MAIN',
      requestTimeoutMs: 1_000,
      quietTimeMs: 300,
      pollIntervalMs: 1_000,
      clampsAtZero: connectorFor(shop.kind).capabilities.clampsAtZero,
      ...settings,
    });
    await caughtUp(10_000);
  };

  return {
    database,
    backend,
    encryptionKey,
    projector,
    directory,
    orderImport,
    qohTransfer,
    laneControl: new LaneControl(database, wakeups),
    deadLetters: new DeadLetters({ database, batcher, directory, qohTransfer, wakeups }),
    wakeups,
    runtime: () => runtime,
    startWorkerProcess: async (qohRun) => {
      const child = spawn(process.execPath, [workerProcess], {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: {
          ...process.env,
          WORKER_PROCESS: JSON.stringify({
            databaseUrl: database.url,
            redisUrl: options.backend === 'postgres' ? null : options.backend.redisUrl,
            prefix,
            encryptionKey: encryptionKey.toString('base64'),
            qohRun,
          }),
        },
      });
      processes.push(child);
      await once(child.stdout, 'data');
      return child;
    },
    stopWorkers,
    restartWorkers: async () => {
      await stopWorkers();
      await startWorkers();
    },
    ask,
    errors: () => errors,
    rows,
    stockUp: async (items) => {
      await ask({ type: 'AddLocation', location: 'MAIN', name: 'Main warehouse' });
      for (const [sku, quantity] of Object.entries(items)) {
        await ask({ type: 'CreateItem', sku, title: `Item ${sku}` });
        await ask({ type: 'CountStock', sku, location: 'MAIN', quantity });
      }
    },
    addCart,
    connect: async (cartId, shop, settings = {}) => {
      await addCart(cartId, shop, settings);
      await ask({ type: 'SwitchCart', cartId, on: true });
      await caughtUp(10_000);
      const skus = await rows<{ sku: string }>('SELECT sku FROM items ORDER BY sku');
      const listed = skus.map(({ sku }) => ({ key: sku, sku }));
      for (let at = 0; at < listed.length; at += 1_000)
        await ask({ type: 'MapListings', cartId, rows: listed.slice(at, at + 1_000) });
      await qohTransfer.run({ cartId, direction: 'send' });
    },
    quiet: async (timeoutMs = 20_000) => {
      const end = Date.now() + timeoutMs;
      for (;;) {
        await caughtUp(timeoutMs);
        const [open] = await rows<{ open: string }>(
          `SELECT count(*) AS open FROM web_stack WHERE state IN ('waiting', 'in-flight', 'in-doubt', 'held')`,
        );
        if (open?.open === '0') return;
        if (Date.now() > end) {
          const left = await rows(
            'SELECT cart_id, key, delta, state, attempts, last_response FROM web_stack WHERE ended_at IS NULL LIMIT 10',
          );
          throw new Error(`Not quiet after ${timeoutMs} ms: ${JSON.stringify(left)}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    close: async () => {
      for (const child of processes.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      await stopWorkers();
      await batcher.idle();
      await projector.stop();
      await wakeups.stop();
      await hubPresence.stop();
      await backend.close();
      await database.close();
    },
  };
}
