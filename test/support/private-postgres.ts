import { randomBytes } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { createDatabase, createQueuePool, migrate, migrateQueues } from '../../src/database.js';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/embedded-postgres.js';
import type { TestDatabase } from './database.js';
import { onServer, withDatabase } from './database-server.js';
import { stopWhenWeAreKilled } from './stop-when-killed.js';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.js';
import { temporaryDirectory } from './temporary-directory.js';
import { until } from './until.js';

/**
 * A PostgreSQL of one's own, for tests that keep transactions open, stop the server or break the way to it. It is reached
 * through proxies, so its addresses stay the same when it is started anew on another port.
 */
export interface PrivatePostgres {
  /** The way that `url` of its databases leads; their pools have one of their own, which stays whole. */
  readonly proxy: TcpProxy;
  /** The database `postgres`, past the proxy, as the superuser. */
  readonly serverUrl: string;
  /** Where the server keeps its files; its user may write there. */
  readonly home: string;
  /**
   * A new database; migrated, unless `empty`.
   * @param query parameters of pg for whoever uses the URL, such as `query_timeout=1000`
   */
  createDatabase(options?: {
    name?: string;
    tablespace?: string;
    empty?: boolean;
    query?: string;
  }): Promise<TestDatabase>;
  /** fast: connections are ended and everything is written. immediate: as in a crash; the next start recovers. */
  stop(how: 'fast' | 'immediate'): Promise<void>;
  start(): Promise<void>;
  /** Ends it and removes its files. */
  close(): Promise<void>;
}

const connectionsMax = 300;

export async function startPrivatePostgres(): Promise<PrivatePostgres> {
  const dataDir = await temporaryDirectory('onhand-test-postgres-');
  const launch = () => startEmbeddedPostgres({ dataDir, maxConnections: connectionsMax, log: () => undefined });
  let server: EmbeddedPostgres = await launch();
  const pidFile = path.join(server.home, 'data', 'postmaster.pid');
  stopWhenWeAreKilled(pidFile);
  const proxy = await startTcpProxy(server.port);
  const ownWay = await startTcpProxy(server.port);
  const serverUrl = () => withDatabase(server.url, 'postgres');

  const stop = async (how: 'fast' | 'immediate') => {
    if (how === 'fast') return server.stop();
    const pid = Number((await readFile(pidFile, 'utf8')).split('\n')[0]);
    process.kill(pid, 'SIGQUIT');
    await until('PostgreSQL is gone', () => !isAlive(pid));
  };
  return {
    proxy,
    get serverUrl() {
      return serverUrl();
    },
    home: server.home,
    createDatabase: async ({ name = `test_${randomBytes(6).toString('hex')}`, tablespace, empty, query } = {}) => {
      await onServer(
        serverUrl(),
        `CREATE DATABASE ${name}${tablespace === undefined ? '' : ` TABLESPACE ${tablespace}`}`,
      );
      const through = (port: number) => {
        const address = new URL(withDatabase(server.url, name));
        address.port = String(port);
        return address;
      };
      const address = through(proxy.port);
      if (query !== undefined) address.search = query;
      const options = { url: through(ownWay.port).toString(), poolMax: 20, applicationName: 'onhand-test' };
      const database = createDatabase(options);
      if (empty !== true) {
        await migrate(database);
        const queuePool = createQueuePool({ ...options, poolMax: 2 });
        await migrateQueues(queuePool);
        await queuePool.end();
      }
      return { ...database, url: address.toString() };
    },
    stop,
    start: async () => {
      server = await launch();
      proxy.lead(server.port);
      ownWay.lead(server.port);
    },
    close: async () => {
      await proxy.stop();
      await ownWay.stop();
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
