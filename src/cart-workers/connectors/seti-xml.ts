import { XMLParser } from 'fast-xml-parser';

import { CartRejectedError, OutcomeUnknownError } from './cart-error.js';
import type { CartOrder, QuantityRow } from './connector.js';
import { accessDenied, refuseSetiError, wholeNumber } from './seti-protocol.js';

/**
 * The XML side of the SETI protocol: `downloadqoh` and `downloadorders`.
 *
 * What is relied on, as public scripts write it: a root `SETIProducts` or `SETIOrders` with `Response/ResponseCode`
 * (1 data, 2 none, 3 error); `Product/Code` and `Product/QOH`; `Order/OrderNumber`, `OrderDate`, `OrderStatus` (often
 * missing) and `Shipping/Product` with `SKU` (or `Code`), `Name`, `Quantity` and, in some, `LineID`. Everything else
 * of an order (addresses, payments, totals) is not read: it is no business of an inventory hub.
 */
export interface SetiPage<Row> {
  readonly rows: readonly Row[];
  /** The cart said that there is nothing (more): ResponseCode 2. */
  readonly ended: boolean;
}

type Xml = string | { readonly [name: string]: Xml | readonly Xml[] | undefined };

const parser = new XMLParser({
  ignoreAttributes: true,
  ignoreDeclaration: true,
  ignorePiTags: true,
  // Values stay text: "007" is a SKU, not a number.
  parseTagValue: false,
  trimValues: true,
  // Numeric references (&#233;) belong to XML; the option that decodes them is named after HTML.
  htmlEntities: true,
  isArray: (name) => ['Product', 'Order', 'Shipping'].includes(name),
});

/** Reads a page of `downloadqoh`, XML or the older tab-separated list. A quantity of null: not tracked. */
export function parseQuantities(text: string): SetiPage<QuantityRow> {
  const trimmed = text.replace(/^\uFEFF/, '').trim();
  if (/^SETIProducts\s*(?:\r?\n|$)/i.test(trimmed)) return { rows: tabSeparated(trimmed), ended: true };
  const { root, ended } = readRoot(trimmed, 'SETIProducts');
  const rows = children(root['Product']).flatMap((product) => {
    const key = textOf(product['Code'] ?? product['SKU'] ?? product['Sku']);
    const productId = textOf(product['WebID']);
    const quantity = key === '' ? null : trackedQuantity(textOf(product['QOH']), key);
    return key === '' ? [] : [{ key, quantity, ...(productId !== '' && { productId }) }];
  });
  return { rows, ended };
}

/** Reads a page of `downloadorders`, in the cart's order. */
export function parseOrders(text: string): SetiPage<CartOrder> {
  const { root, ended } = readRoot(text.replace(/^\uFEFF/, '').trim(), 'SETIOrders');
  return { rows: children(root['Order']).map(parseOrder), ended };
}

function parseOrder(order: Exclude<Xml, string>): CartOrder {
  const number = textOf(order['OrderNumber']);
  if (number === '') throw new OutcomeUnknownError('an order without OrderNumber cannot be read');
  const products = [
    ...children(order['Shipping']).flatMap((shipping) => children(shipping['Product'])),
    ...children(order['Product']),
  ];
  const lineIds = products.map((product) => textOf(product['LineID']));
  // LineID is used only where it tells the lines apart; otherwise their position does.
  const named = lineIds.every((id) => id !== '') && new Set(lineIds).size === lineIds.length;
  let unreadable: string | undefined;
  const lines = products.flatMap((product, index) => {
    // One script in public writes "Sku"; read as no SKU, its sales would be taken for fees.
    const key = textOf(product['SKU'] ?? product['Sku'] ?? product['Code']);
    // A line without SKU is a fee, a coupon or a gift wrap: it holds no stock.
    if (key === '') return [];
    const quantity = wholeNumber(textOf(product['Quantity']));
    if (quantity === null || quantity < 0) {
      unreadable ??= `"${textOf(product['Quantity'])}" of ${key} is not a whole number of pieces`;
      return [];
    }
    return [
      { line: named ? (lineIds[index] ?? '') : String(index + 1), key, quantity, title: textOf(product['Name']) },
    ];
  });
  return {
    number,
    revision: 0,
    placedAt: parseSetiDate(textOf(order['OrderDate'])),
    state: orderState(textOf(order['OrderStatus'])),
    ...(unreadable === undefined ? { lines } : { lines: [], unreadable }),
  };
}

/** Carts have their own words for states; only the clear ones are believed, the rest is open. */
function orderState(status: string): CartOrder['state'] {
  if (/^(?:order )?(?:cancell?ed|void(?:ed)?)$/i.test(status)) return 'cancelled';
  if (/^(?:order )?(?:shipped|completed?)$/i.test(status)) return 'shipped';
  if (/^(?:order )?closed$/i.test(status)) return 'closed';
  return 'open';
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];

