import { BullModule } from '@nestjs/bullmq';
import {
  Global,
  Inject,
  Injectable,
  Logger,
  Module,
  type DynamicModule,
  type FactoryProvider,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type Type,
} from '@nestjs/common';
import { APP_FILTER, APP_PIPE } from '@nestjs/core';
import { CartDirectory } from './cart-workers/cart-directory.js';
import { CartProbes } from './cart-workers/cart-probes.js';
import { CartSecrets } from './cart-workers/cart-secrets.js';
import { DeadLetters } from './cart-workers/dead-letters.js';
import { Drifts } from './cart-workers/drifts/drifts.js';
import { LaneControl } from './cart-workers/lane-control.js';
import { OrderImport } from './cart-workers/order-import.js';
import { QohRunWork } from './cart-workers/qoh-runs/qoh-run-work.js';
import { QohTransfer } from './cart-workers/qoh-transfer.js';
import type { QueueBackend } from './cart-workers/queue-backend.js';
import { ScriptVersions } from './cart-workers/script-versions.js';
import { WorkerRuntime } from './cart-workers/worker-runtime.js';
import type { Config } from './config.js';
import { CommandBatcher } from './events/command-batcher.js';
import { EventStore } from './events/event-store.js';
import { AccessModule } from './modules/access/access.module.js';
import { CartsModule } from './modules/carts/carts.module.js';
import { CountingModule } from './modules/counting/counting.module.js';
import { DailyResetModule, DailyResetProcessorsModule } from './modules/daily-reset/daily-reset.module.js';
import { DashboardModule } from './modules/dashboard/dashboard.module.js';
import { HealthModule } from './modules/health/health.module.js';
import { HttpModule } from './modules/http/http.module.js';
import { ProblemFilter } from './modules/http/problem.filter.js';
import { validationPipe } from './modules/http/validation.js';
import { ImportProcessorsModule, ImportsModule } from './modules/imports/imports.module.js';
import { ExplanationsModule } from './modules/explanations/explanations.module.js';
import { InventoryModule } from './modules/inventory/inventory.module.js';
import { JobProcessorsModule } from './modules/jobs/jobs.module.js';
import { OrdersModule } from './modules/orders/orders.module.js';
import { PointOfSaleModule } from './modules/point-of-sale/point-of-sale.module.js';
import { ProjectionProcessorsModule, ProjectionsModule } from './modules/projections/projections.module.js';
import { KitsModule } from './modules/kits/kits.module.js';
import { CalendarModule, RulesModule } from './modules/rules/rules.module.js';
import type { Surroundings } from './modules/start/surroundings.js';
import { CONFIG, DATABASE, ENCRYPTION_KEY, QUEUE_BACKEND } from './modules/tokens.js';
import { WebStackModule } from './modules/web-stack/web-stack.module.js';
import { ReconciliationModule } from './modules/reconciliation/reconciliation.module.js';
import { version } from './modules/start/version.js';
import { Presence } from './presence.js';
import { Projector } from './projections/projector.js';
import { Wakeups } from './wakeups.js';

/** One binary; which parts of it are awake follows from the roles. */
@Module({})
export class AppModule {
  static for(this: void, surroundings: Surroundings): DynamicModule {
    const { roles } = surroundings.config;
    const api = [
      HttpModule,
      AccessModule,
      InventoryModule,
      ExplanationsModule,
      OrdersModule,
      PointOfSaleModule,
      ImportsModule,
      DailyResetModule,
      CountingModule,
      CartsModule,
      WebStackModule,
      ReconciliationModule,
      ProjectionsModule,
      KitsModule,
      RulesModule,
      HealthModule,
      DashboardModule,
    ];
    return {
      module: AppModule,
      imports: [
        coreModule(surroundings),
        BullModule.forRootAsync({
          inject: [QUEUE_BACKEND],
          useFactory: ({ connection, prefix }: QueueBackend) => ({ connection, prefix }),
        }),
        ...(roles.includes('api') ? api : []),
        ...(roles.includes('worker')
          ? [
              JobProcessorsModule,
              ImportProcessorsModule,
              DailyResetProcessorsModule,
              ProjectionProcessorsModule,
              CalendarModule,
            ]
          : []),
      ],
      providers: roles.includes('api')
        ? [
            { provide: APP_PIPE, useFactory: validationPipe },
            { provide: APP_FILTER, useClass: ProblemFilter },
          ]
        : [],
    };
  }
}

/** Starts the loops that this process's roles ask for, and stops them before queues and pools go. */
@Injectable()
class Loops implements OnApplicationBootstrap, OnApplicationShutdown {
  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly presence: Presence,
    private readonly wakeups: Wakeups,
    private readonly projector: Projector,
    private readonly workers: WorkerRuntime,
    private readonly batcher: CommandBatcher,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    await this.presence.start();
    await this.wakeups.start();
    if (this.config.roles.includes('projector')) await this.projector.start();
    if (this.config.roles.includes('worker')) await this.workers.start();
  }

  /** The HTTP server is closed by now: no new command comes in. Workers first, because their outcomes become facts. */
  async onApplicationShutdown(): Promise<void> {
    if (this.config.roles.includes('worker')) await this.workers.stop();
    await this.batcher.idle();
    if (this.config.roles.includes('projector')) await this.projector.stop();
    await this.wakeups.stop();
    await this.presence.stop();
  }
}

