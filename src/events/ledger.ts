/** The log is the ledger: every movement carries the balance right after it, exact because its stream was locked. */
import { and, asc, desc, eq, getTableColumns, isNotNull, lte, sql } from 'drizzle-orm';
import type { NodePgDatabase } from 'drizzle-orm/node-postgres';
import { events } from './event-log.table.js';
import type { Checkpoint } from './event-reader.js';
import type { MovementFact } from './facts.js';
import { upcast } from './upcasters.js';

export interface LedgerEntry extends Checkpoint {
  readonly stream: string;
  /** bigint as text */
  readonly version: string;
  readonly fact: MovementFact;
  readonly sku: string;
  readonly location: string;
  readonly delta: number;
  readonly openDelta: number;
  /** On hand at this location right after the movement, in the order of recording. */
  readonly balance: number;
  readonly occurredAt: Date;
  readonly recordedAt: Date;
  readonly causationId: string;
}

export interface LedgerQuery {
  readonly sku: string;
  readonly location?: string | undefined;
  /** Only what is older: the last entry of the page before. */
  readonly before?: Checkpoint | undefined;
  readonly limit: number;
}

/** A page of a SKU's movements, the newest first, in the global order of the log. */
export async function ledgerPage(
  orm: NodePgDatabase,
  { sku, location, before, limit }: LedgerQuery,
): Promise<LedgerEntry[]> {
  const rows = await orm
    .select({ ...getTableColumns(events), transactionId: sql<string>`${events.transactionId}::text` })
    .from(events)
    .where(
      and(
        eq(events.sku, sku),
        isNotNull(events.delta),
        location === undefined ? undefined : eq(events.location, location),
        before === undefined ? undefined : isBefore(before),
      ),
    )
    .orderBy(desc(events.generation), desc(events.transactionId), desc(events.position))
    .limit(limit);
  return rows.map((row) => ({
    generation: row.generation,
    transactionId: row.transactionId,
    position: String(row.position),
    stream: row.stream,
    version: String(row.version),
    fact: upcast(row.type, row.shape, row.data) as MovementFact,
    sku,
    location: row.location ?? '',
    delta: row.delta ?? 0,
    openDelta: row.openDelta ?? 0,
    balance: row.balance ?? 0,
    occurredAt: row.occurredAt,
    recordedAt: row.recordedAt,
    causationId: row.causationId,
  }));
}

const isBefore = ({ generation, transactionId, position }: Checkpoint) =>
  sql`(${events.generation}, ${events.transactionId}, ${events.position})
    < (${generation}::int, ${transactionId}::text::xid8, ${position}::bigint)`;

export interface OnHandQuery {
  readonly sku: string;
  readonly at: Date;
  /** `recorded`: what we knew at that moment. `business`: what was so at that moment, as far as we know today. */
  readonly by: 'recorded' | 'business';
}

export interface OnHand {
  readonly location: string;
  readonly onHand: number;
}

/** On hand of a SKU at every location that had a movement by then, as of a moment; locations in order of their names. */
export async function onHandAsOf(orm: NodePgDatabase, { sku, at, by }: OnHandQuery): Promise<OnHand[]> {
  const ofSku = and(eq(events.sku, sku), isNotNull(events.delta));
  if (by === 'recorded') {
    const rows = await orm
      .selectDistinctOn([events.stream], { location: events.location, onHand: events.balance })
      .from(events)
      .where(and(ofSku, lte(events.recordedAt, at)))
      .orderBy(asc(events.stream), desc(events.version));
    return rows.map((row) => ({ location: row.location ?? '', onHand: row.onHand ?? 0 }));
  }
  const rows = await orm
    .select({ location: events.location, onHand: sql<string>`sum(${events.delta})` })
    .from(events)
    .where(and(ofSku, lte(events.occurredAt, at)))
    .groupBy(events.stream, events.location)
    .orderBy(asc(events.stream));
  return rows.map((row) => ({ location: row.location ?? '', onHand: Number(row.onHand) }));
}
