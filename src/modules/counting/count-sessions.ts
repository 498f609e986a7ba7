import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { desc, eq, sql } from 'drizzle-orm';
import { z } from 'zod';
import { inTransaction, type Database } from '../../database.js';
import { refuseTime } from '../../events/decision.js';
import type { CommandEnvelope } from '../../events/commands.js';
import { EventStore } from '../../events/event-store.js';
import type { Source } from '../../events/facts.js';
import { requestHash } from '../http/hashing.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { DATABASE } from '../tokens.js';
import { countLines, type CountLine } from './count-lines.js';
import { countSessions } from './counts.table.js';

type Session = typeof countSessions.$inferSelect;

export interface Entry {
  readonly sku: string;
  readonly quantity: number;
  readonly countedAt?: string | undefined;
}

/** More are counted in several sessions. */
const LINES_MAX = 10_000;
/** Lines of one transaction. */
const CHUNK_LINES = 250;
const REFUSED_SHOWN_MAX = 5;

@Injectable()
export class CountSessions {
  constructor(
    @Inject(DATABASE) private readonly database: Database,
    private readonly store: EventStore,
  ) {}

  async open(
    asked: Pick<Session, 'name' | 'location' | 'includesOpenOrders' | 'toleranceUnits' | 'tolerancePercent' | 'by'>,
  ): Promise<string> {
    const id = randomUUID();
    const known = await this.database.pool.query('SELECT FROM stream_heads WHERE stream = $1 AND version > 0', [
      `location:${asked.location}`,
    ]);
    if (known.rowCount === 0)
      throw new Problem('unknown-location', `There is no location ${asked.location}; add it first.`);
    await this.database.orm.insert(countSessions).values({ id, ...asked });
    return id;
  }

  async list({ cursor, limit }: { readonly cursor?: string | undefined; readonly limit: number }) {
    const before = decodeCursor(cursor, z.tuple([z.iso.datetime(), z.uuid()]));
    const rows = await this.database.orm
      .select()
      .from(countSessions)
      .where(
        before === null
          ? undefined
          : sql`(${countSessions.createdAt}, ${countSessions.id}) < (${before[0]}::timestamptz, ${before[1]}::uuid)`,
      )
      .orderBy(desc(countSessions.createdAt), desc(countSessions.id))
      .limit(limit + 1);
    return pageOf(rows, limit, (row) => [row.createdAt.toISOString(), row.id], shown);
  }

  /** @throws Problem */
  async get(id: string) {
    const session = await this.find(id);
    const lines = await countLines(this.database.pool, id, { limit: LINES_MAX });
    const of = (state: CountLine['state']) => lines.filter((line) => line.state === state).length;
    return {
      ...shown(session),
      lines: { counted: lines.length, within: of('within'), confirmed: of('confirmed'), toRecount: of('recount') },
      pieces: lines.reduce((sum, line) => sum + line.difference, 0),
    };
  }

  async lines(
    id: string,
    page: { cursor?: string | undefined; limit: number; state?: CountLine['state'] | undefined },
  ) {
    await this.find(id);
    const after = decodeCursor(page.cursor, z.tuple([z.string()]))?.[0] ?? '';
    const rows = await countLines(this.database.pool, id, { after, limit: page.limit + 1, state: page.state });
    return pageOf(
      rows,
      page.limit,
      (row) => [row.sku],
      (row) => row,
    );
  }

  /** The same round told again replaces what was told of it, so a repeat changes nothing. */
  async record(id: string, round: number, entries: readonly Entry[], by: string): Promise<void> {
    const now = new Date().toISOString();
    for (const [at, { countedAt }] of entries.entries()) {
      const refused = refuseTime(countedAt, now, 'countedAt');
      if (refused)
        throw new Problem(refused.refusal.code, refused.refusal.detail, [
          { field: `entries.${at}.countedAt`, detail: refused.refusal.detail },
        ]);
    }
    const values = JSON.stringify(entries.map((entry) => ({ ...entry, countedAt: entry.countedAt ?? now })));
    const { rows } = await this.database.pool.query<{
      unknown: string | null;
      kit: string | null;
      early: string | null;
      written: number;
      open: boolean;
    }>(
      `WITH told AS (SELECT * FROM jsonb_to_recordset($3::jsonb) AS r (sku text, quantity bigint, "countedAt" timestamptz)),
       session AS (SELECT id FROM count_sessions WHERE id = $1 AND state = 'open' FOR SHARE),
       wrong AS (
         SELECT (SELECT min(t.sku) FROM told t WHERE NOT EXISTS (SELECT FROM stream_heads h WHERE h.stream = 'item:' || t.sku AND h.version > 0)) AS unknown,
                (SELECT min(t.sku) FROM told t WHERE EXISTS (SELECT FROM kit_parts k WHERE k.kit = t.sku)) AS kit,
                (SELECT min(t.sku) FROM told t WHERE $2 > 1 AND NOT EXISTS (
                   SELECT FROM count_entries e WHERE e.session_id = $1 AND e.sku = t.sku AND e.round = $2 - 1)) AS early),
       written AS (
         INSERT INTO count_entries AS c (session_id, sku, round, quantity, counted_at, by)
         SELECT s.id, t.sku, $2, t.quantity, t."countedAt", $4 FROM session s, wrong w, told t
          WHERE w.unknown IS NULL AND w.kit IS NULL AND w.early IS NULL
         ON CONFLICT (session_id, sku, round) DO UPDATE
            SET quantity = excluded.quantity, counted_at = excluded.counted_at, by = excluded.by
         RETURNING 1)
       SELECT w.unknown, w.kit, w.early, (SELECT count(*) FROM written)::integer AS written, EXISTS (SELECT FROM session) AS open FROM wrong w`,
      [id, round, values, by],
    );
    const { unknown, kit, early, open } = rows[0]!;
    if (unknown !== null)
      throw new Problem('unknown-item', `There is no item with the SKU ${unknown}; create it first.`);
    if (kit !== null)
      throw new Problem('item-is-kit', `${kit} is a kit and has no stock of its own. Count what it is made of.`);
    if (early !== null)
      throw new Problem('not-allowed-now', `${early} was not counted in round ${round - 1} yet; count it there first.`);
    if (!open) throw await this.notOpen(id);
  }

