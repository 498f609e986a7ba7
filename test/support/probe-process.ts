import { CartDirectory } from '../../src/cart-workers/cart-directory.js';
import { CartProbes } from '../../src/cart-workers/cart-probes.js';
import { CartSecrets } from '../../src/cart-workers/cart-secrets.js';
import { createDatabase } from '../../src/database.js';
import { CommandBatcher } from '../../src/events/command-batcher.js';
import { EventStore } from '../../src/events/event-store.js';

/** Carries out one probe, as a worker would; a test kills it in the middle of a call. */
export async function runProbe(given: {
  readonly databaseUrl: string;
  readonly encryptionKey: string;
  readonly probeId: string;
}): Promise<void> {
  const database = createDatabase({ url: given.databaseUrl, poolMax: 5, applicationName: 'onhand-test-probe' });
  const secrets = new CartSecrets(database, { current: Buffer.from(given.encryptionKey, 'base64'), previous: [] });
  const directory = new CartDirectory(database, secrets, { allowPrivateCartUrls: true });
  const batcher = new CommandBatcher(new EventStore(database.pool));
  await new CartProbes({ database, batcher, directory }).run(given.probeId);
  await database.close();
}
