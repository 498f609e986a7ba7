import { randomUUID } from 'node:crypto';
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claim, type Claim, type ClaimTerms } from '../../src/cart-workers/claim.js';
import { dispatchLane, findUnattended, markQueued, takeUpAgain } from '../../src/cart-workers/dispatch.js';
import { recordOutcome, type AttemptEnd, type LineEnd } from '../../src/cart-workers/outcome.js';
import { endOverwritten, markOverwritten, takeOverwritten } from '../../src/cart-workers/drifts/overwritten-lines.js';
import { beginByKeys, createDatabase, inTransaction, onConnection, type Database } from '../../src/database.js';
import type { Command, CommandEnvelope } from '../../src/events/commands.js';
import { hasSettledAfter, startOfLog } from '../../src/events/event-reader.js';
import { EventStore } from '../../src/events/event-store.js';
import { ledgerPage } from '../../src/events/ledger.js';
import { WebStackReads } from '../../src/modules/web-stack/web-stack-reads.js';
import { awaitProjection } from '../../src/projections/checkpoint.js';
import { fanOutLate, fanOutLateOf, isFarBehind, noteLate } from '../../src/projections/late-items.js';
import { createHarness, type Harness } from '../support/hub-harness.js';
import { startPrivatePostgres, type PrivatePostgres } from '../support/private-postgres.js';
import { startShop, type Shop } from '../support/shops.js';
import { until } from '../support/until.js';
import { fillUp, nothing, skuOf, weeks, years, type Filled } from './fill-years.js';
import { hotFiles, isOneOf, isSeen, statementNames } from './hot-paths.js';
import { readThrough, rowsTouched, watchPlans, type SeenPlan } from './watch-plans.js';

const large = new Set([
  'events',
  'stream_heads',
  'commands',
  'quantity_on_hand',
  'velocity',
  'items',
  'listings',
  'listing_memory',
  'web_stack',
  'deliveries',
  'delivery_lines',
  'attempts',
  'echoes',
]);
const allSizes = [1, 100, 1_000];
/**
 * Rows that a statement may touch: some per row of the batch, and what a look takes that is the same for all of them (the
 * dispatcher looks 2,000 records ahead, in some steps). The smallest of the large tables has more, and so has a loop of
 * the batch over itself.
 */
const rowsMax = (batch: number) => 8_000 + 12 * batch;

/** What reads more than its batch calls for, and why that is borne. Whoever mends one takes its line away. */
const excused = new Map([
  ['read-push', 'weighs a push against all listings of its cart, once per push'],
  ['find-unattended', 'reads the index of all open lines for each delivery that is in doubt'],
]);

let server: PrivatePostgres;
let hub: Harness;
let store: EventStore;
let seti: Shop;
let watch: ReturnType<typeof watchPlans>;
/** The test's own connection: what it asks itself is not looked at. */
let own: Database;
const aside = (text: string, ...values: unknown[]) => own.pool.query(text, values);

beforeAll(async () => {
  server = await startPrivatePostgres();
  const database = await server.createDatabase();
  own = createDatabase({ url: database.url, poolMax: 1, applicationName: 'onhand-test-aside' });
  watch = watchPlans(database.pool);
  hub = await createHarness({ backend: 'postgres', workers: false, database });
  store = new EventStore(database.pool, { onAppended: () => hub.wakeups.signal('events') });
  // Statistics stay as they are: those of a hub that is filled faster than anybody counts.
  for (const table of large) await aside(`ALTER TABLE ${table} SET (autovacuum_enabled = off)`);
  seti = await startShop('seti', { items: [{ key: 'READ', title: 'Read', quantity: 10 }] });
  await hub.stockUp({ READ: 10 });
  await hub.connect('read', seti);
  await hub.addCart('shop', nobody);
  await hub.ask({ type: 'SwitchCart', cartId: 'shop', on: true });
  await hub.projector.caughtUp(20_000);
  await aside(`INSERT INTO lanes (cart_id, job_window) VALUES ('shop', 1)`);
  // Another one opens each minute, and a third is read before it is told anything.
  const cadence = { kind: 'cron', pattern: '* * * * *', timeZone: 'UTC' } as const;
  await hub.addCart('paced', nobody, { cadence });
  await hub.ask({ type: 'SwitchCart', cartId: 'paced', on: true });
}, 120_000);
afterAll(async () => {
  await seti.stop();
  await own.close();
  await hub.close();
  await server.close();
});

