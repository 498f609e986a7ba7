import { createHmac, timingSafeEqual } from 'node:crypto';

import { Webhook } from 'standardwebhooks';
import { z } from 'zod';

import { answerText } from './answer-text.js';
import { CartRejectedError, OutcomeUnknownError } from './cart-error.js';
import type { CartOrder, LineAnswer } from './connector.js';

/**
 * The signed webhook: JSON bodies `{type, timestamp, data}` under Standard Webhooks headers, in both directions.
 *
 * `webhook-id` is the idempotency key. The body is the same in every resend, so its `timestamp` is the moment the
 * delivery was made; the header's timestamp is the moment of sending, as receivers refuse old ones.
 */
export type SignedCallType =
  | 'stock.adjust'
  | 'stock.set'
  | 'stock.read'
  | 'orders.list'
  | 'ping'
  | 'stock.visibility'
  /** These two are known to our bridges only. */
  | 'stock.problems'
  | 'stock.changed';

export interface WebhookHeaders {
  readonly 'webhook-id': string;
  readonly 'webhook-timestamp': string;
  readonly 'webhook-signature': string;
}

/** How far a sender's clock may be from ours, in ms, and how long a copied message stays usable. */
const TOLERANCE_MS = 5 * 60_000;
const TEXT_MAX = 255;
const ORDER_LINES_MAX = 10_000;

/** Without what PostgreSQL cannot keep: an order that holds it is told as unreadable, and holds no other one up. */
const text = z
  .string()
  .min(1)
  .max(TEXT_MAX)
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'must be readable text');
const wholeQuantity = z.int();

/** A title is for people to read; what cannot be stored of it is left out. */
const storable = (title: string) => title.replaceAll(/[\p{Cc}\p{Cs}]/gu, '');

const lineAnswers = z.object({
  lines: z.array(
    z.object({
      key: z.string(),
      status: z.enum(['applied', 'stale', 'not-found', 'not-tracked', 'rejected']),
      quantity: wholeQuantity.nullish(),
      message: z.string().optional(),
    }),
  ),
});

const orderData = z.object({
  number: text,
  revision: z.int().min(0),
  placedAt: z.iso.datetime({ offset: true }).nullable(),
  state: z.enum(['open', 'shipped', 'closed', 'cancelled']),
  lines: z
    .array(
      z.object({
        line: text,
        key: text,
        quantity: wholeQuantity.min(0),
        title: z.string().transform(storable).default(''),
      }),
    )
    .max(ORDER_LINES_MAX)
    .refine((lines) => new Set(lines.map(({ line }) => line)).size === lines.length, 'each line needs its own name'),
});

export const stockReadAnswer = z.object({
  rows: z.array(z.object({ key: text, quantity: wholeQuantity.nullable() })),
  nextCursor: z.string().nullable(),
});
/** Orders are read one by one: see {@link readableOrder}. */
export const ordersListAnswer = z.object({ orders: z.array(z.looseObject({ number: text })), mark: z.string() });
export const pingAnswer = z.object({ version: z.string() });

/** What a cart posts to us when one of its orders is new or has changed. */
export const orderWebhook = z.object({
  type: z.literal('order.updated'),
  timestamp: z.iso.datetime({ offset: true }),
  data: orderData,
});

/** An order of a list; one that breaks the protocol is told as unreadable, so that it does not hide the others. */
export function readableOrder(told: { readonly number: string }): CartOrder {
  const parsed = orderData.safeParse(told);
  if (parsed.success) return parsed.data;
  const { number } = told;
  return { number, revision: 0, placedAt: null, state: 'open', lines: [], unreadable: firstProblem(parsed.error) };
}

/** The body of one call; the same input gives the same bytes. */
export function webhookBody(type: SignedCallType, createdAtMs: number, data: unknown): string {
  return JSON.stringify({ type, timestamp: new Date(createdAtMs).toISOString(), data });
}

/** @throws CartRejectedError where the secret is no `whsec_` secret */
export function webhookHeaders(id: string, nowMs: number, body: string, secret: string): WebhookHeaders {
  const moment = new Date(nowMs);
  let signature: string;
  try {
    signature = new Webhook(secret).sign(id, moment, body);
  } catch {
    throw new CartRejectedError('the signing secret cannot be read: it must look like whsec_… (base64)', {
      scope: 'cart',
    });
  }
  return { 'webhook-id': id, 'webhook-timestamp': String(Math.floor(nowMs / 1000)), 'webhook-signature': signature };
}

export type WebhookVerdict =
  | { readonly valid: true; readonly id: string; readonly sentAtMs: number }
  | { readonly valid: false; readonly reason: string };

/**
 * Checks an incoming webhook before anything of it is read.
 * @param headers as Node gives them: lower-case names
 * @param rawBody the bytes as received; a parsed and re-written body would not fit the signature
 * @param secret `whsec_` and base64
 */
