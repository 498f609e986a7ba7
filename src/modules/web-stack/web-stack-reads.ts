import { Inject, Injectable } from '@nestjs/common';
import { and, asc, eq, getTableColumns, gte, inArray, lt, lte, sql, type SQL } from 'drizzle-orm';
import { z } from 'zod';
import { momentsAround } from '../../cart-workers/cadence.js';
import { attempts, deliveries, deliveryLines, lanes } from '../../cart-workers/lanes.table.js';
import type { Cadence } from '../../events/facts.js';
import type { Database } from '../../database.js';
import {
  recordStates,
  triesSql,
  waitStates,
  waitStatesSql,
  webStack,
  type RecordState,
} from '../../projections/listings.table.js';
import { carts } from '../../projections/projections.table.js';
import { decodeCursor, digits, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';
import { hopsOf } from './trace.js';

export interface RecordFilter {
  readonly cart?: string | undefined;
  readonly sku?: string | undefined;
  readonly key?: string | undefined;
  /** One state, or all `waits`, or all `ends`. */
  readonly state?: RecordState | 'waits' | 'ends' | undefined;
  readonly cursor?: string | undefined;
  readonly limit: number;
}

interface NetRow {
  readonly key: string;
  readonly sku: string;
  readonly delta: string;
  readonly records: number;
  readonly target: string;
  readonly since: Date;
  readonly blocked: boolean;
}

type RecordRow = typeof webStack.$inferSelect;

/** A record as it stands, with the tries of the delivery that it is in. */
const recordColumns = {
  ...getTableColumns(webStack),
  attempts: sql<number>`${webStack.attempts} + ${sql.raw(triesSql('web_stack'))}`.mapWith(Number).as('attempts'),
};

/** The Web Stack as a person reads it: what waits, for what, and which way each change took. */
@Injectable()
export class WebStackReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  /** The newest first. */
  async list(filter: RecordFilter) {
    const cursor = decodeCursor(filter.cursor, z.tuple([digits]));
    const before = cursor === null ? null : BigInt(cursor[0]);
    const rows = await this.database.orm
      .select(recordColumns)
      .from(webStack)
      .where(
        newestOfCart(filter, before) ??
          and(...conditionsOf(filter), before === null ? undefined : lt(webStack.id, before)),
      )
      .orderBy(sql`${webStack.id} desc`)
      .limit(filter.limit + 1);
    return pageOf(rows, filter.limit, (row) => [String(row.id)], shownRecord);
  }

  /**
   * The record to look at when a cart does not follow, with its attempts and the cart's last response: what is on its way
   * or in doubt, before what waits behind it. Among the waiting, decreases go first, the scarcest of them first.
   */
  async first(cartId: string) {
    const [owed, lane, waitingCount, cart] = await Promise.all([
      this.database.orm
        .select(recordColumns)
        .from(webStack)
        .where(and(eq(webStack.cartId, cartId), inArray(webStack.state, owedStates)))
        .orderBy(...nextFirst)
        .limit(1),
      this.database.orm.select().from(lanes).where(eq(lanes.cartId, cartId)),
      this.database.orm
        .select({ count: sql<number>`count(*)`.mapWith(Number) })
        .from(webStack)
        .where(and(eq(webStack.cartId, cartId), eq(webStack.state, 'waiting'))),
      this.database.orm.select({ settings: carts.settings }).from(carts).where(eq(carts.cartId, cartId)),
    ]);
    const record = owed[0];
    return {
      cartId,
      waiting: waitingCount[0]?.count ?? 0,
      first: record === undefined ? null : shownRecord(record),
      heldBackBy: record === undefined ? null : await this.heldBackBy(lane[0], record, cart[0]?.settings.cadence),
    };
  }

  /** What waits, summed per listing as it would leave; a sum of zero leaves nothing. */
  async net(cartId: string, query: { readonly cursor?: string | undefined; readonly limit: number }) {
    const after = decodeCursor(query.cursor, z.tuple([z.string()]));
    const { rows } = await this.database.pool.query<NetRow>({
      name: 'net-of-waiting',
      text: `SELECT key, (array_agg(sku ORDER BY id DESC))[1] AS sku, sum(delta)::text AS delta, count(*)::int AS records,
                    (array_agg(target ORDER BY id DESC))[1]::text AS target, min(accepted_at) AS since,
                    EXISTS (SELECT FROM delivery_lines d WHERE d.cart_id = $1 AND d.key = w.key
                               AND d.state IN ('in-flight', 'in-doubt', 'quarantined')) AS blocked
               FROM web_stack w
              WHERE cart_id = $1 AND key > $2 AND state IN ${waitStatesSql} AND state = 'waiting'
              GROUP BY key ORDER BY key LIMIT $3`,
      values: [cartId, after?.[0] ?? '', query.limit + 1],
    });
    return pageOf(
      rows,
      query.limit,
      ({ key }) => [key],
      ({ key, sku, delta, records, target, since, blocked }) => ({
        key,
        sku,
        delta: Number(delta),
        records,
        target: Number(target),
        since: since.toISOString(),
        /** A line of it is under way, in doubt or quarantined: this leaves when that has ended. */
        blocked,
      }),
    );
  }

  /** The same record for several carts in one query; carts that owe nothing are left out. */
  async firstOfEach(cartIds: readonly string[]) {
    const first = this.database.orm
      .select(recordColumns)
      .from(webStack)
      .where(and(eq(webStack.cartId, carts.cartId), inArray(webStack.state, owedStates)))
      .orderBy(...nextFirst)
      .limit(1)
      .as('first');
    const rows = await this.database.orm
      .select()
      .from(carts)
      .crossJoinLateral(first)
      .where(inArray(carts.cartId, [...cartIds]));
    return rows.map((row) => shownRecord(row.first));
  }

  private async heldBackBy(
    lane: typeof lanes.$inferSelect | undefined,
    record: RecordRow,
    cadence: Cadence | undefined,
  ): Promise<string | null> {
    if (record.state === 'in-doubt')
      return `Nobody knows yet whether it was applied; ${await this.settledWhen(record)}.`;
    return waitsFor(lane, record) ?? waitsForCadence(lane, record, cadence);
  }

  private async settledWhen(record: RecordRow): Promise<string> {
    const [line] = await this.database.orm
      .select({ settleAt: deliveryLines.settleAt })
      .from(deliveryLines)
      .where(and(eq(deliveryLines.deliveryId, record.deliveryId ?? ''), eq(deliveryLines.key, record.key)));
    const at = line?.settleAt ?? null;
    return at === null || at.getTime() <= Date.now()
      ? 'the cart is being looked at now'
      : `the cart is looked at from ${at.toISOString()} on, when no request can still be under way`;
  }

  /** One record with its delivery, the tries, and how long each hop took. */
  async get(id: string) {
    const [record] = await this.database.orm
      .select(recordColumns)
      .from(webStack)
      .where(eq(webStack.id, BigInt(id)));
    if (record === undefined) return null;
    const made = await this.deliveriesOf(record);
    const ids = made.map(({ delivery }) => delivery.id);
    const tries = await this.database.orm
      .select()
      .from(attempts)
      .where(inArray(attempts.deliveryId, ids))
      .orderBy(asc(attempts.startedAt), asc(attempts.id));
    const current = made.find(({ delivery }) => delivery.id === record.deliveryId);
    return {
      ...shownRecord(record),
      delivery: current === undefined ? null : shownDelivery(current.delivery, current.line),
      attemptsMade: tries.map(shownAttempt),
      hops: hopsOf(
        record,
        made.map(({ delivery }) => delivery),
        tries,
      ),
    };
  }

  /** Every delivery that carried its listing while the record was owed; a returned record was in more than one. */
  private deliveriesOf(record: RecordRow) {
    return this.database.orm
      .select({ delivery: deliveries, line: deliveryLines })
      .from(deliveryLines)
      .innerJoin(deliveries, eq(deliveries.id, deliveryLines.deliveryId))
      .where(
        and(
          eq(deliveryLines.cartId, record.cartId),
          eq(deliveryLines.key, record.key),
          gte(deliveries.createdAt, record.createdAt),
          record.endedAt === null ? undefined : lte(deliveries.createdAt, record.endedAt),
        ),
      )
      .orderBy(asc(deliveries.createdAt))
      .limit(deliveriesShownMax);
  }
}