/**
 * `08-May-2015 10:32:40 AM`, `10/Jun/2003`, `Jun/10/2003 00:00:00` or `2003-06-10 12:00:00` as ISO 8601. The protocol
 * has no time zone; it is read as UTC, which is what the official script for Magento writes. null where unreadable.
 */
export function parseSetiDate(text: string): string | null {
  const match = /^(\w{1,4})[-/ ](\w{1,3})[-/ ](\w{1,4})(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(AM|PM)?)?/i.exec(
    text.trim(),
  );
  if (!match) return null;
  const parts = dateParts([match[1] ?? '', match[2] ?? '', match[3] ?? '']);
  const half = match[7]?.toUpperCase();
  const clock = Number(match[4] ?? 0);
  if (half && (clock < 1 || clock > 12)) return null;
  const hour = half ? (clock % 12) + (half === 'PM' ? 12 : 0) : clock;
  if (!parts || hour > 23) return null;
  const moment = new Date(
    Date.UTC(parts.year, parts.month, parts.day, hour, Number(match[5] ?? 0), Number(match[6] ?? 0)),
  );
  return moment.getUTCMonth() === parts.month && moment.getUTCDate() === parts.day ? moment.toISOString() : null;
}

function dateParts([first, second, third]: readonly [string, string, string]): {
  year: number;
  month: number;
  day: number;
} | null {
  const named = (text: string): number => MONTHS.indexOf(text.toLowerCase());
  const [year, month, day] = /^\d{4}$/.test(first)
    ? [first, /^\d+$/.test(second) ? Number(second) - 1 : named(second), third]
    : named(first) >= 0
      ? [third, named(first), second]
      : [third, named(second), first];
  if (!/^\d{4}$/.test(year) || !/^\d{1,2}$/.test(day) || month < 0 || month > 11) return null;
  return { year: Number(year), month, day: Number(day) };
}

function readRoot(text: string, name: 'SETIProducts' | 'SETIOrders'): { root: Exclude<Xml, string>; ended: boolean } {
  refuseSetiError(text, false);
  // Own entities are the way to attack an XML reader, and no script needs them.
  if (/<!\s*(?:DOCTYPE|ENTITY)/i.test(text))
    throw new OutcomeUnknownError('the answer declares a DOCTYPE, which is not read');
  if (!new RegExp(`</\\s*${name}\\s*>\\s*$|<${name}\\s*/>\\s*$`).test(text))
    throw new OutcomeUnknownError(`the answer is no complete ${name} document`);
  let document: Xml;
  try {
    document = parser.parse(text) as Xml;
  } catch (cause) {
    throw new OutcomeUnknownError(`the ${name} document cannot be read`, { cause });
  }
  const root = typeof document === 'string' ? undefined : document[name];
  if (root === undefined || typeof root === 'string' || Array.isArray(root))
    throw new OutcomeUnknownError(`the answer is no ${name} document`);
  const response = children((root as Exclude<Xml, string>)['Response'])[0] ?? {};
  const code = textOf(response['ResponseCode']);
  if (code === '3') {
    const words = textOf(response['ResponseDescription']);
    if (accessDenied(words)) throw new CartRejectedError(words, { scope: 'cart' });
    throw new CartRejectedError(`the cart answered an error: ${words}`);
  }
  if (code !== '1' && code !== '2') throw new OutcomeUnknownError(`the answer has the unknown ResponseCode "${code}"`);
  return { root: root as Exclude<Xml, string>, ended: code === '2' };
}

/** Rows of `id TAB code TAB quantity` or `code TAB quantity`, closed by SETIEndOfData. */
function tabSeparated(text: string): QuantityRow[] {
  const lines = text.split(/\r?\n/);
  const end = lines.findIndex((line) => /^SETIEndOfData\s*$/i.test(line));
  if (end < 0) throw new OutcomeUnknownError('the list of products is not complete');
  return lines.slice(1, end).flatMap((line) => {
    const fields = line.split('\t').map((field) => field.trim());
    const key = fields.at(-2) ?? '';
    const productId = fields.length > 2 ? (fields[0] ?? '') : '';
    const quantity = key === '' ? null : trackedQuantity(fields.at(-1) ?? '', key);
    return key === '' ? [] : [{ key, quantity, ...(productId !== '' && { productId }) }];
  });
}

function trackedQuantity(text: string, key: string): number | null {
  if (text === '' || text.toUpperCase() === 'NA') return null;
  const quantity = wholeNumber(text);
  if (quantity === null) throw new OutcomeUnknownError(`"${text}" of ${key} is not a whole number of pieces`);
  return quantity;
}

function children(value: Xml | readonly Xml[] | undefined): Exclude<Xml, string>[] {
  const all = (Array.isArray(value) ? value : [value]) as readonly (Xml | undefined)[];
  return all.filter((child): child is Exclude<Xml, string> => typeof child === 'object');
}

function textOf(value: Xml | readonly Xml[] | undefined): string {
  // &#0; and its like, and halves of surrogate pairs, are no text that could be kept and shown.
  return typeof value === 'string' ? value.replaceAll(/[\p{Cc}\p{Cs}]/gu, '').trim() : '';
}
