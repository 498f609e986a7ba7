import type { EncryptionKeys } from '../../cart-workers/cart-secrets.js';
import type { QueueBackend } from '../../cart-workers/queue-backend.js';
import type { Config } from '../../config.js';
import type { Database } from '../../database.js';

/** What exists before Nest does, and outlives it: see hub.ts. */
export interface Surroundings {
  readonly config: Config;
  readonly database: Database;
  readonly backend: QueueBackend;
  readonly encryptionKeys: EncryptionKeys;
}
