/**
 * Commands per second of the event store behind its batcher, against the least that could be called a write side: per
 * command one transaction with an UPSERT of on hand and an INSERT of the event (no idempotency, no answers). Same tables,
 * same server, in turn.
 */
import { createHash, randomUUID } from 'node:crypto';
import { CommandBatcher } from '../dist/events/command-batcher.js';
import { EventStore } from '../dist/events/event-store.js';
import { ensureLogGeneration } from '../dist/events/log-generation.js';
import { createDatabase, migrate } from '../dist/database.js';
import { median } from './numbers.mjs';

const sampleMs = 2_000;
const skuCount = 10_000;
const skus = Array.from({ length: skuCount }, (_, i) => `BENCH-${i}`);
const anySku = () => skus[Math.floor(Math.random() * skuCount)];

export async function run({ databaseUrl, rounds, log }) {
  const database = createDatabase({ url: databaseUrl, poolMax: 64, applicationName: 'onhand bench' });
  try {
    await migrate(database);
    await ensureLogGeneration(database.pool);
    const store = new EventStore(database.pool);
    await prepare(store);
    /** @type {Record<string, number>} */
    const ratios = {};
    /** @type {[string, number, () => string][]} */
    const loads = [
      ['c16', 16, anySku],
      ['c64', 64, anySku],
      ['hot', 64, () => 'BENCH-0'],
    ];
    for (const [name, clients, skuOf] of loads) {
      const bare = [];
      const ours = [];
      await measure(clients, 500, () => appendBare(database, skuOf()));
      for (let round = 0; round < rounds; round += 1) {
        const batcher = new CommandBatcher(store);
        bare.push(await measure(clients, sampleMs, () => appendBare(database, skuOf())));
        ours.push(await measure(clients, sampleMs, () => submit(batcher, skuOf())));
      }
      ratios[name] = Number((median(ours) / median(bare)).toFixed(2));
      const about = name === 'hot' ? 'one SKU' : `${skuCount} SKUs`;
      log(
        `append ${name}: ${clients} clients, ${about}: ours ${rate(ours)}, bare ${rate(bare)}, ratio ${ratios[name]}`,
      );
    }
    return { ratios };
  } finally {
    await database.close();
  }
}

const rate = (values) =>
  `${median(values).toFixed(0)}/s (${Math.min(...values).toFixed(0)} to ${Math.max(...values).toFixed(0)})`;

async function prepare(store) {
  const envelope = (command) => ({ client: 'bench', idempotencyKey: null, bodyHash: null, command });
  await store.append([envelope({ type: 'AddLocation', location: 'shop', name: 'Shop' })]);
  for (let at = 0; at < skuCount; at += 1_000) {
    await store.append(skus.slice(at, at + 1_000).map((sku) => envelope({ type: 'CreateItem', sku, title: sku })));
  }
}

/** Commands per second of `clients` loops, each of which waits for its answer before it sends again. */
async function measure(clients, ms, send) {
  const start = performance.now();
  let done = 0;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() - start < ms) {
        await send();
        done += 1;
      }
    }),
  );
  return (done * 1000) / (performance.now() - start);
}

async function submit(batcher, sku) {
  const command = { type: 'AdjustStock', sku, location: 'shop', delta: 1 };
  const bodyHash = createHash('sha256').update(JSON.stringify(command)).digest();
  const outcome = await batcher.submit({ client: 'bench', idempotencyKey: randomUUID(), bodyHash, command });
  if (outcome.kind !== 'accepted') throw new Error(JSON.stringify(outcome));
}

async function appendBare(database, sku) {
  const client = await database.pool.connect();
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