/** What the cart has still to hear of, first of all what is under way. */
const owedStates: RecordState[] = ['in-flight', 'in-doubt', 'waiting'];
const nextFirst = [
  sql`${webStack.state} = 'waiting'`,
  sql`(${webStack.delta} < 0 or ${webStack.createdAt} < now() - interval '10 seconds') desc`,
  asc(webStack.target),
  asc(webStack.id),
];
/** A record that was returned more often than this tells its first deliveries only. */
const deliveriesShownMax = 50;

function statesOf({ state }: RecordFilter): readonly RecordState[] | null {
  if (state === undefined) return null;
  if (state === 'waits') return waitStates;
  return state === 'ends' ? recordStates.slice(waitStates.length) : [state];
}

function conditionsOf(filter: RecordFilter): SQL[] {
  const { cart, sku, key } = filter;
  const states = statesOf(filter);
  return [
    cart === undefined ? null : eq(webStack.cartId, cart),
    sku === undefined ? null : eq(webStack.sku, sku),
    key === undefined ? null : eq(webStack.key, key),
    states === null ? null : inArray(webStack.state, [...states]),
  ].filter((condition) => condition !== null);
}

/**
 * A cart's newest records are looked up state by state, which the index of a cart's states leads to. Left to itself the planner
 * goes through everybody's records from the newest on, past all that other carts were told since; hence the range of one state.
 */
