import { Inject, Injectable } from '@nestjs/common';
import { and, asc, eq, inArray, lt, sql, type SQL } from 'drizzle-orm';
import { z } from 'zod';
import { attempts, deliveries, deliveryLines, lanes } from '../../cart-workers/lanes.table.js';
import type { Database } from '../../database.js';
import { recordStates, waitStates, webStack, type RecordState } from '../../projections/listings.table.js';
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

type RecordRow = typeof webStack.$inferSelect;

/** The Web Stack as a person reads it: what waits, for what, and which way each change took. */
@Injectable()
export class WebStackReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  /** The newest first. */
  async list(filter: RecordFilter) {
    const before = decodeCursor(filter.cursor, z.tuple([digits]));
    const rows = await this.database.orm
      .select()
      .from(webStack)
      .where(and(...conditionsOf(filter), before === null ? undefined : lt(webStack.id, BigInt(before[0]))))
      .orderBy(sql`${webStack.id} desc`)
      .limit(filter.limit + 1);
    return pageOf(rows, filter.limit, (row) => [String(row.id)], shownRecord);
  }

  /** What goes to a cart next, and why it has not gone yet. Decreases go first, the scarcest of them first. */
  async first(cartId: string) {
    const [waiting, lane, waitingCount] = await Promise.all([
      this.database.orm
        .select()
        .from(webStack)
        .where(and(eq(webStack.cartId, cartId), eq(webStack.state, 'waiting')))
        .orderBy(
          sql`(${webStack.delta} < 0 or ${webStack.createdAt} < now() - interval '10 seconds') desc`,
          asc(webStack.target),
          asc(webStack.id),
        )
        .limit(1),
      this.database.orm.select().from(lanes).where(eq(lanes.cartId, cartId)),
      this.database.orm
        .select({ count: sql<number>`count(*)`.mapWith(Number) })
        .from(webStack)
        .where(and(eq(webStack.cartId, cartId), eq(webStack.state, 'waiting'))),
    ]);
    const record = waiting[0];
    return {
      cartId,
      waiting: waitingCount[0]?.count ?? 0,
      first: record === undefined ? null : shownRecord(record),
      heldBackBy: heldBackBy(lane[0], record),
    };
  }

  /** One record with its delivery, the tries, and how long each hop took. */
  async get(id: string) {
    const [record] = await this.database.orm
      .select()
      .from(webStack)
      .where(eq(webStack.id, BigInt(id)));
    if (record === undefined) return null;
    if (record.deliveryId === null)
      return { ...shownRecord(record), delivery: null, attemptsMade: [], hops: hopsOf(record, null, []) };
    const [[delivery], lines, tries] = await Promise.all([
      this.database.orm.select().from(deliveries).where(eq(deliveries.id, record.deliveryId)),
      this.database.orm
        .select()
        .from(deliveryLines)
        .where(and(eq(deliveryLines.deliveryId, record.deliveryId), eq(deliveryLines.key, record.key))),
      this.database.orm
        .select()
        .from(attempts)
        .where(eq(attempts.deliveryId, record.deliveryId))
        .orderBy(asc(attempts.startedAt), asc(attempts.id)),
    ]);
    return {
      ...shownRecord(record),
      delivery: delivery === undefined ? null : shownDelivery(delivery, lines[0]),
      attemptsMade: tries.map(shownAttempt),
      hops: hopsOf(record, delivery ?? null, tries),
    };
  }
}

function conditionsOf({ cart, sku, key, state }: RecordFilter): SQL[] {
  const ends = recordStates.slice(waitStates.length);
  const states = state === undefined ? null : state === 'waits' ? waitStates : state === 'ends' ? ends : [state];
  return [
    cart === undefined ? null : eq(webStack.cartId, cart),
    sku === undefined ? null : eq(webStack.sku, sku),
    key === undefined ? null : eq(webStack.key, key),
    states === null ? null : inArray(webStack.state, [...states]),
  ].filter((condition) => condition !== null);
}

/** A sentence, or null when nothing keeps it but its turn. */
function heldBackBy(lane: typeof lanes.$inferSelect | undefined, record: RecordRow | undefined): string | null {
  if (record === undefined) return null;
  if (lane?.paused === true) {
    const by = lane.pausedBy === null ? '' : ` by ${lane.pausedBy}`;
    const why = lane.pausedReason === null ? '' : `: ${lane.pausedReason}`;
    return `The lane is paused${by}${why}.`;
  }
  if (lane !== undefined && lane.downSince !== null) {
    const next = lane.nextProbeAt === null ? 'soon' : `at ${lane.nextProbeAt.toISOString()}`;
    return `The cart is down since ${lane.downSince.toISOString()}; it is tried again ${next}.`;
  }
  const later = record.notBefore !== null && record.notBefore.getTime() > Date.now();
  return later ? `It may go at ${record.notBefore!.toISOString()}.` : null;
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
