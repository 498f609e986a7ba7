// Stands for a hub in a process of its own: holds the embedded PostgreSQL of a data directory until it is killed.
// Runs the source through vite, as the tests do, so it needs no build.
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

const source = fileURLToPath(new URL('../../src/embedded-postgres.ts', import.meta.url));
const { module } = await runnerImport(source, { configFile: false, logLevel: 'error' });
await module.startEmbeddedPostgres({ dataDir: process.argv[2], maxConnections: 20, log: () => undefined });
console.log('ready');
setInterval(() => undefined, 1000);
