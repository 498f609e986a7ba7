import { randomUUID } from 'node:crypto';

import type { CallContext, CartConnection, Connector, DeltaRequest, LineAnswer, QuantityRow } from './connector.js';
import { OutcomeUnknownError } from './cart-error.js';
import { httpCall } from './http-call.js';
import {
  parseAnswer,
  parseLineAnswers,
  refuseStatus,
  stockReadAnswer,
  webhookBody,
  webhookHeaders,
  type SignedCallType,
} from './webhook-protocol.js';

/** What the signed webhook and our bridges have in common: signed JSON calls under an idempotency key. */

const KEYS_PER_READ_MAX = 500;
const PAGES_MAX = 10_000;

/** Made when, and under which key: the same in every resend, so that it has the same bytes. */
export type SignedDelivery = Pick<DeltaRequest, 'idempotencyKey' | 'createdAtMs'>;

/**
 * One signed call. A change carries its delivery's key and birth, so a resend has the same body; a read carries its own.
 * @returns the body of a 200
 */
export async function signedCall(
  cart: CartConnection,
  call: CallContext,
  type: SignedCallType,
  data: unknown,
  delivery: SignedDelivery = {
    idempotencyKey: `read_${randomUUID()}`,
    createdAtMs: Date.now(),
  },
): Promise<string> {
  const body = webhookBody(type, delivery.createdAtMs, data);
  const answer = await httpCall({
    method: 'POST',
    url: cart.url,
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
      ...webhookHeaders(delivery.idempotencyKey, Date.now(), body, cart.secret),
    },
    body,
    deadlineMs: call.deadlineMs,
    answerTimeoutMs: cart.requestTimeoutMs,
    signal: call.signal,
    onSent: call.onSent,
    allowPrivateAddress: cart.allowPrivateAddress,
    reuseConnection: true,
  });
  const text = answer.body.toString('utf8');
  refuseStatus(answer.status, text, [cart.secret]);
  return text;
}

/** Changes lines, and reads one answer per line in the order of the request. */
export async function signedLines(
  cart: CartConnection,
  call: CallContext,
  type: SignedCallType,
  lines: readonly { readonly key: string }[],
  delivery: SignedDelivery,
): Promise<readonly LineAnswer[]> {
  const answer = await signedCall(cart, call, type, { lines }, delivery);
  return parseLineAnswers(
    answer,
    lines.map(({ key }) => key),
    [cart.secret],
  );
}

export function sendSignedDeltas(
  cart: CartConnection,
  request: DeltaRequest,
  call: CallContext,
): Promise<readonly LineAnswer[]> {
  const lines = request.lines.map(({ key, delta, from, visibility }) => ({ key, delta, from, visibility }));
  return signedLines(cart, call, 'stock.adjust', lines, request);
}

export function setSignedQuantities(
  cart: CartConnection,
  request: Parameters<Connector['setQuantities']>[1],
  call: CallContext,
): Promise<readonly LineAnswer[]> {
  const lines = request.rows.map(({ key, quantity }) => ({ key, quantity }));
  return signedLines(cart, call, 'stock.set', lines, request);
}

export function setSignedVisibility(
  cart: CartConnection,
  request: Parameters<NonNullable<Connector['setVisibility']>>[1],
  call: CallContext,
): Promise<readonly LineAnswer[]> {
  return signedLines(cart, call, 'stock.visibility', request.rows, request);
}

/** Pages end with `nextCursor: null`; a cursor that comes again would never end and is an error. */
export async function* readSignedQuantities(
  cart: CartConnection,
  keys: readonly string[] | null,
  call: (page: number) => CallContext,
): AsyncIterable<readonly QuantityRow[]> {
  let page = 0;
  for (const some of keys === null ? [null] : chunks(keys, KEYS_PER_READ_MAX)) {
    const cursors = new Set<string>();
    let cursor: string | null = null;
    do {
      const data: { keys: readonly string[] | null; cursor: string | null } = { keys: some, cursor };
      const answer: { rows: QuantityRow[]; nextCursor: string | null } = parseAnswer(
        stockReadAnswer,
        await signedCall(cart, call(page), 'stock.read', data),
      );
      if (answer.rows.length > 0) yield answer.rows;
      cursor = answer.nextCursor;
      page += 1;
      if (cursor !== null && cursors.has(cursor))
        throw new OutcomeUnknownError('the cart told the same page of items again');
      if (page >= PAGES_MAX) throw new OutcomeUnknownError(`the cart told more than ${PAGES_MAX} pages of items`);
      if (cursor !== null) cursors.add(cursor);
    } while (cursor !== null);
  }
}

function* chunks<Item>(items: readonly Item[], size: number): Iterable<readonly Item[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
