import { z } from 'zod';
import { deliveryWays, driftPolicies, kitStockAt, usualGuard, type DeliveryWay } from '../../events/facts.js';
import { isTimeZone, refusePattern } from '../../cart-workers/cadence.js';
import { connectorFor } from '../../cart-workers/connectors/index.js';
import type { Connector } from '../../cart-workers/connectors/connector.js';
import { anyText, cartId, location, name } from '../http/fields.js';
import { Problem } from '../http/problem.js';

const url = z
  .url({ protocol: /^https?$/, error: 'must be a URL such as https://shop.example.com' })
  .max(2000)
  .refine(
    (text) => !URL.canParse(text) || (new URL(text).username === '' && new URL(text).password === ''),
    'must not contain a user or password; they have fields of their own',
  );

const access = {
  url,
  username: anyText(200),
  /** Write-only: no answer ever contains it. */
  secret: anyText(1000).min(1, 'must not be empty'),
  storeCode: anyText(200),
};
const timing = {
  requestTimeoutMs: z.int().min(500).max(120_000),
  quietTimeMs: z
    .int()
    .min(0)
    .max(3_600_000)
    .describe('How long after a request’s deadline the cart may still carry it out'),
  pollIntervalMs: z.int().min(500).max(86_400_000).describe('How often its orders are asked for'),
};
/** @throws Problem invalid-request where a cart of this type cannot be delivered to in that way */
export function checkDelivery(connector: Connector, delivery: DeliveryWay | null | undefined): void {
  if (delivery === undefined || delivery === null || connector.deliveryWays.includes(delivery)) return;
  const ways = connector.deliveryWays.join(', ');
  throw new Problem(
    'invalid-request',
    `A cart of the type "${connector.label}" cannot be delivered to by ${delivery}; it can by: ${ways}.`,
    [{ field: 'delivery', detail: `must be one of ${ways}` }],
  );
}

const delivery = z
  .enum(deliveryWays)
  .nullable()
  .describe('How deltas reach it; null: in the strongest way that its type knows (GET /v1/cart-types)');

const clampsAtZero = z
  .boolean()
  .describe('Whether the cart lowers a quantity to 0 at most: then it is looked at before it is raised from there');

const driftPolicy = z
  .enum(driftPolicies)
  .describe(
    'What is done about a listing that is found to show something else than it should: report it, repair it by a delta, set it to its target by the sequence of Send, or take over what the cart shows',
  );
const kits = z
  .enum(kitStockAt)
  .describe('Whose quantity the cart itself lowers when it sells a kit: the kit’s, or its components’');

const guard = z
  .strictObject({ listingsMax: z.int().min(0).max(10_000_000), sharePercent: z.int().min(0).max(100) })
  .describe(
    'How much of the cart one change of many listings may bring to zero or at least double; more is held until a person lets it through',
  );
const pattern = anyText(100).superRefine((text, context) => {
  const refused = refusePattern(text);
  if (refused !== null) context.addIssue({ code: 'custom', message: refused });
});

const cadence = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('real-time') }),
    z.strictObject({
      kind: z.literal('cron'),
      pattern: pattern.describe('Five fields: minute, hour, day, month, weekday'),
      timeZone: anyText(100).refine(isTimeZone, 'must be a time zone such as Europe/Berlin'),
    }),
    z.strictObject({ kind: z.literal('on-demand') }),
  ])
  .describe('When the cart is told of changes: at once, at the moments of a pattern, or only by send-now');

const ordersFrom = z
  .union([
    z.strictObject({ number: anyText(100).min(1, 'must not be empty') }),
    z.strictObject({ date: z.iso.date('must be a day such as 2026-06-10') }),
  ])
  .nullable()
  .describe('Older orders that its first poll imports: above a number, or placed on a day or later; null: none');

/** @throws Problem invalid-request where a cart of this type does not understand where its orders are to begin */
export function checkOrdersFrom(connector: Connector, from: z.infer<typeof ordersFrom> | undefined): void {
  if (!from || !('number' in from) || connector.marksAreOrderNumbers === true) return;
  throw new Problem(
    'invalid-request',
    `Orders of a cart of the type "${connector.label}" cannot be asked for above a number; name a date.`,
    [{ field: 'ordersFrom', detail: 'must have a date, or be null' }],
  );
}

const stock = {
  locations: z.array(location).min(1).max(100).describe('Whose stock the cart sells'),
  orderLocation: location.describe('Where its orders take their pieces; one of its locations'),
};

/** What a draft is tried with, before anything is stored. */
export const draft = z.strictObject({
  url: access.url,
  username: access.username.default(''),
  secret: access.secret,
  storeCode: access.storeCode.default(''),
  // Below ten seconds, because the lane of a worker that died is free again only after it.
  requestTimeoutMs: timing.requestTimeoutMs.default(8_000),
});

export const newCart = z.strictObject({
  id: cartId.optional().describe('Left out: made from the name'),
  name,
  type: anyText(50),
  ...draft.shape,
  locations: stock.locations,
  orderLocation: stock.orderLocation.optional().describe('Left out: the first of its locations'),
  quietTimeMs: timing.quietTimeMs.optional().describe('Left out: what is usual for its type'),
  pollIntervalMs: timing.pollIntervalMs.default(5_000),
  delivery: delivery.default(null),
  driftPolicy: driftPolicy.default('report'),
  guard: guard.default(usualGuard),
  cadence: cadence.default({ kind: 'real-time' }),
  ordersFrom: ordersFrom.default(null),
  clampsAtZero: clampsAtZero.optional().describe('Left out: what is usual for its type'),
  kits: kits.default('kit'),
});

/** Fields left out stay as they are. The type never changes: another type is another cart. */
export const cartChange = z
  .strictObject({
    name,
    ...access,
    ...timing,
    ...stock,
    delivery,
    clampsAtZero,
    driftPolicy,
    guard,
    ordersFrom,
    cadence,
    kits,
  })
  .partial()
  .refine((body) => Object.keys(body).length > 0, 'name at least one field to change');

/** @throws Problem unknown-cart-type */
export function connectorOf(type: string): Connector {
  try {
    return connectorFor(type);
  } catch {
    throw new Problem('unknown-cart-type', `There is no cart type "${type}"; GET /v1/cart-types lists them.`, [
      { field: 'type', detail: 'is not known' },
    ]);
  }
}

/** @throws Problem invalid-request naming every field that this type of cart needs and the draft lacks */
export function checkFields(connector: Connector, given: z.infer<typeof draft>): void {
  const missing = connector.fields.filter((field) => field.required && given[field.name] === '');
  if (missing.length === 0) return;
  const fields = missing.map((field) => ({ field: field.name, detail: `${field.label} is needed: ${field.help}` }));
  throw new Problem(
    'invalid-request',
    `A cart of the type "${connector.label}" needs: ${missing.map((field) => field.name).join(', ')}.`,
    fields,
  );
}

/** An id out of a name: "Main Shop (EU)" becomes main-shop-eu. */
export function idFromName(text: string): string {
  const id = text
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63);
  return id === '' ? 'cart' : id;
}
