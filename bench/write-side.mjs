/** What the benches of the append share: the shop they write for, one command as a client sends it, and loops of clients. */
import { createHash, randomUUID } from 'node:crypto';
import { createDatabase, migrate } from '../dist/database.js';
import { EventStore } from '../dist/events/event-store.js';
import { ensureLogGeneration } from '../dist/events/log-generation.js';
import { median, quantile } from './numbers.mjs';

const skuCount = 10_000;
export const skus = Array.from({ length: skuCount }, (_, i) => `BENCH-${i}`);
export const anySku = () => skus[Math.floor(Math.random() * skuCount)];

/** A database with our tables, a location and 10,000 items. */
export async function openShop(databaseUrl) {
  const database = createDatabase({ url: databaseUrl, poolMax: 64, applicationName: 'onhand bench' });
  await migrate(database);
  await ensureLogGeneration(database.pool);
  const store = new EventStore(database.pool);
  const unkeyed = (command) => ({ client: 'bench', idempotencyKey: null, bodyHash: null, command });
  await store.append([unkeyed({ type: 'AddLocation', location: 'shop', name: 'Shop' })]);
  for (let at = 0; at < skuCount; at += 1_000)
    await store.append(skus.slice(at, at + 1_000).map((sku) => unkeyed({ type: 'CreateItem', sku, title: sku })));
  return { database, store };
}

/** One movement under a key of its own, as the API makes it of a request. */
export function movement(sku, location = 'shop') {
  const command = { type: 'AdjustStock', sku, location, delta: 1 };
  const bodyHash = createHash('sha256').update(JSON.stringify(command)).digest();
  return { client: 'bench', idempotencyKey: randomUUID(), bodyHash, command };
}

export async function submit(batcher, sku) {
  const outcome = await batcher.submit(movement(sku));
  if (outcome.kind !== 'accepted') throw new Error(JSON.stringify(outcome));
}

/** The least that could be called a write side: no idempotency, no answers, no rules. */
export async function appendBare(pool, sku) {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const { rows } = await client.query({
      name: 'bare-upsert',
      text: `INSERT INTO stream_heads (stream, version, state) VALUES ($1, 1, '{"onHand": 1}')
        ON CONFLICT (stream) DO UPDATE SET version = stream_heads.version + 1,
          state = jsonb_build_object('onHand', (stream_heads.state ->> 'onHand')::int + 1)
        RETURNING version, state`,
      values: [`bare:${sku}`],
    });
    await client.query({
      name: 'bare-insert',
      text: `INSERT INTO events (generation, stream, version, type, data, sku, location, delta, open_delta, balance, open_balance,
          occurred_at, recorded_at, causation_id)
        VALUES (1, $1, $2, 'StockAdjusted', '{}', $3, 'bare', 1, 0, $4, 0, now(), now(), 'bare')`,
      values: [`bare:${sku}`, rows[0].version, sku, rows[0].state.onHand],
    });
    await client.query('COMMIT');
  } finally {
    client.release();
  }
}

/** `clients` loops, each of which waits for its answer before it sends again. @returns how many a second, and how long each took in ms */
export async function measure(clients, ms, send) {
  const start = performance.now();
  const timesMs = [];
  await Promise.all(
    Array.from({ length: clients }, async () => {
      for (let now = performance.now(); now - start < ms; now = performance.now()) {
        await send();
        timesMs.push(performance.now() - now);
      }
    }),
  );
  return { perSecond: (timesMs.length * 1000) / (performance.now() - start), p99Ms: quantile(timesMs, 0.99) };
}

/**
 * Rounds of both in turn, after one short round of each that does not count.
 * @returns the ratio of the medians, and a sentence with both
 */
export async function compare({ rounds, ms, clients, ours, baseline }) {
  await measure(clients, ms / 4, baseline);
  await measure(clients, ms / 4, ours);
  const found = { ours: [], baseline: [] };
  for (let round = 0; round < rounds; round += 1) {
    found.baseline.push(await measure(clients, ms, baseline));
    found.ours.push(await measure(clients, ms, ours));
  }
  const of = (name, key) => found[name].map((sample) => sample[key]);
  const shown = (name) => {
    const rates = of(name, 'perSecond');
    const spread = `${Math.min(...rates).toFixed(0)} to ${Math.max(...rates).toFixed(0)}`;
    return `${median(rates).toFixed(0)}/s (${spread}), p99 ${median(of(name, 'p99Ms')).toFixed(1)} ms`;
  };
  return {
    ratio: Number((median(of('ours', 'perSecond')) / median(of('baseline', 'perSecond'))).toFixed(2)),
    p99Ratio: Number((median(of('ours', 'p99Ms')) / median(of('baseline', 'p99Ms'))).toFixed(2)),
    sentence: `ours ${shown('ours')}; baseline ${shown('baseline')}`,
  };
}
