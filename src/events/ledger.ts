/** The log is the ledger: every movement carries the balance right after it, exact because its stream was locked. */
import { and, asc, desc, eq, getTableColumns, isNotNull, lte, sql } from 'drizzle-orm';
import type { NodePgDatabase } from 'drizzle-orm/node-postgres';
import { events, referenceKind, referenceNumber } from './event-log.table.js';
import type { Checkpoint } from './event-reader.js';
import type { MovementFact, Reference } from './facts.js';
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
  /** One SKU's movements, or those of one paper; of a reference without a line, every line's. */
  readonly of: { readonly sku: string } | { readonly reference: Reference };
  readonly location?: string | undefined;
  /** Only what is older: the last entry of the page before. */
  readonly before?: Checkpoint | undefined;
  readonly limit: number;
}

/** A page of movements, the newest first, in the global order of the log. */
export async function ledgerPage(
  orm: NodePgDatabase,
  { of, location, before, limit }: LedgerQuery,
): Promise<LedgerEntry[]> {
  const rows = await orm
    .select({ ...getTableColumns(events), transactionId: sql<string>`${events.transactionId}::text` })
    .from(events)
    .where(
      and(
        'sku' in of ? eq(events.sku, of.sku) : isOfReference(of.reference),
        isNotNull(events.delta),
        location === undefined ? undefined : eq(events.location, location),
        before === undefined ? undefined : isBefore(of, before),
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
    sku: row.sku ?? '',
    location: row.location ?? '',
    delta: row.delta ?? 0,
    openDelta: row.openDelta ?? 0,
    balance: row.balance ?? 0,
    occurredAt: row.occurredAt,
    recordedAt: row.recordedAt,
    causationId: row.causationId,
  }));
}

/**
 * Compared together with what the page is of, so that only the index of that serves: by the log's own order alone the planner
 * expects next to nothing before any place, because all of one generation are alike in the first column, and reads the log
 * backwards from there.
 */
function isBefore(of: LedgerQuery['of'], { generation, transactionId, position }: Checkpoint) {
  const place = sql`${events.generation}, ${events.transactionId}, ${events.position}`;
  const given = sql`${generation}::int, ${transactionId}::text::xid8, ${position}::bigint`;
  if ('sku' in of) return sql`(${events.sku}, ${place}) < (${of.sku}, ${given})`;
  const { kind, number } = of.reference;
  return sql`(${referenceKind}, ${referenceNumber}, ${place}) < (${kind}::text, ${number}::text, ${given})`;
}

const referenceLine = sql<string | null>`(data -> 'reference' ->> 'line')`;

const isOfReference = ({ kind, number, line }: Reference) =>
  and(
    sql`${referenceKind} = ${kind} AND ${referenceNumber} = ${number}`,
    line === undefined ? undefined : sql`${referenceLine} = ${line}`,
  );

export interface ReferenceTotal {
  readonly line: string | null;
  readonly sku: string;
  readonly location: string;
  readonly type: MovementFact['type'];
  /** Only of what was returned: whether it can be sold again. */
  readonly resellable: boolean | null;
  readonly movements: number;
  /** Pieces that were moved, or returned and not put on hand. */
  readonly quantity: number;
  /** What that changed on hand. */
  readonly delta: number;
}

/** Where a page of totals ended: line, SKU, location, type, resellable, an absent one empty. */
export type TotalPosition = readonly [string, string, string, string, string];

/** What was moved in all under a paper: per line, SKU, location and kind of movement, in their order. */
export async function referenceTotals(
  orm: NodePgDatabase,
  { reference, after, limit }: { reference: Reference; after: TotalPosition | null; limit: number },
): Promise<ReferenceTotal[]> {
  const resellable = sql<boolean | null>`(data ->> 'resellable')::boolean`;
  const pieces = sql`CASE WHEN type = 'StockReturned' THEN (data ->> 'quantity')::bigint ELSE abs(delta) END`;
  const position = [
    sql`coalesce(${referenceLine}, '') COLLATE "C"`,
    sql`sku`,
    sql`location`,
    sql`type COLLATE "C"`,
    sql`coalesce(data ->> 'resellable', '') COLLATE "C"`,
  ];
  return orm
    .select({
      line: referenceLine,
      sku: sql<string>`sku`,
      location: sql<string>`location`,
      type: sql<MovementFact['type']>`type`,
      resellable,
      movements: sql<number>`count(*)`.mapWith(Number),
      quantity: sql<number>`sum(${pieces})`.mapWith(Number),
      delta: sql<number>`sum(delta)`.mapWith(Number),
    })
    .from(events)
    .where(
      and(
        isOfReference(reference),
        isNotNull(events.delta),
        after === null
          ? undefined
          : sql`(${sql.join(position, sql`, `)}) > (${sql.join(
              after.map((part) => sql`${part}::text`),
              sql`, `,
            )})`,
      ),
    )
    .groupBy(sql`${referenceLine}, sku, location, type, data ->> 'resellable'`)
    .orderBy(...position)
    .limit(limit);
}

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
