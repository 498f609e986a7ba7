import { answerText } from './answer-text.js';
import { CartError, CartRejectedError, OutcomeUnknownError } from './cart-error.js';
import type {
  CallContext,
  CartConnection,
  ConnectionReport,
  Connector,
  DeltaRequest,
  FunctionReport,
  LineAnswer,
  QuantityRow,
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
import { parseOrders, parseQuantities, type SetiPage } from './seti-xml.js';

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
  probe: { functions, orders: ordersReport },
  testConnection,
  sendDeltas,
  setQuantities,
  readQuantities,
  markOfDay,
  readOrders,
};

const ITEMS_PER_PAGE = 250;
/** Enough for two and a half million items; a script that ignores paging cannot keep a worker for ever. */
const PAGES_MAX = 10_000;
/** Passes over a listing whose pages have no fixed order. */
const PASSES_MAX = 6;

async function testConnection(cart: CartConnection, call: CallContext): Promise<ConnectionReport> {
  const version = parseNamedValue(await ask(cart, call, 'sendversion', {}, 'read'), 'version');
  const text = await ask(cart, call, 'ordercount', { lastorder: 'All', lastdate: 'All' }, 'read');
  const count = parseNamedValue(text, 'ordercount');
  const page = await readPage(cart, call, 1);
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
  { name: 'qohreplace', fields: { count: '1', update: 'ONHAND-PROBE-NO-SUCH-ITEM~0|' } },
];

async function functions(cart: CartConnection, call: () => CallContext): Promise<readonly FunctionReport[]> {
  const reports: FunctionReport[] = [];
  for (const { name, fields } of FUNCTIONS) {
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

/** One `invupdate`. Whatever is not a clear yes or no is `unknown`: an error of the script has been seen on applied changes. */
async function sendDeltas(
  cart: CartConnection,
  request: DeltaRequest,
  call: CallContext,
): Promise<readonly LineAnswer[]> {
  const [line, ...more] = request.lines;
  if (!line) return [];
  if (more.length > 0) throw new RangeError('SETI takes one line a delivery');
  const reason = setiCannotSay(line.key, cart.tildeInKeys === true);
  if (reason !== null) return [{ key: line.key, outcome: 'rejected', response: reason }];
  const text = await ask(cart, call, 'invupdate', { update: deltaUpdate(line.key, line.delta) }, 'write');
  return [{ key: line.key, response: answerText(text, [cart.secret]), ...parseDeltaAnswer(text, line.key) }];
}

async function setQuantities(
  cart: CartConnection,
  request: Parameters<Connector['setQuantities']>[1],
  call: CallContext,
): Promise<readonly LineAnswer[]> {
  const cannotSay = (key: string) => setiCannotSay(key, cart.tildeInKeys === true);
  const sayable = request.rows.filter(({ key }) => cannotSay(key) === null);
  const outcomes =
    sayable.length === 0
      ? new Map<string, never>()
      : parseReplaceAnswer(await ask(cart, call, 'qohreplace', replaceUpdate(sayable), 'write'));
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

/**
 * `downloadqoh`, page by page, as often as it takes. Scripts page without a stable order: a page may repeat rows of the
 * one before, and then others came nowhere. So where rows were repeated, or a key that is wanted did not come, everything
 * is read again, until a whole pass brings nothing new.
 */
async function* readQuantities(
  cart: CartConnection,
  keys: readonly string[] | null,
  call: (page: number) => CallContext,
): AsyncGenerator<readonly QuantityRow[]> {
  const wanted = keys === null ? null : new Set(keys);
  const seen = new Set<string>();
  const found = () => wanted !== null && [...wanted].every((key) => seen.has(key));
  let pages = 0;
  for (let pass = 0; pass < PASSES_MAX; pass += 1) {
    const seenBefore = seen.size;
    let repeated = false;
    for await (const page of onePass(cart, () => call((pages += 1) - 1))) {
      for (const { key } of page.rows) seen.add(key);
      repeated ||= page.repeated;
      const told = wanted === null ? page.rows : page.rows.filter(({ key }) => wanted.has(key));
      if (told.length > 0) yield told;
      if (found()) return;
    }
    if (seen.size === seenBefore || !(repeated || wanted !== null)) return;
  }
}

interface ReadPage {
  readonly rows: readonly QuantityRow[];
  /** Rows of an earlier page came again, so some may have come nowhere. */
  readonly repeated: boolean;
}

/**
 * Everything once. Some scripts cap the page below what was asked, so the next page starts behind the rows that really
 * came; the end is a page that brings nothing new, since some ignore paging and tell everything each time.
 */
async function* onePass(cart: CartConnection, call: () => CallContext): AsyncGenerator<ReadPage> {
  const seen = new Set<string>();
  let first: string | undefined;
  let start = 1;
  for (let number = 0; number < PAGES_MAX; number += 1) {
    const { rows, ended } = await readPage(cart, call(), start);
    const ignoresPaging = number === 1 && rows[0] !== undefined && rows[0].key === first && rows.length === seen.size;
    first ??= rows[0]?.key;
    const repeated = !ignoresPaging && rows.some(({ key }) => seen.has(key));
    const seenBefore = seen.size;
    for (const { key } of rows) seen.add(key);
    yield { rows, repeated };
    if (ended || seen.size === seenBefore) return;
    start += rows.length;
  }
  throw new OutcomeUnknownError(`the cart told more than ${PAGES_MAX} pages of items`);
}

/** A script without `downloadqoh` often tells the quantities with its products, in the same fields of XML. */
async function readPage(cart: CartConnection, call: CallContext, start: number): Promise<SetiPage<QuantityRow>> {
  const paging = { startnum: String(start), batchsize: String(ITEMS_PER_PAGE) };
  try {
    return parseQuantities(await ask(cart, call, 'downloadqoh', paging, 'read'));
  } catch (error) {
    if (!(error instanceof CartRejectedError && isNoSuchFunction(error.response))) throw error;
  }
  const text = await ask(cart, call, 'downloadprods', paging, 'read');
  // The older list with tabs has other columns there, and no script says which.
  if (!/^\uFEFF?\s*</.test(text))
    throw new CartRejectedError('the script has no downloadqoh, and its downloadprods is no XML');
  return parseQuantities(text);
}

/** In the words of the scripts that were read: a function they do not have is an error with its name in it. */
const isNoSuchFunction = (response: string) =>
  /^SETIError:/i.test(response) &&
  /downloadqoh/i.test(response) &&
  /not\s+(?:was\s+)?(?:found|support|implement)|unknown|no support/i.test(response);
