import { randomBytes } from 'node:crypto';
import { AppModule } from '../../src/app.module.js';
import { loadConfig } from '../../src/config.js';
import { startHub, type Hub } from '../../src/modules/start/hub.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

export const ownerKey = `ohk_${randomBytes(32).toString('base64url')}`;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // The shape of an answer is what the tests are about; they read it freely.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

export interface HubUnderTest {
  readonly hub: Hub;
  readonly url: string;
  readonly database: TestDatabase;
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  close(): Promise<void>;
}

/**
 * A whole hub in this process, on a database of its own, listening on a free port.
 * @param through where the hub is to find that database, if not at the database itself
 */
export async function startHubUnderTest(
  settings: Record<string, string> = {},
  through: (url: string) => Promise<string> = async (url) => url,
): Promise<HubUnderTest> {
  const database = await createTestDatabase();
  const config = loadConfig({
    DATABASE_URL: await through(database.url),
    ONHAND_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    ONHAND_PORT: '0',
    ONHAND_OWNER_KEY: ownerKey,
    ONHAND_DATA_DIR: await temporaryDirectory(),
    ONHAND_ALLOW_PRIVATE_CART_URLS: 'true',
    ONHAND_LOG_LEVEL: 'error',
    ONHAND_LANES_MAX: '8',
    ...settings,
  });
  const hub = await startHub(config, AppModule.for, (error) => {
    throw error;
  });
  const url = hub.url ?? '';
  return {
    hub,
    url,
    database,
    call: (method, path, body, headers = {}) =>
      call(url + path, method, body, { Authorization: `Bearer ${ownerKey}`, ...headers }),
    close: async () => {
      await hub.stop();
      await database.close();
    },
  };
}

export async function call(
  url: string,
  method: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(url, {
    method,
    redirect: 'manual',
    headers: { ...(body !== undefined && { 'Content-Type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: /json/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : text,
  };
}
