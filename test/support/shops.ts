/**
 * The sample shops as child processes: real HTTP servers with their own durable stock, a journal of every applied
 * change, and switches for faults. Start as many as a test needs; each listens on a free port of the loopback.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

import { testMariadb } from './mariadb.js';

/** The last three run our bridge on PHP and MariaDB; `oscommerce-seti` is spoken to as Order Manager would. */
export type ShopKind = 'seti' | 'webhook' | 'oscommerce' | 'x-cart' | 'oscommerce-seti';

export interface ShopItem {
  readonly key: string;
  readonly title: string;
  readonly quantity: number;
}

export interface ShopOrder {
  readonly number: string;
  readonly revision: number;
  readonly placedAt: string;
  readonly state: 'open' | 'shipped' | 'cancelled';
  readonly lines: readonly {
    readonly line: string;
    readonly key: string;
    readonly quantity: number;
    readonly title: string;
  }[];
}

/** One applied change of one item. `id`: the idempotency key, the order number, or the SETI function. */
export interface ShopChange {
  readonly at: string;
  readonly kind: 'sale' | 'cancel' | 'delta' | 'set' | 'load';
  readonly key: string;
  readonly delta: number;
  readonly quantity: number;
  readonly id: string;
}

/** What is not named is off. A number counts down one per call; `true` stays until switched off. */
export interface ShopFaults {
  /** `writes` (default): faults hit calls that change stock. `all`: every call of the hub. `refuse` always hits all. */
  readonly scope?: 'writes' | 'all';
  readonly delayBeforeMs?: number;
  readonly delayAfterMs?: number;
  readonly refuse?: number | boolean;
  readonly throttle?: number | boolean;
  readonly retryAfterSeconds?: number;
  readonly dropBeforeApply?: number | boolean;
  readonly dropAfterApply?: number | boolean;
  readonly failAfterApply?: number | boolean;
  readonly unknownKeys?: readonly string[];
  readonly untrackedKeys?: readonly string[];
  readonly clampAtZero?: boolean;
  readonly okButNotFound?: boolean;
  readonly updateSets?: boolean;
  readonly forgetKeys?: boolean;
  readonly okButIgnored?: number | boolean;
  readonly ordersHidden?: boolean;
}

export interface ShopOptions {
  readonly name?: string;
  /** Where the shop keeps its stock; a fresh temporary folder (removed by `stop`) when not given. */
  readonly dir?: string;
  /** 0 or nothing: a free port. */
  readonly port?: number;
  readonly user?: string;
  readonly password?: string;
  readonly code?: string;
  /** `whsec_…` of the webhook shop. */
  readonly secret?: string;
  /** Where the webhook shop sends its orders. */
  readonly hub?: string;
  readonly items?: readonly ShopItem[];
  /** Of a shop with a bridge: statements that make its tables different ones (another engine, another character set). */
  readonly schema?: string;
  /** Of a shop with a bridge: settings at the top of its file, as PHP writes them. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface Shop {
  readonly kind: ShopKind;
  /** What the hub calls: the cart's URL. */
  readonly url: string;
  /** The shop window. */
  readonly pageUrl: string;
  readonly dir: string;
  readonly user: string;
  /** The SETI password or the signing secret: `CartConnection.secret`. */
  readonly secret: string;
  readonly storeCode: string;
  readonly pid: number;
  stock(): Promise<ReadonlyMap<string, number>>;
  /** What the webhook shop was told of its items; nothing for those nobody spoke of. */
  flags(): Promise<Readonly<Record<string, string>>>;
  orders(): Promise<readonly ShopOrder[]>;
  journal(): Promise<readonly ShopChange[]>;
  /** The most writing calls of the hub that the shop was working on at any moment since its start. */
  writesAtOnceMax(): Promise<number>;
  /** Orders that the hub has not confirmed yet (webhook shop). */
  outboxSize(): Promise<number>;
  /** @throws Error when the shop refuses (sold out, unknown) */
  buy(key: string, quantity?: number): Promise<ShopOrder>;
  buyLines(
    lines: readonly { readonly key: string; readonly quantity: number }[],
    backorder?: boolean,
    /** Of a shop with a bridge: the checkout waits at such a place until a lock of that name is free. */
    waitFor?: Readonly<Partial<Record<'before stock' | 'between reading and writing' | 'before the line', string>>>,
  ): Promise<ShopOrder>;
  cancel(number: string): Promise<ShopOrder>;
  ship(number: string): Promise<ShopOrder>;
  /** Replaces all fault switches; `{}` switches every fault off. */
  faults(faults: ShopFaults): Promise<void>;
  load(items: readonly ShopItem[]): Promise<void>;
  setHub(url: string): Promise<void>;
  /** Ends the process politely and removes a temporary folder. */
  stop(): Promise<void>;
  /** SIGKILL; the folder stays, so `startShop(kind, { dir, port })` goes on where it was. */
  kill(): Promise<void>;
}

export const SAMPLE_SECRET = 'whsec_c2FtcGxlLXNob3Atc2VjcmV0LTMyLWJ5dGVzLWxvbmc=';
const START_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 3_000;
const shopsFolder = fileURLToPath(new URL('../../samples/shops/', import.meta.url));

