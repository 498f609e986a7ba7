import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import { LaneControl, type LaneStatus } from '../../cart-workers/lane-control.js';
import { Projector } from '../../projections/projector.js';
import type { ProjectorStatus } from '../../projections/projector-status.js';
import { Doorbell, Wakeups } from '../../wakeups.js';
import { RuleReads } from '../rules/rule-reads.js';
import { LatencyReads, type CartLatency } from '../web-stack/latency.js';
import { WebStackReads } from '../web-stack/web-stack-reads.js';
import { EqualityReads } from './equality-reads.js';
import type { ServerEvent } from './event-stream.js';

/**
 * What the road shows, read once per process however many browsers look, and not at all while nobody does. Changes come
 * as wake-ups; a poll each second finds what no wake-up told, such as a worker's outcome in another process.
 */
@Injectable()
export class LaneFeed implements BeforeApplicationShutdown {
  private readonly listeners = new Set<(event: ServerEvent) => void>();
  private readonly doorbell = new Doorbell();
  /** Rung once, at the end: cuts a pause short. */
  private readonly end = new Doorbell();
  private readonly logger = new Logger('Road');
  private latest: { text: string; event: ServerEvent } | undefined;
  private latency: { data: readonly CartLatency[]; until: number } = { data: [], until: 0 };
  private lastId = 0;
  private stopping = false;
  private running: Promise<void> | undefined;

  constructor(
    private readonly lanes: LaneControl,
    private readonly projector: Projector,
    private readonly records: WebStackReads,
    private readonly latencies: LatencyReads,
    private readonly rules: RuleReads,
    private readonly equality: EqualityReads,
    private readonly wakeups: Wakeups,
  ) {}

  /** The listener gets a whole snapshot as soon as there is one, and another after each change, until it unsubscribes. */
  subscribe(listener: (event: ServerEvent) => void): () => void {
    this.listeners.add(listener);
    if (this.latest !== undefined) listener(this.latest.event);
    if (!this.stopping) this.running ??= this.follow();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.doorbell.press();
    };
  }

  /** Before the pools close: a snapshot under way still needs them. */
  async beforeApplicationShutdown(): Promise<void> {
    this.stopping = true;
    this.end.press();
    this.doorbell.press();
    await this.running;
  }

  private async follow(): Promise<void> {
    const topics = ['events', 'web-stack', 'lanes'] as const;
    const unsubscribe = topics.map((topic) => this.wakeups.on(topic, this.doorbell.press));
    while (this.listeners.size > 0 && !this.stopping) {
      const startedAt = Date.now();
      await this.look();
      // A backlog of a million makes reading slow; looking then takes a tenth of the time at most.
      await this.end.wait(Math.max(EVERY_MS_MIN, (Date.now() - startedAt) * 9));
      if (this.listeners.size > 0 && !this.stopping) await this.doorbell.wait(POLL_MS);
    }
    for (const stop of unsubscribe) stop();
    // Whoever comes next must not be shown an old picture. No await between the loop's end and here, so nobody is missed.
    this.latest = undefined;
    this.running = undefined;
  }

  private async look(): Promise<void> {
    try {
      const snapshot = await this.read();
      const text = JSON.stringify(snapshot);
      if (text === this.latest?.text) return;
      const data = { at: new Date().toISOString(), ...snapshot };
      const event = { event: 'lanes', id: String(++this.lastId), data };
      this.latest = { text, event };
      this.publish(event);
    } catch (error) {
      this.logger.warn(`The lanes could not be read: ${String(error)}`);
      this.latest = undefined;
      this.publish({
        event: 'trouble',
        data: { detail: 'The hub cannot read its database right now; what is shown may be old.' },
      });
    }
  }

  private publish(event: ServerEvent): void {
    for (const listener of this.listeners) listener(event);
  }

  private async read() {
    const [statuses, projector, latency, runs, equality] = await Promise.all([
      this.lanes.statuses(),
      this.projector.status(),
      this.readLatency(),
      this.rules.runs({ limit: RUNS_SHOWN }),
      this.equality.read(),
    ]);
    const late = statuses.filter(needsLook).map(({ cartId }) => cartId);
    const firsts = late.length === 0 ? [] : await this.records.firstOfEach(late);
    const firstOf = new Map(firsts.map((record) => [record.cartId, record]));
    const latencyOf = new Map(latency.map((row) => [row.cartId, row]));
    return {
      promiseMs: PROMISE_MS,
      latencyMinutes: LATENCY_MINUTES,
      projector: shownProjector(projector),
      recomputeRuns: runs.data,
      equality,
      lanes: statuses.map((lane) => ({
        ...lane,
        latency: latencyOf.get(lane.cartId) ?? null,
        first: firstOf.get(lane.cartId) ?? null,
      })),
    };
  }

  /** Percentiles cost more than counts and change slowly. */
  private async readLatency(): Promise<readonly CartLatency[]> {
    if (Date.now() >= this.latency.until) {
      const data = await this.latencies.perCart(LATENCY_MINUTES);
      this.latency = { data, until: Date.now() + LATENCY_EVERY_MS };
    }
    return this.latency.data;
  }
}

/** The light is not green, or something waits longer than it should: then the first record tells why. */
function needsLook(lane: LaneStatus): boolean {
  const waitsMs = lane.oldestWaitingAt === null ? 0 : Date.now() - Date.parse(lane.oldestWaitingAt);
  return lane.light !== 'green' || lane.inDoubt > 0 || waitsMs > PROMISE_MS;
}

/** In whole seconds and only from some on, so that the ordinary lag of milliseconds is not a change to tell. */
function shownProjector({ state, lagMs, lagFacts, stopped }: ProjectorStatus) {
  const behind = lagMs >= BEHIND_MS;
  return { state, stopped, lagMs: behind ? Math.floor(lagMs / 1000) * 1000 : 0, lagFacts: behind ? lagFacts : 0 };
}

/** "… within 20 seconds": the sources' promise. */
const PROMISE_MS = 20_000;
/** The last changes of rules, days, locations and switches: under way or done. */
const RUNS_SHOWN = 5;
const EVERY_MS_MIN = 300;
const POLL_MS = 1_000;
const LATENCY_MINUTES = 5;
const LATENCY_EVERY_MS = 3_000;
const BEHIND_MS = 3_000;
