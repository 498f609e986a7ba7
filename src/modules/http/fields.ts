import { z } from 'zod';
import type { OtherOrigin, Reference, Source } from '../../events/facts.js';

/** The words of requests, described once; every body and query is made of these. */

/** Largest quantity of one movement; far from where sums of bigint or JavaScript numbers would end. */
const QUANTITY_MAX = 1_000_000_000;

/**
 * No control characters, no line ends of Unicode's own, and no halves of surrogate pairs: PostgreSQL would store another
 * text than was sent, or none.
 */
const printable = /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]*$/u;

/** Text that may be empty and may begin or end with a space, such as a password. */
export const anyText = (max: number) =>
  z.string().max(max, `must have at most ${max} characters`).regex(printable, 'must be printable text');

const text = (max: number) =>
  anyText(max)
    .min(1, 'must not be empty')
    .refine((value) => value === value.trim(), 'must not begin or end with a space');

export const sku = text(255).describe('The merchant’s own code of an item');
/** A location is part of a stream's name, where `/` separates. */
export const location = text(64)
  .regex(/^[^/]+$/, 'must not contain "/"')
  .describe('Code of a warehouse or shop');
export const cartId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be small letters, digits and hyphens, at most 63')
  .describe('Id of a cart');
export const itemKey = text(255).describe('The cart’s own key of an item');
export const paperNumber = text(100)
  .regex(/^[^/]+$/, 'must not contain "/"')
  .describe('Number of an order or a transfer');
export const title = text(500);
export const barcode = text(100).describe('As printed on the item; several items may share one');
export const shopifyProductId = text(100).describe('Its number at Shopify, by which other programs may call it');
/** What another program calls a place, such as the facilityId of a point of sale. */
export const otherCode = text(100).describe('What another program calls the place, such as a facilityId');
/** A word without spaces: lists of tags are written with them in files and on the command line. */
export const tag = z
  .string()
  .max(64, 'must have at most 64 characters')
  .regex(/^[\p{L}\p{N}][\p{L}\p{N}._:/-]*$/u, 'must be letters, digits and . _ : / -, without spaces')
  .transform((value) => value.toLowerCase());
/** What somebody types to find something. */
export const searchText = anyText(255).trim().min(1, 'must not be empty');
/** Names a line of an order, as its cart does. */
export const orderLine = text(100);
/** A row's own idempotency key. */
export const rowKey = text(200);
export const name = text(200);
export const reason = text(500);

export const quantity = z.int().min(1, 'must be 1 or more').max(QUANTITY_MAX);
/** A count may find nothing. */
export const countedQuantity = z.int().min(0, 'must be 0 or more').max(QUANTITY_MAX);
export const delta = z
  .int()
  .min(-QUANTITY_MAX)
  .max(QUANTITY_MAX)
  .refine((value) => value !== 0, 'must not be 0');

/** ISO 8601 with an offset; arrives as UTC with milliseconds, which is how the log keeps it. */
export const time = z.iso
  .datetime({ offset: true, message: 'must be a time such as 2026-03-01T12:00:00Z' })
  .refine((value) => Date.parse(value) >= 0, 'must be a time since 1970')
  .transform((value) => new Date(value).toISOString());

/** In a query, where everything is text. */
export const flag = z.enum(['true', 'false'], 'must be true or false').transform((value) => value === 'true');

export const day = z.iso.date({ message: 'must be a day such as 2026-03-01' });

export const reference = z.strictObject({
  kind: z.enum(['purchase-order', 'order', 'transfer', 'count', 'file', 'other']),
  number: text(100),
  line: text(100).optional(),
});

const otherOrigins = ['phone', 'store', 'marketplace'] as const satisfies readonly OtherOrigin[];

/** `purchase-order:PO-7`; a number may contain colons itself. */
export const referenceName = anyText(200)
  .regex(
    new RegExp(`^(${reference.shape.kind.options.join('|')}):.`, 's'),
    `must look like purchase-order:PO-7, with one of ${reference.shape.kind.options.join(', ')}`,
  )
  .transform((value): Reference => {
    const at = value.indexOf(':');
    return { kind: value.slice(0, at) as Reference['kind'], number: value.slice(at + 1) };
  })
  .describe('The paper behind the movements, as kind:number, such as purchase-order:PO-7');

/** Where an order comes from that no cart of ours took. */
export const otherOrigin = z
  .enum(otherOrigins, 'must be phone, store or marketplace')
  .describe('Who took the order, where no cart of ours did; its number is unique there');

export const source = anyText(205)
  .regex(
    /^(direct|phone|store|marketplace|cart:[a-z0-9-]{1,63}|file:[^/]{1,200})$/,
    'must be direct, phone, store, marketplace, cart:<id> or file:<name>',
  )
  .transform((value) => value as Source);
