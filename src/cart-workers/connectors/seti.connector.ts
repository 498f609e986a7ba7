import type { UpdateForm } from '../../events/facts.js';
import { answerText } from './answer-text.js';
import { CartError } from './cart-error.js';
import type {
  CallContext,
  CartConnection,
  ConnectionReport,
  Connector,
  DeltaRequest,
  FunctionReport,
  LineAnswer,
  UpdatesReport,
} from './connector.js';
import { ask } from './seti-call.js';
import { markOfDay, ordersReport, readOrders } from './seti-orders.js';
import {
  deltaUpdate,
  parseDeltaAnswer,
  parseNamedValue,
  parseReplaceAnswer,
  replaceUpdate,
  setiCannotSay,
} from './seti-protocol.js';
import { readPage, readQuantities } from './seti-listing.js';
import { parseOrders, parseQuantities } from './seti-xml.js';

/**
 * A cart with a Stone Edge (SETI) script inside. It takes one relative change a call, has no idempotency key and loses
 * updates that run side by side, so the worker sends one call at a time and settles every doubt by reading.
 */
export const setiConnector: Connector = {
  type: 'seti',
  label: 'Stone Edge script (SETI)',
  fields: [
    {
      name: 'url',
      label: 'Script URL',
      help: 'The full address of the script inside the shop.',
      required: true,
      secret: false,
    },
    { name: 'username', label: 'User', help: 'The user that the script accepts.', required: true, secret: false },
    { name: 'secret', label: 'Password', help: 'The password of that user.', required: true, secret: true },
    {
      name: 'storeCode',
      label: 'Store code',
      help: 'Only for shops that hold several stores; may stay empty.',
      required: false,
      secret: false,
    },
  ],
  capabilities: {
    delivery: 'settlement',
    linesPerDeliveryMax: 1,
    rowsPerSetMax: 100,
    parallelCallsMax: 1,
    keyLifeMs: null,
    quietTimeMs: 60_000,
    replyTellsQuantity: true,
    clampsAtZero: false,
    orders: 'poll',
    stockMovesAt: 'order',
    restocksOnCancel: false,
    canRead: true,
    tildeInKeys: false,
  },
  // Some scripts set on `invupdate`: those can only be told absolute quantities, by `qohreplace`.
  deliveryWays: ['settlement', 'set-only'],
  marksAreOrderNumbers: true,
  probe: { updates: updatesReport, functions, orders: ordersReport },
  testConnection,
  sendDeltas,
  setQuantities,
  readQuantities,
  markOfDay,
  readOrders,
};

async function testConnection(cart: CartConnection, call: CallContext): Promise<ConnectionReport> {
  const version = parseNamedValue(await ask(cart, call, 'sendversion', {}, 'read'), 'version');
  const text = await ask(cart, call, 'ordercount', { lastorder: 'All', lastdate: 'All' }, 'read');
  const count = parseNamedValue(text, 'ordercount');
  const page = await readPage(cart, call, { start: 1 });
  const sample = page.rows[0];
  return {
    version: answerText(version, [cart.secret]),
    findings: [
      `The script answered with version ${answerText(version, [cart.secret])}.`,
      `The login was accepted; the shop counts ${answerText(count, [cart.secret])} orders.`,
      sample
        ? `Reading works: the first of ${page.rows.length} items is ${sample.key} with ${sample.quantity ?? 'no tracked'} pieces.`
        : 'Reading works, but the shop lists no items.',
    ],
  };
}

/** Everything that changes nothing, and setting an item that no shop has. */
const FUNCTIONS: readonly { readonly name: string; readonly fields: Readonly<Record<string, string>> }[] = [
  { name: 'ordercount', fields: { lastorder: 'All', lastdate: 'All' } },
  { name: 'downloadorders', fields: { lastorder: 'All', lastdate: 'All', startnum: '1', batchsize: '1' } },
  { name: 'getproductscount', fields: {} },
  { name: 'downloadprods', fields: { startnum: '1', batchsize: '1' } },
  { name: 'downloadqoh', fields: { startnum: '1', batchsize: '1' } },
];
const noSuchRow = { key: 'ONHAND-PROBE-NO-SUCH-ITEM', quantity: 0 };