/** A cart that nobody serves: it refuses every connection. */
const nobody = {
  kind: 'webhook',
  url: 'http://127.0.0.1:9/',
  secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
  user: '',
  storeCode: '',
} as const;

describe('with 200,000 events, 100,000 listings and 50,000 records that wait', () => {
  beforeAll(async () => {
    // Once while there is little, for its plans: those that are kept serve on when there is much. Then with those plans and
    // statistics from when there was nothing, and once with true ones.
    await fill(nothing, weeks);
    await everything('a few weeks', [1]);
    await fill(weeks, years);
    await everything('not analysed');
    await aside('ANALYZE');
    await everything('analysed');
    await withWorkers();
  }, 240_000);

  it('no statement reads a large table from end to end, with 1, 100 and 1,000 rows', () => {
    expect(faulty(({ plan }) => readThrough(plan, large).join(' and '))).toEqual([]);
  });

  it('no statement touches more rows than its batch calls for: no scan of an index, no loop of the batch over itself', () => {
    expect(
      faulty(({ plan, rows }) => {
        const touched = rowsTouched(plan);
        return touched <= rowsMax(rows) ? '' : `${touched} rows`;
      }),
    ).toEqual([]);
  });

  it.each(hotFiles)('every named statement of %s was looked at, with each number of rows that it takes', (file) => {
    const seen = new Set(watch.seen.flatMap(({ name }) => name ?? []));
    const names = statementNames(file);
    expect(names.length).toBeGreaterThan(0);
    expect(names.filter((name) => !isSeen(name, seen))).toEqual([]);
  });
});

/**
 * Each statement once, with the first batch at which something is wrong with its plan. On tables that nobody has counted
 * yet only what is hot is looked at: it was given plans that do not depend on it.
 */
function faulty(problem: (seen: SeenPlan) => string): string[] {
  const hot = new Set(hotFiles.flatMap(statementNames));
  const found = new Map<string, string>();
  for (const one of watch.seen) {
    const statement = one.name ?? one.text;
    const judged = one.step.startsWith('analysed') || (one.step.startsWith('not analysed') && isOneOf(statement, hot));
    if (!judged || found.has(statement) || excused.has(statement)) continue;
    const said = problem(one);
    if (said !== '') found.set(statement, `${one.step} ${one.rows}: ${said}: ${statement}`);
  }
  return [...found.values()];
}

let filled = nothing;
async function fill(before: Filled, now: Filled): Promise<void> {
  await fillUp(own.pool, before, now);
  filled = now;
}

let statistics = '';
/** Every hot path with every size. */
async function everything(tables: string, sizes = allSizes): Promise<void> {
  statistics = tables;
  for (const size of sizes) {
    await append(size);
    await sell(size);
    await deliver(size);
    await overwrite(size);
  }
  await seldom();
  await sweep();
  await pages();
}

let used = 0;
/** SKUs that nothing waits for, others each time, all over the table. */
const someSkus = (size: number) => {
  const step = Math.floor((filled.skus - filled.backlog) / size);
  used += 1;
  return Array.from({ length: size }, (_, i) => skuOf((i * step + used) % (filled.skus - filled.backlog)));
};

const envelope = (command: Command, key: string | null = randomUUID()): CommandEnvelope => ({
  client: 'test',
  idempotencyKey: key,
  bodyHash: key === null ? null : Buffer.alloc(32, 1),
  command,
});

