import { randomUUID } from 'node:crypto';
import type { PoolClient } from 'pg';
import { everything, type RuleScope } from '../../events/rule.js';
import { endPush } from '../guard.js';
import type { RecordCause } from '../listings.table.js';

/** A rule's scope, or the kits that contain an item. */
export type RecomputeScope = RuleScope & { readonly partOf?: string };
export type RunCause = RecordCause & { readonly acceptedAt: string };

/**
 * Notes a run. An older one whose listings are all in this one's scopes ends here: this one looks at them anyway.
 * @param scopes listings that are in any of these
 */
export async function beginRecompute(
  client: PoolClient,
  scopes: readonly RecomputeScope[],
  cause: RunCause,
): Promise<void> {
  if (scopes.length === 0) return;
  const distinct = scopes.some(isEverything) ? scopes.filter(isEverything).slice(0, 1) : scopes;
  const { acceptedAt, ...rest } = cause;
  const absorbed = await client.query<{ id: string }>({
    name: 'begin-recompute',
    text: `WITH absorbed AS (
             UPDATE recompute_runs SET state = 'absorbed', ended_at = clock_timestamp()
              WHERE state = 'running' AND ($2::jsonb @> scopes OR $5) RETURNING id),
           made AS (
           INSERT INTO recompute_runs (id, scopes, cause, accepted_at, created_at) VALUES ($1, $2, $3, $4, clock_timestamp()))
           SELECT id FROM absorbed`,
    values: [randomUUID(), JSON.stringify(distinct), JSON.stringify(rest), acceptedAt, scopes.some(isEverything)],
  });
  // What they came to already is judged by itself.
  for (const { id } of absorbed.rows) await endPush(client, pushId(id));
}

export const pushId = (runId: string) => `recompute:${runId}`;

/**
 * Notes a run over the kits that contain each of these items. One that has not begun yet sees this change, too; one that is
 * under way goes on to its end and this one follows it. So a component that moves all the time keeps no kit waiting, and
 * no more than two runs stand for it.
 * @param skus those that are in no kit come to nothing
 */
export async function beginKitRecompute(client: PoolClient, skus: readonly string[], cause: RunCause): Promise<void> {
  const { acceptedAt, ...rest } = cause;
  await client.query({
    name: 'begin-kit-recompute',
    text: `INSERT INTO recompute_runs (id, scopes, cause, accepted_at, created_at)
           SELECT gen_random_uuid(), x.scopes, $3, $4, clock_timestamp()
             FROM unnest($1::text[]) AS s (sku)
            CROSS JOIN LATERAL (SELECT jsonb_build_array($2::jsonb || jsonb_build_object('partOf', s.sku)) AS scopes) x
            WHERE (EXISTS (SELECT FROM kit_parts p WHERE p.sku = s.sku) OR EXISTS (SELECT FROM kit_components k WHERE k.component = s.sku))
              AND NOT EXISTS (SELECT FROM recompute_runs r
                               WHERE r.state = 'running' AND r.total IS NULL AND r.scopes @> x.scopes)`,
    values: [skus, JSON.stringify(everything), JSON.stringify(rest), acceptedAt],
  });
}

export const isEverything = ({ sku, tag, cart, partOf }: RecomputeScope) =>
  sku === null && tag === null && cart === null && partOf === undefined;
