/**
 * One component in 10,000 kits: it is sold, and every kit's listing follows, against one plain UPDATE that gives the same
 * listings another number, in turn. Meanwhile another item is sold again and again: how long does such a sale take until its
 * record is on the Web Stack, against the same with nothing else to do?
 */
import { createDatabase, migrate } from '../dist/database.js';
import { EventStore } from '../dist/events/event-store.js';
import { ensureLogGeneration } from '../dist/events/log-generation.js';
import { Projector } from '../dist/projections/projector.js';
import { Wakeups } from '../dist/wakeups.js';
import { median, quantile } from './numbers.mjs';
import { processorTime } from './processor-time.mjs';

const kits = 10_000;
/** Pegs in one kit are 1 to 4, so that four sold pegs change the number of every one. */
const pegsSold = 4;
const beside = ['OTHER-1', 'OTHER-2', 'OTHER-3', 'OTHER-4', 'OTHER-5'];
const silent = { info: () => undefined, error: (text) => console.error(text) };

export async function run({ databaseUrl, rounds, log }) {
  const database = createDatabase({ url: databaseUrl, poolMax: 8, applicationName: 'onhand bench' });
  const wakeups = new Wakeups(database);
  const projector = new Projector({ database, wakeups, presence: { name: 'onhand bench' }, log: silent });
  try {
    await migrate(database);
    await ensureLogGeneration(database.pool);
    const store = new EventStore(database.pool);
    const tell = (...commands) =>
      store.append(commands.map((command) => ({ client: 'bench', idempotencyKey: null, bodyHash: null, command })));
    await projector.start();
    await fill(database, tell, projector);
    log(`kits: ${kits} kits with one component in common`);
    const sell = (sku, quantity) => tell({ type: 'SellStock', sku, location: 'MAIN', quantity });
    const timesAlone = await sales(database, sell, 50);
    const [plain, followed, processor, timesBeside] = [[], [], [], []];
    for (let round = -1; round < rounds; round += 1) {
      const plainMs = await timed(() => update(database));
      const processorBefore = processorTime(process.pid);
      const begun = performance.now();
      await sell('PEG', pegsSold);
      await until(database, 'SELECT count(*) >= 1 AS reached FROM recompute_runs WHERE state = $1', 'running');
      let over = false;
      const end = caughtUp(projector).then(() => {
        over = true;
        return performance.now() - begun;
      });
      const took = [];
      while (!over) took.push(...(await sales(database, sell, 1)));
      // The first round warms up.
      if (round < 0) {
        await end;
        continue;
      }
      plain.push(plainMs);
      followed.push(await end);
      processor.push(processorTime(process.pid) - processorBefore);
      timesBeside.push(...took);
      await check(database);
      await database.pool.query('TRUNCATE web_stack');
    }
    const ratios = {
      followed: Number((median(plain) / median(followed)).toFixed(2)),
      liveChange: Number((median(timesAlone) / median(timesBeside)).toFixed(2)),
    };
    const perSecond = (times) => Math.round((kits / median(times)) * 1_000);
    const liveMs = { alone: spread(timesAlone), beside: spread(timesBeside) };
    log(
      `kits: one UPDATE ${perSecond(plain)} listings/s; kits followed ${perSecond(followed)}/s, ratio ${ratios.followed}; another sale onto the Web Stack, p50 and p99: alone ${liveMs.alone.p50} and ${liveMs.alone.p99} ms, beside it ${liveMs.beside.p50} and ${liveMs.beside.p99} ms`,
    );
    return {
      kits,
      listingsPerSecond: { update: perSecond(plain), followed: perSecond(followed) },
      processorSeconds: Number(median(processor).toFixed(2)),
      liveMs,
      ratios,
    };
  } finally {
    await projector.stop();
    await wakeups.stop();
    await database.close();
  }
}

const spread = (times) => ({ p50: Math.round(median(times)), p99: Math.round(quantile(times, 0.99)) });

