import { randomUUID } from 'node:crypto';
import type { Pool, PoolClient } from 'pg';
import type { RecordedFact } from '../../events/event-reader.js';
import type { CalendarFact, Rule, RuleScope } from '../../events/rule.js';
import type { Calendar } from './evaluate.js';
import { followsDays, RuleBook, type StandingRule } from './rule-book.js';

/** Everything but stock and sales that a target follows from, as it stands at one point of the log. */
export interface AvailabilitySettings {
  /** null: there never was a rule or a closed day. */
  readonly version: string | null;
  readonly book: RuleBook;
  readonly calendar: Calendar;
}

export const noSettings: AvailabilitySettings = {
  version: null,
  book: new RuleBook([]),
  calendar: { day: null, latencyMs: null },
};

/** Rules are few and change seldom; they are read once per version, not once per batch. */
const prepared = new Map<string, AvailabilitySettings>();
const preparedMax = 8;

/** What was prepared last under this version; undefined: it has to be read. Versions are unique in the world. */
export const preparedSettings = (version: string | null): AvailabilitySettings | undefined =>
  version === null ? noSettings : prepared.get(version);

/** The settings as this transaction sees them. */
export async function readSettings(client: PoolClient | Pool): Promise<AvailabilitySettings> {
  const found = await client.query<{
    version: string;
    day: string | null;
    latency_ms: number | null;
    rules: (Rule & { version: string })[];
  }>({
    name: 'read-availability-settings',
    text: `SELECT s.version, s.day::text AS day, (s.slowest_cart->>'latencyMs')::float8 AS latency_ms,
                  (SELECT coalesce(jsonb_agg(r.rule || jsonb_build_object('version', r.version::text) ORDER BY r.rule_id), '[]') FROM rules r) AS rules
             FROM availability_settings s WHERE s.id = 1`,
  });
  const row = found.rows[0];
  if (row === undefined) return noSettings;
  const known = prepared.get(row.version);
  if (known !== undefined) return known;
  const settings: AvailabilitySettings = {
    version: row.version,
    book: new RuleBook(row.rules),
    calendar: { day: row.day, latencyMs: row.latency_ms },
  };
  prepared.set(row.version, settings);
  for (const oldest of prepared.keys()) if (prepared.size > preparedMax) prepared.delete(oldest);
  return settings;
}

type SettingsFact = Extract<
  RecordedFact['fact'],
  { type: 'RuleSaved' | 'RuleRemoved' | 'RuleRestored' | CalendarFact['type'] }
>;

/**
 * Keeps a rule or a closed day.
 * @returns the scopes of the listings that may have to show something else now
 */
export async function keepAvailabilitySetting(
  client: PoolClient,
  fact: SettingsFact,
  recorded: RecordedFact,
): Promise<readonly RuleScope[]> {
  const before = await readSettings(client);
  if (fact.type === 'DayClosed') {
    await client.query(
      `INSERT INTO availability_settings (id, version, day, slowest_cart) VALUES (1, $1, $2, $3)
       ON CONFLICT (id) DO UPDATE SET version = excluded.version, day = excluded.day, slowest_cart = excluded.slowest_cart`,
      [randomUUID(), fact.data.day, JSON.stringify(fact.data.slowestCart)],
    );
    return before.book.rules.filter(({ effect }) => followsDays(effect)).map(({ scope }) => scope);
  }
  await client.query(
    `INSERT INTO availability_settings (id, version, rules_version) VALUES (1, $1, $2)
     ON CONFLICT (id) DO UPDATE SET version = excluded.version, rules_version = excluded.rules_version`,
    [randomUUID(), recorded.version],
  );
  const ruleId = fact.type === 'RuleRemoved' ? fact.data.ruleId : fact.data.rule.ruleId;
  const old = before.book.rules.find((rule) => rule.ruleId === ruleId);
  if (fact.type === 'RuleRemoved') {
    await client.query('DELETE FROM rules WHERE rule_id = $1', [ruleId]);
    return scopesOf(old);
  }
  await client.query(
    `INSERT INTO rules (rule_id, rule, version, saved_by, saved_at) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (rule_id) DO UPDATE
        SET rule = excluded.rule, version = excluded.version, saved_by = excluded.saved_by, saved_at = excluded.saved_at`,
    [ruleId, JSON.stringify(fact.data.rule), recorded.version, fact.data.by, recorded.recordedAt],
  );
  return scopesOf(old, fact.data.rule);
}

const scopesOf = (...rules: (Rule | StandingRule | undefined)[]): RuleScope[] =>
  rules.flatMap((rule) => (rule === undefined ? [] : [rule.scope]));
