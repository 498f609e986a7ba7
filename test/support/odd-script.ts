import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface OddOrder {
  readonly number: string;
  readonly lines: readonly { readonly key: string; readonly quantity: number }[];
  readonly status?: string;
  /** As the script writes it; left out: 10-Jun-2026. */
  readonly date?: string;
}

/** What a script does otherwise than it should; nothing: it does as the protocol says. */
export interface Oddities {
  readonly sets?: boolean;
  readonly ignores?: boolean;
  readonly clamps?: boolean;
  readonly losesParallel?: boolean;
  /** Answers an unknown SKU `OK`, as if it had changed it; or with a note, as the official script for Magento does. */
  readonly unknownSku?: 'OK' | 'note';
  readonly untracked?: readonly string[];
  /** Takes changes as documents, and gives no answer to pairs; or takes either. Left out: pairs only. */
  readonly updates?: 'xml' | 'either';
  /** What it calls itself; left out: 5.900. */
  readonly version?: string;
  /** Splits an update at the first tilde. */
  readonly firstTilde?: boolean;
  /** Pages without a fixed order: each page is drawn anew. */
  readonly unstable?: boolean;
  readonly pageMax?: number;
  /** Never listed, though it has them. */
  readonly hides?: readonly string[];
  /** Each page begins with the last row of the one before, as where a script counts from 0. */
  readonly overlaps?: boolean;
  /** Tells the number of each product (WebID). */
  readonly productIds?: boolean;
  /** Functions that are not there. */
  readonly lacks?: readonly string[];
  /** Leaves out orders by their date, asked in this form ("All" may stand beside it, or the field is left out); `after`: it means "after that day". */
  readonly byDate?: { readonly separator: '-' | '/'; readonly besideAll: boolean; readonly after?: boolean };
  /** Does not look at `lastorder`. */
  readonly ignoresNumbers?: boolean;
  /** Tells everything where it does not find the number it was asked to begin after. */
  readonly looksOrderUp?: boolean;
}

/** A Stone Edge script whose every oddity a test decides, in this process: no sample shop has them. */
export interface OddScript {
  readonly url: string;
  odd: Oddities;
  readonly stock: Map<string, number>;
  /** Products of the same SKU beside the one in `stock`. */
  readonly doubles: { readonly key: string; readonly quantity: number }[];
  readonly orders: OddOrder[];
  readonly calls: URLSearchParams[];
  /** Awaited after a change was applied and before it is answered; true cuts the connection. */
  afterChange: (update: string) => Promise<boolean> | boolean;
  /** Awaited before anything is done. */
  beforeCall: (name: string) => Promise<void> | void;
  /** Sells as a checkout does: the pieces go, and the order comes up. */
  sell(key: string, quantity: number, number: string, date?: string): void;
  stop(): Promise<void>;
}

