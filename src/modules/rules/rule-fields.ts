import { z } from 'zod';
import { zeroPolicies, type Rule } from '../../events/rule.js';
import { cartId, day, location, name, sku, tag } from '../http/fields.js';

/** A rule as the API takes it; what is left out has a sensible value. */

const units = z.int().min(0, 'must be 0 or more').max(1_000_000_000);
const hundredths = (value: number) => Number.isInteger(Number((value * 100).toFixed(6)));
const percent = z
  .number()
  .min(0, 'must be from 0 to 100')
  .max(100, 'must be from 0 to 100')
  .refine(hundredths, 'must have at most two decimals');
const days = z
  .number()
  .min(0, 'must be 0 or more')
  .max(365, 'must be at most 365')
  .refine(hundredths, 'must have at most two decimals');
const salesWindowDays = z
  .int()
  .min(1, 'must be from 1 to 90')
  .max(90, 'must be from 1 to 90')
  .default(28)
  .describe('Days over which sales are averaged');
const margin = units.default(0).describe('What was held back comes back only so many pieces above the threshold');

const effect = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('at-zero'), policy: z.enum(zeroPolicies) }),
  z.strictObject({
    kind: z.literal('floor'),
    below: units.describe('Nothing is published while the chain has fewer'),
    steps: z
      .array(z.strictObject({ from: day, below: units }))
      .max(100)
      .default([])
      .describe('From these days (UTC) on, other numbers'),
    daysOfSales: days.nullable().default(null).describe('At least what is sold in so many days'),
    salesWindowDays,
    margin,
  }),
  z.strictObject({
    kind: z.literal('buffer'),
    units: units.nullable().default(null),
    percent: percent.nullable().default(null),
  }),
  z.strictObject({ kind: z.literal('cap'), units }),
  z.strictObject({ kind: z.literal('share'), percent }),
  z.strictObject({
    kind: z.literal('velocity-buffer'),
    coverDays: days.nullable().default(null).describe('null: as long as the slowest cart took to learn of changes'),
    salesWindowDays,
    margin,
  }),
  z.strictObject({
    kind: z.literal('unconfirmed'),
    atMost: units.min(1, 'must be 1 or more'),
    days: z.int().min(1, 'must be 1 or more').max(3_650),
  }),
]);

const scope = z.strictObject({
  sku: sku.nullable().default(null),
  tag: tag.nullable().default(null),
  locations: z.array(location).min(1).max(100).nullable().default(null),
  cart: cartId.nullable().default(null),
});

export const ruleId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be small letters, digits and hyphens, at most 63')
  .describe('Id of a rule');

export const ruleBody = z.strictObject({
  name,
  scope: scope.prefault({}).describe('Left out: everything'),
  order: z.int().min(-1_000_000).max(1_000_000).default(0),
  effect,
});

export const dryRunBody = z
  .strictObject({
    save: z
      .array(z.strictObject({ id: ruleId, ...ruleBody.shape }))
      .max(50)
      .default([]),
    remove: z.array(ruleId).max(50).default([]),
    limit: z.int().min(0).max(1_000).default(100).describe('Changes that are listed; all are counted'),
  })
  .refine(({ save, remove }) => save.length + remove.length > 0, 'name at least one rule to save or to remove');

export function ruleOf(ruleIdGiven: string, given: Omit<Rule, 'ruleId'>): Rule {
  const { name: title, scope: where, order, effect: what } = given;
  return { ruleId: ruleIdGiven, name: title, scope: where, order, effect: what };
}