/** Movements, the same once more, some that are refused, and items that are new; then the projector takes them as one batch. */
async function append(size: number): Promise<void> {
  await watch.during(`${statistics}, append`, size, async () => {
    const movements = someSkus(size).map((sku) => envelope({ type: 'AdjustStock', sku, location: 'MAIN', delta: 2 }));
    const first = await store.append(movements);
    const again = await store.append(movements);
    expect(first.every(({ kind, replayed }) => kind === 'accepted' && !replayed)).toBe(true);
    expect(again.every(({ kind, replayed }) => kind === 'accepted' && replayed)).toBe(true);
    const unknown = await store.append(
      someSkus(size).map((sku) => envelope({ type: 'AdjustStock', sku: `no-${sku}`, location: 'MAIN', delta: 1 })),
    );
    expect(unknown.every(({ kind }) => kind === 'refused')).toBe(true);
    await store.append(
      Array.from({ length: size }, (_, i) => envelope({ type: 'CreateItem', sku: `N${used}-${i}`, title: 'New' })),
    );
    await hub.projector.caughtUp(30_000);
    await farBehind(size);
    await baseline(someSkus(size));
  });
}

/** As the projector does it when much has come: items are noted, and looked at between the batches. */
async function farBehind(size: number): Promise<void> {
  const note = (client: PoolClient, skus: readonly string[]) =>
    noteLate(client, new Map(skus.map((sku) => [sku, causeOf(sku)])));
  const skus = someSkus(size);
  await inTransaction(
    hub.database,
    async (client) => {
      await awaitProjection(client, 'main');
      await note(client, skus);
      await fanOutLateOf(
        client,
        skus.map((key) => ({ cartId: 'shop', key })),
      );
      await note(client, someSkus(size));
      await fanOutLate(client, size);
    },
    beginByKeys,
  );
  await onConnection(hub.database, isFarBehind);
}

const causeOf = (sku: string) => {
  const now = new Date().toISOString();
  const stream = `stock:MAIN/${sku}`;
  return { type: 'StockAdjusted', stream, version: '1', recordedAt: now, facts: 1, reference: null, acceptedAt: now };
};

/** What a comparison found of listings that owe nothing. */
async function baseline(skus: readonly string[]): Promise<void> {
  const rows = skus.map((sku) => ({ key: sku, sku, quantity: 12 }));
  const at = new Date().toISOString();
  await store.append([envelope({ type: 'BaselineListings', cartId: 'shop', kind: 'write', at, mark: null, rows })]);
  await hub.projector.caughtUp(30_000);
}

/** Sales by the API, and orders of the cart itself, which echo. */
async function sell(size: number): Promise<void> {
  await watch.during(`${statistics}, sell`, size, async () => {
    await store.append(
      someSkus(size).map((sku) => envelope({ type: 'SellStock', sku, location: 'MAIN', quantity: 1 })),
    );
    await hub.projector.caughtUp(30_000);
    const orders = someSkus(size).map((sku, i): Command => orderOf(`${used}-${i}`, 1, sku, 'open'));
    await store.append(orders.map((order) => envelope(order)));
    await hub.projector.caughtUp(30_000);
    await store.append(
      orders.map((order) =>
        envelope({ ...(order as Extract<Command, { type: 'ImportOrder' }>), revision: 2, state: 'cancelled' }),
      ),
    );
    await hub.projector.caughtUp(30_000);
  });
}

const orderOf = (number: string, revision: number, sku: string, state: 'open' | 'cancelled'): Command => ({
  type: 'ImportOrder',
  source: 'cart:shop',
  number,
  revision,
  state,
  lines: [{ line: '1', sku, key: sku, location: 'MAIN', quantity: 1 }],
  sighting: { after: null, by: new Date().toISOString() },
  cartMovesStock: { at: 'order', restocksOnCancel: true },
});

const terms: ClaimTerms = {
  cartId: 'shop',
  keyed: true,
  needsQ0: false,
  readsFirst: false,
  serial: false,
  requestTimeoutMs: 60_000,
  settleTimeoutMs: 60_000,
  quietTimeMs: 0,
  worker: 'test',
};