  /**
   * Each line becomes a count as of its moment. Told again after a fault it goes on under the same keys, to its end.
   * @param anyway approve lines whose difference nobody has confirmed, too
   */
  async approve(
    id: string,
    { anyway, by, reason }: { anyway: boolean; by: string; reason: string | null },
  ): Promise<void> {
    const session = await this.find(id);
    if (session.state === 'approved') return;
    const lines = await this.beginApproval(session, { anyway, by, reason });
    const refused: string[] = [];
    const knows = session.includesOpenOrders ? await this.everybody() : (['direct'] as const);
    for (let at = 0; at < lines.length; at += CHUNK_LINES) {
      const chunk = lines.slice(at, at + CHUNK_LINES).map((line) => envelopeOf(session, line, knows));
      const settled = await this.store.appendSettled(chunk);
      for (const result of settled) {
        if (result.status === 'rejected') throw result.reason;
        if (result.value.kind === 'refused') refused.push(result.value.refusal.detail);
      }
    }
    // What became impossible since it was counted keeps none of the others back.
    const left = refused.length === 0 ? null : `Not applied: ${refused.slice(0, REFUSED_SHOWN_MAX).join(' ')}`;
    await this.database.pool.query(
      `UPDATE count_sessions SET state = 'approved', ended_at = now(), reason = concat_ws(' ', reason, $2::text) WHERE id = $1 AND state = 'approving'`,
      [id, left],
    );
  }

  /**
   * From here on nothing more is counted. The lines are read once that is so: a recount whose answer was given must not be
   * left out because it came while they were looked at.
   */
  private beginApproval(
    { id, state }: Session,
    { anyway, by, reason }: { anyway: boolean; by: string; reason: string | null },
  ): Promise<CountLine[]> {
    return inTransaction(this.database, async (client) => {
      const begun = await client.query(
        `UPDATE count_sessions SET state = 'approving', ended_by = $2, reason = $3 WHERE id = $1 AND state IN ('open', 'approving')`,
        [id, by, reason],
      );
      if (begun.rowCount === 0) throw await this.notOpen(id);
      const lines = await countLines(client, id, { limit: LINES_MAX + 1 });
      if (lines.length === 0) throw new Problem('not-allowed-now', 'Nothing has been counted yet.');
      if (lines.length > LINES_MAX)
        throw new Problem(
          'not-allowed-now',
          `A session has at most ${LINES_MAX} lines; count the rest in another one.`,
        );
      const unsure = lines.filter((line) => line.state === 'recount');
      if (state === 'open' && unsure.length > 0 && !anyway)
        throw new Problem(
          'not-allowed-now',
          `${unsure.length} lines are out of tolerance and not recounted, such as ${unsure[0]!.sku}. Count them again in round 2, or approve anyway with a reason.`,
        );
      return lines;
    });
  }

  async cancel(id: string, by: string, reason: string): Promise<void> {
    const done = await this.database.pool.query(
      `UPDATE count_sessions SET state = 'cancelled', ended_by = $2, ended_at = now(), reason = $3 WHERE id = $1 AND state = 'open'`,
      [id, by, reason],
    );
    if (done.rowCount === 0 && (await this.find(id)).state !== 'cancelled') throw await this.notOpen(id);
  }

  private async find(id: string): Promise<Session> {
    const [found] = await this.database.orm.select().from(countSessions).where(eq(countSessions.id, id));
    if (found === undefined)
      throw new Problem('unknown-count', `There is no count session ${id}; GET /v1/count-sessions lists them.`);
    return found;
  }

  private async notOpen(id: string): Promise<Problem> {
    const { state } = await this.find(id);
    return new Problem('not-allowed-now', `The session is ${state}; open another one.`);
  }

  private async everybody(): Promise<Source[]> {
    const { rows } = await this.database.pool.query<{ cart_id: string }>('SELECT cart_id FROM carts ORDER BY cart_id');
    return ['direct', ...rows.map((row): Source => `cart:${row.cart_id}`), 'phone', 'store', 'marketplace'];
  }
}

/**
 * A shelf that was counted with the pieces of unshipped orders knows every order: what was shipped is gone from it, what was
 * not is in it. One that was counted without them does not know of orders that are told later: their pieces were in it.
 */
function envelopeOf(session: Session, line: CountLine, knows: readonly Source[]): CommandEnvelope {
  const command = {
    type: 'CountStock',
    sku: line.sku,
    location: session.location,
    quantity: line.quantity,
    asOf: line.countedAt,
    includesOpenOrders: session.includesOpenOrders,
    knows,
    reason: `counted by ${line.by}`,
    reference: { kind: 'count', number: session.id },
  } as const;
  return {
    client: 'count',
    idempotencyKey: `count:${session.id}:${line.sku}`,
    // Not of the carts that exist by now: a repeat after a fault is the same line.
    bodyHash: requestHash('COUNT', line.sku, { quantity: line.quantity, asOf: line.countedAt }),
    command,
  };
}

function shown(row: Session) {
  const { createdAt, endedAt, ...rest } = row;
  return { ...rest, createdAt: createdAt.toISOString(), endedAt: endedAt?.toISOString() ?? null };
}
