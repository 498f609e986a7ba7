import type { PoolClient } from 'pg';
import { onConnection, type Database } from '../database.js';
import { Doorbell, type Wakeups } from '../wakeups.js';
import type { CartSettings } from '../events/facts.js';
import { gatheredLinesMax } from '../gathering.js';
import { reached } from '../moments.js';
import { inOnePacket } from '../packets.js';
import { isFarBehind } from '../projections/late-items.js';
import type { AbandonedAttempts } from './abandoned-attempts.js';
import { capabilitiesOf, type ProbedAt } from './connectors/capabilities.js';
import { connectorFor } from './connectors/index.js';
import { LaneOpenings } from './lane-openings.js';
import { dispatchLane, findUnattended, markQueued, takeUpAgain } from './dispatch.js';
import type { Lanes } from './lanes.js';
import { SlowTurns } from './slow-turns.js';

/** The safety net under lost wake-ups; also what lets a probe, a `notBefore` or a settlement come due. */
const pollMs = 100;
const sweepEveryMs = 1_000;
const keepInStepEveryMs = 2_000;
/** How late a lane may open after its moment. */
const openEveryMs = 500;
const faultPauseMs = 500;

/**
 * The Stack Controller: opens the way from the Web Stack into the lanes, and sweeps up deliveries whose job was lost
 * between dispatch and lane, by a queue that forgot everything, or with its worker.
 */
export class StackController {
  private readonly doorbell = new Doorbell();
  private readonly unsubscribe: (() => void)[] = [];
  private running: Promise<void> | undefined;
  private stopping = false;
  private sweptAt = 0;
  private inStepAt = 0;
  private openedAt = 0;
  private readonly slowTurns = new SlowTurns();
  private readonly linesLastTime = new Map<string, number>();
  private readonly openings: LaneOpenings;

  constructor(
    private readonly dependencies: {
      readonly database: Database;
      readonly wakeups: Wakeups;
      readonly lanes: Lanes;
      readonly abandoned: AbandonedAttempts;
      readonly log: { error(text: string): void };
    },
  ) {
    this.openings = new LaneOpenings(dependencies.database);
  }

  start(): void {
    const { wakeups } = this.dependencies;
    this.unsubscribe.push(
      wakeups.on('web-stack', this.doorbell.press),
      wakeups.on('lanes', () => {
        this.inStepAt = 0;
        this.doorbell.press();
      }),
    );
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    for (const unsubscribe of this.unsubscribe) unsubscribe();
    this.doorbell.press();
    await this.running;
  }

  private async run(): Promise<void> {
    while (!this.stopping) {
      try {
        const dispatched = await this.round();
        if (!dispatched) await this.doorbell.wait(pollMs);
      } catch (error) {
        this.dependencies.log.error(`The Stack Controller could not finish a round and tries again: ${String(error)}`);
        await new Promise((resolve) => setTimeout(resolve, faultPauseMs));
      }
    }
  }

  /** @returns whether anything was dispatched, so that there may be more */
  private async round(): Promise<boolean> {
    const { lanes, database } = this.dependencies;
    const now = performance.now();
    if (now - this.inStepAt > keepInStepEveryMs) {
      this.inStepAt = now;
      await lanes.keepInStep();
    }
    const sweep = now - this.sweptAt > sweepEveryMs;
    if (sweep) {
      this.sweptAt = now;
      await this.dependencies.abandoned.end(database);
    }
    if (now - this.openedAt > openEveryMs) {
      this.openedAt = now;
      await this.openings.open();
    }
    const [busy, behind] = await onConnection(database, (client) =>
      inOnePacket(client, () => [lanesWithWork(client), isFarBehind(client)]),
    );
    const linesMax = new Map([...busy].map(([cartId, work]) => [cartId, linesMaxOf(work)]));
    const inBatches = [...linesMax.keys()].filter((cartId) => linesMax.get(cartId) !== 1);
    const slow = new Set(behind ? inBatches : []);
    const turns = this.slowTurns.take([...slow], now);
    const rounds = await Promise.all(
      lanes.cartIds().map(async (cartId) => {
        if (sweep) await this.sweep(cartId);
        const linesPerDeliveryMax = linesMax.get(cartId);
        if (linesPerDeliveryMax === undefined || (slow.has(cartId) && !turns.has(cartId))) return 0;
        const callsMax = slow.has(cartId) ? 1 : null;
        // A lane that just made many lines is expected to make as many again.
        const alone = slow.has(cartId) || (this.linesLastTime.get(cartId) ?? 0) > gatheredLinesMax;
        const dispatched = await dispatchLane(database, cartId, { linesPerDeliveryMax, callsMax, alone });
        this.linesLastTime.set(
          cartId,
          dispatched.reduce((sum, { lines }) => sum + lines, 0),
        );
        if (dispatched.length > 0) reached('dispatch:committed', cartId);
        await lanes.add(cartId, dispatched);
        return dispatched.length;
      }),
    );
    return rounds.some((dispatched) => dispatched > 0);
  }

  private async sweep(cartId: string): Promise<void> {
    const { database, lanes } = this.dependencies;
    const unattended = await findUnattended(database, cartId);
    for (const job of unattended) {
      if (await lanes.isAlive(cartId, job)) {
        await markQueued(database, [job.deliveryId]);
        continue;
      }
      const again = await takeUpAgain(database, job);
      if (again !== null) await lanes.add(cartId, [again]);
    }
  }
}

/**
 * Carts with waiting records that may leave, and what decides how they are served: one look for all lanes, so that idle lanes
 * cost nothing. Each asks for its first waiting record, in the order of the one index that leads there (hence the range of
 * one state). Asked whether there is any, or for the first by its id alone, the planner expects to meet one soon from the
 * beginning of the table, where everything lies that was ever delivered.
 */
async function lanesWithWork(client: PoolClient): Promise<Map<string, CartWithWork>> {
  const found = await client.query<CartWithWork & { cart_id: string }>({
    name: 'lanes-with-work',
    text: `SELECT c.cart_id, c.settings,
                  CASE WHEN c.probe IS NOT NULL THEN jsonb_build_object('found', c.probe->'found', 'url', c.probe->'url', 'storeCode', c.probe->'storeCode') END AS probe
             FROM carts c JOIN lanes l USING (cart_id)
            WHERE NOT l.paused
              AND (l.down_since IS NULL OR coalesce(l.next_probe_at <= clock_timestamp(), true))
              AND CASE WHEN c.is_paced
                       THEN (SELECT true FROM web_stack w WHERE w.cart_id = c.cart_id AND w.state = 'waiting'
                                AND w.paced_at <= greatest(l.opened_at, to_timestamp(0)) ORDER BY w.paced_at LIMIT 1)
                       ELSE (SELECT true FROM web_stack w WHERE w.cart_id = c.cart_id AND w.state BETWEEN 'waiting' AND 'waiting'
                              ORDER BY w.state, w.id LIMIT 1) END`,
  });
  return new Map(found.rows.map((row) => [row.cart_id, row]));
}

const linesMaxOf = ({ settings, probe }: CartWithWork) =>
  capabilitiesOf(connectorFor(settings.type), settings, probe).linesPerDeliveryMax;

interface CartWithWork {
  readonly settings: CartSettings;
  readonly probe: ProbedAt | null;
}
