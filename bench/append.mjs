/**
 * One movement per command through the whole write side (key, decision, head, event, answer), against a bare `pg`
 * transaction per command on the same tables: UPSERT of on hand, INSERT of the event.
 */
import { CommandBatcher } from '../dist/events/command-batcher.js';
import { anySku, appendBare, compare, openShop, submit } from './write-side.mjs';

export async function run({ databaseUrl, rounds, log }) {
  const { database, store } = await openShop(databaseUrl);
  const ratios = {};
  const p99Ratios = {};
  try {
    for (const clients of [16, 64]) {
      const batcher = new CommandBatcher(store);
      const found = await compare({
        rounds,
        ms: 2_000,
        clients,
        ours: () => submit(batcher, anySku()),
        baseline: () => appendBare(database.pool, anySku()),
      });
      ratios[`c${clients}`] = found.ratio;
      p99Ratios[`c${clients}`] = found.p99Ratio;
      log(`append, ${clients} clients: ${found.sentence}; ratio ${found.ratio}, of the p99 ${found.p99Ratio}`);
    }
  } finally {
    await database.close();
  }
  const bars = { c16: 2.0, c64: 3.5 };
  const slower = Object.values(p99Ratios).some((ratio) => ratio > 1);
  return { ratios, bars, p99Ratios, ...(slower && { pass: false }) };
}