export function verifyWebhook(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  rawBody: Buffer,
  secret: string,
  nowMs: number = Date.now(),
): WebhookVerdict {
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map(
    (name) => headers[name],
  );
  if (typeof id !== 'string' || typeof timestamp !== 'string' || typeof signatures !== 'string' || id === '') {
    return { valid: false, reason: 'the headers webhook-id, webhook-timestamp and webhook-signature are needed' };
  }
  const sentAtMs = /^\d{1,11}$/.test(timestamp) ? Number(timestamp) * 1000 : Number.NaN;
  if (!(Math.abs(nowMs - sentAtMs) <= TOLERANCE_MS))
    return { valid: false, reason: 'webhook-timestamp is more than five minutes from now' };
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  // An empty key would let anybody sign.
  if (key.length === 0) return { valid: false, reason: 'no signing secret is set for this cart' };
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(rawBody).digest();
  const fits = signatures.split(' ').some((entry) => {
    const given = Buffer.from(entry.startsWith('v1,') ? entry.slice('v1,'.length) : '', 'base64');
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
  return fits ? { valid: true, id, sentAtMs } : { valid: false, reason: 'no signature fits the body' };
}

export type OrderWebhook = { readonly order: CartOrder } | { readonly problem: string };

/** Reads a verified `order.updated` body. */
export function parseOrderWebhook(rawBody: Buffer): OrderWebhook {
  let data: unknown;
  try {
    data = JSON.parse(rawBody.toString('utf8'));
  } catch {
    return { problem: 'the body is not JSON' };
  }
  const parsed = orderWebhook.safeParse(data);
  return parsed.success ? { order: parsed.data.data } : { problem: firstProblem(parsed.error) };
}

/**
 * One answer per key that was sent, in that order. A line that the cart left out, or told twice with different words,
 * is `unknown`: it will be resent under the same key.
 */
export function parseLineAnswers(body: string, keys: readonly string[], secrets: readonly string[]): LineAnswer[] {
  const { lines } = parseAnswer(lineAnswers, body);
  const told = new Map<string, LineAnswer>();
  for (const line of lines) {
    const response = answerText(line.message ?? line.status, secrets);
    const answer: LineAnswer =
      line.status === 'applied' || line.status === 'stale'
        ? { key: line.key, outcome: line.status, quantity: line.quantity ?? null, response }
        : { key: line.key, outcome: line.status, response };
    const before = told.get(line.key);
    const contradicts = before !== undefined && JSON.stringify(before) !== JSON.stringify(answer);
    told.set(
      line.key,
      contradicts ? { key: line.key, outcome: 'unknown', response: 'the answer names this item twice' } : answer,
    );
  }
  return keys.map(
    (key) => told.get(key) ?? { key, outcome: 'unknown', response: 'the answer does not name this item' },
  );
}

/** @throws OutcomeUnknownError where the answer is not what the protocol says */
export function parseAnswer<Schema extends z.ZodType>(schema: Schema, body: string): z.infer<Schema> {
  let data: unknown;
  try {
    data = JSON.parse(body);
  } catch {
    throw new OutcomeUnknownError('the answer is not JSON');
  }
  const parsed = schema.safeParse(data);
  if (!parsed.success)
    throw new OutcomeUnknownError(`the answer is not what the protocol says: ${firstProblem(parsed.error)}`);
  return parsed.data;
}

/** Statuses by which a receiver refuses a call before it touches stock; every other one but 200 proves nothing. */
const REFUSING_STATUSES: ReadonlySet<number> = new Set([400, 409, 413, 415, 422]);
/** Among those, the ones that no other request would escape: a wrong address or a secret that does not fit. */
const CLOSED_STATUSES: ReadonlySet<number> = new Set([301, 307, 308, 401, 403, 404, 405, 410]);

/** @throws CartRejectedError or OutcomeUnknownError for every status but 200 */
export function refuseStatus(status: number, body: string, secrets: readonly string[]): void {
  if (status === 200) return;
  const hint = status >= 300 && status < 400 ? ' (redirects are not followed: enter the final address)' : '';
  const response = answerText(`HTTP ${status}${hint}: ${body}`, secrets);
  if (CLOSED_STATUSES.has(status)) throw new CartRejectedError(response, { scope: 'cart' });
  throw REFUSING_STATUSES.has(status) ? new CartRejectedError(response) : new OutcomeUnknownError(response);
}

function firstProblem(error: z.ZodError): string {
  const issue = error.issues[0];
  if (!issue) return 'unreadable';
  const place = issue.path.map(String).join('.');
  return answerText(place === '' ? issue.message : `${place}: ${issue.message}`, []);
}
