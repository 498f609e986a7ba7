import { randomBytes } from 'node:crypto';
import type { CartSettings } from '../../src/events/facts.js';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import type { TestDatabase } from '../support/database.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop, type ShopFaults } from '../support/shops.js';
import { tally } from './depth.js';
import { startHubProcess, type HubProcess } from './hub-process.js';

/** One cart for each way in which a delta can be delivered once. */
export const cartIds = ['key', 'compare', 'settle', 'set'] as const;
export type CartId = (typeof cartIds)[number];

/** How each of them is connected, and the faults that make it weaker than its type; those stay on. */
export const kinds: Readonly<
  Record<CartId, { kind: Shop['kind']; settings: Partial<Omit<CartSettings, 'type'>>; faults: ShopFaults }>
> = {
  key: { kind: 'webhook', settings: {}, faults: {} },
  compare: { kind: 'webhook', settings: { delivery: 'compare-and-set' }, faults: { forgetKeys: true } },
  settle: { kind: 'seti', settings: {}, faults: {} },
  set: { kind: 'seti', settings: { delivery: 'set-only' }, faults: { updateSets: true } },
};

const onHandAtFirst = 100;
const commandTimeoutMs = 4_000;
/** Sooner than a test's own time-out, so that a failure says what was waited for. */
const commandsUntilMs = 45_000;
const quietUntilMs = 45_000;

/**
 * Hubs as processes on one database (and Redis, or none), and four shops. Commands are sent as a careful client sends them:
 * with an idempotency key, again and again until there is an answer, to whichever process gives one.
 */
export interface FaultBench {
  readonly harness: Harness;
  readonly shops: ReadonlyMap<CartId, Shop>;
  /** What every shop has to show in the end. */
  readonly model: ReadonlyMap<string, number>;
  /** Tells the model of what was moved by other means than `move` and `buy`. */
  moved(sku: string, delta: number): void;
  /** @param env settings of this one */
  start(env?: Readonly<Record<string, string>>): Promise<HubProcess>;
  readonly ownerKey: string;
  /** Settings that every hub is started with. */
  readonly hubEnv: Readonly<Record<string, string>>;
  /** Changes on hand by a command, and the model with it. */
  move(sku: string, delta: number): Promise<void>;
  /** A customer buys in a shop: the shop has taken the pieces before anybody else hears of it. */
  buy(cart: CartId, sku: string, quantity: number): Promise<void>;
  /** Waits until nothing is under way; then every promise, every shop and the model are compared. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

export async function faultBench(options: {
  readonly redisUrl: string | undefined;
  readonly skus: readonly string[];
  /** On a server of the test's own. */
  readonly database?: TestDatabase;
  /** Of every shop, beside what makes it the kind it is. */
  readonly shopFaults?: ShopFaults;
  /** Settings of every hub. */
  readonly env?: Readonly<Record<string, string>>;
}): Promise<FaultBench> {
  const { redisUrl, skus, database, env, shopFaults } = options;
  const harness = await createHarness({
    backend: redisUrl === undefined ? 'postgres' : { redisUrl },
    ...(database !== undefined && { database }),
  });
  const encryptionKey = harness.encryptionKey.toString('base64');
  const ownerKey = `ohk_${randomBytes(32).toString('base64url')}`;
  const items = skus.map((key) => ({ key, title: `Item ${key}`, quantity: onHandAtFirst }));
  const shops = new Map<CartId, Shop>();
  await harness.stockUp(Object.fromEntries(skus.map((sku) => [sku, onHandAtFirst])));
  for (const cartId of cartIds) {
    const shop = await startShop(kinds[cartId].kind, { items });
    shops.set(cartId, shop);
    await shop.faults({ ...kinds[cartId].faults, ...shopFaults });
    await harness.connect(cartId, shop, {
      requestTimeoutMs: 1_000,
      quietTimeMs: 300,
      pollIntervalMs: 500,
      ...kinds[cartId].settings,
    });
  }
  await harness.quiet();
  // From here on the processes do the work; this one looks.
  await harness.stopWorkers();
  await harness.projector.stop();

  const model = new Map(skus.map((sku) => [sku, onHandAtFirst]));
  const moved = (sku: string, delta: number) => void model.set(sku, (model.get(sku) ?? 0) + delta);
  const running = new Set<HubProcess>();
  let commands = 0;

  const hubEnv = {
    DATABASE_URL: harness.database.url,
    ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }),
    ONHAND_ENCRYPTION_KEY: encryptionKey,
    ONHAND_OWNER_KEY: ownerKey,
    ONHAND_ALLOW_PRIVATE_CART_URLS: 'true',
    ONHAND_LOG_LEVEL: 'info',
    ONHAND_LANES_MAX: '8',
    ...env,
  };
  const start = async (own: Readonly<Record<string, string>> = {}) => {
    const hub = await startHubProcess({ ...hubEnv, ...own });
    running.add(hub);
    const url = `${hub.url}/v1/carts/`;
    for (const [cartId, shop] of shops) if (shop.kind === 'webhook') await shop.setHub(`${url}${cartId}/webhooks`);
    return hub;
  };

  const post = async (path: string, body: unknown): Promise<void> => {
    const key = `command-${(commands += 1)}`;
    const end = Date.now() + commandsUntilMs;
    let hub: HubProcess | undefined;
    while (Date.now() < end) {
      // Another one than the last time, also where it was started since.
      const hubs = [...running];
      const last = hub === undefined ? -1 : hubs.indexOf(hub);
      hub = hubs[(last + 1) % hubs.length];
      const status = hub === undefined ? null : await tryPost(hub.url + path, ownerKey, key, body);
      if (status !== null && status < 300) return;
      if (status !== null && status < 500) throw new Error(`${path} was refused with ${status}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`${path} found no hub that answers`);
  };

  return {
    harness,
    shops,
    model,
    start,
    ownerKey,
    hubEnv,
    moved,
    move: async (sku, delta) => {
      moved(sku, delta);
      await post('/v1/movements', { kind: 'adjusted', sku, location: 'MAIN', delta, reason: 'test' });
    },
    buy: async (cart, sku, quantity) => {
      moved(sku, -quantity);
      await shops.get(cart)?.buy(sku, quantity);
    },
    settle: async () => {
      for (const cartId of cartIds) await harness.orderImport.poll(cartId);
      await harness.quiet(quietUntilMs);
      await assertInvariants(harness.database);
      await assertShopsAgree(harness.database, shops);
      await compareWithModel(harness, shops, model);
    },
    close: async () => {
      tally(await accountOf(harness));
      for (const hub of running) await hub.kill();
      await harness.close();
      for (const shop of shops.values()) await shop.stop();
    },
  };
}

/** @returns the status, or null where no answer came: nobody knows whether it was taken, and the same key asks again */
async function tryPost(url: string, ownerKey: string, key: string, body: unknown): Promise<number | null> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${ownerKey}`, 'idempotency-key': key },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(commandTimeoutMs),
    });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return null;
  }
}

