import type { CallContext, CartConnection, ConnectionReport, Connector, OrderPage } from './connector.js';
import { answerText } from './answer-text.js';
import {
  readSignedQuantities,
  sendSignedDeltas,
  setSignedQuantities,
  setSignedVisibility,
  signedCall,
} from './signed-call.js';
import { ordersListAnswer, parseAnswer, pingAnswer, readableOrder, stockReadAnswer } from './webhook-protocol.js';

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
    flags: ['hide', 'backorder'],
  },
  deliveryWays: ['idempotency-key', 'compare-and-set', 'set-only'],
  testConnection,
  sendDeltas: sendSignedDeltas,
  setQuantities: setSignedQuantities,
  setVisibility: setSignedVisibility,
  readQuantities: readSignedQuantities,
  readOrders,
};

async function testConnection(cart: CartConnection, call: CallContext): Promise<ConnectionReport> {
  const { version } = parseAnswer(pingAnswer, await signedCall(cart, call, 'ping', {}));
  const page = parseAnswer(stockReadAnswer, await signedCall(cart, call, 'stock.read', { keys: null, cursor: null }));
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

async function readOrders(cart: CartConnection, since: string | null, call: CallContext): Promise<OrderPage> {
  const { orders, mark } = parseAnswer(ordersListAnswer, await signedCall(cart, call, 'orders.list', { since }));
  return { orders: orders.map(readableOrder), mark };
}