async function functions(cart: CartConnection, call: () => CallContext): Promise<readonly FunctionReport[]> {
  const reports: FunctionReport[] = [];
  const replace = { name: 'qohreplace', fields: replaceUpdate(formOf(cart), [noSuchRow]) };
  for (const { name, fields } of [...FUNCTIONS, replace]) {
    try {
      const text = await ask(cart, call(), name, fields, 'read');
      reports.push({ name, answered: isAnswerOf(name, text), response: answerText(text, [cart.secret]) });
    } catch (error) {
      if (!(error instanceof CartError)) throw error;
      reports.push({ name, answered: false, response: error.response });
    }
  }
  return reports;
}

/** Something that can be read as this function's answer; a page of a shop's own is HTTP 200, too. */
function isAnswerOf(name: string, text: string): boolean {
  try {
    if (name === 'downloadorders') parseOrders(text);
    else if (name === 'downloadprods' || name === 'downloadqoh') parseQuantities(text);
    else if (name === 'qohreplace') parseReplaceAnswer(text);
    else parseNamedValue(text, name === 'ordercount' ? 'ordercount' : 'itemcount');
    return true;
  } catch (error) {
    if (error instanceof CartError) return false;
    throw error;
  }
}

const formOf = ({ updates = 'plain' }: CartConnection) => updates;

/**
 * A script that takes documents only cannot read a pair, and gives no answer to it; most take pairs, and some take both.
 * So a document is tried only where a pair was not understood, and believed only where it was.
 */
async function updatesReport(cart: CartConnection, call: () => CallContext, noSuchKey: string): Promise<UpdatesReport> {
  const tried = async (updates: UpdateForm) => {
    const request = { idempotencyKey: '', createdAtMs: 0, lines: [{ key: noSuchKey, delta: 1 }] };
    try {
      const [answer] = await sendDeltas({ ...cart, updates }, request, call());
      return { understood: answer?.outcome !== 'unknown', response: answer?.response ?? '' };
    } catch (error) {
      if (error instanceof CartError) return { understood: false, response: error.response };
      throw error;
    }
  };
  const plain = await tried('plain');
  if (plain.understood) return { form: 'plain', saw: plain.response };
  const document = await tried('xml');
  return { form: document.understood ? 'xml' : 'plain', saw: `${plain.response}; as XML: ${document.response}` };
}

/** One `invupdate`. Whatever is not a clear yes or no is `unknown`: an error of the script has been seen on applied changes. */
async function sendDeltas(
  cart: CartConnection,
  request: DeltaRequest,
  call: CallContext,
): Promise<readonly LineAnswer[]> {
  const [line, ...more] = request.lines;
  if (!line) return [];
  if (more.length > 0) throw new RangeError('SETI takes one line a delivery');
  const reason = setiCannotSay(line.key, cart);
  if (reason !== null) return [{ key: line.key, outcome: 'rejected', response: reason }];
  const text = await ask(cart, call, 'invupdate', { update: deltaUpdate(formOf(cart), line.key, line.delta) }, 'write');
  return [{ key: line.key, response: answerText(text, [cart.secret]), ...parseDeltaAnswer(text, line.key) }];
}

async function setQuantities(
  cart: CartConnection,
  request: Parameters<Connector['setQuantities']>[1],
  call: CallContext,
): Promise<readonly LineAnswer[]> {
  const cannotSay = (key: string) => setiCannotSay(key, cart);
  const sayable = request.rows.filter(({ key }) => cannotSay(key) === null);
  const outcomes =
    sayable.length === 0
      ? new Map<string, never>()
      : parseReplaceAnswer(await ask(cart, call, 'qohreplace', replaceUpdate(formOf(cart), sayable), 'write'));
  return request.rows.map(({ key, quantity }): LineAnswer => {
    const reason = cannotSay(key);
    if (reason !== null) return { key, outcome: 'rejected', response: reason };
    const answer = outcomes.get(key.trim());
    if (!answer) return { key, outcome: 'unknown', response: 'the answer does not name this SKU' };
    // The reply tells no quantity; an accepted absolute value is the quantity.
    if (answer.outcome === 'applied') return { key, outcome: 'applied', quantity, response: 'OK' };
    return { key, outcome: answer.outcome, response: answer.outcome };
  });
}
