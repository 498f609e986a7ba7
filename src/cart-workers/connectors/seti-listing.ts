import { CartRejectedError, OutcomeUnknownError } from './cart-error.js';
import type { CallContext, CartConnection, QuantityRow } from './connector.js';
import { ask } from './seti-call.js';
import { parseQuantities, type SetiPage } from './seti-xml.js';

/**
 * What a script lists, by `downloadqoh`. Pages come in any order: they may repeat rows of earlier ones, overlap, be shorter
 * than asked for, or be drawn anew with every call. All of it can be told from two products that share a SKU, and nothing
 * of it is settled by whichever row came last.
 */
const itemsPerPage = 250;
/** Enough for two and a half million items; a script that ignores paging cannot keep a worker for ever. */
const pagesMax = 10_000;
/** Passes over a listing whose pages have no fixed order. */
const passesMax = 12;
/** Passes in a row that have to bring nothing new there: one may miss the same item as the one before. */
const quietPasses = 3;
/** Repeated SKUs that are looked up one by one; where there are more, pages overlap. */
const lookedUpMax = 50;

/** One row of a SKU, where it stood. */
interface Stand {
  readonly pass: number;
  readonly position: number;
  readonly page: number;
  /** The same pass had told it already. */
  readonly again: boolean;
  readonly quantity: number | null;
  readonly productId: string | undefined;
}

/**
 * Page by page, as often as it takes. A page may repeat rows of the one before, and then others came nowhere. So where
 * rows were repeated, or a key that is wanted did not come, everything is read again, until a whole pass brings nothing
 * new (several, where rows do not stand where they stood). SKUs of several products come at the end, each in one page with all its rows.
 */
export async function* readQuantities(
  cart: CartConnection,
  keys: readonly string[] | null,
  call: (page: number) => CallContext,
  toTheEnd = false,
): AsyncGenerator<readonly QuantityRow[]> {
  const wanted = keys === null ? null : new Set(keys);
  const seen = new Map<string, Stand>();
  const repeats = new Map<string, Stand[]>();
  const note = (key: string, stand: Stand, before: Stand) =>
    void repeats.set(key, [...(repeats.get(key) ?? [before]), stand]);
  const found = () => wanted !== null && [...wanted].every((key) => seen.has(key));
  let calls = 0;
  const next = () => call((calls += 1) - 1);
  let quiet = 0;
  let shuffled = false;
  reading: for (let pass = 0; pass < passesMax; pass += 1) {
    const seenBefore = seen.size;
    let repeated = false;
    for await (const { page, rows, start } of onePass(cart, next)) {
      const told: QuantityRow[] = [];
      for (const [at, row] of rows.entries()) {
        const { key, quantity, productId } = row;
        const before = seen.get(key);
        const again = before?.pass === pass;
        const stand = { pass, page, position: start + at, again, quantity, productId };
        seen.set(key, stand);
        const isWanted = wanted?.has(key) ?? true;
        if (isWanted) told.push(row);
        repeated ||= again && before.page < page;
        shuffled ||= before !== undefined && before.pass < pass && !before.again && before.position !== stand.position;
        if (isWanted && before !== undefined && isAnother(before, stand)) note(key, stand, before);
      }
      if (told.length > 0) yield told;
      if (found() && !toTheEnd) break reading;
    }
    quiet = seen.size === seenBefore ? quiet + 1 : 0;
    if (quiet >= (shuffled ? quietPasses : 1) || !(repeated || (wanted !== null && !found()))) break;
  }
  for (const [key, stands] of repeats) {
    // Told by that page already.
    if (new Set(stands.map(({ page }) => page)).size === 1) continue;
    const mayStandApart = !shuffled && repeats.size <= lookedUpMax;
    const isDoubled = areTwoProducts(stands) || (mayStandApart && (await standApart(cart, next, key, stands)));
    if (isDoubled) yield productsOf(key, stands);
  }
}

/** Told again in the same pass, or otherwise than in the one before: worth a look. */
const isAnother = (before: Stand, { pass, position, quantity }: Stand) =>
  before.pass === pass || before.position !== position || before.quantity !== quantity;

interface ReadPage {
  readonly page: number;
  readonly rows: readonly QuantityRow[];
  /** Where its first row stands, from 1. */
  readonly start: number;
}

/**
 * Everything once. Some scripts cap the page below what was asked, so the next page starts behind the rows that really
 * came. Some know no end and tell their last page, or everything, again and again: two pages that bring nothing new end it.
 */
async function* onePass(cart: CartConnection, call: () => CallContext): AsyncGenerator<ReadPage> {
  const seen = new Set<string>();
  let first: string | undefined;
  let start = 1;
  let nothingNew = 0;
  for (let page = 0; page < pagesMax; page += 1) {
    const { rows, ended } = await readPage(cart, call(), { start });
    // It told everything once more: nothing of that stands anywhere else.
    if (page === 1 && rows[0] !== undefined && rows[0].key === first && rows.length === start - 1) return;
    first ??= rows[0]?.key;
    const seenBefore = seen.size;
    for (const { key } of rows) seen.add(key);
    yield { page, rows, start };
    nothingNew = seen.size === seenBefore ? nothingNew + 1 : 0;
    if (ended || rows.length === 0 || nothingNew === 2) return;
    start += rows.length;
  }
  throw new OutcomeUnknownError(`the cart told more than ${pagesMax} pages of items`);
}

/**
 * Whether the rows say so by themselves: products of different numbers, or a quantity that came back after another one. One
 * product that is sold or filled up meanwhile shows another quantity from then on.
 */
function areTwoProducts(stands: readonly Stand[]): boolean {
  const ids = stands.flatMap(({ productId }) => productId ?? []);
  if (ids.length === stands.length) return new Set(ids).size > 1;
  const quantities = stands.map(({ quantity }) => quantity).filter((one, at, all) => at === 0 || one !== all[at - 1]);
  return new Set(quantities).size < quantities.length;
}

/**
 * Whether a SKU stands at two places of a listing with a fixed order, each asked for by itself. Where pages overlap, or are
 * drawn anew, its second place holds another one.
 */
async function standApart(
  cart: CartConnection,
  call: () => CallContext,
  key: string,
  stands: readonly Stand[],
): Promise<boolean> {
  if (stands.every(({ productId }) => productId !== undefined)) return false;
  const places = [...new Set(stands.map(({ position }) => position))];
  if (places.length < 2) return false;
  for (const start of places) {
    const { rows } = await readPage(cart, call(), { start, size: 1 });
    if (rows[0]?.key !== key) return false;
  }
  return true;
}

/** One row for each of the products. */
function productsOf(key: string, stands: readonly Stand[]): QuantityRow[] {
  const isNamed = stands.every(({ productId }) => productId !== undefined);
  const products = new Map(stands.map((stand) => [isNamed ? stand.productId : stand.position, stand.quantity]));
  const quantities = products.size > 1 ? [...products.values()] : [...new Set(stands.map(({ quantity }) => quantity))];
  return quantities.map((quantity) => ({ key, quantity }));
}

/** A script without `downloadqoh` often tells the quantities with its products, in the same fields of XML. */
export async function readPage(
  cart: CartConnection,
  call: CallContext,
  { start, size = itemsPerPage }: { readonly start: number; readonly size?: number },
): Promise<SetiPage<QuantityRow>> {
  const paging = { startnum: String(start), batchsize: String(size) };
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