async function timed(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Sales of other items, one after the other. @returns how long each took until its record was there, in ms */
async function sales(database, sell, count) {
  const times = [];
  for (let n = 0; n < count; n += 1) {
    const sku = beside[sold++ % beside.length];
    const start = performance.now();
    const wanted = await expectedOf(database, sku);
    await sell(sku, 1);
    while ((await expectedOf(database, sku)) === wanted) await new Promise((resolve) => setTimeout(resolve, 1));
    times.push(performance.now() - start);
  }
  return times;
}
let sold = 0;

const expectedOf = async (database, sku) =>
  (
    await database.pool.query({
      name: 'bench-expected',
      text: `SELECT expected FROM listings WHERE cart_id = 'shop' AND key = $1`,
      values: [sku],
    })
  ).rows[0].expected;

const update = (database) =>
  database.pool.query(
    `UPDATE listings l SET withheld = l.withheld, last_quantity = q.on_hand
       FROM kit_parts p JOIN quantity_on_hand q ON q.sku = p.sku WHERE p.kit = l.sku AND p.sku = 'PEG'`,
  );

async function caughtUp(projector) {
  if (!(await projector.caughtUp(300_000))) throw new Error('The kits did not follow');
}

async function until(database, sql, ...values) {
  for (;;) {
    const { rows } = await database.pool.query(sql, values);
    if (rows[0].reached) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** A measurement of something wrong says nothing. */
async function check(database) {
  const { rows } = await database.pool.query(
    `SELECT count(*)::int AS wrong FROM listings l JOIN kit_parts p ON p.kit = l.sku AND p.sku = 'PEG'
       JOIN quantity_on_hand q ON q.sku = 'PEG' WHERE l.expected <> q.on_hand / p.quantity`,
  );
  if (rows[0].wrong > 0) throw new Error(`${rows[0].wrong} kits show another number than their pegs allow`);
}

async function fill(database, tell, projector) {
  const { pool } = database;
  await tell({ type: 'AddLocation', location: 'MAIN', name: 'Main' });
  for (const sku of ['PEG', ...beside]) {
    await tell({ type: 'CreateItem', sku, title: sku });
    await tell({ type: 'CountStock', sku, location: 'MAIN', quantity: 1_000_000 });
  }
  await caughtUp(projector);
  await pool.query(
    `INSERT INTO carts (cart_id, settings, settings_version, is_on, generation) VALUES ('shop', $1, 1, true, 1)`,
    [{ cartId: 'shop', name: 'Shop', type: 'webhook', locations: ['MAIN'], orderLocation: 'MAIN' }],
  );
  await pool.query(`INSERT INTO cart_locations VALUES ('shop', 'MAIN')`);
  await pool.query(`INSERT INTO kits SELECT 'KIT-' || n, 1, 'bench', now() FROM generate_series(1, $1::int) n`, [kits]);
  await pool.query(
    `INSERT INTO kit_components SELECT 'KIT-' || n, c.sku, c.quantity
       FROM generate_series(1, $1::int) n CROSS JOIN LATERAL (VALUES ('PEG', 1 + n % 4), ('CLOTH-' || n, 1)) c (sku, quantity)`,
    [kits],
  );
  await pool.query('INSERT INTO kit_parts SELECT * FROM kit_components');
  await pool.query(
    `INSERT INTO quantity_on_hand (sku, location, on_hand, open, movements, updated_at, seen_at)
     SELECT 'CLOTH-' || n, 'MAIN', 2000000, 0, 1, now(), now() FROM generate_series(1, $1::int) n`,
    [kits],
  );
  await pool.query(
    `INSERT INTO listings (cart_id, key, sku, generation, expected, target, baseline_kind, baseline_at, baseline_expected, baseline_record, baseline_echo)
     SELECT 'shop', x.sku, x.sku, 1, x.n, x.n, 'write', now(), x.n, 0, 0
       FROM (SELECT p.kit AS sku, q.on_hand / p.quantity AS n FROM kit_parts p JOIN quantity_on_hand q ON q.sku = p.sku WHERE p.sku = 'PEG'
             UNION ALL SELECT sku, on_hand FROM quantity_on_hand) x`,
  );
  await pool.query('VACUUM ANALYZE listings, quantity_on_hand, kits, kit_components, kit_parts');
}
