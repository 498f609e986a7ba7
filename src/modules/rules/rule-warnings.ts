import { Inject, Injectable } from '@nestjs/common';
import { cartTypes } from '../../cart-workers/connectors/index.js';
import type { Database } from '../../database.js';
import type { Rule } from '../../events/rule.js';
import { readSettings } from '../../projections/availability/availability-settings.js';
import { byPrecedence, type StandingRule } from '../../projections/availability/rule-book.js';
import { DATABASE } from '../tokens.js';

/** Sentences about rules that were saved and will not do what somebody may expect of them. */
@Injectable()
export class RuleWarnings {
  constructor(@Inject(DATABASE) private readonly database: Database) {}

  async of(rule: Rule): Promise<string[]> {
    const { pool } = this.database;
    const { book, calendar } = await readSettings(pool);
    const others = book.rules.filter(({ ruleId }) => ruleId !== rule.ruleId);
    const { sku, tag, cart } = rule.scope;
    const found = await pool.query<{ tagged: boolean; listed: boolean; left: boolean; cart_is_off: boolean }>(
      `SELECT $1::text IS NULL OR EXISTS (SELECT FROM item_tags t WHERE t.tag = $1) AS tagged,
                EXISTS (SELECT FROM listings l WHERE ${inScope}) AS listed,
                EXISTS (SELECT FROM listings l WHERE ${inScope} AND l.sku <> ALL ($4::text[])) AS left,
                EXISTS (SELECT FROM carts c WHERE c.cart_id = $3 AND NOT c.is_on) AS cart_is_off`,
      [tag, sku, cart, skusWithOwnRule(rule, others)],
    );
    const row = found.rows[0] ?? { tagged: true, listed: true, left: true, cart_is_off: false };
    const unable = await this.cartsWithout(rule);
    return [...said(row, rule), ...shadowed(rule, others), ...ofEffect(rule, others, calendar.day), ...unable];
  }

  /** Carts that the rule means and that have no such flag. */
  private async cartsWithout({ scope, effect }: Rule): Promise<string[]> {
    if (effect.kind !== 'at-zero' || (effect.policy !== 'hide' && effect.policy !== 'backorder')) return [];
    const { policy } = effect;
    const types = cartTypes().flatMap(({ type, capabilities: { flags } }) =>
      flags?.includes(policy) === true ? [] : type,
    );
    const { rows } = await this.database.pool.query<{ name: string }>(
      `SELECT settings->>'name' AS name FROM carts
        WHERE settings->>'type' = ANY ($1::text[]) AND ($2::text IS NULL OR cart_id = $2) ORDER BY cart_id LIMIT 21`,
      [types, scope.cart],
    );
    if (rows.length === 0) return [];
    const names = rows.slice(0, 20).map(({ name }) => name);
    const all = `${names.join(', ')}${rows.length > 20 ? ' and others' : ''}`;
    return [
      policy === 'hide' ? `${all} cannot hide; there it shows 0.` : `${all} cannot mark back-orders; there it shows 0.`,
    ];
  }
}

const inScope = `($2::text IS NULL OR l.sku = $2) AND ($3::text IS NULL OR l.cart_id = $3)
                  AND ($1::text IS NULL OR EXISTS (SELECT FROM item_tags t WHERE t.tag = $1 AND t.sku = l.sku))`;

function said(
  row: { tagged: boolean; listed: boolean; left: boolean; cart_is_off: boolean },
  { scope }: Rule,
): string[] {
  if (!row.tagged) return [`No item has the tag ${scope.tag}: the rule applies once one has it.`];
  if (!row.listed) return ['No cart lists anything that the rule means: it applies once one does.'];
  const off = row.cart_is_off ? [`The cart ${scope.cart} is switched off: the rule applies once it is on.`] : [];
  if (row.left) return off;
  return [...off, 'Every item that the rule means has a rule of this kind of its own, which is more specific.'];
}

/** Of items that have such a rule for themselves, wherever this rule speaks of them. */
function skusWithOwnRule(rule: Rule, others: readonly StandingRule[]): string[] {
  return others.flatMap((other) => {
    const { sku, tag, locations, cart } = other.scope;
    const covers =
      other.effect.kind === rule.effect.kind && tag === null && sameLocations(locations, rule.scope.locations);
    return covers && (cart === null || cart === rule.scope.cart) && byPrecedence(other, rule) < 0 ? (sku ?? []) : [];
  });
}

const sameLocations = (a: readonly string[] | null, b: readonly string[] | null) =>
  JSON.stringify(a) === JSON.stringify(b);

const sameScope = (a: Rule, b: Rule) =>
  a.scope.sku === b.scope.sku &&
  a.scope.tag === b.scope.tag &&
  a.scope.cart === b.scope.cart &&
  sameLocations(a.scope.locations, b.scope.locations);

function shadowed(rule: Rule, others: readonly StandingRule[]): string[] {
  const first = others.find(
    (other) => other.effect.kind === rule.effect.kind && sameScope(other, rule) && byPrecedence(other, rule) < 0,
  );
  if (first === undefined) return [];
  return [
    `It never applies: ${first.ruleId} (${first.name}) has the same scope and kind and comes first. Give it a lower order.`,
  ];
}

function ofEffect(rule: Rule, others: readonly StandingRule[], today: string | null): string[] {
  const { effect } = rule;
  switch (effect.kind) {
    case 'floor': {
      const past = effect.steps.filter(({ from }) => today !== null && from <= today);
      if (past.length === 0) return [];
      const now = past.at(-1);
      return [
        `${past.length} of its steps began in the past: ${now?.below} holds at once${past.length > 1 ? ', the steps before it never will' : ''}.`,
      ];
    }
    case 'cap': {
      if (effect.units === 0) return ['With a cap of 0 nothing is ever published.'];
      const floor = others.find((other) => other.effect.kind === 'floor' && sameScope(other, rule));
      if (floor?.effect.kind !== 'floor' || floor.effect.below <= effect.units) return [];
      return [
        `The cap is below the floor ${floor.ruleId} (${floor.effect.below}): whatever is shown is always exactly ${effect.units}, or nothing.`,
      ];
    }
    case 'share':
      return effect.percent === 0 ? ['With a share of 0 percent nothing is ever published.'] : [];
    case 'buffer':
      return effect.percent === 100 ? ['With a buffer of 100 percent nothing is ever published.'] : [];
    default:
      return [];
  }
}
