import type { Command, CommandEnvelope } from '../../src/events/commands.js';
import { evolveStream, handlerOf, streamsOf } from '../../src/events/command-table.js';
import { isoTime } from '../../src/events/decision.js';
import type { DecidedFact, Decision, DecisionContext } from '../../src/events/decision.js';
import { isMovement, isOrderMovement } from '../../src/events/facts.js';
import type { KitState } from '../../src/events/kit.js';
import type { StockState } from '../../src/events/stock-item.js';
import { initialStock } from '../../src/events/stock-item.js';
import { stockStream } from '../../src/events/streams.js';
import type { StreamName } from '../../src/events/streams.js';

/** Streams in memory: what a decider sees, without a database. Each command is decided at a moment of the test's choosing. */
export class World {
  now = '2026-03-01T12:00:00.000Z';
  readonly facts: (DecidedFact & { occurredAt: string; version: string })[] = [];
  readonly #states = new Map<string, { version: number; state: unknown }>();

  /** Decides a command on what happened so far and keeps its facts. */
  send(command: Command, at: string = this.now): Decision {
    this.now = isoTime(at);
    const decision = handlerOf(command).decide(command, this.#context(command));
    if (decision.kind === 'accepted') for (const fact of decision.facts) this.#append(fact);
    return decision;
  }

  /** Like {@link send}, for what the test needs and does not test. */
  given(command: Command, at?: string): void {
    const decision = this.send(command, at);
    if (decision.kind === 'refused') throw new Error(`${command.type} was refused: ${decision.refusal.detail}`);
  }

  stock(location: string, sku: string): StockState {
    return (this.#states.get(stockStream(location, sku))?.state ?? initialStock) as StockState;
  }

  state(stream: StreamName): unknown {
    return this.#states.get(stream)?.state ?? null;
  }

  onHandAsOf(location: string, sku: string, at: string): number {
    return this.facts
      .filter(({ stream, occurredAt }) => stream === stockStream(location, sku) && occurredAt <= at)
      .reduce((sum, { fact }) => sum + (isMovement(fact) ? fact.data.delta : 0), 0);
  }

  #append(decided: DecidedFact): void {
    const { version, state } = this.#states.get(decided.stream) ?? { version: 0, state: null };
    const next = String(version + 1);
    this.#states.set(decided.stream, {
      version: version + 1,
      state: evolveStream(decided.stream, state, decided.fact, next),
    });
    this.facts.push({ ...decided, occurredAt: decided.occurredAt ?? this.now, version: next });
  }

  #context(command: Command): DecisionContext {
    const stateOf = (stream: StreamName) => this.#states.get(stream)?.state ?? null;
    const exists = (stream: StreamName) => this.#states.has(stream);
    const visible = new Set<string>([
      ...streamsOf(command, stateOf),
      ...(handlerOf(command).checks?.(command, exists, stateOf) ?? []),
    ]);
    const seen = (stream: StreamName) => {
      if (!visible.has(stream) && !stream.startsWith('kit:')) throw new Error(`${command.type} did not name ${stream}`);
      return stream;
    };
    return {
      now: this.now,
      stateOf: (stream) => stateOf(seen(stream)),
      versionOf: (stream) => String(this.#states.get(seen(stream))?.version ?? 0),
      exists: (stream) => exists(stream),
      recordedAt: () => this.now,
      kitsUsing: (skus) =>
        [...this.#states].flatMap(([stream, { state }]) =>
          stream.startsWith('kit:') && (state as KitState).components.some(({ sku }) => skus.includes(sku))
            ? [stream.slice('kit:'.length)]
            : [],
        ),
      stockAnywhere: (sku) =>
        [...this.#states].flatMap(([stream, { state }]) =>
          stream.startsWith('stock:') && stream.endsWith(`/${sku}`)
            ? [{ location: stream.slice('stock:'.length, stream.indexOf('/')), ...(state as StockState) }]
            : [],
        ),
      movedAfter: (stream, asOf) => {
        const later = this.facts.filter((fact) => fact.stream === seen(stream) && fact.occurredAt > asOf);
        const sum = { delta: 0, openDelta: 0, orderDelta: 0 };
        for (const { fact } of later) {
          if (!isMovement(fact)) continue;
          sum.delta += fact.data.delta;
          sum.openDelta += fact.data.openDelta;
          if (isOrderMovement(fact)) sum.orderDelta += fact.data.delta;
        }
        return sum;
      },
    };
  }
}

/** A world with two shops and one item, `MUG`, and the cart `web` that sells from the first shop. */
export function shopWorld(): World {
  const world = new World();
  const { now } = world;
  for (const command of shopCommands) world.given(command, '2026-01-01T00:00:00Z');
  world.now = now;
  return world;
}

export const shopCommands: readonly Command[] = [
  { type: 'AddLocation', location: 'shop', name: 'Shop' },
  { type: 'AddLocation', location: 'store', name: 'Store' },
  { type: 'CreateItem', sku: 'MUG', title: 'Mug' },
  {
    type: 'AddCart',
    connector: 'sample',
    cartId: 'web',
    name: 'Web',
    url: 'http://127.0.0.1:1/',
    username: 'u',
    storeCode: '',
    locations: ['shop'],
    orderLocation: 'shop',
    requestTimeoutMs: 1000,
    quietTimeMs: 1000,
    pollIntervalMs: 1000,
    clampsAtZero: false,
  },
];

/** What happened, in short: type, delta, open delta. */
export const movementsOf = (decision: Decision) =>
  decision.kind === 'refused'
    ? []
    : decision.facts.flatMap(({ fact }) =>
        isMovement(fact) ? [[fact.type, fact.data.delta, fact.data.openDelta]] : [],
      );

export const refusalOf = (decision: Decision) => (decision.kind === 'refused' ? decision.refusal.code : null);
export const typesOf = (decision: Decision) =>
  decision.kind === 'refused' ? [] : decision.facts.map(({ fact }) => fact.type);

export const unkeyed = (command: Command): CommandEnvelope => ({
  client: 'test',
  idempotencyKey: null,
  bodyHash: null,
  command,
});
