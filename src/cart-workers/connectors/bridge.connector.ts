import { z } from 'zod';

import { answerText } from './answer-text.js';
import type { CallContext, CartConnection, ConnectionReport, Connector, OrderPage } from './connector.js';
import {
  readSignedQuantities,
  sendSignedDeltas,
  setSignedQuantities,
  setSignedVisibility,
  signedCall,
} from './signed-call.js';
import { ordersListAnswer, parseAnswer, readableOrder } from './webhook-protocol.js';

/** A day less than the bridge keeps them, so that nobody relies on a key that is about to go. */
const KEY_LIFE_MS = 7 * 24 * 60 * 60_000;

/**
 * Shops that have no way in for stock, and our bridge inside (`bridge/`): one PHP file beside the shop. It speaks the
 * calls of the signed webhook and keeps the idempotency key with the stock change, so a lost answer is asked for again.
 * Its orders are polled; with each page it says whether a checkout is under way.
 */
export const osCommerceConnector = bridgeConnector({
  type: 'oscommerce',
  label: 'osCommerce, CE Phoenix, Zen Cart (our bridge)',
  file: 'onhand-oscommerce.php',
  // Cancelling is a status like any other there; pieces go back only where an order is deleted with "restock".
  restocksOnCancel: false,
});

export const xCartConnector = bridgeConnector({
  type: 'x-cart',
  label: 'X-Cart (our bridge)',
  file: 'onhand-x-cart.php',
  restocksOnCancel: true,
});

function bridgeConnector(shop: {
  readonly type: string;
  readonly label: string;
  readonly file: string;
  readonly restocksOnCancel: boolean;
}): Connector {
  return {
    type: shop.type,
    label: shop.label,
    fields: [
      {
        name: 'url',
        label: 'Bridge URL',
        help: `The address of ${shop.file} beside your shop.`,
        required: true,
        secret: false,
      },
      {
        name: 'secret',
        label: 'Code',
        help: 'The code that the bridge showed and that stands in its settings: whsec_…',
        required: true,
        secret: true,
      },
    ],
    capabilities: {
      delivery: 'idempotency-key',
      linesPerDeliveryMax: 100,
      rowsPerSetMax: 100,
      parallelCallsMax: 2,
      keyLifeMs: KEY_LIFE_MS,
      quietTimeMs: 60_000,
      replyTellsQuantity: true,
      clampsAtZero: false,
      orders: 'poll',
      stockMovesAt: 'order',
      restocksOnCancel: shop.restocksOnCancel,
      // osCommerce and X-Cart 5 do; X-Cart 4 does not, and is read once too often.
      checkoutOverwrites: true,
      canRead: true,
      flags: ['hide'],
    },
    deliveryWays: ['idempotency-key', 'compare-and-set', 'set-only'],
    testConnection,
    sendDeltas: sendSignedDeltas,
    setQuantities: setSignedQuantities,
    setVisibility: setSignedVisibility,
    readQuantities: readSignedQuantities,
    readOrders,
  };
}

const pingAnswer = z.object({
  version: z.string(),
  family: z.string(),
  shopVersion: z.string(),
  database: z.string(),
  php: z.string(),
  tables: z.array(z.object({ name: z.string(), engine: z.string(), collation: z.string() })),
  transactions: z.boolean(),
  items: z.int(),
  clockSeconds: z.number(),
  notes: z.array(z.string()),
});

const problemsAnswer = z.object({
  problems: z.array(
    z.object({
      problem: z.enum(['doubled', 'empty', 'odd', 'fraction']),
      key: z.string(),
      items: z.string(),
    }),
  ),
  nextCursor: z.string().nullable(),
});

const bridgeOrders = ordersListAnswer.extend({ complete: z.boolean(), unsettled: z.array(z.string()) });

async function testConnection(cart: CartConnection, call: CallContext): Promise<ConnectionReport> {
  const shop = parseAnswer(pingAnswer, await signedCall(cart, call, 'ping', {}));
  const shown = (text: string): string => answerText(text, [cart.secret]);
  return {
    version: shown(shop.version),
    findings: [
      `The signature was accepted. The bridge of version ${shown(shop.version)} found ${shown(shop.shopVersion)} with ${shop.items} items, on PHP ${shown(shop.php)} and ${shown(shop.database)}.`,
      `Its tables: ${shop.tables.map(({ name, engine, collation }) => shown(`${name} (${engine}, ${collation})`)).join(', ')}.`,
      shop.transactions
        ? 'Stock and key are written in one transaction: a repeated request changes nothing.'
        : 'The shop’s tables keep no transactions. A repeated request changes nothing all the same, unless the database itself dies in the middle of a statement: a comparison after a crash of the database shows it.',
      ...(await problemFindings(cart, call)),
      ...shop.notes.map(shown),
    ],
  };
}

const PROBLEM_PAGES_MAX = 20;
const PROBLEMS_SHOWN_MAX = 10;
const problemWords = {
  doubled: {
    one: 'SKU belongs to several items, so nothing is sent to them until each has its own',
    many: 'SKUs belong to several items, so nothing is sent to them until each item has its own',
  },
  empty: { one: 'item has no SKU, so it cannot be kept', many: 'items have no SKU, so they cannot be kept' },
  odd: {
    one: 'SKU has blanks around it or control characters, so it cannot be named',
    many: 'SKUs have blanks around them or control characters, so they cannot be named',
  },
  fraction: {
    one: 'item holds a fraction of a piece, and only whole pieces can be counted',
    many: 'items hold a fraction of a piece, and only whole pieces can be counted',
  },
} as const;

/** One sentence for each kind of item that cannot be kept, with the first of them by name. */
async function problemFindings(cart: CartConnection, call: CallContext): Promise<string[]> {
  const found = new Map<keyof typeof problemWords, string[]>();
  let cursor: string | null = null;
  for (let page = 0; page < PROBLEM_PAGES_MAX; page += 1) {
    const answer: z.infer<typeof problemsAnswer> = parseAnswer(
      problemsAnswer,
      await signedCall(cart, call, 'stock.problems', { cursor }),
    );
    for (const { problem, key, items } of answer.problems) {
      const names = found.get(problem) ?? [];
      names.push(answerText(key === '' ? items : `"${key}" (${items})`, [cart.secret]));
      found.set(problem, names);
    }
    cursor = answer.nextCursor;
    if (cursor === null) break;
  }
  return [...found].map(([problem, names]) => {
    const atLeast = cursor === null ? '' : 'At least ';
    const more = names.length > PROBLEMS_SHOWN_MAX ? `, and ${names.length - PROBLEMS_SHOWN_MAX} more` : '';
    return `${atLeast}${names.length} ${problemWords[problem][names.length === 1 ? 'one' : 'many']}: ${names.slice(0, PROBLEMS_SHOWN_MAX).join('; ')}${more}.`;
  });
}

async function readOrders(cart: CartConnection, since: string | null, call: CallContext): Promise<OrderPage> {
  const { orders, mark, complete, unsettled } = parseAnswer(
    bridgeOrders,
    await signedCall(cart, call, 'orders.list', { since }),
  );
  return { orders: orders.map(readableOrder), mark, complete, unsettledKeys: unsettled };
}
