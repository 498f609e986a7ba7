import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, gt, lt, or, sql } from 'drizzle-orm';
import { qohRunRows } from '../../cart-workers/qoh-runs/qoh-runs.table.js';
import { runOfPush } from '../../cart-workers/qoh-runs/run-states.js';
import type { Database } from '../../database.js';
import { webStack } from '../../projections/listings.table.js';
import { pushes, type PushState } from '../../projections/pushes.table.js';
import { DATABASE } from '../tokens.js';

/** What the guard holds and held: each push once per cart that it changes. */
@Injectable()
export class PushReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  /** The newest first. */
  async list(request: {
    readonly cartId?: string | undefined;
    readonly state?: PushState | undefined;
    readonly before?: { readonly openedAt: Date; readonly push: string } | undefined;
    readonly limit: number;
  }) {
    const { before } = request;
    const rows = await this.database.orm
      .select()
      .from(pushes)
      .where(
        and(
          request.cartId === undefined ? undefined : eq(pushes.cartId, request.cartId),
          request.state === undefined ? undefined : eq(pushes.state, request.state),
          before &&
            or(
              lt(pushes.openedAt, before.openedAt),
              and(eq(pushes.openedAt, before.openedAt), lt(pushes.push, before.push)),
            ),
        ),
      )
      .orderBy(desc(pushes.openedAt), desc(pushes.push))
      .limit(request.limit);
    return rows.map(shownPush);
  }

  async get(push: string, cartId: string) {
    const [row] = await this.database.orm
      .select()
      .from(pushes)
      .where(and(eq(pushes.push, push), eq(pushes.cartId, cartId)));
    return row === undefined ? null : shownPush(row);
  }

  /** What of it is held still, by the cart's keys: what each listing shows once all before it has arrived, and what it would. */
  async preview(request: { push: string; cartId: string; after: string; limit: number }) {
    const run = runOfPush(request.push);
    return run === null ? this.heldRecords(request) : this.differencesOfRun(run, request);
  }

  /** Nothing of a held Send or Get is a record yet: before and after are those of the side that would follow. */
  private async differencesOfRun(run: string, { after, limit }: { after: string; limit: number }) {
    const rows = await this.database.orm
      .select()
      .from(qohRunRows)
      .where(and(eq(qohRunRows.runId, run), gt(qohRunRows.key, after)))
      .orderBy(qohRunRows.key)
      .limit(limit);
    return rows.map(({ key, sku, shown, should, direction }) => {
      const [before, then] = direction === 'send' ? [shown, should] : [should, shown];
      return { key, sku, before, after: then, delta: then - before };
    });
  }

  private async heldRecords(request: { push: string; cartId: string; after: string; limit: number }) {
    return this.database.orm
      .select({
        key: webStack.key,
        sku: sql<string>`max(${webStack.sku})`,
        before: sql<number>`(array_agg(${webStack.target} - ${webStack.delta} order by ${webStack.id}))[1]`.mapWith(
          Number,
        ),
        after: sql<number>`(array_agg(${webStack.target} order by ${webStack.id} desc))[1]`.mapWith(Number),
        delta: sql<number>`sum(${webStack.delta})`.mapWith(Number),
      })
      .from(webStack)
      .where(
        and(
          eq(webStack.push, request.push),
          eq(webStack.cartId, request.cartId),
          eq(webStack.state, 'held'),
          sql`${webStack.key} > ${request.after}`,
        ),
      )
      .groupBy(webStack.key)
      .orderBy(webStack.key)
      .limit(request.limit);
  }
}

export type ShownPush = ReturnType<typeof shownPush>;

function shownPush(row: typeof pushes.$inferSelect) {
  return {
    ...row,
    openedAt: row.openedAt.toISOString(),
    judgedAt: row.judgedAt?.toISOString() ?? null,
    decidedAt: row.decidedAt?.toISOString() ?? null,
  };
}
