import { randomUUID } from 'node:crypto';

import type {
  CallContext,
  CartConnection,
  ConnectionReport,
  Connector,
  DeltaRequest,
  LineAnswer,
  OrderPage,
  QuantityRow,
} from './connector.js';
import { OutcomeUnknownError } from './cart-error.js';
import { answerText } from './answer-text.js';
import { httpCall } from './http-call.js';
import {
  ordersListAnswer,
  readableOrder,
  parseAnswer,
  parseLineAnswers,
  pingAnswer,
  refuseStatus,
  stockReadAnswer,
  webhookBody,
  webhookHeaders,
  type WebhookCallType,
} from './webhook-protocol.js';

/**
 * A cart, or anything else, that takes our own signed webhooks. It remembers idempotency keys, so a delivery whose
 * answer was lost is simply sent again.
 */
export const webhookConnector: Connector = {
  type: 'webhook',
  label: 'Signed webhook',
  fields: [
    { name: 'url', label: 'Webhook URL', help: 'Where stock changes are posted.', required: true, secret: false },
    {
      name: 'secret',
      label: 'Signing secret',
      help: 'whsec_… as in Standard Webhooks; both sides sign with it.',
      required: true,
      secret: true,
    },
  ],
  capabilities: {
    delivery: 'idempotency-key',
    linesPerDeliveryMax: 100,
    rowsPerSetMax: 100,
    parallelCallsMax: 4,
    keyLifeMs: 24 * 60 * 60_000,
    quietTimeMs: 60_000,
    replyTellsQuantity: true,
    clampsAtZero: false,
    orders: 'webhook',
    stockMovesAt: 'order',
    restocksOnCancel: true,
    canRead: true,
  },
  deliveryWays: ['idempotency-key', 'compare-and-set', 'set-only'],
  testConnection,
  sendDeltas,
  setQuantities,
  readQuantities,
  readOrders,
};

const KEYS_PER_READ_MAX = 500;
const PAGES_MAX = 10_000;

async function testConnection(cart: CartConnection, call: CallContext): Promise<ConnectionReport> {
  const { version } = parseAnswer(pingAnswer, await post(cart, call, 'ping', {}));
  const page = parseAnswer(stockReadAnswer, await post(cart, call, 'stock.read', { keys: null, cursor: null }));
  const sample = page.rows[0];
  const shown = answerText(version, [cart.secret]);
  return {
    version: shown,
    findings: [
      `The signature was accepted; the receiver answered with version ${shown}.`,
      sample
        ? `Reading works: the first of ${page.rows.length} items is ${sample.key} with ${sample.quantity ?? 'no tracked'} pieces.`
        : 'Reading works, but the receiver lists no items.',
    ],
  };
}

async function sendDeltas(
  cart: CartConnection,
  request: DeltaRequest,
  call: CallContext,
): Promise<readonly LineAnswer[]> {
  const lines = request.lines.map(({ key, delta, from }) => ({ key, delta, from }));
  const answer = await post(cart, call, 'stock.adjust', { lines }, request);
  return parseLineAnswers(
    answer,
    lines.map(({ key }) => key),
    [cart.secret],
  );
}

async function setQuantities(
  cart: CartConnection,
  request: Parameters<Connector['setQuantities']>[1],
  call: CallContext,
): Promise<readonly LineAnswer[]> {
  const lines = request.rows.map(({ key, quantity }) => ({ key, quantity }));
  const answer = await post(cart, call, 'stock.set', { lines }, request);
  return parseLineAnswers(
    answer,
    lines.map(({ key }) => key),
    [cart.secret],
  );
}

/** Pages end with `nextCursor: null`; a cursor that comes again would never end and is an error. */
async function* readQuantities(
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
        await post(cart, call(page), 'stock.read', data),
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

async function readOrders(cart: CartConnection, since: string | null, call: CallContext): Promise<OrderPage> {
  const { orders, mark } = parseAnswer(ordersListAnswer, await post(cart, call, 'orders.list', { since }));
  return { orders: orders.map(readableOrder), mark };
}

/**
 * One signed call. A change carries its delivery's key and birth, so a resend has the same body; a read carries its own.
 * @returns the body of a 200
 */
async function post(
  cart: CartConnection,
  call: CallContext,
  type: WebhookCallType,
  data: unknown,
  delivery: { readonly idempotencyKey: string; readonly createdAtMs: number } = {
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

function* chunks<Item>(items: readonly Item[], size: number): Iterable<readonly Item[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
