import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/until.js';
import { adjustment, callHub, type Answer } from './call-hub.js';
import { competeWith, deadlocksOf, deadlockTimeoutMs, type Competition } from './competing-writer.js';
import { depth, tally } from './depth.js';
import { faultBench, type FaultBench } from './fault-bench.js';
import type { HubProcess } from './hub-process.js';

/**
 * Two hubs on one database, both with every role: two APIs that append, two projectors of which one is effective, two
 * workers. Many clients write through both at once; then the database itself refuses, in every way that may pass.
 */
const times = depth.minutes === 0 ? 1 : depth.minutes * 4;
const skus = [
  'ONCE',
  'HOT',
  'TWO',
  'A',
  'B',
  'C',
  'D',
  'POISON',
  'AFTER',
  ...Array.from({ length: 6 }, (_, n) => `F${n}`),
  'L0',
  'L1',
];

let bench: FaultBench;
let hubs: readonly [HubProcess, HubProcess];

beforeAll(async () => {
  bench = await faultBench({ redisUrl: undefined, skus, env: { ONHAND_LOG_LEVEL: 'fatal' } });
  // As an operator may have set them for other programs of the server: neither may matter to the hub.
  const name = new URL(bench.harness.database.url).pathname.slice(1);
  await bench.harness.rows(`ALTER DATABASE ${name} SET default_transaction_isolation TO 'serializable'`);
  await bench.harness.rows(`ALTER DATABASE ${name} SET deadlock_timeout TO '${deadlockTimeoutMs}ms'`);
  hubs = [await bench.start(), await bench.start()];
});
afterAll(() => bench?.close());

const call = (hub: HubProcess, path: string, body: unknown, key: string, apiKey = bench.ownerKey) =>
  callHub(hub, apiKey, path, body, key);
const through = (n: number) => hubs[n % 2] as HubProcess;

/** What was sent by `call` and not by `bench.move`. */
const alsoMoved = (sku: string, delta: number) => bench.moved(sku, delta);

describe('many clients through two processes', () => {
  it('a command that is sent a hundred times at once is one movement, with one answer', async () => {
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) => call(through(n), '/v1/movements', adjustment('ONCE', 5), 'once')),
    );
    alsoMoved('ONCE', 5);
    expect(answers.filter(({ replayed }) => !replayed)).toEqual([
      { status: 201, replayed: false, contentType: expect.any(String) as string, body: answers[0]?.body },
    ]);
    expect(answers.map(({ status, body }) => ({ status, body }))).toEqual(
      answers.map(() => ({ status: 201, body: answers[0]?.body })),
    );
    await bench.settle();
  });

  it('sixty-four clients on one SKU are all accepted, and the sum is exact', async () => {
    const each = 6 * times;
    const statuses = await Promise.all(
      Array.from({ length: 64 }, async (_, client) => {
        const own: number[] = [];
        for (let n = 0; n < each; n += 1) {
          const delta = (client + n) % 3 === 0 ? -1 : 2;
          own.push(
            (await call(through(client), '/v1/movements', adjustment('HOT', delta), `hot-${client}-${n}`)).status,
          );
          alsoMoved('HOT', delta);
        }
        return own;
      }),
    );
    expect(new Set(statuses.flat())).toEqual(new Set([201]));
    await bench.settle();
    tally({ 'movements of one hot SKU': 64 * each });
  });

  it('the same key of two clients is two movements', async () => {
    const made = await call(hubs[0], '/v1/api-keys', { name: 'till', scope: 'operate' }, 'till');
    const other = String(made.body.key);
    const answers = await Promise.all([
      call(hubs[0], '/v1/movements', adjustment('TWO', 3), 'same'),
      call(hubs[1], '/v1/movements', adjustment('TWO', 3), 'same', other),
    ]);
    alsoMoved('TWO', 6);
    expect(answers.map(({ status, replayed }) => [status, replayed])).toEqual([
      [201, false],
      [201, false],
    ]);
    await bench.settle();
  });

  it('batches that name the same SKUs in opposite order are all accepted', async () => {
    const rows = ['A', 'B', 'C', 'D'].map((sku) => adjustment(sku, 1));
    const answers = await Promise.all(
      Array.from({ length: 40 * times }, (_, n) =>
        call(through(n), '/v1/movements/batch', { movements: n % 4 < 2 ? rows : rows.toReversed() }, `batch-${n}`),
      ),
    );
    for (const sku of ['A', 'B', 'C', 'D']) alsoMoved(sku, 40 * times);
    const statuses = answers.flatMap(({ body }) => (body.outcomes ?? []).map((row) => row.status));
    expect(new Set(statuses)).toEqual(new Set([201]));
    expect(statuses).toHaveLength(40 * times * 4);
    await bench.settle();
  });
});

/** Every so many statements on these tables one fails, in turn with each of these codes. */
const refusals = ['40001', '40P01', '55P03', '57014', '53100', '53200'];
const refusing: Readonly<Record<string, number>> = {
  events: 3,
  quantity_on_hand: 4,
  web_stack: 6,
  attempts: 9,
  deliveries: 9,
};

/** Both SKUs of one batch, which is one transaction, or two. */
const moveBoth = () => {
  const movements = ['L0', 'L1'].map((sku) => adjustment(sku, 2));
  for (const { sku, delta } of movements) alsoMoved(sku, delta);
  const key = `both-${(batches += 1)}`;
  const taken = call(hubs[0], '/v1/movements/batch', { movements }, key);
  both.push(taken);
  return Promise.resolve({ taken });
};
const both: Promise<Answer>[] = [];
let batches = 0;
let letGo: () => Promise<void> = () => Promise.resolve();

