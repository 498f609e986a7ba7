/**
 * Rebuilding quantity on hand from the log, against one plain aggregate over the same events (what a query by hand would
 * be), in turn. Once where nothing differs and once from an emptied table; the plain one writes nothing.
 */
import { randomUUID } from 'node:crypto';
import { createDatabase, migrate } from '../dist/database.js';
import { ensureLogGeneration } from '../dist/events/log-generation.js';
import { ProjectionWork } from '../dist/modules/projections/projection-work.js';
import { prepareProjections } from '../dist/projections/projector.js';
import { withoutIndexes } from './fill-log.mjs';
import { median, timed } from './numbers.mjs';

const skus = 20_000;
const eventsOfTransaction = 500;

export async function run({ databaseUrl, rounds, events, log }) {
  const database = createDatabase({ url: databaseUrl, poolMax: 8, applicationName: 'onhand bench' });
  try {
    await migrate(database);
    await ensureLogGeneration(database.pool);
    await prepareProjections(database);
    await fill(database, events, log);
    const work = new ProjectionWork(database);
    const plain = [];
    const same = [];
    const empty = [];
    await aggregate(database);
    for (let round = 0; round < rounds; round += 1) {
      plain.push(await timed(() => aggregate(database)));
      same.push(await timed(() => rebuild(database, work, 0)));
      plain.push(await timed(() => aggregate(database)));
      await database.pool.query('TRUNCATE quantity_on_hand');
      empty.push(await timed(() => rebuild(database, work, null)));
    }
    const ratio = (times) => Number((median(plain) / median(times)).toFixed(2));
    const ratios = { rebuild: ratio(empty), nothingDiffers: ratio(same) };
    const rateOf = (times) => Math.round((events / median(times)) * 1_000);
    const rate = (times) => `${rateOf(times)} events/s`;
    log(
      `rebuild: ${events} events, ${skus} SKUs: one aggregate ${rate(plain)}; nothing differs ${rate(same)}, ratio ${ratios.nothingDiffers}; from an empty table ${rate(empty)}, ratio ${ratios.rebuild}`,
    );
    return {
      events,
      skus,
      eventsPerSecond: { aggregate: rateOf(plain), nothingDiffers: rateOf(same), fromEmpty: rateOf(empty) },
      ratios,
      bars: { rebuild: 0.3 },
    };
  } finally {
    await database.close();
  }
}

const aggregate = (database) =>
  database.pool.query(
    'SELECT sku, location, sum(delta), sum(open_delta), count(*), max(recorded_at) FROM events WHERE delta IS NOT NULL GROUP BY sku, location',
  );

async function rebuild(database, work, expected) {
  const id = randomUUID();
  await database.pool.query(
    `INSERT INTO projection_runs (id, kind, projection, apply, by, phase) VALUES ($1, 'rebuild', 'quantity-on-hand', true, 'bench', 'comparing')`,
    [id],
  );
  await work.run(id, () => false);
  const { rows } = await database.pool.query('SELECT state, found, mended, fault FROM projection_runs WHERE id = $1', [
    id,
  ]);
  const [{ state, found, mended, fault }] = rows;
  if (state !== 'done' || found !== mended || (expected !== null && Number(found) !== expected))
    throw new Error(`The rebuild ended ${state}: ${found} found, ${mended} mended. ${fault ?? ''}`);
}

/** A log as the hub writes it, but filled by the database itself: SKUs in any order, the popular ones more often. */
async function fill(database, events, log) {
  log(`rebuild: filling the log with ${events} events`);
  const client = await database.pool.connect();
  try {
    // Statements this long are none of the hub's own, which are ended much earlier.
    await client.query('SET statement_timeout = 0; SET synchronous_commit = off');
    await withoutIndexes(client, 'events', async () => {
      for (let at = 0; at < events; at += eventsOfTransaction) {
        await client.query(
          `INSERT INTO events (generation, stream, version, type, data, sku, location, delta, open_delta, balance, open_balance,
           occurred_at, recorded_at, causation_id)
         SELECT 1, 'stock:' || x.location || '/' || x.sku, x.n, 'StockSold',
                jsonb_build_object('sku', x.sku, 'location', x.location, 'delta', -1, 'openDelta', 1, 'reason', null, 'source', 'cart:shop',
                                   'reference', jsonb_build_object('kind', 'order', 'number', x.n::text, 'line', '1')),
                x.sku, x.location, -1, 1, 0, 0, now(), now(), 'bench/' || x.n
           FROM (SELECT n, 'BENCH-' || (random() * random() * $3)::int AS sku, 'L' || n % 2 AS location
                   FROM generate_series($1::int, $2::int) AS n) x`,
          [at + 1, Math.min(at + eventsOfTransaction, events), skus],
        );
      }
    });
    await client.query('VACUUM ANALYZE events');
    await client.query(
      `INSERT INTO quantity_on_hand (sku, location, on_hand, open, movements, updated_at, seen_at)
       SELECT sku, location, sum(delta), sum(open_delta), count(*), max(recorded_at), max(occurred_at)
         FROM events WHERE delta IS NOT NULL GROUP BY sku, location`,
    );
    await client.query(
      `UPDATE projection_checkpoints c SET generation = e.generation, transaction_id = e.transaction_id, position = e.position
         FROM (SELECT * FROM events ORDER BY generation DESC, transaction_id DESC, position DESC LIMIT 1) e WHERE c.name = 'main'`,
    );
  } finally {
    client.release(true);
  }
}
