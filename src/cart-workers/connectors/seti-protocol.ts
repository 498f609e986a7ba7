import type { UpdateForm } from '../../events/facts.js';
import { CartRejectedError, OutcomeUnknownError } from './cart-error.js';

/**
 * The text side of the Stone Edge shopping-cart script protocol (SETI): form fields out, plain texts back. The XML side
 * is in `seti-xml.ts`.
 *
 * Scripts for many carts speak it, each a little differently, so reading is tolerant about form and strict about
 * meaning: whatever does not clearly say what became of the stock is `unknown`, never a guess.
 */
export interface SetiLogin {
  readonly username: string;
  readonly password: string;
  readonly storeCode: string;
}

/** The version that the desktop product sends; scripts check for its presence only. */
const ORDER_MANAGER_VERSION = '5.000';

/** What became of one line of `invupdate` or `qohreplace`. */
export type SetiOutcome =
  | { readonly outcome: 'applied'; readonly quantity: number | null }
  | { readonly outcome: 'not-found' | 'not-tracked' | 'unknown' };

/** The form of one call, in the order in which the desktop product sends its fields. */
export function setiForm(
  setifunction: string,
  login: SetiLogin | null,
  fields: Readonly<Record<string, string>> = {},
): string {
  const form = new URLSearchParams({ setifunction });
  if (login) {
    form.set('setiuser', login.username);
    form.set('password', login.password);
    form.set('code', login.storeCode);
  }
  form.set('omversion', ORDER_MANAGER_VERSION);
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  return form.toString();
}

/**
 * Why a SKU cannot be sent, or null where it can. A line break would split an answer. In a document everything else can
 * be said; in pairs `|` separates the lines of an update and cannot be escaped. A `~` divides the SKU from the number: careful scripts split at the last one, the official
 * script for Magento at the first, and so takes `TENT~2~-3` for "two more of TENT". It is sent only where a probe saw the
 * script understand it.
 */
export function setiCannotSay(
  key: string,
  {
    tildeInKeys = false,
    updates = 'plain',
  }: { readonly tildeInKeys?: boolean; readonly updates?: UpdateForm | undefined },
): string | null {
  if (key.trim() === '') return 'an empty SKU cannot be sent';
  if (key.includes('|') && updates === 'plain')
    return 'the SKU contains "|", which separates the lines of an update and cannot be sent to this cart';
  if (key.includes('~') && !tildeInKeys)
    return 'the SKU contains "~", and this script was not seen to tell it from the one before the number: it might change another item';
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(key))
    return 'the SKU contains a control character, which cannot be sent to this cart';
  return null;
}

/**
 * Public scripts read `update` as pairs of SKU and number. Two take a document in the same field, one of them nothing else;
 * both look at the `Product`s below the root, whatever that is called.
 */
export function deltaUpdate(form: UpdateForm, key: string, delta: number): string {
  return form === 'xml' ? updateDocument([{ key, quantity: delta }]) : `${key}~${delta}`;
}

export function replaceUpdate(
  form: UpdateForm,
  rows: readonly { readonly key: string; readonly quantity: number }[],
): {
  count: string;
  update: string;
} {
  const update =
    form === 'xml' ? updateDocument(rows) : rows.map(({ key, quantity }) => `${key}~${quantity}|`).join('');
  return { count: String(rows.length), update };
}

