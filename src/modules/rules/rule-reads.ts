import { Inject, Injectable } from '@nestjs/common';
import { asc, desc, eq, gt, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../../database.js';
import type { Rule, RuleSetFact } from '../../events/rule.js';
import { recomputeRuns, rules } from '../../projections/availability/rules.table.js';
import { decodeCursor, pageOf } from '../http/paging.js';
import { Problem } from '../http/problem.js';
import { DATABASE } from '../tokens.js';

/** Versions of one rule that are told, the newest first. */
const versionsMax = 200;

@Injectable()
export class RuleReads {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  /** The version of the rule set, as `If-Match` takes it. */
  async setVersion(): Promise<string> {
    const { rows } = await this.database.pool.query<{ version: string }>(
      'SELECT rules_version::text AS version FROM availability_settings WHERE id = 1',
    );
    return rows[0]?.version ?? '0';
  }

  async list(query: { cursor?: string | undefined; limit: number }) {
    const after = decodeCursor(query.cursor, z.tuple([z.string()]));
    const rows = await this.database.orm
      .select()
      .from(rules)
      .where(after === null ? undefined : gt(rules.ruleId, after[0]))
      .orderBy(asc(rules.ruleId))
      .limit(query.limit + 1);
    return { version: await this.setVersion(), ...pageOf(rows, query.limit, ({ ruleId }) => [ruleId], shownRule) };
  }

  async find(ruleId: string) {
    const [row] = await this.database.orm.select().from(rules).where(eq(rules.ruleId, ruleId));
    return row === undefined ? null : shownRule(row);
  }

  /** Every version of a rule, the newest first, out of the log; a removal is one without a rule. */
  async versions(ruleId: string) {
    const { rows } = await this.database.pool.query<{
      version: string;
      type: RuleSetFact['type'];
      data: { readonly rule?: Rule; readonly by: string; readonly from?: string };
      at: Date;
    }>({
      name: 'versions-of-rule',
      text: `SELECT e.version::text AS version, e.type, e.data, e.recorded_at AS at FROM events e
              WHERE e.stream = 'rules' AND coalesce(e.data->'rule'->>'ruleId', e.data->>'ruleId') = $1
              ORDER BY e.version DESC LIMIT $2`,
      values: [ruleId, versionsMax],
    });
    return rows.map(({ version, type, data, at }) => ({
      version,
      change: type,
      by: data.by,
      at: at.toISOString(),
      /** The version that it is equal to, where it was restored. */
      equals: data.from ?? null,
      rule: data.rule === undefined ? null : asTold(data.rule),
    }));
  }

  async runs(query: { cursor?: string | undefined; limit: number }) {
    const before = decodeCursor(query.cursor, z.tuple([z.iso.datetime(), z.uuid()]));
    const rows = await this.database.orm
      .select()
      .from(recomputeRuns)
      .where(
        before === null
          ? undefined
          : sql`(${recomputeRuns.createdAt}, ${recomputeRuns.id}) < (${before[0]}::timestamptz, ${before[1]}::uuid)`,
      )
      .orderBy(desc(recomputeRuns.createdAt), desc(recomputeRuns.id))
      .limit(query.limit + 1);
    return pageOf(rows, query.limit, (row) => [row.createdAt.toISOString(), row.id], shownRun);
  }

  /** @throws Problem when there is none */
  async run(id: string) {
    const [row] = await this.database.orm.select().from(recomputeRuns).where(eq(recomputeRuns.id, id));
    if (row === undefined)
      throw new Problem('not-found', `There is no recompute run ${id}; GET /v1/recompute-runs lists them.`);
    return shownRun(row);
  }
}

function shownRule({ rule, version, savedBy, savedAt }: typeof rules.$inferSelect) {
  return { ...asTold(rule), version: version.toString(), savedBy, savedAt: savedAt.toISOString() };
}

const asTold = ({ ruleId: id, name, scope, order, effect }: Rule) => ({ id, name, scope, order, effect });

function shownRun(run: typeof recomputeRuns.$inferSelect) {
  return {
    id: run.id,
    state: run.state,
    /** The fact that made it necessary. */
    cause: { type: run.cause.type, stream: run.cause.stream, version: run.cause.version },
    scopes: run.scopes,
    /** Listings; the total is known once the first of them is looked at. */
    progress: { done: run.done, total: run.total },
    /** Put onto the Web Stack. */
    records: run.records,
    createdAt: run.createdAt.toISOString(),
    endedAt: run.endedAt?.toISOString() ?? null,
  };
}
