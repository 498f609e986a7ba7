/**
 * The same commands handled with `@event-driven-io/emmett-postgresql`, as its documentation does it: CommandHandler reads
 * the stream, decides, appends at the version it read, and begins anew when somebody was faster. 64 clients, over 10,000
 * SKUs and all on one. What is counted are accepted commands; ours may refuse none.
 */
import { CommandBatcher } from '../dist/events/command-batcher.js';
import { anySku, compare, openShop, submit } from './write-side.mjs';

const clients = 64;

export async function run({ databaseUrl, rounds, log }) {
  const { CommandHandler } = await import('@event-driven-io/emmett');
  const { getPostgreSQLEventStore } = await import('@event-driven-io/emmett-postgresql');
  const { database, store } = await openShop(databaseUrl);
  const peer = getPostgreSQLEventStore(databaseUrl);
  const handle = CommandHandler({
    initialState: () => ({ onHand: 0 }),
    evolve: (state, { data }) => ({ onHand: state.onHand + data.delta }),
  });
  let conflicts = 0;
  const handleUntilAccepted = async (sku) => {
    for (;;) {
      try {
        return await handle(peer, `stock-${sku}`, (state) => ({
          type: 'StockAdjusted',
          data: { sku, location: 'shop', delta: 1, balance: state.onHand + 1 },
        }));
      } catch (error) {
        if (!/conflict|expected version/i.test(`${error?.name} ${error?.message}`)) throw error;
        conflicts += 1;
      }
    }
  };
  const ratios = {};
  try {
    await peer.schema.migrate();
    for (const [name, skuOf] of Object.entries({ c64: anySku, hot: () => 'BENCH-0' })) {
      const batcher = new CommandBatcher(store);
      const found = await compare({
        rounds,
        ms: 2_000,
        clients,
        ours: () => submit(batcher, skuOf()),
        baseline: () => handleUntilAccepted(skuOf()),
      });
      ratios[name] = found.ratio;
      log(`append-peer ${name}: ${found.sentence}; ratio ${found.ratio}, ${conflicts} version conflicts of the peer`);
    }
  } finally {
    await peer.close();
    await database.close();
  }
  return { ratios, bars: { c64: 3, hot: 40 } };
}
