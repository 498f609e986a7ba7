import type { Database } from '../database.js';

/** What is asked of the projector by people and monitors; read from the database, so any process can tell. */
export interface ProjectorStatus {
  readonly state: 'following' | 'stopped';
  /** The one projector that works while the others stand by; null while there is none. */
  readonly effective: { readonly name: string; readonly since: string; readonly lives: boolean } | null;
  /** Facts in the log that are not applied yet, or whose listings are still to be looked at. */
  readonly lagFacts: number;
  /** Age of the oldest of them, in ms. */
  readonly lagMs: number;
  /** The fact that could not be applied, and why. */
  readonly stopped: {
    readonly stream: string;
    readonly version: string;
    readonly type: string;
    readonly error: string;
    readonly at: string;
  } | null;
  /** The oldest transaction that keeps the readers' horizon back, when it is older than a second. */
  readonly horizonHeldBy: {
    readonly pid: number;
    readonly application: string;
    readonly database: string;
    readonly ageMs: number;
  } | null;
}

export async function readProjectorStatus(database: Database, projection: string): Promise<ProjectorStatus> {
  const found = await database.pool.query<{
    stopped: ProjectorStatus['stopped'];
    projector: string | null;
    since: Date | null;
    lives: boolean;
    lag_facts: string;
    lag_ms: string;
  }>(
    `SELECT c.stopped, c.projector, c.projector_since AS since,
            EXISTS (SELECT FROM pg_stat_activity p
                     WHERE p.datname = current_database() AND p.application_name = c.projector) AS lives,
            count(e.position) + (SELECT coalesce(sum((i.cause->>'facts')::int), 0) FROM late_items i) AS lag_facts,
            coalesce(extract(epoch FROM clock_timestamp() - least(min(e.recorded_at), (SELECT min(i.accepted_at) FROM late_items i))) * 1000, 0)::bigint
              AS lag_ms
       FROM projection_checkpoints c
       LEFT JOIN events e ON (e.generation, e.transaction_id, e.position) > (c.generation, c.transaction_id, c.position)
      WHERE c.name = $1
      GROUP BY c.name`,
    [projection],
  );
  const holder = await database.pool.query<{ pid: number; application: string; database: string; age_ms: string }>(
    `SELECT pid, application_name AS application, datname AS database,
            (extract(epoch FROM clock_timestamp() - xact_start) * 1000)::bigint AS age_ms
       FROM pg_stat_activity
      WHERE backend_xid IS NOT NULL AND xact_start < clock_timestamp() - interval '1 second'
      ORDER BY age(backend_xid) DESC LIMIT 1`,
  );
  const row = found.rows[0];
  const held = holder.rows[0];
  return {
    state: (row?.stopped ?? null) === null ? 'following' : 'stopped',
    effective:
      row === undefined || row.projector === null || row.since === null
        ? null
        : { name: row.projector, since: row.since.toISOString(), lives: row.lives },
    lagFacts: Number(row?.lag_facts ?? 0),
    lagMs: Number(row?.lag_ms ?? 0),
    stopped: row?.stopped ?? null,
    horizonHeldBy:
      held === undefined
        ? null
        : { pid: held.pid, application: held.application, database: held.database, ageMs: Number(held.age_ms) },
  };
}
