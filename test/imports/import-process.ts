import { createDatabase } from '../../src/database.js';
import { EventStore } from '../../src/events/event-store.js';
import { ImportWork } from '../../src/modules/imports/import-work.js';

/** There is no projector in this process; the hub's follows by itself, and this import is not held against what it does. */
const projected = { applied: async () => true };

/** Works on one import until it is at its end, or until it is killed. */
export async function workOnImport(given: { readonly databaseUrl: string; readonly importId: string }): Promise<void> {
  const database = createDatabase({ url: given.databaseUrl, poolMax: 4, applicationName: 'onhand-test-import' });
  await new ImportWork(database, new EventStore(database.pool), projected).run(given.importId, () => false);
  await database.close();
}
