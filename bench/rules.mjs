/**
 * A change of rules over a catalogue: a rule is saved and every listing looked at again by the projector, in its chunks,
 * against one plain UPDATE that gives the same listings another number, in turn. The memory of the process is watched.
 */
import { createDatabase, migrate } from '../dist/database.js';
import { EventStore } from '../dist/events/event-store.js';
import { ensureLogGeneration } from '../dist/events/log-generation.js';
import { dryRun } from '../dist/projections/availability/dry-run.js';
import { Projector, prepareProjections } from '../dist/projections/projector.js';
import { Wakeups } from '../dist/wakeups.js';
import { median, timed } from './numbers.mjs';

const listings = 100_000;
const silent = { info: () => undefined, error: () => undefined };

export async function run({ databaseUrl, rounds, log }) {
  const database = createDatabase({ url: databaseUrl, poolMax: 8, applicationName: 'onhand bench' });
  try {
    await migrate(database);
    await ensureLogGeneration(database.pool);
    await prepareProjections(database);
    log(`rules: ${listings} listings`);
    await fill(database);
    const projector = new Projector({
      database,
      wakeups: new Wakeups(database),
      presence: { name: 'onhand bench' },
      log: silent,
    });
    const store = new EventStore(database.pool);
    const [plain, recomputed, tried, longest] = [[], [], [], []];
    let peakMb = 0;
    await recompute(database, store, projector, 1_000, () => undefined);
    globalThis.gc?.();
    const before = process.memoryUsage().heapUsed / 2 ** 20;
    for (let round = 0; round < rounds; round += 1) {
      plain.push(await timed(() => update(database)));
      let worst = 0;
      recomputed.push(
        await timed(() =>
          recompute(database, store, projector, 10 + round, (ms) => {
            worst = Math.max(worst, ms);
            peakMb = Math.max(peakMb, process.memoryUsage().heapUsed / 2 ** 20 - before);
          }),
        ),
      );
      longest.push(worst);
      await database.pool.query('TRUNCATE web_stack');
      const save = [ruleOf(3)];
      tried.push(await timed(() => dryRun(database, { save, remove: [] }, 100)));
    }
    const ratio = (times) => Number((median(plain) / median(times)).toFixed(2));
    const perSecond = (times) => Math.round((listings / median(times)) * 1_000);
    const ratios = { recompute: ratio(recomputed), dryRun: ratio(tried) };
    log(
      `rules: one UPDATE ${perSecond(plain)} listings/s; recomputed, a record each, ${perSecond(recomputed)}/s, ratio ${ratios.recompute}, longest chunk ${Math.round(median(longest))} ms, heap +${Math.round(peakMb)} MB at most; dry run ${perSecond(tried)}/s, ratio ${ratios.dryRun}`,
    );
    return {
      listings,
      listingsPerSecond: { update: perSecond(plain), recompute: perSecond(recomputed), dryRun: perSecond(tried) },
      longestChunkMs: Math.round(median(longest)),
      heapMbMax: Math.round(peakMb),
      ratios,
    };
  } finally {
    await database.close();
  }
}

const update = (database) =>
  database.pool.query(
    `UPDATE listings l SET withheld = l.withheld, last_quantity = q.on_hand FROM quantity_on_hand q WHERE q.sku = l.sku`,
  );

const ruleOf = (units) => ({
  ruleId: 'bench',
  name: 'bench',
  scope: { sku: null, tag: null, locations: null, cart: null },
  order: 0,
  effect: { kind: 'cap', units },
});

/** @param each told how long each transaction of the projector took */
async function recompute(database, store, projector, units, each) {
  const command = { type: 'SaveRule', rule: ruleOf(units), by: 'bench' };
  await store.append([{ client: 'bench', idempotencyKey: null, bodyHash: null, command }]);
  for (let idle = 0; idle < 200;) {
    const start = performance.now();
    const done = await projector.step();
    each(performance.now() - start);
    idle = done === null ? idle + 1 : 0;
    const { rows } = await database.pool.query(
      `SELECT count(*) FILTER (WHERE state = 'running')::int AS running, max((cause->>'version')::int) AS version,
              (SELECT max(version)::int FROM events WHERE stream = 'rules') AS wanted FROM recompute_runs`,
    );
    if (rows[0].running === 0 && rows[0].version === rows[0].wanted) return;
  }
  throw new Error('The run did not end');
}

async function fill(database) {
  const settings = { cartId: 'shop', name: 'Shop', type: 'webhook', locations: ['MAIN'], orderLocation: 'MAIN' };
  const { pool } = database;
  await pool.query(
    `INSERT INTO carts (cart_id, settings, settings_version, is_on, generation) VALUES ('shop', $1, 1, true, 1)`,
    [settings],
  );
  await pool.query(`INSERT INTO cart_locations VALUES ('shop', 'MAIN')`);
  await pool.query(
    `INSERT INTO quantity_on_hand (sku, location, on_hand, open, movements, updated_at, seen_at)
     SELECT 'B' || lpad(n::text, 7, '0'), 'MAIN', 50 + n % 50, 0, 1, now(), now() FROM generate_series(1, $1::int) n`,
    [listings],
  );
  await pool.query(
    `INSERT INTO listings (cart_id, key, sku, generation, expected, target, baseline_kind, baseline_at, baseline_expected, baseline_record, baseline_echo)
     SELECT 'shop', sku, sku, 1, on_hand, on_hand, 'write', now(), on_hand, 0, 0 FROM quantity_on_hand`,
  );
  await pool.query('VACUUM ANALYZE listings, quantity_on_hand');
}