@Global()
@Module({})
class CoreModule {}

/** The classes of events, projections and cart-workers, which know nothing of Nest, under their own names. */
function coreModule({ config, database, backend, encryptionKeys }: Surroundings): DynamicModule {
  const values = [
    { provide: CONFIG, useValue: config },
    { provide: DATABASE, useValue: database },
    { provide: QUEUE_BACKEND, useValue: backend },
    { provide: ENCRYPTION_KEY, useValue: encryptionKeys.current },
  ];
  const classes = [
    made(Presence, [], () => new Presence(database, { version, roles: config.roles })),
    made(Wakeups, [], () => new Wakeups(database)),
    made(
      EventStore,
      [Wakeups],
      (wakeups: Wakeups) => new EventStore(database.pool, { onAppended: () => wakeups.signal('events') }),
    ),
    made(CommandBatcher, [EventStore], (store: EventStore) => new CommandBatcher(store)),
    made(
      Projector,
      [Wakeups, Presence],
      (wakeups: Wakeups, presence: Presence) => new Projector({ database, wakeups, presence, log: logOf('Projector') }),
    ),
    made(CartSecrets, [], () => new CartSecrets(database, encryptionKeys)),
    made(CartDirectory, [CartSecrets], (secrets: CartSecrets) => new CartDirectory(database, secrets, config)),
    made(
      CartProbes,
      [CommandBatcher, CartDirectory],
      (batcher: CommandBatcher, directory: CartDirectory) => new CartProbes({ database, batcher, directory }),
    ),
    made(
      ScriptVersions,
      [CommandBatcher, CartDirectory],
      (batcher: CommandBatcher, directory: CartDirectory) => new ScriptVersions({ batcher, directory }),
    ),
    made(LaneControl, [Wakeups], (wakeups: Wakeups) => new LaneControl(database, wakeups)),
    made(
      OrderImport,
      [CommandBatcher, CartDirectory],
      (batcher: CommandBatcher, directory: CartDirectory) => new OrderImport(database, batcher, directory),
    ),
    made(
      QohTransfer,
      [CommandBatcher, CartDirectory, OrderImport, Projector],
      (batcher: CommandBatcher, directory: CartDirectory, orderImport: OrderImport, projector: Projector) =>
        new QohTransfer({
          database,
          batcher,
          directory,
          orderImport,
          caughtUp: (timeoutMs: number) => projector.applied(timeoutMs),
        }),
    ),
    made(
      QohRunWork,
      [CartDirectory, OrderImport, QohTransfer],
      (directory: CartDirectory, orderImport: OrderImport, qohTransfer: QohTransfer) =>
        new QohRunWork({ database, directory, orderImport, qohTransfer }),
    ),
    made(
      DeadLetters,
      [CommandBatcher, CartDirectory, QohTransfer, Wakeups],
      (batcher: CommandBatcher, directory: CartDirectory, qohTransfer: QohTransfer, wakeups: Wakeups) =>
        new DeadLetters({ database, batcher, directory, qohTransfer, wakeups }),
    ),
    made(Drifts, [QohTransfer], (qohTransfer: QohTransfer) => new Drifts({ database, qohTransfer })),
    made(
      WorkerRuntime,
      [Presence, CartDirectory, Wakeups, CommandBatcher, OrderImport, QohTransfer, Projector],
      (
        presence: Presence,
        directory: CartDirectory,
        wakeups: Wakeups,
        batcher: CommandBatcher,
        orderImport: OrderImport,
        qohTransfer: QohTransfer,
        projector: Projector,
      ) =>
        new WorkerRuntime({
          database,
          presence,
          backend,
          directory,
          wakeups,
          batcher,
          orderImport,
          qohTransfer,
          caughtUp: (timeoutMs) => projector.applied(timeoutMs),
          shutdownTimeoutMs: config.shutdownTimeoutMs,
          log: logOf('Lanes'),
        }),
    ),
  ];
  return { module: CoreModule, providers: [...values, ...classes, Loops], exports: [...values, ...classes] };
}

/** A provider that makes a plain class. The class is its own token, so whoever injects it needs no other name. */
function made<T>(
  type: Type<T> | (abstract new (...args: never[]) => T),
  inject: FactoryProvider['inject'],
  useFactory: (...args: never[]) => T,
): FactoryProvider<T> {
  return { provide: type as Type<T>, inject: inject ?? [], useFactory: useFactory as (...args: unknown[]) => T };
}

function logOf(context: string) {
  const logger = new Logger(context);
  return {
    info: (text: string) => logger.log(text),
    warn: (text: string) => logger.warn(text),
    error: (text: string) => logger.error(text),
  };
}