function newestOfCart(filter: RecordFilter, before: bigint | null): SQL | undefined {
  if (filter.cart === undefined || filter.sku !== undefined || filter.key !== undefined) return undefined;
  const states = sql.param([...(statesOf(filter) ?? recordStates)]);
  const older = before === null ? sql`` : sql`AND w.id < ${before}`;
  return sql`${webStack.id} = ANY (ARRAY(
    SELECT x.id FROM unnest(${states}::text[]) AS s (state)
     CROSS JOIN LATERAL (SELECT w.id FROM web_stack w WHERE w.cart_id = ${filter.cart} AND w.state BETWEEN s.state AND s.state ${older}
                          ORDER BY w.state DESC, w.id DESC LIMIT ${filter.limit + 1}) AS x))`;
}

/** A sentence, or null when nothing keeps it but its turn. */
function waitsFor(lane: typeof lanes.$inferSelect | undefined, record: RecordRow): string | null {
  if (lane?.paused === true) {
    const by = lane.pausedBy === null ? '' : ` by ${lane.pausedBy}`;
    const why = lane.pausedReason === null ? '' : `: ${lane.pausedReason}`;
    return `The lane is paused${by}${why}.`;
  }
  if (lane !== undefined && lane.downSince !== null) {
    const due = lane.nextProbeAt === null || lane.nextProbeAt.getTime() <= Date.now();
    const next = due ? 'as soon as a listing is free' : `at ${lane.nextProbeAt!.toISOString()}`;
    return `The cart is down since ${lane.downSince.toISOString()}; it is tried again ${next}.`;
  }
  const later = record.notBefore !== null && record.notBefore.getTime() > Date.now();
  return later ? `It may go at ${record.notBefore!.toISOString()}.` : null;
}

function waitsForCadence(
  lane: typeof lanes.$inferSelect | undefined,
  { state, pacedAt }: RecordRow,
  cadence: Cadence = { kind: 'real-time' },
): string | null {
  if (state !== 'waiting' || pacedAt === null || cadence.kind === 'real-time') return null;
  if (pacedAt.getTime() <= (lane?.openedAt ?? new Date(0)).getTime()) return null;
  if (cadence.kind === 'on-demand') return 'The cart is told on demand: it waits until somebody sends it now.';
  const next = momentsAround(cadence, new Date()).next?.toISOString() ?? 'none';
  return `The cart is told at the moments of "${cadence.pattern}" (${cadence.timeZone}); the next one is ${next}.`;
}

function shownRecord(row: RecordRow) {
  return {
    id: String(row.id),
    cartId: row.cartId,
    key: row.key,
    sku: row.sku,
    delta: row.delta,
    target: row.target,
    state: row.state,
    cause: row.cause,
    attempts: row.attempts,
    attemptsCounted: row.attemptsCounted,
    lastResponse: row.lastResponse,
    notBefore: row.notBefore?.toISOString() ?? null,
    deliveryId: row.deliveryId,
    generation: row.generation,
    acceptedAt: row.acceptedAt.toISOString(),
    createdAt: row.createdAt.toISOString(),
    endedAt: row.endedAt?.toISOString() ?? null,
  };
}

function shownDelivery(row: typeof deliveries.$inferSelect, line: typeof deliveryLines.$inferSelect | undefined) {
  return {
    id: row.id,
    state: row.state,
    take: row.take,
    probe: row.probe,
    resends: row.resends,
    nextAttemptAt: row.nextAttemptAt?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
    closedAt: row.closedAt?.toISOString() ?? null,
    line:
      line === undefined
        ? null
        : {
            delta: line.delta,
            state: line.state,
            outcome: line.outcome,
            response: line.response,
            quantity: line.quantity,
          },
  };
}

function shownAttempt(row: typeof attempts.$inferSelect) {
  return {
    id: row.id,
    kind: row.kind,
    take: row.take,
    worker: row.worker,
    startedAt: row.startedAt.toISOString(),
    deadline: row.deadline.toISOString(),
    endedAt: row.endedAt?.toISOString() ?? null,
    outcome: row.outcome,
    response: row.response,
    durationMs: row.durationMs,
  };
}
