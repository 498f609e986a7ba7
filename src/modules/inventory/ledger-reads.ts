import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import type { Database } from '../../database.js';
import type { Checkpoint } from '../../events/event-reader.js';
import type { Reference } from '../../events/facts.js';
import { ledgerPage, onHandAsOf, referenceTotals, type LedgerEntry, type LedgerQuery } from '../../events/ledger.js';
import { decodeCursor, digits, pageOf } from '../http/paging.js';
import { DATABASE } from '../tokens.js';

/** What the log itself says of an item's stock: no projection, so it is never behind. */
@Injectable()
export class LedgerReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  /** One item's, the newest first, in the order of the log. */
  movements(sku: string, query: { location?: string | undefined; cursor?: string | undefined; limit: number }) {
    return this.page({ sku }, query);
  }

  /** The last ones up to a point of the log; `nextCursor` goes on in {@link movements}. */
  async last(sku: string, { upTo, limit }: { upTo: Checkpoint | undefined; limit: number }) {
    const before = upTo === undefined ? undefined : { ...upTo, position: String(BigInt(upTo.position) + 1n) };
    const rows = await ledgerPage(this.database.orm, { of: { sku }, before, limit: limit + 1 });
    return pageOf(rows, limit, (row) => [row.generation, row.transactionId, row.position], shownEntry);
  }

  /** Those of one paper, of whatever item. */
  async ofReference(reference: Reference, query: { cursor?: string | undefined; limit: number }) {
    return this.page({ reference }, query);
  }

  async totalsOf(reference: Reference, query: { cursor?: string | undefined; limit: number }) {
    const text = z.string();
    const after = decodeCursor(query.cursor, z.tuple([text, text, text, text, text]));
    const rows = await referenceTotals(this.database.orm, { reference, after, limit: query.limit + 1 });
    return pageOf(
      rows,
      query.limit,
      (row) => [row.line ?? '', row.sku, row.location, row.type, String(row.resellable ?? '')],
      ({ resellable, ...row }) => ({ ...row, ...(resellable !== null && { resellable }) }),
    );
  }

  private async page(
    of: LedgerQuery['of'],
    query: { location?: string | undefined; cursor?: string | undefined; limit: number },
  ) {
    const cursor = decodeCursor(query.cursor, z.tuple([z.int(), digits, digits]));
    const before =
      cursor === null ? undefined : { generation: cursor[0], transactionId: cursor[1], position: cursor[2] };
    const rows = await ledgerPage(this.database.orm, { of, location: query.location, before, limit: query.limit + 1 });
    return pageOf(rows, query.limit, (row) => [row.generation, row.transactionId, row.position], shownEntry);
  }

  async onHandAt(sku: string, at: string, by: 'recorded' | 'business') {
    const locations = await onHandAsOf(this.database.orm, { sku, at: new Date(at), by });
    return { sku, at, by, onHand: locations.reduce((sum, row) => sum + row.onHand, 0), locations };
  }
}

function shownEntry(entry: LedgerEntry) {
  const { fact, stream, version, sku, location, delta, openDelta, balance } = entry;
  const { reason, reference, source } = fact.data;
  return {
    type: fact.type,
    sku,
    location,
    delta,
    openDelta,
    /** On hand at this location right after. */
    balance,
    reason,
    reference,
    source,
    /** What only some kinds have: what was counted, and which count a correction belongs to. */
    ...('asOf' in fact.data && { counted: fact.data.quantity, asOf: fact.data.asOf }),
    ...(fact.type === 'CountCorrected' && { alreadyInCountOf: fact.data.countedAsOf }),
    ...(fact.type === 'StockReturned' && { returned: fact.data.quantity, resellable: fact.data.resellable }),
    stream,
    version,
    occurredAt: entry.occurredAt.toISOString(),
    recordedAt: entry.recordedAt.toISOString(),
    causationId: entry.causationId,
  };
}
