import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { Drifts } from '../../src/cart-workers/drifts/drifts.js';
import { everything } from '../../src/events/rule.js';
import { assertInvariants, assertShopsAgree } from '../projections/assert-invariants.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { describeWithShopServers } from '../support/mariadb.js';
import { startShop, type Shop, type ShopKind } from '../support/shops.js';
import { until } from '../support/until.js';
import { Session, sql } from './shop-database.js';

const skus = Array.from({ length: 12 }, (_, at) => `B-${at}`);
const items = skus.map((key) => ({ key, title: key, quantity: 20 }));
const fast = { requestTimeoutMs: 1_500, quietTimeMs: 300, pollIntervalMs: 600_000 };

/** The hub with its lanes beside shops as merchants have them: the bridge on PHP, the tables in MariaDB, a shop's own till. */
describeWithShopServers('a hub with bridges at osCommerce and X-Cart', () => {
  let hub: Harness;
  const shops = new Map<string, Shop>();
  let used = 0;
  const nextSku = () => skus[used++] as string;
  const shopOf = (cartId: string) => shops.get(cartId) as Shop;

  beforeAll(async () => {
    hub = await createHarness({ backend: 'postgres' });
    await hub.stockUp(Object.fromEntries(skus.map((sku) => [sku, 20])));
    for (const kind of ['oscommerce', 'x-cart'] satisfies ShopKind[]) {
      const shop = await startShop(kind, { items });
      shops.set(kind, shop);
      await hub.connect(kind, shop, fast);
    }
    await hub.quiet();
    for (const cartId of shops.keys()) await hub.orderImport.poll(cartId);
  }, 120_000);
  afterEach(async () => {
    for (const shop of shops.values()) await shop.faults({});
    await hub.quiet();
    await assertInvariants(hub.database);
    await assertShopsAgree(hub.database, shops);
  });
  afterAll(async () => {
    await hub.close();
    await Promise.all([...shops.values()].map((shop) => shop.stop()));
  });

  const showing = async (key: string) =>
    Promise.all([...shops.values()].map(async (shop) => (await shop.stock()).get(key)));
  const receive = (sku: string, quantity: number) => hub.ask({ type: 'ReceiveStock', sku, location: 'MAIN', quantity });
  const deltasOf = async (cartId: string, key: string) =>
    (await shopOf(cartId).journal()).filter((change) => change.kind === 'delta' && change.key === key);
  const attempts = (cartId: string, key: string) =>
    hub.rows<{ attempts: number; state: string }>(
      'SELECT attempts, state FROM web_stack WHERE cart_id = $1 AND key = $2',
      cartId,
      key,
    );

  it('sells on both and receives at the hub, and each shop is told what the others did, once', async () => {
    const sku = nextSku();
    await shopOf('oscommerce').buy(sku, 3);
    await receive(sku, 10);
    await shopOf('x-cart').buy(sku, 2);
    for (const cartId of shops.keys()) await hub.orderImport.poll(cartId);
    await hub.quiet();
    expect(await showing(sku)).toEqual([25, 25]);
  });

  it.each(['oscommerce', 'x-cart'])('a cancel at %s reaches the other shop as the family cancels', async (cartId) => {
    const sku = nextSku();
    const { number } = await shopOf(cartId).buy(sku, 4);
    await hub.orderImport.poll(cartId);
    await shopOf(cartId).cancel(number);
    await hub.orderImport.poll(cartId, { wanted: true });
    await hub.quiet();
    expect(await showing(sku)).toEqual([20, 20]);
  });

  it.each([
    ['oscommerce', 'dropBeforeApply'],
    ['oscommerce', 'dropAfterApply'],
    ['x-cart', 'dropBeforeApply'],
    ['x-cart', 'dropAfterApply'],
  ] as const)(
    '%s whose line is cut (%s) is asked again under the same key, and changed once',
    async (cartId, fault) => {
      const sku = skus[4] as string;
      const before = (await deltasOf(cartId, sku)).length;
      await shopOf(cartId).faults({ [fault]: 2 });
      await receive(sku, 1);
      await hub.quiet();
      const made = (await deltasOf(cartId, sku)).slice(before);
      expect(made.map(({ delta }) => delta)).toEqual([1]);
      const [record] = (await attempts(cartId, sku)).slice(-1);
      expect(record?.state).toBe('delivered');
      expect(record?.attempts).toBeGreaterThan(1);
    },
  );

  it('hides what is sold out where a rule says so, and shows it again', async () => {
    const sku = skus[5] as string;
    const isHidden = async () => [
      await sql(shopOf('oscommerce'), `SELECT products_status FROM products WHERE products_model = '${sku}'`),
      await sql(shopOf('x-cart'), `SELECT forsale FROM xcart_products WHERE productcode = '${sku}'`),
    ];
    expect(await isHidden()).toEqual([[['1']], [['Y']]]);
    const rule = { ruleId: 'hide', name: 'hide', order: 0, scope: { ...everything, sku } };
    await hub.ask({ type: 'SaveRule', rule: { ...rule, effect: { kind: 'at-zero', policy: 'hide' } }, by: 'Ann' });
    await hub.ask({ type: 'AdjustStock', sku, location: 'MAIN', delta: -20 });
    await until('both have hidden it', async () => JSON.stringify(await isHidden()) === '[[["0"]],[["N"]]]', 20_000);
    expect(await showing(sku)).toEqual([0, 0]);
    await receive(sku, 2);
    await until('both show it again', async () => JSON.stringify(await isHidden()) === '[[["1"]],[["Y"]]]', 20_000);
  });

  it.each(['dropBeforeApply', 'dropAfterApply'] as const)(
    'hides and shows again where the line is cut under the number and under the flag (%s)',
    async (fault) => {
      const sku = skus[7] as string;
      const rule = { ruleId: 'cut', name: 'cut', order: 0, scope: { ...everything, sku } };
      await hub.ask({ type: 'SaveRule', rule: { ...rule, effect: { kind: 'at-zero', policy: 'hide' } }, by: 'Ann' });
      const flagged = async () => [
        await sql(shopOf('oscommerce'), `SELECT products_status FROM products WHERE products_model = '${sku}'`),
        await sql(shopOf('x-cart'), `SELECT forsale FROM xcart_products WHERE productcode = '${sku}'`),
      ];
      const are = (wanted: string) => until(wanted, async () => JSON.stringify(await flagged()) === wanted, 30_000);
      // One call is cut for the number and one for the flag, at least; each is asked again.
      const cut = () => Promise.all([...shops.values()].map((shop) => shop.faults({ scope: 'writes', [fault]: 3 })));
      await cut();
      await hub.ask({ type: 'CountStock', sku, location: 'MAIN', quantity: 0 });
      await are('[[["0"]],[["N"]]]');
      expect(await showing(sku)).toEqual([0, 0]);
      await cut();
      await receive(sku, 4);
      await are('[[["1"]],[["Y"]]]');
      await hub.quiet();
      expect(await showing(sku)).toEqual([4, 4]);
      const calls = await hub.rows<{ attempts: number; said: string }>(
        `SELECT said FROM flag_calls WHERE key = $1 AND confirmed_at IS NOT NULL ORDER BY cart_id`,
        sku,
      );
      expect(calls.map(({ said }) => said)).toEqual(['visible', 'visible']);
    },
    60_000,
  );

  it('finds by comparison what a checkout of osCommerce has swallowed, and repairs it where the policy says so', async () => {
    const sku = skus[6] as string;
    await hub.ask({ type: 'ChangeCart', cartId: 'oscommerce', driftPolicy: 'repair' });
    await receive(sku, 5);
    await hub.quiet();
    // As a checkout writes that had read 20 before the five came, and sold none of them.
    await sql(shopOf('oscommerce'), `UPDATE products SET products_quantity = 20 WHERE products_model = '${sku}'`);
    expect(await hub.runtime().compare('oscommerce')).toMatchObject({ differing: 1 });
    await until('it is repaired', async () => (await showing(sku)).every((quantity) => quantity === 25), 30_000);
  });

  /** A checkout of osCommerce that sells one piece and is held between its reading and its writing, until `meanwhile` is over. */
  async function checkoutAround(sku: string, meanwhile: () => Promise<void>): Promise<void> {
    const lock = `lock_${randomUUID()}`;
    const holder = await Session.open(shopOf('oscommerce'));
    await holder.run(`SELECT GET_LOCK('${lock}', 5)`);
    const buying = shopOf('oscommerce').buyLines([{ key: sku, quantity: 1 }], false, {
      'between reading and writing': lock,
    });
    const waits = () => sql(shopOf('oscommerce'), `SELECT 1 FROM till_waits WHERE name = '${lock}'`);
    await until('the checkout has read', async () => (await waits()).length > 0);
    await meanwhile();
    await holder.run(`DO RELEASE_LOCK('${lock}')`);
    await buying;
    await holder.close();
  }

  // Broken once: the reply had vouched for the change, so nothing was suspected until the next comparison of the whole cart.
  it.each([
    ['pieces that came in', 8, 5, 'unknown', ['swallowed-by-checkout', 'order-not-imported']],
    ['pieces that were sold elsewhere', 9, -2, 'swallowed-by-checkout', ['swallowed-by-checkout']],
  ] as const)(
    'by itself finds that a checkout of osCommerce has swallowed %s once its order comes in, and makes it good',
    async (_what, at, delta, why, candidates) => {
      const sku = skus[at] as string;
      const comparisons = () => hub.rows(`SELECT id FROM cart_comparisons WHERE cart_id = 'oscommerce'`);
      const before = await comparisons();
      await hub.ask({ type: 'ChangeCart', cartId: 'oscommerce', driftPolicy: 'repair' });
      await checkoutAround(sku, async () => {
        await hub.ask({ type: 'AdjustStock', sku, location: 'MAIN', delta });
        await hub.quiet();
      });
      expect(await showing(sku)).toEqual([19, 20 + delta]);
      await hub.orderImport.poll('oscommerce');
      const right = 19 + delta;
      await until('both show it', async () => (await showing(sku)).every((shown) => shown === right), 30_000);
      const drifts = await new Drifts(hub).list({ cartId: 'oscommerce', open: false, limit: 200 });
      expect(drifts.filter(({ key }) => key === sku)).toMatchObject([
        { state: 'repaired', class: why, candidates, raisedBy: 'comparison', difference: -delta },
      ]);
      expect(await comparisons()).toEqual(before);
    },
  );

  it('finds it as well where the answer to the swallowed change comes only after the order', async () => {
    const sku = skus[10] as string;
    await hub.ask({ type: 'ChangeCart', cartId: 'oscommerce', driftPolicy: 'repair' });
    await shopOf('oscommerce').faults({ delayAfterMs: 1_000 });
    await checkoutAround(sku, async () => {
      await receive(sku, 5);
      await until('it has arrived', async () => (await showing(sku))[0] === 25);
    });
    await hub.orderImport.poll('oscommerce');
    await until('both show it', async () => (await showing(sku)).every((shown) => shown === 24), 30_000);
  });

  it('leaves it to a person where that is the policy, and says what it was', async () => {
    const sku = skus[11] as string;
    await hub.ask({ type: 'ChangeCart', cartId: 'oscommerce', driftPolicy: 'report' });
    await checkoutAround(sku, async () => {
      await hub.ask({ type: 'AdjustStock', sku, location: 'MAIN', delta: -3 });
      await hub.quiet();
    });
    await hub.orderImport.poll('oscommerce');
    const drifts = new Drifts(hub);
    const drift = await until(
      'it is confirmed',
      async () =>
        (await drifts.list({ cartId: 'oscommerce', open: true, limit: 200 })).find(
          ({ key, state }) => key === sku && state === 'confirmed',
        ),
      30_000,
    );
    expect([drift.class, drift.difference, (await showing(sku))[0]]).toEqual(['swallowed-by-checkout', 3, 19]);
    await drifts.resolve({ id: drift.id, action: 'repair', reason: 'the checkout wrote over it', by: 'Ann' });
    await until('both show it', async () => (await showing(sku)).every((shown) => shown === 16), 30_000);
  });

  it('draws no warning of PHP in all of this, and uses nothing that is on its way out', async () => {
    for (const shop of shops.values()) {
      const log = await readFile(path.join(shop.dir, 'php.log'), 'utf8');
      expect(log).toContain('Development Server');
      expect(log.split('\n').filter((line) => /PHP (?:Warning|Notice|Deprecated|Fatal|Parse)/.test(line))).toEqual([]);
    }
  });
});