export async function startShop(kind: ShopKind, options: ShopOptions = {}): Promise<Shop> {
  const dir = options.dir ?? (await fs.mkdtemp(path.join(os.tmpdir(), `onhand-${kind}-shop-`)));
  const user = options.user ?? 'stoneedge';
  const speaksSeti = kind === 'seti' || kind === 'oscommerce-seti';
  const secret = speaksSeti ? (options.password ?? 'sample-password') : (options.secret ?? SAMPLE_SECRET);
  const storeCode = options.code ?? '';
  const { script, path: route, own } = await programOf(kind, dir, options);
  const child = spawn(
    process.execPath,
    [
      path.join(shopsFolder, script),
      '--port',
      String(options.port ?? 0),
      '--dir',
      dir,
      '--name',
      options.name ?? `${kind} shop`,
      ...own,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, SHOP_PASSWORD: secret, SHOP_SECRET: secret } },
  );
  const pageUrl = await listening(child);

  const get = async <T>(route: string): Promise<T> => answerOf<T>(route, await fetch(pageUrl + route));
  const post = async <T>(route: string, data: unknown): Promise<T> =>
    answerOf<T>(
      route,
      await fetch(pageUrl + route, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(data),
      }),
    );
  const order = async (route: string, data: unknown) => (await post<{ order: ShopOrder }>(route, data)).order;

  const shop: Shop = {
    kind,
    url: `${pageUrl}/${route}`,
    pageUrl,
    dir,
    user,
    secret,
    storeCode,
    pid: child.pid ?? 0,
    stock: async () =>
      new Map((await get<{ items: ShopItem[] }>('/stock')).items.map(({ key, quantity }) => [key, quantity])),
    flags: async () =>
      Object.fromEntries(
        (await get<{ items: (ShopItem & { visibility?: string })[] }>('/stock')).items.flatMap(({ key, visibility }) =>
          visibility === undefined ? [] : [[key, visibility]],
        ),
      ),
    orders: async () => (await get<{ orders: ShopOrder[] }>('/orders')).orders,
    journal: async () => (await get<{ journal: ShopChange[] }>('/journal')).journal,
    writesAtOnceMax: async () => (await get<{ writesAtOnceMax: number }>('/journal')).writesAtOnceMax,
    outboxSize: async () => (await get<{ outbox: number }>('/journal')).outbox,
    buy: (key, quantity = 1) => order('/buy', { key, quantity }),
    buyLines: (lines, backorder = false, waitFor) => order('/buy', { lines, backorder, waitFor }),
    cancel: (number) => order('/cancel', { number }),
    ship: (number) => order('/ship', { number }),
    faults: async (faults) => void (await post('/faults', faults)),
    load: async (items) => void (await post('/load', { items })),
    setHub: async (url) => void (await post('/hub', { url })),
    stop: async () => {
      await end(child, 'SIGTERM');
      if (options.dir === undefined) await fs.rm(dir, { recursive: true, force: true });
    },
    kill: () => end(child, 'SIGKILL'),
  };
  if (options.items) await shop.load(options.items);
  return shop;
}

/** Which program is such a shop, where the hub calls it, and what it wants to know. */
async function programOf(kind: ShopKind, dir: string, options: ShopOptions) {
  const user = options.user ?? 'stoneedge';
  switch (kind) {
    case 'seti':
      return { script: 'seti-shop.mjs', path: 'seti.php', own: ['--user', user, '--code', options.code ?? ''] };
    case 'webhook':
      return { script: 'webhook-shop.mjs', path: 'onhand', own: ['--hub', options.hub ?? ''] };
    default: {
      const family = kind === 'x-cart' ? 'x-cart' : 'oscommerce';
      const own = ['--family', family, '--speaks', kind === 'oscommerce-seti' ? 'seti' : 'bridge', '--user', user];
      if (options.schema !== undefined) {
        const file = path.join(dir, 'schema.sql');
        await fs.writeFile(file, options.schema);
        own.push('--schema', file);
      }
      if (options.settings !== undefined) own.push('--settings', JSON.stringify(options.settings));
      own.push('--database', JSON.stringify(await testMariadb()));
      return { script: 'php-shop.mjs', path: `onhand-${family}.php`, own };
    }
  }
}

/** Waits for the shop's one line of JSON and returns its origin. */
async function listening(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error('the shop has no standard output');
  const lines = readline.createInterface({ input: child.stdout });
  const late = AbortSignal.timeout(START_TIMEOUT_MS);
  try {
    const [line] = (await Promise.race([
      once(lines, 'line', { signal: late }),
      once(child, 'exit', { signal: late }).then(([code]) =>
        Promise.reject(new Error(`the shop ended with code ${String(code)} before it listened`)),
      ),
    ])) as [string];
    return (JSON.parse(line) as { listening: string }).listening;
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  } finally {
    lines.close();
    child.stdout.resume();
  }
}

async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  const force = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await ended;
  clearTimeout(force);
}

async function answerOf<T>(route: string, response: Response): Promise<T> {
  const text = await response.text();
  if (!response.ok) throw new Error(`${route} answered ${response.status}: ${text}`);
  return JSON.parse(text) as T;
}
