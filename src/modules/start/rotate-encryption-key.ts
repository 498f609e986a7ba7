import { randomBytes } from 'node:crypto';
import { rotateSecrets, type Rotation } from '../../cart-workers/rotate-secrets.js';
import type { Config } from '../../config.js';
import { migrate } from '../../database.js';
import { beginKeyChange, encryptionKeys, endKeyChange } from './encryption-key.js';
import { openDatabase, prepareDataDir, startOwnPostgres } from './hub.js';
import { HubLogger } from './logger.js';

/** Where the keys are: in the environment of every process, or in the data directory. */
export type RotationOutcome = Rotation & {
  readonly keysAreIn: 'environment' | 'data directory';
  readonly dryRun: boolean;
};

/**
 * Moves every cart's secret to the current key. With the key in the environment, processes may run meanwhile, as long as
 * they have both keys. With the key in the data directory the hub must be stopped, a new key is made, and the old one is
 * thrown away at the end.
 */
export async function rotateEncryptionKey(config: Config, dryRun: boolean): Promise<RotationOutcome> {
  const keysAreIn = config.encryptionKey === undefined ? 'data directory' : 'environment';
  const undo: (() => Promise<unknown>)[] = [];
  const logger = new HubLogger(config);
  try {
    await prepareDataDir(config.dataDir);
    // First, because it refuses while a hub runs there: a key must not change under a process that remembers the old one.
    const url = config.databaseUrl ?? (await startOwnPostgres(config, logger, () => undefined, undo));
    const database = await openDatabase(url, config, logger);
    undo.push(() => database.close());
    await migrate(database);
    const known = await encryptionKeys(config);
    if (keysAreIn === 'environment')
      return { ...(await rotateSecrets(database, known, { dryRun })), keysAreIn, dryRun };
    // Before a new key is made: is all of it readable with what is there? Everything counts as old then.
    const old = { current: randomBytes(32), previous: [known.current, ...known.previous] };
    const survey = await rotateSecrets(database, old, { dryRun: true });
    if (dryRun || survey.kind === 'unreadable') return { ...survey, keysAreIn, dryRun };
    const { current, previous } = await beginKeyChange(config.dataDir);
    const keys = { current, previous: [...previous, ...config.previousEncryptionKeys] };
    const rotation = await rotateSecrets(database, keys, { dryRun });
    if (rotation.kind === 'rotated' && rotation.left === 0) await endKeyChange(config.dataDir);
    return { ...rotation, keysAreIn, dryRun };
  } finally {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  }
}