/** Deliveries of that many lines from the backlog, with every way in which a line may end. */
async function deliver(size: number): Promise<void> {
  const ends: ((key: string) => LineEnd)[] = [
    (key) => ({ key, response: 'OK', end: 'delivered', outcome: 'applied', quantity: 9, seen: null }),
    (key) => ({ key, response: 'OK', end: 'delivered', outcome: 'applied', quantity: null, seen: null }),
    (key) => ({ key, response: 'later', end: 'returned', outcome: 'throttled', delayMs: 60_000, counted: false }),
    (key) => ({ key, response: 'no such item', end: 'dead-lettered', outcome: 'not-found', unlisted: 'not-found' }),
    (key) => ({ key, response: 'no answer', end: 'in-doubt', settleInMs: 60_000 }),
  ];
  await watch.during(`${statistics}, deliver`, size, async () => {
    await cancelOut(size);
    for (const [index, end] of ends.entries()) {
      await giveRoom(1);
      const [delivery] = await dispatchLane(hub.database, 'shop', { linesPerDeliveryMax: size, callsMax: null });
      const job = { deliveryId: delivery?.deliveryId ?? '', take: 1 };
      const claimed = await claim(hub.database, job, { ...terms, keyed: index < 2, needsQ0: index >= 2 });
      if (claimed.kind !== 'claimed')
        throw new Error(`Delivery ${index} of ${size} lines could not be claimed: ${claimed.kind}`);
      expect(claimed.lines).toHaveLength(size);
      await recordOutcome(hub.database, endOf(claimed, end));
    }
  });
}

const endOf = (claimed: Claim, end: (key: string) => LineEnd): AttemptEnd => {
  const lines = claimed.lines.map(({ key }) => end(key));
  const first = lines[0]?.end;
  return {
    attemptId: claimed.attemptId,
    deliveryId: claimed.deliveryId,
    cartId: claimed.cartId,
    outcome: first ?? '',
    response: '',
    lines,
    cart: first === 'delivered' ? 'up' : null,
    mayStillRun: first === 'in-doubt',
  };
};

/** Orders that name what was delivered lately: lines that a checkout may have written over. */
async function overwrite(size: number): Promise<void> {
  await watch.during(`${statistics}, overwrite`, size, async () => {
    const { rows } = await own.pool.query<{ key: string }>(
      `SELECT key FROM delivery_lines WHERE cart_id = 'shop' AND state = 'done' AND outcome = 'applied' ORDER BY ended_at DESC, key LIMIT $1`,
      [size],
    );
    const keys = rows.map(({ key }) => key);
    expect(keys).toHaveLength(size);
    await markOverwritten(hub.database, 'shop', keys, new Date(Date.now() - 3_600_000));
    await aside(`UPDATE delivery_lines SET look_at = look_at - interval '1 minute' WHERE look_at IS NOT NULL`);
    const taken = await takeOverwritten(hub.database, []);
    expect(taken.length).toBeGreaterThan(0);
    await endOverwritten(hub.database, 'shop', taken.map(({ key }) => key), []); // prettier-ignore
  });
}

/** For that many deliveries more: those that have come to no end yet take none of it. */
const giveRoom = (deliveries: number) =>
  aside(
    `UPDATE lanes SET job_window = $1 + (SELECT count(*)::int FROM deliveries WHERE state = 'dispatched') WHERE cart_id = 'shop'`,
    deliveries,
  );

/** Records that come to nothing together with those that wait. */
async function cancelOut(size: number): Promise<void> {
  const { rows } = await own.pool.query<{ sku: string }>(
    `SELECT w.sku FROM web_stack w WHERE w.cart_id = 'shop' AND w.state = 'waiting' AND w.delta = -1 AND w.not_before IS NULL
      ORDER BY w.cart_id, w.state, w.id LIMIT $1`,
    [size],
  );
  await store.append(rows.map(({ sku }) => envelope({ type: 'AdjustStock', sku, location: 'MAIN', delta: 1 })));
  await hub.projector.caughtUp(30_000);
}