function updateDocument(rows: readonly { readonly key: string; readonly quantity: number }[]): string {
  const products = rows.map(
    ({ key, quantity }) => `<Product><SKU>${escaped(key)}</SKU><QOH>${quantity}</QOH></Product>`,
  );
  return `<SETIProducts>${products.join('')}</SETIProducts>`;
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/**
 * How a script takes a date: `10-Jun-2003` or `10/Jun/2003`, beside `lastorder=All` or without that field. Public scripts
 * differ in both: one reads the date only where `lastorder` is left out, one takes `All` anywhere for everything.
 */
export const dateAsks = ['All-', 'All/', '-', '/'] as const;
export type DateAsk = (typeof dateAsks)[number];

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** The fields that ask for orders of `day` (2003-06-10) and later; null: for all. */
export function ordersSinceFields(ask: DateAsk, day: string | null): Readonly<Record<string, string>> {
  const [year = '', month = '', date = ''] = (day ?? '').split('-');
  const lastdate = day === null ? 'All' : [date, MONTHS[Number(month) - 1], year].join(ask.slice(-1));
  return { ...((ask.startsWith('All') || day === null) && { lastorder: 'All' }), lastdate };
}

/** `SETIResponse: name=value`, as `sendversion` and `ordercount` answer. */
export function parseNamedValue(text: string, name: string): string {
  const match = new RegExp(`^SETIResponse\\s*[:=]\\s*${name}\\s*=\\s*(.+)$`, 'i').exec(
    plain(text).split('\n')[0] ?? '',
  );
  const value = match?.[1]?.trim();
  if (value === undefined) throw new OutcomeUnknownError(`expected "SETIResponse: ${name}=…"`);
  return value;
}

/**
 * Reads the answer to `invupdate`: `SETIResponse=OK;SKU=x;QOH=50;NOTE=` in its many forms.
 * "Not found" is believed even beside an OK: the official script for Magento answers an unknown SKU that way.
 * @throws OutcomeUnknownError where the answer is none at all
 */
export function parseDeltaAnswer(text: string, key: string): SetiOutcome {
  const match = /^SETIResponse\s*[:=]\s*(\w+)[ \t]*(?:;([^\n]*))?(?:\n|$)/i.exec(plain(text));
  const status = match?.[1]?.toLowerCase();
  if (status !== 'ok' && status !== 'false')
    throw new OutcomeUnknownError('the answer to invupdate is no SETIResponse', { answered: true });
  const { sku, quantity, note } = answerFields(match?.[2] ?? '', key);
  if (sku !== null && sku !== key.trim()) return { outcome: 'unknown' };
  if (quantity === 'NF' || /not\s*found/i.test(note)) return { outcome: 'not-found' };
  // Some scripts answer QOH=NA for a failed statement too; only then the note speaks of an error.
  if (/not\s*(?:being\s*)?tracked/i.test(note)) return { outcome: 'not-tracked' };
  if (quantity === 'NA') return { outcome: /err/i.test(note) ? 'unknown' : 'not-tracked' };
  if (status === 'false') return { outcome: 'unknown' };
  // The words stand where no field was recognised, so nobody knows what they speak of.
  if (/not\s*(?:found|(?:being\s*)?tracked)/i.test(text.replaceAll(key.trim(), ''))) return { outcome: 'unknown' };
  if (quantity === '') return { outcome: 'applied', quantity: null };
  const whole = wholeNumber(quantity);
  return whole === null ? { outcome: 'unknown' } : { outcome: 'applied', quantity: whole };
}

/** The fields behind the status. A SKU may hold `;` and `=`, so the one that was sent is recognised as a whole. */
function answerFields(rest: string, key: string): { sku: string | null; quantity: string; note: string } {
  let tail = rest.trimStart();
  let sku: string | null = null;
  const own = `sku=${key.trim()}`;
  if (tail.slice(0, own.length).toLowerCase() === own.toLowerCase() && /^\s*(?:;|$)/.test(tail.slice(own.length))) {
    sku = tail.slice('sku='.length, own.length);
    tail = tail.slice(own.length);
  }
  const other = /^\s*SKU\s*=(.*?)(?=;\s*(?:QOH|NOTE)\s*=|;?\s*$)/i.exec(tail);
  if (sku === null && other) {
    sku = (other[1] ?? '').trim();
    tail = tail.slice(other[0].length);
  }
  const quantity = /(?:^|;)\s*QOH\s*=\s*([^;]*)/i.exec(tail)?.[1] ?? '';
  const note = /(?:^|;)\s*NOTE\s*=(.*)$/i.exec(tail)?.[1] ?? '';
  return { sku, quantity: quantity.trim().toUpperCase(), note: note.trim() };
}

/**
 * Reads the answer to `qohreplace`: one `sku=OK|NF|NA` a line between `SETIResponse` and `SETIEndOfData`.
 * @returns what each key that the cart named became; the caller counts the others as unknown
 * @throws OutcomeUnknownError where the frame is missing, which means a cut or foreign answer
 */
export function parseReplaceAnswer(text: string): ReadonlyMap<string, SetiOutcome> {
  const lines = plain(text)
    .split('\n')
    .map((line) => line.trim());
  const end = lines.findIndex((line) => /^SETIEndOfData$/i.test(line));
  if (!/^SETIResponse\b/i.test(lines[0] ?? '') || end < 0)
    throw new OutcomeUnknownError('the answer to qohreplace is not complete');
  const outcomes = new Map<string, SetiOutcome>();
  for (const line of lines.slice(1, end)) {
    const at = line.lastIndexOf('=');
    if (at > 0)
      outcomes.set(
        line.slice(0, at).trim(),
        replaceOutcome(
          line
            .slice(at + 1)
            .trim()
            .toUpperCase(),
        ),
      );
  }
  return outcomes;
}

function replaceOutcome(word: string): SetiOutcome {
  if (word === 'OK') return { outcome: 'applied', quantity: null };
  if (word === 'NF') return { outcome: 'not-found' };
  if (word === 'NA') return { outcome: 'not-tracked' };
  return { outcome: 'unknown' };
}

/** The words behind `SETIError:`, or null where the answer is none. */
export function setiError(text: string): string | null {
  const match = /^SETIError\s*[:=]?\s*(.*)/is.exec(plain(text));
  return match ? (match[1] ?? '').trim() : null;
}

/**
 * Throws for `SETIError`. A denied login is the one error that scripts raise before they touch anything; any other has
 * been seen although the change was applied.
 */
export function refuseSetiError(text: string, wrote: boolean): void {
  const error = setiError(text);
  if (error === null) return;
  const response = `SETIError: ${error}`;
  if (accessDenied(error)) throw new CartRejectedError(response, { scope: 'cart' });
  throw wrote ? new OutcomeUnknownError(response, { answered: true }) : new CartRejectedError(response);
}

export function accessDenied(text: string): boolean {
  return /^access denied/i.test(text.trim());
}

/** `100.0000` → 100; null where the text is no whole number that can be counted with. */
export function wholeNumber(text: string): number | null {
  if (!/^[+-]?\d{1,15}(?:\.0*)?$/.test(text.trim())) return null;
  // `+ 0` turns the -0 of "-0.00" into 0.
  return Math.trunc(Number(text)) + 0;
}

/** Without a byte-order mark, with `\n` line ends, without blanks around. */
function plain(text: string): string {
  return text
    .replace(/^\uFEFF/, '')
    .replaceAll(/\r\n?/g, '\n')
    .trim();
}
