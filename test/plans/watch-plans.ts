import type { Pool, PoolClient, QueryConfig } from 'pg';

export interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Rows Removed by Join Filter'?: number;
  readonly 'Rows Removed by Index Recheck'?: number;
  readonly Plans?: readonly PlanNode[];
}

/** A statement as it was really run. */
export interface SeenPlan {
  /** Of the prepared statement; undefined: it has none. */
  readonly name: string | undefined;
  readonly text: string;
  /** What was being done, and with how many rows at once. */
  readonly step: string;
  readonly rows: number;
  readonly plan: PlanNode;
}

/**
 * Watches every statement on a pool's connections through PostgreSQL's own auto_explain, which tells each plan after it
 * was executed, with the rows that it really touched: no statement is run a second time, and each has the very plan,
 * prepared or not, that it has in a hub. Call it before the pool has a connection; the user has to be a superuser.
 */
export function watchPlans(pool: Pool) {
  const seen: SeenPlan[] = [];
  const names = new Map<string, string>();
  let now = { step: 'before', rows: 1 };
  pool.on('connect', (client: PoolClient) => {
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    client.query = ((config: string | QueryConfig, ...more: unknown[]) => {
      if (typeof config === 'object' && config.name !== undefined) names.set(config.text, config.name);
      return query(config, ...more);
    }) as typeof client.query;
    client.on('notice', ({ message }) => {
      const at = message?.indexOf('plan:\n') ?? -1;
      if (message === undefined || at < 0) return;
      const { 'Query Text': text, Plan: plan } = JSON.parse(message.slice(at + 'plan:\n'.length)) as {
        'Query Text': string;
        Plan: PlanNode;
      };
      seen.push({ name: names.get(text), text, plan, ...now });
    });
    void query(`LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_level = 'notice';
      SET auto_explain.log_format = 'json'; SET auto_explain.log_analyze = on; SET auto_explain.log_timing = off;
      SET auto_explain.log_parameter_max_length = 0; SET client_min_messages = 'notice'`);
  });
  return {
    seen: seen as readonly SeenPlan[],
    /** What is seen meanwhile is of this step. */
    async during<T>(step: string, rows: number, work: () => Promise<T>): Promise<T> {
      now = { step, rows };
      return work();
    },
  };
}

export const nodesOf = (plan: PlanNode): PlanNode[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];

/** The most rows that any part of a plan took up, found fit or not, in all its loops. */
export const rowsTouched = (plan: PlanNode) =>
  Math.max(
    ...nodesOf(plan).map(
      (node) =>
        (node['Actual Rows'] +
          (node['Rows Removed by Filter'] ?? 0) +
          (node['Rows Removed by Join Filter'] ?? 0) +
          (node['Rows Removed by Index Recheck'] ?? 0)) *
        node['Actual Loops'],
    ),
  );

/** Which of these tables a plan reads from end to end, itself or a whole index of them. */
export const readThrough = (plan: PlanNode, tables: ReadonlySet<string>) =>
  nodesOf(plan).flatMap((node) =>
    node['Node Type'] === 'Seq Scan' && tables.has(node['Relation Name'] ?? '') ? [node['Relation Name']] : [],
  );