/** Where the hub holds one lock and asks for another one, and somebody else does the same the other way round. */
const competitions: Readonly<Record<string, Competition>> = {
  append: {
    first: `SELECT FROM stream_heads WHERE stream = 'stock:MAIN/L1' FOR UPDATE`,
    meanwhile: moveBoth,
    waits: 'FROM stream_heads',
    second: `SELECT FROM stream_heads WHERE stream = 'stock:MAIN/L0' FOR UPDATE`,
  },
  // Somebody who has locked rows holds the horizon, so the facts have to be older than his transaction, and still unread.
  'batch of facts': {
    before: async () => {
      const holder = await bench.harness.database.pool.connect();
      await holder.query('BEGIN');
      await holder.query('SELECT pg_current_xact_id()');
      await (
        await moveBoth()
      ).taken;
      letGo = async () => {
        await holder.query('COMMIT');
        holder.release();
      };
    },
    first: `SELECT FROM listings WHERE cart_id = 'settle' AND key = 'L1' FOR UPDATE`,
    meanwhile: () => letGo(),
    // What the server shows of a statement is its first thousand letters.
    waits: 'l.cart_id, l.key, l.sku, l.expected',
    second: `SELECT FROM listings WHERE cart_id = 'compare' AND key = 'L0' FOR UPDATE`,
  },
  claim: {
    waitsBriefly: true,
    first: 'LOCK TABLE attempts IN SHARE MODE',
    meanwhile: moveBoth,
    waits: 'INSERT INTO attempts',
    second: `SELECT FROM deliveries WHERE state = 'dispatched' FOR UPDATE`,
  },
  outcome: {
    waitsBriefly: true,
    first: `SELECT FROM attempts WHERE cart_id = 'key' AND ended_at IS NULL FOR UPDATE`,
    before: async () => {
      await bench.shops.get('key')?.faults({ delayBeforeMs: 700 });
      await moveBoth();
      await until('a call is under way', async () => {
        const open = await bench.harness.rows(`SELECT FROM attempts WHERE cart_id = 'key' AND ended_at IS NULL`);
        return open.length > 0;
      });
      await bench.shops.get('key')?.faults({});
    },
    meanwhile: () => Promise.resolve(),
    waits: 'SELECT id, ended_at IS NULL AS open FROM attempts',
    second: `SELECT FROM listings WHERE cart_id = 'key' FOR UPDATE`,
  },
};

describe('a database that refuses for reasons that pass', () => {
  it('takes every accepted command once, and every cart is told once', async () => {
    await bench.harness.rows('CREATE SEQUENCE refusals');
    for (const [table, every] of Object.entries(refusing)) {
      await bench.harness.rows(`
        CREATE FUNCTION refuse_${table}() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE codes text[] := '{${refusals.join(',')}}'; n bigint := nextval('refusals');
        BEGIN
          IF n % ${every} = 0 THEN RAISE EXCEPTION 'refused on purpose' USING ERRCODE = codes[1 + (n / ${every}) % ${refusals.length}]; END IF;
          RETURN NULL;
        END $$`);
      await bench.harness.rows(
        `CREATE TRIGGER refuse AFTER INSERT OR UPDATE ON ${table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_${table}()`,
      );
    }
    const count = async () =>
      (await bench.harness.rows<{ n: number }>('SELECT last_value::int AS n FROM refusals'))[0]?.n ?? 0;
    let refused = 0;
    // In waves, because what comes at once is one statement; the slower the cart workers, the fewer statements in each.
    for (let wave = 0; wave < 10 * times || (refused <= 50 && wave < 100 * times); wave += 1) {
      await Promise.all(
        Array.from({ length: 6 }, (_, n) => bench.move(`F${n}`, wave % 2 === 0 ? 3 : -2)).concat(
          bench.buy('settle', 'F1', 1),
          bench.buy('key', 'F2', 1),
        ),
      );
      refused = await count();
    }
    for (const table of Object.keys(refusing)) await bench.harness.rows(`DROP TRIGGER refuse ON ${table}`);
    await bench.settle();
    expect(refused).toBeGreaterThan(50);
    tally({ 'statements under refusal': refused });
  });

  it('lets others wait in a circle with it: what was ended is done again, once', async () => {
    const { url } = bench.harness.database;
    const circles = Object.values(competitions);
    for (const competition of circles) {
      const before = await deadlocksOf(url);
      await competeWith(url, competition);
      if (!competition.waitsBriefly) await expect.poll(() => deadlocksOf(url)).toBeGreaterThan(before);
      for (const { body } of await Promise.all(both))
        expect(body.outcomes?.map(({ status }) => status)).toEqual([201, 201]);
      await bench.settle();
    }
    tally({ 'faults injected': circles.length });
  });

  it('stops at a fact that cannot be applied, loudly, and goes on from it when it is mended', async () => {
    await bench.harness.rows('ALTER TABLE quantity_on_hand ADD CONSTRAINT poison CHECK (on_hand <> 4242)');
    await bench.move('POISON', 4142);
    await bench.move('AFTER', 1);
    const ready = (hub: HubProcess) => callHub(hub, bench.ownerKey, '/v1/health/ready');
    for (const hub of hubs) {
      await until('it says that the projector stands', async () => (await ready(hub)).status === 503);
      expect((await ready(hub)).body.detail).toContain('StockAdjusted (stock:MAIN/POISON');
    }
    await bench.harness.rows('ALTER TABLE quantity_on_hand DROP CONSTRAINT poison');
    const resumed = await call(hubs[1], '/v1/projector/resume', {}, 'resume');
    expect(resumed.body.state).toBe('following');
    await bench.settle();
    expect((await ready(hubs[0])).status).toBe(200);
  });
});