export async function startOddScript(items: Readonly<Record<string, number>>, odd: Oddities = {}): Promise<OddScript> {
  const stock = new Map(Object.entries(items));
  const server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const form = new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
      script.calls.push(form);
      await script.beforeCall(form.get('setifunction') ?? '');
      const text = await answerOf(script, form);
      if (text === null) response.destroy();
      else response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const script: OddScript = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/seti.php`,
    odd,
    stock,
    doubles: [],
    orders: [],
    calls: [],
    afterChange: () => false,
    beforeCall: () => undefined,
    sell: (key, quantity, number, date) => {
      stock.set(key, (stock.get(key) ?? 0) - quantity);
      script.orders.push({ number, lines: [{ key, quantity }], ...(date !== undefined && { date }) });
    },
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return script;
}

async function answerOf(script: OddScript, form: URLSearchParams): Promise<string | null> {
  const name = form.get('setifunction') ?? '';
  if (script.odd.lacks?.includes(name)) return `SETIError: Function "${name}" was not found.`;
  switch (name) {
    case 'sendversion':
      return `SETIResponse: version=${script.odd.version ?? '5.900'}`;
    case 'ordercount':
      return `SETIResponse: ordercount=${script.orders.length}`;
    case 'getproductscount':
      return `SETIResponse: itemcount=${script.stock.size}`;
    case 'downloadprods':
    case 'downloadqoh':
      return document(
        'SETIProducts',
        pageOf(script, form).map((row) => productOf(script, row)),
      );
    case 'downloadorders':
      return document('SETIOrders', ordersAfter(script, form).map(orderOf));
    case 'qohreplace':
      return replace(script, readUpdate(script, form.get('update') ?? ''));
    case 'invupdate':
      return update(script, readUpdate(script, form.get('update') ?? '')[0]);
    default:
      return `SETIError: Function "${name}" was not found.`;
  }
}

interface Row {
  readonly key: string;
  readonly number: number;
  readonly text: string;
}

/** What is asked for, in the forms that this script takes; nothing where it is in another one. */
function readUpdate({ odd }: OddScript, text: string): Row[] {
  if (odd.updates !== undefined && text.startsWith('<')) {
    const products = text.matchAll(/<Product><SKU>(.*?)<\/SKU><QOH>(-?\d+)<\/QOH><\/Product>/g);
    return [...products].map(([product, sku = '', number]) => ({
      key: unescaped(sku),
      number: Number(number),
      text: product,
    }));
  }
  if (odd.updates === 'xml') return [];
  return text
    .split('|')
    .filter((part) => part !== '')
    .map((part) => {
      const at = odd.firstTilde ? part.indexOf('~') : part.lastIndexOf('~');
      return { key: part.slice(0, at), number: Number.parseInt(part.slice(at + 1), 10), text: part };
    });
}

async function update(script: OddScript, row: Row | undefined): Promise<string | null> {
  const { odd, stock } = script;
  // As a program ends that was handed something else than it knows: no answer, and nothing changed.
  if (row === undefined) return '';
  const { key, number, text } = row;
  const before = stock.get(key);
  if (before === undefined) {
    if (odd.unknownSku === 'OK') return `SETIResponse=OK;SKU=${key};QOH=${number};NOTE=`;
    if (odd.unknownSku === 'note') return `SETIResponse=OK;Note=SKU ${key} was not found.`;
    return `SETIResponse=False;SKU=${key};QOH=NF;NOTE=NotFound`;
  }
  if (odd.untracked?.includes(key)) return `SETIResponse=False;SKU=${key};QOH=NA;NOTE=NotTracked`;
  // Reading first and writing later is how updates are lost that run side by side.
  if (odd.losesParallel) await new Promise((resolve) => setTimeout(resolve, 25));
  const sum = odd.ignores ? before : odd.sets ? number : (odd.losesParallel ? before : (stock.get(key) ?? 0)) + number;
  stock.set(key, odd.clamps ? Math.max(0, sum) : sum);
  if (await script.afterChange(text)) return null;
  return `SETIResponse=OK;SKU=${key};QOH=${stock.get(key)};NOTE=`;
}

async function replace(script: OddScript, rows: readonly Row[]): Promise<string | null> {
  if (rows.length === 0) return '';
  const lines = rows.map(({ key, number }) => {
    if (!script.stock.has(key)) return `${key}=NF`;
    script.stock.set(key, number);
    return `${key}=OK`;
  });
  for (const { text } of rows) if (await script.afterChange(text)) return null;
  return ['SETIResponse', ...lines, 'SETIEndOfData', ''].join('\r\n');
}

interface ListedRow {
  readonly key: string;
  readonly quantity: number;
  readonly productId: number;
}

let draws = 0;
function pageOf({ odd, stock, doubles }: OddScript, form: URLSearchParams): ListedRow[] {
  const listed = [...stock].filter(([key]) => odd.hides?.includes(key) !== true);
  const rows = [...listed, ...doubles.map(({ key, quantity }) => [key, quantity] as const)].map(
    ([key, quantity], at): ListedRow => ({ key, quantity, productId: at + 1 }),
  );
  const first = Math.max(0, Number(form.get('startnum') ?? 1) - (odd.overlaps ? 2 : 1));
  const size = Math.min(Number(form.get('batchsize') ?? 100), odd.pageMax ?? Number.POSITIVE_INFINITY);
  if (odd.unstable) {
    // Another order with every call, always the same in every run.
    draws += 1;
    rows.sort((left, right) => mixed(left) - mixed(right));
  }
  return rows.slice(first, first + size);
}
const mixed = ({ key, productId }: ListedRow) =>
  Array.from(`${key}${productId}`, (sign) => sign.charCodeAt(0)).reduce(
    (sum, sign) => Math.imul(sum ^ (sum >>> 15) ^ sign, 0x2c1b3c6d) >>> 0,
    Math.imul(draws, 0x9e3779b1),
  );

function ordersAfter({ orders, odd }: OddScript, form: URLSearchParams): readonly OddOrder[] {
  const last = form.get('lastorder') ?? 'All';
  const first = Number(form.get('startnum') ?? 1) - 1;
  const at = orders.findIndex(({ number }) => number === last);
  const dated = odd.byDate && ordersOfDays(orders, odd.byDate, form);
  const after = dated
    ? dated
    : odd.ignoresNumbers || last === 'All' || (odd.looksOrderUp && at < 0)
      ? orders
      : odd.looksOrderUp
        ? orders.slice(at + 1)
        : orders.filter(({ number }) => Number(number) > Number(last));
  return after.slice(first, first + Number(form.get('batchsize') ?? 100));
}

/** null: the form of the question is not its own, so it goes by other fields. */
function ordersOfDays(orders: readonly OddOrder[], by: NonNullable<Oddities['byDate']>, form: URLSearchParams) {
  const asked = form.get('lastdate') ?? 'All';
  const besideAll = form.get('lastorder') === 'All';
  if (asked === 'All' || besideAll !== by.besideAll || !asked.includes(by.separator)) return null;
  const day = (date: string) => Date.parse(date.replaceAll(/[-/]/g, ' '));
  const since = day(asked);
  return orders.filter(({ date = '10-Jun-2026' }) => (by.after ? day(date) > since : day(date) >= since));
}

const productOf = ({ odd }: OddScript, { key, quantity, productId }: ListedRow) =>
  `<Product><Code>${escaped(key)}</Code>${odd.productIds ? `<WebID>${productId}</WebID>` : ''}<QOH>${odd.untracked?.includes(key) ? 'NA' : quantity}</QOH></Product>`;

const orderOf = ({ number, lines, status = 'pending', date = '10-Jun-2026' }: OddOrder) =>
  `<Order><OrderNumber>${number}</OrderNumber><OrderDate>${date}</OrderDate><OrderStatus>${status}</OrderStatus><Shipping>${lines
    .map(({ key, quantity }) => `<Product><SKU>${escaped(key)}</SKU><Quantity>${quantity}</Quantity></Product>`)
    .join('')}</Shipping></Order>`;

function document(root: string, rows: readonly string[]): string {
  return `<?xml version="1.0"?><${root}><Response><ResponseCode>${rows.length > 0 ? 1 : 2}</ResponseCode></Response>${rows.join('')}</${root}>`;
}
const unescaped = (text: string) => text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
