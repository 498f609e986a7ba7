import { afterAll, afterEach, beforeAll } from 'vitest';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startShop, type Shop } from '../support/shops.js';
import { triesSql } from '../../src/projections/listings.table.js';
import { until } from '../support/until.js';

export type LaneBackend = Parameters<typeof createHarness>[0]['backend'];

export interface WebStackRow {
  readonly id: string;
  readonly cart_id: string;
  readonly delta: number;
  readonly state: string;
  readonly attempts: number;
  readonly attempts_counted: number;
  readonly last_response: string | null;
  readonly delivery_id: string | null;
}

/** A hub with two real shops, `a` (SETI) and `b` (signed webhook), shared by the tests of one theme. */
export interface LaneBench {
  readonly hub: Harness;
  readonly a: Shop;
  readonly b: Shop;
  /** After `b` was killed and started again. */
  replaceB(shop: Shop): void;
  /** A SKU that no other test uses; ten pieces of it are on hand, and both shops show ten. */
  sku(): string;
  /** What the shops show: [a, b]. */
  shown(sku: string): Promise<[number | undefined, number | undefined]>;
  receive(sku: string, quantity: number): Promise<void>;
  sell(sku: string, quantity: number): Promise<void>;
  records(cartId: string, sku: string): Promise<WebStackRow[]>;
  /** Waits until a record of the listing is in this state. */
  recordIn(cartId: string, sku: string, state: string): Promise<WebStackRow>;
  expected(cartId: string, sku: string): Promise<{ expected: number; owed: number }>;
  light(cartId: string): Promise<string>;
}

type Settings = NonNullable<Parameters<Harness['connect']>[2]>;

const skusMax = 40;
const fasterThanAnyShop = { requestTimeoutMs: 600, quietTimeMs: 300 };

/** After every test the shops' faults are off, the lanes open, everything quiet, and what must always hold is asked. */
export function laneBench(
  backendOf: () => LaneBackend,
  settings: Settings = {},
  /** What one of the two shops differs in. */
  own: { readonly a?: Settings; readonly b?: Settings } = {},
): LaneBench {
  let hub: Harness;
  let a: Shop;
  let b: Shop;
  let used = 0;
  const skus = Array.from({ length: skusMax }, (_, index) => `SKU-${String(index + 1).padStart(2, '0')}`);

  beforeAll(async () => {
    hub = await createHarness({ backend: backendOf() });
    const items = skus.map((key) => ({ key, title: `Item ${key}`, quantity: 10 }));
    [a, b] = await Promise.all([startShop('seti', { items }), startShop('webhook', { items })]);
    await hub.stockUp(Object.fromEntries(skus.map((sku) => [sku, 10])));
    await hub.connect('a', a, { ...fasterThanAnyShop, ...settings, ...own.a });
    await hub.connect('b', b, { ...fasterThanAnyShop, ...settings, ...own.b });
    await hub.quiet();
  });
  afterAll(async () => {
    await hub.close();
    await Promise.all([a.stop(), b.stop()]);
  });
  afterEach(async () => {
    await Promise.all([a.faults({}), b.faults({})]);
    for (const cartId of ['a', 'b']) await hub.laneControl.resume(cartId);
    await Promise.all([hub.orderImport.poll('a'), hub.orderImport.poll('b')]);
    await hub.quiet(30_000);
    await assertInvariants(hub.database);
    await assertShopsAgree(
      hub.database,
      new Map([
        ['a', a],
        ['b', b],
      ]),
    );
  });

  const records = (cartId: string, sku: string) =>
    hub.rows<WebStackRow>(
      `SELECT id::text, cart_id, delta::int, state, attempts + ${triesSql('web_stack')} AS attempts, attempts_counted, last_response, delivery_id
         FROM web_stack WHERE cart_id = $1 AND key = $2 ORDER BY id`,
      cartId,
      sku,
    );
  return {
    get hub() {
      return hub;
    },
    get a() {
      return a;
    },
    get b() {
      return b;
    },
    replaceB: (shop) => {
      b = shop;
    },
    sku: () => {
      const sku = skus[used++];
      if (sku === undefined) throw new Error('More SKUs are used than the bench has; raise skusMax');
      return sku;
    },
    shown: async (sku) => [(await a.stock()).get(sku), (await b.stock()).get(sku)],
    receive: async (sku, quantity) => void (await hub.ask({ type: 'ReceiveStock', sku, location: 'MAIN', quantity })),
    sell: async (sku, quantity) => void (await hub.ask({ type: 'SellStock', sku, location: 'MAIN', quantity })),
    records,
    recordIn: (cartId, sku, state) =>
      until(`a record of ${cartId}/${sku} is ${state}`, async () =>
        (await records(cartId, sku)).find((record) => record.state === state),
      ),
    expected: async (cartId, sku) => {
      const [row] = await hub.rows<{ expected: number; owed: number }>(
        `SELECT l.expected::int, (SELECT coalesce(sum(w.delta), 0)::int FROM web_stack w
                                   WHERE w.cart_id = l.cart_id AND w.key = l.key AND w.ended_at IS NULL) AS owed
           FROM listings l WHERE l.cart_id = $1 AND l.key = $2`,
        cartId,
        sku,
      );
      return row as { expected: number; owed: number };
    },
    light: async (cartId) => (await hub.laneControl.status(cartId))?.light ?? 'none',
  };
}
