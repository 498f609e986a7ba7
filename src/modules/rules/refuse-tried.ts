import type { Database } from '../../database.js';
import type { Rule } from '../../events/rule.js';
import { namedBy, refuseRule } from '../../events/rule-set.js';
import { Problem, refusalProblem } from '../http/problem.js';

/**
 * Rules that are only tried are refused like those that are saved. Besides, a name that nobody knows would end in "nothing
 * changes", which reads as if the rule did no harm: so a tag without items and a rule that is not there are refused, too.
 * @throws Problem that names the field and what to do
 */
export async function refuseTried(
  { pool }: Pick<Database, 'pool'>,
  save: readonly Rule[],
  remove: readonly string[],
): Promise<void> {
  const tags = save.flatMap(({ scope }) => scope.tag ?? []);
  const { rows } = await pool.query<{ streams: string[]; tags: string[]; rules: string[] }>({
    name: 'known-to-rules',
    text: `SELECT ARRAY(SELECT stream FROM stream_heads WHERE stream = ANY ($1::text[]) AND version > 0) AS streams,
                  ARRAY(SELECT t FROM unnest($2::text[]) AS t WHERE EXISTS (SELECT FROM item_tags i WHERE i.tag = t)) AS tags,
                  ARRAY(SELECT rule_id FROM rules WHERE rule_id = ANY ($3::text[])) AS rules`,
    values: [save.flatMap(namedBy), tags, remove],
  });
  const known = { streams: new Set(rows[0]?.streams), tags: new Set(rows[0]?.tags), rules: new Set(rows[0]?.rules) };
  for (const rule of save) {
    const refused = refuseRule(rule, { exists: (stream) => known.streams.has(stream) });
    if (refused) throw refusalProblem(refused.refusal);
    const { tag } = rule.scope;
    if (tag === null || known.tags.has(tag)) continue;
    const detail = `No item has the tag ${tag}, so the rule ${rule.ruleId} would change nothing; tag an item first.`;
    throw new Problem('not-found', detail, [{ field: 'scope.tag', detail }]);
  }
  const gone = remove.find((ruleId) => !known.rules.has(ruleId));
  if (gone === undefined) return;
  const detail = `There is no rule ${gone} to remove; GET /v1/rules lists them.`;
  throw new Problem('unknown-rule', detail, [{ field: 'remove', detail }]);
}
