/**
 * Commands per second of the event store behind its batcher, against the least that could be called a write side: per
 * command one transaction with an UPSERT of on hand and an INSERT of the event (no idempotency, no answers, no counts).
 * Same tables, same server, same run; so only the ratio means anything.
 *
 *     npm run build && DATABASE_URL=<empty database> node bench/append.mjs [seconds per sample]
 */
import { createHash, randomUUID } from 'node:crypto';
import { CommandBatcher } from '../dist/events/command-batcher.js';
import { EventStore } from '../dist/events/event-store.js';
import { createDatabase, migrate } from '../dist/database.js';

const sampleMs = Number(process.argv[2] ?? 3) * 1000;
const samples = 3;
const skus = Array.from({ length: 500 }, (_, i) => `BENCH-${i}`);

const url = process.env['DATABASE_URL'];
if (!url) throw new Error('DATABASE_URL must name an empty database');
const database = createDatabase({ url, poolMax: 64, applicationName: 'onhand-bench' });
await migrate(database);
const store = new EventStore(database.pool);
await prepare();

for (const clients of [16, 64]) {
  for (const spread of ['500 SKUs', 'one SKU']) {
    const skuOf = spread === 'one SKU' ? () => skus[0] : () => skus[Math.floor(Math.random() * skus.length)];
    const bare = [];
    const ours = [];
    await measure(clients, 500, () => appendBare(skuOf()));
    for (let i = 0; i < samples; i++) {
      const batcher = new CommandBatcher(store);
      bare.push(await measure(clients, sampleMs, () => appendBare(skuOf())));
      ours.push(await measure(clients, sampleMs, () => submit(batcher, skuOf())));
    }
    report(`${clients} clients, ${spread}`, ours, bare);
  }
}
await database.close();

async function prepare() {
  const command = (c) => ({ client: 'bench', idempotencyKey: null, bodyHash: null, command: c });
  await store.append([command({ type: 'AddLocation', location: 'shop', name: 'Shop' })]);
  await store.append(skus.map((sku) => command({ type: 'CreateItem', sku, title: sku })));
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

async function appendBare(sku) {
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

function report(name, ours, bare) {
  const middle = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
  const line = (values) =>
    `${middle(values).toFixed(0)}/s (${Math.min(...values).toFixed(0)} to ${Math.max(...values).toFixed(0)})`;
  console.log(`${name}: onhand ${line(ours)}, bare ${line(bare)}, ratio ${(middle(ours) / middle(bare)).toFixed(2)}`);
}
