import { holdAfterRestore } from '../../cart-workers/hold-after-restore.js';
import type { Config } from '../../config.js';
import { migrate } from '../../database.js';
import { startNewGeneration } from '../../events/log-generation.js';
import { openDatabase, prepareDataDir, startOwnPostgres } from './hub.js';
import { HubLogger } from './logger.js';

/**
 * After a restore or a fail-over: new events get a generation of their own, because transaction ids may have gone back,
 * and no cart is told anything before it has been compared. Every other process of the hub must be stopped.
 */
export async function afterRestore(config: Config): Promise<{ generation: number; lanes: number; lines: number }> {
  const undo: (() => Promise<unknown>)[] = [];
  const logger = new HubLogger(config);
  try {
    await prepareDataDir(config.dataDir);
    const url = config.databaseUrl ?? (await startOwnPostgres(config, logger, () => undefined, undo));
    const database = await openDatabase(url, config, logger);
    undo.push(() => database.close());
    await migrate(database);
    const held = await holdAfterRestore(database);
    const { generation } = await startNewGeneration(database.pool);
    return { generation, ...held };
  } finally {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  }
}