async function compareWithModel(
  harness: Harness,
  shops: ReadonlyMap<CartId, Shop>,
  model: ReadonlyMap<string, number>,
): Promise<void> {
  const wrong: string[] = [];
  const onHand = new Map(
    (
      await harness.rows<{ sku: string; on_hand: number }>(
        `SELECT sku, on_hand::int FROM quantity_on_hand WHERE location = 'MAIN'`,
      )
    ).map((row) => [row.sku, row.on_hand]),
  );
  const stocks = new Map<string, ReadonlyMap<string, number>>([['the hub', onHand]]);
  for (const [cartId, shop] of shops) stocks.set(`shop ${cartId}`, await shop.stock());
  for (const [who, stock] of stocks)
    for (const [sku, quantity] of model)
      if (stock.get(sku) !== quantity) wrong.push(`${who} has ${stock.get(sku)} of ${sku}, and it is ${quantity}`);
  if (wrong.length > 0) throw new Error(wrong.join('\n'));
}

async function accountOf(harness: Harness) {
  const [row] = await harness.rows<Record<string, number>>(
    `SELECT (SELECT count(*) FROM deliveries)::int AS deliveries,
            (SELECT count(*) FROM attempts)::int AS attempts,
            (SELECT count(*) FROM attempts WHERE kind = 'settle')::int AS "in doubt",
            (SELECT count(*) FROM delivery_lines WHERE outcome = 'settled as applied')::int AS "settled as applied",
            (SELECT count(*) FROM delivery_lines WHERE outcome = 'settled as not applied')::int AS "settled as not applied",
            (SELECT count(*) FROM delivery_lines WHERE state = 'quarantined')::int AS quarantined`,
  );
  return row ?? {};
}
