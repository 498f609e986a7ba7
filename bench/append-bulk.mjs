/**
 * A thousand movements per call through the whole write side, each under a key of its own and as the API hands on the rows
 * of one request, against COPY of a thousand rows per call into the same indexed table of events, and nothing else. One
 * caller each. Rates are calls.
 */
import { pipeline } from 'node:stream/promises';
import { CommandBatcher } from '../dist/events/command-batcher.js';
import { anySku, compare, openShop, submit } from './write-side.mjs';

const perCall = 1_000;

export async function run({ databaseUrl, rounds, log }) {
  const { from } = await import('pg-copy-streams');
  const { database, store } = await openShop(databaseUrl);
  const { default: pg } = await import('pg');
  // COPY does not go together with pipelined statements.
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  let version = 0;
  const copy = async () => {
    version += 1;
    const now = new Date().toISOString();
    const lines = Array.from({ length: perCall }, (_, i) => {
      const sku = anySku();
      const data = JSON.stringify({ sku, location: 'copy', delta: 1, openDelta: 0, reason: null, source: 'direct' });
      return `1\tstock:copy/${sku}\t${version * perCall + i}\tStockAdjusted\t${data}\t${sku}\tcopy\t1\t0\t1\t0\t${now}\t${now}\tcopy/${i}\n`;
    });
    const into = client.query(
      from(`COPY events (generation, stream, version, type, data, sku, location, delta, open_delta, balance, open_balance,
        occurred_at, recorded_at, causation_id) FROM STDIN`),
    );
    await pipeline([lines.join('')], into);
  };
  const batcher = new CommandBatcher(store);
  const append = () => Promise.all(Array.from({ length: perCall }, () => submit(batcher, anySku())));
  try {
    const found = await compare({ rounds, ms: 2_000, clients: 1, ours: append, baseline: copy });
    log(`append-bulk, ${perCall} movements per call: ${found.sentence}; ratio ${found.ratio}`);
    return { ratios: { bulk: found.ratio }, bars: { bulk: 0.6 } };
  } finally {
    await client.end();
    await database.close();
  }
}