/** What the same files do now and then: kits, counts as of a moment, rules, transactions larger than a batch, cadences. */
async function seldom(): Promise<void> {
  await watch.during(`${statistics}, seldom`, 1, async () => {
    const [a, b, c] = someSkus(3);
    const ask = (command: Command) => store.append([envelope(command)]);
    await ask({ type: 'SetKit', sku: `N1-0`, components: [{ sku: a ?? '', quantity: 1 }], by: 'test' });
    await ask({ type: 'SellStock', sku: 'N1-0', location: 'MAIN', quantity: 1 });
    await ask({ type: 'RemoveKit', sku: 'N1-0', by: 'test' });
    const asOf = new Date(Date.now() - 60_000).toISOString();
    await ask({ type: 'CountStock', sku: b ?? '', location: 'MAIN', quantity: 7, asOf });
    await hub.projector.caughtUp(30_000);
    const scope = { sku: c ?? '', tag: null, locations: null, cart: null };
    const rule = { ruleId: 'r', name: 'r', scope, order: 0, effect: { kind: 'cap', units: 3 } as const };
    await ask({ type: 'SaveRule', rule, by: 'test' });
    await ask({ type: 'AdjustStock', sku: c ?? '', location: 'MAIN', delta: -3 });
    await hub.projector.caughtUp(30_000);
    await ask({ type: 'RemoveRule', ruleId: 'r', by: 'test' });
    await hub.projector.caughtUp(30_000);
    const client = await hub.database.pool.connect();
    try {
      await client.query('BEGIN');
      await hasSettledAfter(client, startOfLog);
      await awaitProjection(client, 'a test');
      await client.query('ROLLBACK');
    } finally {
      client.release();
    }
  });
}

async function sweep(): Promise<void> {
  await watch.during(`${statistics}, sweep`, 1, async () => {
    await giveRoom(200);
    const made = await dispatchLane(hub.database, 'shop', { linesPerDeliveryMax: 1, callsMax: null });
    await aside(`UPDATE deliveries SET queued_at = queued_at - interval '1 minute' WHERE state = 'dispatched'`);
    const unattended = await findUnattended(hub.database, 'shop');
    expect(made.length).toBe(200);
    expect(unattended.length).toBe(200);
    for (const one of unattended.slice(0, 2)) expect(await takeUpAgain(hub.database, one)).not.toBeNull();
    await markQueued(
      hub.database,
      unattended.map(({ deliveryId }) => deliveryId),
    );
  });
}

async function pages(): Promise<void> {
  await watch.during(`${statistics}, pages`, 50, async () => {
    const webStack = new WebStackReads(hub.database);
    for (const filter of [
      {},
      { cart: 'shop' },
      { sku: skuOf(7) },
      { state: 'waits' as const },
      { cart: 'shop', state: 'waiting' as const },
    ])
      await webStack.list({ ...filter, limit: 50 });
    await webStack.net('shop', { limit: 50 });
    await ledgerPage(hub.database.orm, { of: { sku: skuOf(7) }, limit: 50 });
  });
}

/** The loops of a worker, with a cart that refuses its connections, until all of them have looked. */
async function withWorkers(): Promise<void> {
  await watch.during(`${statistics}, workers`, 100, async () => {
    await store.append([envelope({ type: 'AdjustStock', sku: 'READ', location: 'MAIN', delta: 1 })]);
    // Nobody knows what it shows, so it is read.
    await aside(`UPDATE listings SET last_quantity = NULL WHERE cart_id = 'read'`);
    await hub.restartWorkers();
    const wanted = hotFiles.flatMap(statementNames);
    const missing = () => {
      const seen = new Set(watch.seen.flatMap(({ name }) => name ?? []));
      return wanted.filter((name) => !isSeen(name, seen));
    };
    await until('every hot statement was seen', () => missing().length === 0, 30_000).catch(() => undefined);
    await hub.stopWorkers();
  });
}
